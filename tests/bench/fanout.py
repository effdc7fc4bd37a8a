#!/usr/bin/env python3
"""Fan-out to many sockets: wsbus beside a server that does nothing else, and beside what people use.

    tests/bench/fanout.py [--rounds 3] [--seconds 5] [--only A,C] [--servers wsbus,floor] [--out FOLDER]

Each server runs alone on one core, one after the other in every round:
    wsbus         the daemon of this tree, memory bus, one worker
    floor         floor.c: epoll, and one sendmsg() for each socket and turn of the loop
    nchan         nginx with Debian's nchan module, fed by HTTP
    wsbus-redis   the daemon in front of a Redis that gets PUBLISH
    bridge        bridge.mjs: the bridge that one writes by hand (Node, ws, ioredis), the same Redis

The other core has the publisher (feed.c), the sockets (load.c) and Redis. Each number of each channel is
checked. An age counts from when a message was due, so a server that falls behind cannot hide it. "CPU us"
is processor time of the server, user and system, all threads, for one message at one socket.

Prints a table of medians (least to greatest) with the ratio to the floor of the same round, and writes
results.json. Needs root for nothing; loopback only; ends by itself and stops what it starts. What is not
installed (nginx, Node, redis-server) is left out and named.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "bench"
TOOLS = ROOT / "build" / "bench"
NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from ports import free_port  # noqa: E402

# The bridge's own bounds out of the way: one address and one publisher stand for all, and nobody
# answers pings.
BOUNDS = {
    "connections": 19900,
    "subscriptions": 2000,
    "half_open": 19900,
    "ping_ms": 0,
    "inbox_bytes": 1 << 28,
    **dict.fromkeys(["handshakes_per_second", "frames_per_second", "bytes_per_second"], 0),
    **dict.fromkeys(["publishes_per_second", "subscribes_per_second"], 0),
}

SERVER_CORE, LOAD_CORE = "0", "1"
WARM = 1.5

# sockets, channels of each, channels, messages a second, bytes
WORKLOADS: dict[str, tuple[str, int, int, int, float, int]] = {
    "A": ("1 000 sockets, one channel, 100/s", 1000, 1, 1, 100, 100),
    "B": ("10 000 sockets, one channel, 10/s", 10000, 1, 1, 10, 100),
    "C": ("10 000 sockets, a channel each, 20 000/s", 10000, 1, 10000, 20000, 100),
    "D": ("1 000 sockets, 50 of 1 000 channels each, 4 000/s", 1000, 50, 1000, 4000, 100),
}
# A at rising rates: the highest with p99 under 100 ms and nothing lost.
CLIMB = [250, 500, 1000, 2000, 4000, 8000, 12000, 16000]


def build() -> None:
    TOOLS.mkdir(parents=True, exist_ok=True)
    for name in ("floor", "load", "feed"):
        flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-o", str(TOOLS / name)]
        subprocess.run(["cc", *flags, str(HERE / f"{name}.c"), str(HERE / "wire.c")], check=True)


def on_core(core: str, *argv: str) -> list[str]:
    # Nothing outlives this program, however it ends.
    return ["setpriv", "--pdeathsig", "KILL", "taskset", "-c", core, *argv]


class Server:
    """One server on its core. `load` and `feed` are the dialects of load.c and feed.c."""

    load = feed = ""
    needs = ""  # why it cannot run here; empty: it can

    def __init__(self) -> None:
        self.port = free_port()
        self.feed_port = self.port
        self.folder = Path(tempfile.mkdtemp(prefix="wsbus-bench-"))
        self.log = (self.folder / "log").open("wb")
        self.aids: list[subprocess.Popen[bytes]] = []

    def argv(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        self.process = subprocess.Popen(
            on_core(SERVER_CORE, *self.argv()),
            stdin=subprocess.PIPE,
            stdout=self.log,
            stderr=self.log,
            cwd=self.folder,
        )
        self.answers(self.process, self.port)

    def answers(self, process: subprocess.Popen[bytes], port: int) -> None:
        deadline = time.monotonic() + 10
        while process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.02)
        raise SystemExit(f"does not run: {(self.folder / 'log').read_text()[-2000:]}")

    def start_redis(self) -> int:
        port = free_port()
        argv = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        aid = subprocess.Popen(
            on_core(LOAD_CORE, *argv), stdout=self.log, stderr=self.log, cwd=self.folder
        )
        self.aids.append(aid)
        self.answers(aid, port)
        return port

    def processes(self) -> list[int]:
        return [self.process.pid]

    def cpu(self) -> float:
        """Seconds of the processor so far."""
        ticks = 0
        for pid in self.processes():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        for process in [self.process, *self.aids]:
            process.send_signal(signal.SIGKILL)
            process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Wsbus(Server):
    load = feed = "wsbus"

    def bus(self) -> dict[str, Any]:
        return {"type": "memory", "history": 1000, "topics": 20000}

    def argv(self) -> list[str]:
        config = {
            "listen": f"127.0.0.1:{self.port}",
            "workers": 1,
            "buses": {"b": self.bus()},
            "channels": [{"match": "b.*", "bus": "b"}],
            "limits": BOUNDS,
        }
        (self.folder / "wsbus.json").write_text(json.dumps(config))
        return [str(ROOT / "build" / "wsbus"), "-c", "wsbus.json"]


class WsbusRedis(Wsbus):
    feed = "redis"

    def bus(self) -> dict[str, Any]:
        self.feed_port = self.start_redis()
        return {"type": "redis", "url": f"redis://127.0.0.1:{self.feed_port}"}


class Floor(Server):
    load = feed = "floor"

    def argv(self) -> list[str]:
        return [str(TOOLS / "floor"), str(self.port)]


class Nchan(Server):
    load, feed = "nchan", "http"
    needs = "" if NCHAN.exists() and shutil.which("nginx") else "nginx and libnginx-mod-nchan"

    def argv(self) -> list[str]:
        (self.folder / "nginx.conf").write_text(f"""
