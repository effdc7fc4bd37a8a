#!/usr/bin/env python3
"""What each delivery and each byte of memory costs as the work grows; where it bends.

    tests/bench/grow.py [--only stub,sockets,channels,payload,workers] [--rounds 3] [--page]

`make bench-grow` runs all of it.

`stub` (or one piece of it: stub.keys) is grow.c: the bridge's own code on one thread, with a counter in the place of each socket, up to
1 000 000 connections or channels. The other parts start the daemon, with the memory bus, and real sockets
on loopback (sink.c): as many as a process may have files, on one channel and on up to ten each; payloads
from 10 bytes to 1 MiB; one to four workers. Processor time is the daemon's, user and system. Figures
are medians of so many rounds; one during which the host of a virtual machine took more than a hundredth of
the processor time is measured again, twice at most, and does not count where there is another.

Figures go into build/bench/growth.json, part by part; with --page the tables of docs/growth.md are written
and docs/growth.svg is drawn (which needs matplotlib). Loopback only; stops what it starts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "build" / "bench"
RESULTS = TOOLS / "growth.json"
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
sys.path.insert(0, str(ROOT / "tests" / "bench"))

from ports import free_port  # noqa: E402
from rig import STOLEN, read_line, stolen, stolen_since, tool  # noqa: E402

MOST = 18400  # sockets: of 20 000 files that a process may have, the daemon keeps some for answers
TENS = [1000, 3000, 10000, 30000, 100000, 300000, 1000000]
STUB: dict[str, list[int]] = {
    "sockets": TENS,
    "keys": TENS,
    "topics": TENS,
    "payload": [10, 100, 1000, 10000, 100000, 1 << 20],
    "queue": [1000, 30000, 1000000],
    "map": TENS,
    "timers": TENS,
}
SECONDS = 3.0
BOUNDS = {
    **dict.fromkeys(["handshakes_per_second", "frames_per_second", "bytes_per_second"], 0),
    **dict.fromkeys(["publishes_per_second", "subscribes_per_second"], 0),
    "half_open": 20000,
    "handshake_ms": 60000,
    "ping_ms": 0,
    "message_bytes": 2 << 20,
    "queue_bytes": 256 << 20,
    "inbox_bytes": 1 << 30,
}


# ---- the daemon and its clients ----------------------------------------------------------------------


class Bridge:
    def __init__(self, workers: int = 1) -> None:
        self.port = free_port()
        self.folder = tempfile.TemporaryDirectory(prefix="wsbus-grow-")
        config = {
            "listen": f"127.0.0.1:{self.port}",
            "workers": workers,
            "buses": {"m": {"type": "memory", "history": 100, "topics": 1000000}},
            "channels": [{"match": "b.*", "bus": "m"}],
            "limits": BOUNDS,
        }
        file = Path(self.folder.name) / "wsbus.json"
        file.write_text(json.dumps(config))
        env = {k: v for k, v in os.environ.items() if not k.startswith("WSBUS_")}
        argv = [str(ROOT / "build" / "wsbus"), "-c", str(file)]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env
        )
        deadline = time.monotonic() + 10
        while self.process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise SystemExit("the daemon does not run")

    def cpu(self) -> float:
        """Seconds of processor time so far, of all threads."""
        nanoseconds = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            nanoseconds += int((task / "schedstat").read_text().split()[0])
        return nanoseconds / 1e9

    def memory(self) -> int:
        """Bytes that the process holds."""
        text = Path(f"/proc/{self.process.pid}/statm").read_text()
        return int(text.split()[1]) * os.sysconf("SC_PAGESIZE")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()


class Crowd:
    """The sockets; see sink.c."""

    def __init__(self, port: int, sockets: int, each: int, channel: str) -> None:
        frame = json.dumps({"type": "subscribe", "id": 1, "channel": channel})
        argv = [tool("sink"), str(port), str(sockets), str(each), frame, "hold"]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.ask("into -1")  # answered when all are connected

    def ask(self, line: str) -> dict[str, Any]:
        inlet, outlet = self.process.stdin, self.process.stdout
        assert inlet and outlet
        inlet.write(line + "\n")
        inlet.flush()
        answer = read_line(outlet, 60)
        if not answer:
            raise SystemExit(f"sink: {line}: not in time")
        return dict(json.loads(answer))

    def messages(self) -> int:
        return int(self.ask("report")["message"])

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class Publisher:
    """One connection that publishes at its times, or as soon as it can."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        head = (
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: wsbus.v1\r\n\r\n"
        )
        self.sock.sendall(head.encode())
        self.sock.recv(65536)

    @staticmethod
    def frame(channel: str, size: int) -> bytes:
        text = json.dumps({"type": "publish", "channel": channel, "data": "x" * (size - 2)}).encode()
        # A mask of zeros; the length in 8 bytes only where it has to be.
        if len(text) < 126:
            head = struct.pack("!BB", 0x81, 0x80 | len(text))
        elif len(text) < 65536:
            head = struct.pack("!BBH", 0x81, 0x80 | 126, len(text))
        else:
            head = struct.pack("!BBQ", 0x81, 0x80 | 127, len(text))
        return head + b"\0\0\0\0" + text

    def publish(self, channels: list[str], size: int, rate: float, seconds: float) -> int:
        """In at most 200 writes a second. Returns how many."""
        frames = [self.frame(channel, size) for channel in channels]
        step = max(1, int(rate / 200))
        count = max(step, int(rate * seconds) // step * step)
        began = time.monotonic()
        for i in range(0, count, step):
            self.sock.sendall(b"".join(frames[(i + k) % len(frames)] for k in range(step)))
            pause = began + (i + step) / rate - time.monotonic()
            if pause > 0:
                time.sleep(pause)
        return count

    def close(self) -> None:
        self.sock.close()


def measure(sockets: int, each: int, size: int, rate: float, workers: int = 1) -> dict[str, Any]:
    """`rate` messages a second, to the channels in turn; each == 0: one channel for all."""
    print(f"{sockets} sockets, {each} channels each, {size} bytes, {workers} workers", file=sys.stderr)
    with contextlib.ExitStack() as after:
        bridge = Bridge(workers)
        after.callback(bridge.stop)
        empty, started = bridge.memory(), bridge.cpu()
        crowd = Crowd(bridge.port, sockets, each or 1, "b.#" if each else "b.0")
        after.callback(crowd.close)
        connected, connecting = bridge.memory(), bridge.cpu() - started
        crowd.ask("go")
        crowd.ask(f"wait subscribed {sockets * (each or 1)}")
        subscribed, subscribing = bridge.memory(), bridge.cpu() - started - connecting
        publisher = Publisher(bridge.port)
        channels = [f"b.{n}" for n in range(sockets * each)] if each else ["b.0"]
        publisher.publish(channels, size, rate, 0.5)
        time.sleep(0.3)
        before, began = crowd.messages(), bridge.cpu()
        count = publisher.publish(channels[::-1], size, rate, SECONDS)
        expected = before + count * (1 if each else sockets)
        crowd.ask(f"wait message {expected}")
        took = bridge.cpu() - began
        publisher.close()
    return {
        "sockets": sockets,
        "channels": sockets * each or 1,
        "size": size,
        "workers": workers,
        "deliver_us": took * 1e6 / (expected - before),
        "connect_us": connecting * 1e6 / sockets,
        "subscribe_us": subscribing * 1e6 / (sockets * (each or 1)),
        "socket_bytes": (connected - empty) / sockets,
        "subscription_bytes": (subscribed - connected) / (sockets * (each or 1)),
    }


def rounds(
    once: Callable[..., dict[str, Any]], cases: Sequence[tuple[Any, ...]], count: int
) -> list[dict[str, Any]]:
    """Of each case the medians, in turns: what drifts on a machine weighs on all alike."""
    found: list[list[dict[str, Any]]] = [[] for _ in cases]
    for _ in range(count):
        for case, records in zip(cases, found, strict=True):
            for _ in range(3):
                then = stolen()
                records.append(once(*case) | {"stolen": stolen_since(then)})
                if records[-1]["stolen"] < STOLEN:
                    break
    rows = []
    for records in found:
        counting = [r for r in records if r["stolen"] < STOLEN] or records
        row: dict[str, Any] = {name: statistics.median(r[name] for r in counting) for name in records[0]}
        rows.append(row | {"measured": len(records), "counting": len(counting)})
    return rows


# ---- parts -------------------------------------------------------------------------------------------


def stub_once(kind: str, size: int) -> dict[str, Any]:
    print(f"stub: {kind} {size}", file=sys.stderr)
    done = subprocess.run(
        [str(TOOLS / "grow"), kind, str(size)], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return {"n": size, **json.loads(done.stdout)}


def stub(kinds: list[str], count: int) -> dict[str, Any]:
    return {kind: rounds(stub_once, [(kind, size) for size in STUB[kind]], count) for kind in kinds}


# Sockets, channels of each (0: one for all), bytes, messages a second, workers.
REAL: dict[str, list[tuple[Any, ...]]] = {
    "sockets": [(n, 0, 100, 100000 / n) for n in (1000, 3000, 10000, MOST)],
    "channels": [
        *[(n, 1, 100, 10000) for n in (1000, 10000)],
        *[(MOST, each, 100, 10000) for each in (1, 3, 10)],
    ],
    # At most 200 MB a second.
    "payload": [(200, 0, n, min(100, 1e6 / n)) for n in STUB["payload"]],
    "workers": [(10000, 0, 100, 10, workers) for workers in (1, 2, 3, 4)],
}


# ---- telling ------------------------------------------------------------------------------------------


def grouped(n: float, digits: int = 0) -> str:
    return f"{n:,.{digits}f}".replace(",", " ")


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---:"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


# Columns of a stub's table: name, figure, digits.
COLUMNS = {
    "sockets": [
        ("connect ns", "open_ns"), ("subscribe ns", "subscribe_ns"), ("a delivery ns", "deliver_ns"),
        ("8 at once, each ns", "burst_ns"), ("a ping ns", "ping_ns"), ("close ns", "gone_ns"),
        ("a session bytes", "open_bytes"), ("a subscription bytes", "subscribe_bytes"),
    ],
    "keys": [
        ("subscribe ns", "subscribe_ns"), ("publish and deliver ns", "deliver_ns"),
        ("close ns", "gone_ns"), ("a subscription bytes", "subscribe_bytes"),
    ],
    "topics": [
        ("subscribe ns", "subscribe_ns"), ("publish and deliver ns", "deliver_ns"),
        ("close ns", "gone_ns"), ("a subscription bytes", "subscribe_bytes"),
    ],
    "payload": [("publish ns", "publish_ns"), ("a delivery ns", "deliver_ns")],
    "queue": [("to queue ns", "wait_ns"), ("to write ns", "take_ns"), ("bytes", "wait_bytes")],
    "map": [("insert ns", "insert_ns"), ("find ns", "find_ns"), ("remove ns", "remove_ns")],
    "timers": [("set ns", "set_ns"), ("move ns", "move_ns"), ("fire ns", "fire_ns")],
}  # fmt: skip
LONGEST = {
    "sockets": ["open", "subscribe", "deliver", "burst", "ping", "gone"],
    "keys": ["subscribe", "deliver", "position", "gone"],
    "topics": ["subscribe", "deliver", "drained", "gone"],
    "map": ["insert"],
    "timers": ["fire"],
}


TITLES = {
    "sockets": "By stub: connections on one channel",
    "keys": "By stub: channels that are keys of one topic, 100 on each connection",
    "topics": "By stub: channels with a topic each, 100 on each connection",
    "payload": "By stub: payload, 1 000 connections on one channel",
    "queue": "By stub: a connection that takes nothing while messages come",
    "map": "By stub: one table (`base/map.h`)",
    "timers": "By stub: one timer wheel (`base/timers.h`)",
}
REAL_TITLES = {
    "sockets": "Real: connections on one channel, 100 000 deliveries a second",
    "channels": "Real: a topic for each channel, 10 000 messages a second",
    "payload": "Real: payload, 200 connections on one channel",
    "workers": "Real: workers, 10 000 connections on one channel, 100 000 deliveries a second",
}


def tell_stub(kind: str, rows: list[dict[str, Any]]) -> str:
    columns = COLUMNS[kind]
    text = f"\n### {TITLES[kind]}\n\n" + table(
        [kind] + [name for name, _ in columns],
        [[grouped(row["n"])] + [grouped(row[f]) for _, f in columns] for row in rows],
    )
    if longest := LONGEST.get(kind):
        text += "\n" + table(
            [kind] + [f"{what}: longest ms" for what in longest],
            [
                [grouped(row["n"])]
                + [grouped(row[f"{what}_longest_us"] / 1000, 2) for what in longest]
                for row in rows
            ],
        )
    return text


def tell_real(part: str, rows: list[dict[str, Any]]) -> str:
    head = ["sockets", "channels", "payload", "workers", "a delivery us", "connect us"]
    head += ["subscribe us", "a socket bytes", "a subscription bytes"]
    return f"\n### {REAL_TITLES[part]}\n\n" + table(
        head,
        [
            [grouped(r[n]) for n in ("sockets", "channels", "size", "workers")]
            + [grouped(r[n], 1) for n in ("deliver_us", "connect_us", "subscribe_us")]
            + [grouped(r[n]) for n in ("socket_bytes", "subscription_bytes")]
            for r in rows
        ],
    )


def tell_when(results: dict[str, Any]) -> str:
    """Which part is of when, and of which tree; what did not count."""
    parts: dict[str, list[str]] = {}
    for part, when in results.get("when", {}).items():
        parts.setdefault(when, []).append(part)
    told = "; ".join(f"{', '.join(names)}: {when}" for when, names in parts.items())
    parts_ = [*(results.get(part, []) for part in REAL), *results.get("stub", {}).values()]
    rows = [r for part in parts_ for r in part if "measured" in r]
    measured, counting = (sum(r[name] for r in rows) for name in ("measured", "counting"))
    text = f"\n{told[:1].upper()}{told[1:]}.\n" if told else ""
    if measured:
        text += (
            "Medians of rounds in turns: "
            f"of {measured} measurements {measured - counting}, during which the host of the virtual machine took"
            " more than a hundredth of the processor time, do not count.\n"
        )
    return text


def tell(results: dict[str, Any]) -> str:
    stub_ = results.get("stub", {})
    text = tell_when(results)
    text += "".join(tell_real(part, results[part]) for part in REAL_TITLES if part in results)
    return text + "".join(tell_stub(kind, stub_[kind]) for kind in TITLES if kind in stub_)


def write_page(results: dict[str, Any]) -> None:
    page = ROOT / "docs" / "growth.md"
    begin, end = "<!-- figures: written by tests/bench/grow.py -->\n", "<!-- end of figures -->"
    before, _, rest = page.read_text().partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(before + begin + tell(results) + "\n" + end + after)
    draw(results, ROOT / "docs" / "growth.svg")


def draw(results: dict[str, Any], file: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    # Letters stay letters, and the same figures give the same file.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "wsbus", "font.size": 9})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(10, 7.5), layout="constrained")
    stub_ = results["stub"]

    def line(axis: Any, kind: str, name: str, label: str, scale: float = 1) -> None:
        rows = stub_[kind]
        axis.plot([r["n"] for r in rows], [r[name] / scale for r in rows], "o-", ms=3, label=label)

    line(axes[0][0], "sockets", "deliver_ns", "delivery, one channel", 1000)
    line(axes[0][0], "keys", "deliver_ns", "publish and delivery, a key each", 1000)
    line(axes[0][0], "topics", "deliver_ns", "publish and delivery, a topic each", 1000)
    for part, label in (("sockets", "real sockets, one channel"), ("channels", "real, a topic each")):
        rows = results[part]
        n = "sockets" if part == "sockets" else "channels"
        axes[0][0].plot([r[n] for r in rows], [r["deliver_us"] for r in rows], "s--", ms=4, label=label)
    axes[0][0].set(title="Processor time of a delivery", ylabel="microseconds")
    line(axes[0][1], "sockets", "open_bytes", "a session")
    line(axes[0][1], "sockets", "subscribe_bytes", "a subscription, one channel")
    line(axes[0][1], "keys", "subscribe_bytes", "a subscription, a key each")
    line(axes[0][1], "topics", "subscribe_bytes", "a subscription, a topic each")
    rows = results["sockets"]
    axes[0][1].plot(
        [r["sockets"] for r in rows], [r["socket_bytes"] for r in rows], "s--", ms=4,
        label="a real connection",
    )  # fmt: skip
    axes[0][1].set(title="Memory of one", ylabel="bytes")
    line(axes[1][0], "sockets", "subscribe_longest_us", "100 subscribes, one channel", 1000)
    line(axes[1][0], "topics", "subscribe_longest_us", "100 subscribes, a topic each", 1000)
    line(axes[1][0], "sockets", "deliver_longest_us", "one message to all", 1000)
    line(axes[1][0], "sockets", "ping_longest_us", "pings", 1000)
    line(axes[1][0], "keys", "position_longest_us", "position, a key each", 1000)
    axes[1][0].set(title="Longest that a loop is kept in one go", ylabel="milliseconds")
    for axis in (axes[0][0], axes[0][1], axes[1][0]):
        axis.set(xlabel="connections or channels", xscale="log", yscale="log")
    axes[0][1].set(yscale="linear", ylim=(0, None))
    line(axes[1][1], "payload", "publish_ns", "publish", 1000)
    line(axes[1][1], "payload", "deliver_ns", "delivery to a stub, with its share of the publish", 1000)
    rows = results["payload"]
    axes[1][1].plot(
        [r["size"] for r in rows], [r["deliver_us"] for r in rows], "s--", ms=4,
        label="delivery to a real socket",
    )  # fmt: skip
    axes[1][1].set(
        title="Processor time by payload", xlabel="bytes", ylabel="microseconds", xscale="log", yscale="log"
    )
    for axis in axes.flat:
        axis.grid(True, which="major", alpha=0.3)
        axis.legend(fontsize=7)
    figure.savefig(file, metadata={"Date": None})


def tree() -> str:
    argv = ["git", "describe", "--always", "--dirty"]
    told = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    return told.stdout.strip()


def machine() -> dict[str, Any]:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    return {"processor": model, "cores": os.cpu_count(), "kernel": platform.release()}


def main() -> int:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(["stub", *REAL]))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--page", action="store_true")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for part in filter(None, options.only.split(",")):
        name, _, kind = part.partition(".")
        if name == "stub":
            kinds = [kind] if kind else list(STUB)
            results.setdefault("stub", {}).update(stub(kinds, options.rounds))
            done = [f"stub {k}" for k in kinds]
        else:
            results[part] = rounds(measure, REAL[part], options.rounds)
            done = [f"real {part}"]
        results["machine"] = machine()
        now = f"{time.strftime('%Y-%m-%d')}, wsbus {tree()}"
        results.setdefault("when", {}).update(dict.fromkeys(done, now))
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(tell(results))
    if options.page:
        write_page(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