load_module {NCHAN};
worker_processes 1;
worker_rlimit_nofile 20000;
daemon off;
master_process off;
pid nginx.pid;
error_log stderr crit;
events {{ worker_connections 19900; }}
http {{
  access_log off;
  nchan_shared_memory_size 256M;
  client_body_temp_path . ; proxy_temp_path . ; fastcgi_temp_path . ; uwsgi_temp_path . ;
  scgi_temp_path . ;
  server {{
    listen 127.0.0.1:{self.port} backlog=4096;
    location /sub {{
      nchan_subscriber websocket;
      nchan_channel_id $arg_id;
      nchan_channel_id_split_delimiter ",";
      nchan_subscriber_first_message newest;
    }}
    location /pub {{
      keepalive_requests 1000000000;
      nchan_publisher http;
      nchan_channel_id $arg_id;
    }}
  }}
}}
""")
        return ["nginx", "-p", str(self.folder), "-c", "nginx.conf"]


class Bridge(Server):
    load, feed = "bridge", "redis"
    needs = "" if shutil.which("node") and (TOOLS / "node/node_modules").exists() else "Node"

    def argv(self) -> list[str]:
        self.feed_port = self.start_redis()
        shutil.copy(HERE / "bridge.mjs", TOOLS / "node")
        return [
            "node", str(TOOLS / "node/bridge.mjs"), str(self.port), str(self.feed_port),
        ]  # fmt: skip


SERVERS: dict[str, type[Server]] = {
    "floor": Floor,
    "wsbus": Wsbus,
    "nchan": Nchan,
    "wsbus-redis": WsbusRedis,
    "bridge": Bridge,
}

class Load:
    """The sockets; see load.c."""

    def __init__(self, server: Server, sockets: int, each: int, channels: int) -> None:
        argv = [server.load, str(server.port), str(sockets), str(each), str(channels)]
        self.process = subprocess.Popen(
            on_core(LOAD_CORE, str(TOOLS / "load"), *argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, line: str, seconds: float = 60) -> dict[str, Any]:
        inlet, outlet = self.process.stdin, self.process.stdout
        assert inlet and outlet
        inlet.write(line + "\n")
        inlet.flush()
        if not select.select([outlet], [], [], seconds)[0]:
            raise SystemExit(f"load: {line}: not in time")
        answer = outlet.readline()
        if not answer:
            raise SystemExit("load has ended")
        return dict(json.loads(answer))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def measure(kind: type[Server], workload: str, seconds: float, rate: float = 0) -> dict[str, Any]:
    """One server under one workload; `rate` instead of the workload's."""
    _, sockets, each, channels, usual, size = WORKLOADS[workload]
    server = kind()
    server.start()
    load = Load(server, sockets, each, channels)
    try:
        opened = load.ask(f"wait {sockets * each}")["seconds"]
        argv = [server.feed, str(server.feed_port), str(channels), str(rate or usual)]
        feed = subprocess.Popen(
            on_core(LOAD_CORE, str(TOOLS / "feed"), *argv, str(WARM + seconds + 1), str(size)),
            stdout=subprocess.DEVNULL,
        )
        time.sleep(WARM)
        load.ask("clear")
        before, began = server.cpu(), time.monotonic()
        time.sleep(seconds)
        result = load.ask("report")
        used, lasted = server.cpu() - before, time.monotonic() - began
        feed.kill()
        feed.wait()
    finally:
        load.close()
        server.stop()
    result["cpu_us"] = used * 1e6 / max(1, result["messages"])
    result["share"] = result["messages"] / (lasted * (rate or usual) * sockets * each / channels)
    result["busy"] = used / lasted
    result["opened_seconds"] = opened
    return result


def climb(kind: type[Server], seconds: float) -> dict[str, Any]:
    """The highest rate of workload A that is carried: everything, in order, p99 under 100 ms."""
    best: dict[str, Any] = {"rate": 0}
    for rate in CLIMB:
        result = measure(kind, "A", seconds, rate)
        if result["p99"] >= 100 or result["lost"] or result["closed"] or result["share"] < 0.95:
            best["limit"] = {"rate": rate, **result}
            break
        best.update(rate=rate, **result)
    return best


def spread(values: list[float], digits: int = 2) -> str:
    middle = statistics.median(values)
    if len(values) == 1:
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def table(results: dict[str, Any], servers: list[str]) -> None:
    for name, by_server in results.items():
        title = WORKLOADS[name][0] if name in WORKLOADS else "A at its highest rate"
        print(f"\n{name}: {title}")
        print(f"  {'server':<12} {'CPU us':<24} {'of the floor':<24} {'p50 ms':>8} {'p99 ms':>8}  other")
        for server in servers:
            runs = by_server.get(server)
            if not runs:
                continue
            ratios = [
                run["cpu_us"] / floor["cpu_us"]
                for run, floor in zip(runs, by_server.get("floor", []))
                if run.get("cpu_us") and floor.get("cpu_us")
            ]
            known = [run for run in runs if "cpu_us" in run]
            if not known:
                print(f"  {server:<12} not at the lowest rate")
                continue
            p50, p99 = (statistics.median(run[p] for run in known) for p in ("p50", "p99"))
            lost = sum(run["lost"] for run in known)
            told = sum(run["told"] for run in known)
            closed = sum(run["closed"] for run in known)
            share = min(run["share"] for run in known)
            other = [f"{lost - told} lost untold"] * (lost > told) + [f"{told} lost and told"] * (told > 0)
            other += [f"{closed} closed"] * (closed > 0)
            other += [f"only {share:.0%} arrived in time"] * (share < 0.95)
            if "rate" in runs[0]:
                other.append("messages/s: " + spread([run["rate"] for run in runs], 0))
            print(
                f"  {server:<12} {spread([run['cpu_us'] for run in known]):<24}"
                f" {spread(ratios) if ratios else '-':<24} {p50:>8.2f} {p99:>8.2f}  {', '.join(other)}"
            )


def machine() -> dict[str, Any]:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "load": os.getloadavg()[0],
    }


def arguments() -> argparse.Namespace:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--only", default="A,B,C,D,A-max")
    parser.add_argument("--servers", default=",".join(SERVERS))
    parser.add_argument("--out", type=Path, default=TOOLS)
    return parser.parse_args()


def main() -> int:
    options = arguments()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if (os.cpu_count() or 1) < 2:
        raise SystemExit("needs two cores: one for the server, one for the sockets")
    build()
    servers = []
    for name in options.servers.split(","):
        if SERVERS[name].needs:
            print(f"left out: {name} ({SERVERS[name].needs} is missing)")
        else:
            servers.append(name)
    wanted = options.only.split(",")
    results: dict[str, Any] = {name: {server: [] for server in servers} for name in wanted}
    for turn in range(options.rounds):
        for name in wanted:
            for server in servers:
                print(f"\rround {turn + 1}: {name} {server:<16}", end="", file=sys.stderr)
                kind = SERVERS[server]
                if name == "A-max":
                    result = climb(kind, min(3, options.seconds))
                else:
                    result = measure(kind, name, options.seconds)
                results[name][server].append(result)
    print(file=sys.stderr)
    where = machine()
    print(f"{where['processor']}, {where['cores']} cores, Linux {where['kernel']},", end=" ")
    print(f"{options.rounds} rounds of {options.seconds:g} s, load average {where['load']:.1f}")
    table(results, servers)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.json").write_text(
        json.dumps({"machine": where, "options": vars(options), "results": results}, indent=1, default=str)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
