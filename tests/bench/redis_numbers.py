#!/usr/bin/env python3
"""The bridge on a real Redis, in numbers: each measured beside something plain, in the same run.

    tests/bench/redis_numbers.py [channels] [latency] [cost] [resume]      (default: all four)

channels  100 000 channels on 100 sockets subscribe, beside one plain connection that does the same
latency   20 000 messages a second on 1 000 channels to 1 000 sockets, one worker: age at the client,
          beside the age at a plain Redis subscriber
cost      processor time of the bus thread for each message, beside a plain hiredis subscriber
resume    1 000 clients resume 1 000 entries of a stream each while another stream is live: the ages of
          the live messages, from the XADD to the last socket, meanwhile and in between, over some rounds.
          What was under way within a tenth of a second of a time in which the host of a virtual machine
          took processor time is left out

Needs redis-server, a C compiler, libhiredis-dev and the `redis` package (build/venv has it). Loopback only, ends by itself,
starts and stops all it needs. Ages are taken at the client by the monotonic clock, in milliseconds.
The machine should be idle: the load average before each part is printed with it.
"""

from __future__ import annotations

import argparse
import json
import resource
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rig import (
    ROOT, WIDE, Round, Sink, Steal, be_prompt, load, one_crowd, read_line, say, share, stamped, tool,
)  # fmt: skip

sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from redis_server import Redis, bridge_config, until  # noqa: E402
from server import Server  # noqa: E402

FIRST = False


def command(*words: str | bytes) -> bytes:
    parts = [w if isinstance(w, bytes) else w.encode() for w in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


class Plain:
    """A connection to Redis that is not read but thrown away."""

    def __init__(self, server: Redis) -> None:
        self.sock = socket.create_connection(("127.0.0.1", server.port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, text: bytes) -> None:
        self.sock.sendall(text)
        while select.select([self.sock], [], [], 0)[0]:
            if not self.sock.recv(1 << 20):
                raise SystemExit("Redis has closed the connection")

    def finish(self) -> None:
        """All that was sent has been carried out."""
        self.sock.sendall(command("ECHO", "carried out"))
        seen = b""
        while b"carried out" not in seen:
            seen = seen[-100:] + self.sock.recv(1 << 20)


def pump(server: Redis, rate: float, seconds: float, make: Any) -> int:
    """make(i) is the i-th command; so many a second, in steps of a millisecond."""
    out = Plain(server)
    began, sent = time.monotonic(), 0
    total = int(rate * seconds)
    while sent < total:
        due = min(total, int((time.monotonic() - began) * rate))
        if due > sent:
            out.send(b"".join(make(i) for i in range(sent, due)))
            sent = due
        time.sleep(0.001)
    out.finish()
    return sent


# ---- the four


def channels() -> None:
    count, sockets = 100_000, 100
    before = load()
    server = Redis(client_output_buffer_limit="pubsub 0 0 0")
    program = server.client()
    plain = Plain(server)
    began = time.monotonic()
    plain.send(b"".join(command("SUBSCRIBE", f"raw.{i}") for i in range(count)))
    until(lambda: int(program.client_list(_type="pubsub")[0]["sub"]) == count, "", 60)
    reading = b""
    while b":%d\r\n" % count not in reading:
        reading = (reading + plain.sock.recv(1 << 20))[-2_000_000:]
    alone = time.monotonic() - began
    bridge = Server("bench-channels", bridge_config(server.url, workers=1, **WIDE))
    sink = Sink(
        bridge, sockets, count // sockets, {"type": "subscribe", "id": 1, "channel": "ps.#"}
    )
    try:
        through = sink.wait("subscribed", count)
        assert sum(n == 1 for _, n in program.pubsub_numsub("ps.0", f"ps.{count - 1}")) == 2
        began = time.monotonic()
        program.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        sink.wait("gap", count)
        again = time.monotonic() - began
        say(f"channels: {count} on {sockets} sockets subscribed in {through:.2f} s; a plain connection "
            f"{alone:.2f} s; ratio {through / alone:.1f}; after a loss all have their gap in {again:.2f} s; "
            f"{bridge.rss() / count:.0f} bytes a channel; {before}")  # fmt: skip
    finally:
        sink.close()
        bridge.stop()
        server.close()


def plain_ages(server: Redis, count: int) -> subprocess.Popen[str]:
    """A plain subscriber in another process that dates what comes; prints its p99 at the end."""
    code = f"""
import socket, sys, time
s = socket.create_connection(("127.0.0.1", {server.port}))
names = ["ps.%d" % i for i in range({count})] + ["bench.end"]
s.sendall("".join("*2\\r\\n$9\\r\\nSUBSCRIBE\\r\\n$%d\\r\\n%s\\r\\n" % (len(n), n) for n in names).encode())
print("ready", flush=True)
ages, rest = [], b""
while b"bench.end\\r\\n$1\\r\\n1" not in rest[-200:]:
    rest += s.recv(1 << 18)
    now = time.monotonic_ns()
    *whole, rest = rest.split(b'{{"t":')
    rest = rest if len(whole) < 1 else b'{{"t":' + rest
    for piece in whole:
        stamp = piece.partition(b",")[0]
        if stamp.isdigit():
            ages.append(now - int(stamp))
ages.sort()
print(len(ages), ages[len(ages) // 2] / 1e6, ages[len(ages) * 99 // 100] / 1e6, flush=True)
"""
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def latency() -> None:
    sockets, rate, seconds = 1000, 20_000, 8.0
    before = load()
    server = Redis()
    bridge = Server("bench-latency", bridge_config(server.url, workers=1, **WIDE))
    sink = Sink(bridge, sockets, 1, {"type": "subscribe", "id": 1, "channel": "ps.#"})
    try:
        sink.wait("subscribed", sockets)

        def message(i: int) -> bytes:
            return command("PUBLISH", f"ps.{i % sockets}", stamped())

        pump(server, rate, 1.0, message)
        sink.wait("message", int(rate))
        sink.ask("clear")
        sent = pump(server, rate, seconds, message)
        sink.wait("message", int(rate) + sent)
        through = sink.report()
        # The same load once more, for a plain subscriber alone.
        sink.close()
        beside = plain_ages(server, sockets)
        assert beside.stdout
        read_line(beside.stdout, 20)
        pump(server, rate, seconds / 2, message)
        server.client().publish("bench.end", "1")
        _, p50, p99 = read_line(beside.stdout, 60).split()
        beside.wait(20)
        say(f"latency: {sent} messages at {rate} a second to {sockets} sockets, one worker: "
            f"p50 {through['p50']:.2f} ms, p99 {through['p99']:.2f} ms, max {through['max']:.1f} ms, gaps {through['gap']}; "
            f"a plain subscriber p50 {float(p50):.2f} ms, p99 {float(p99):.2f} ms; ratio of p99 {through['p99'] / float(p99):.1f}; {before}")  # fmt: skip
    finally:
        sink.close()
        bridge.stop()
        server.close()


def thread_time(server: Server, bus: str) -> int:
    """Processor time of the bus thread in ns."""
    for task in Path(f"/proc/{server.pid}/task").iterdir():
        if (task / "comm").read_text().strip() == f"bus {bus}":
            return int((task / "schedstat").read_text().split()[0])
    raise SystemExit("no bus thread")


def cost() -> None:
    sockets, rate, seconds, count = 10, 20_000, 8.0, 1000
    before = load()
    server = Redis()
    bridge = Server("bench-cost", bridge_config(server.url, workers=1, **WIDE))
    sink = Sink(
        bridge, sockets, count // sockets, {"type": "subscribe", "id": 1, "channel": "ps.#"}
    )
    reader = subprocess.Popen(
        [tool("redis_reader", "hiredis"), str(server.port), str(count), "ps."],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert reader.stdout
        sink.wait("subscribed", count)
        read_line(reader.stdout, 20)
        start = thread_time(bridge, "r")
        sent = pump(
            server, rate, seconds, lambda i: command("PUBLISH", f"ps.{i % count}", stamped())
        )
        sink.wait("message", sent)
        ours = (thread_time(bridge, "r") - start) / sent
        server.client().publish("ps.end", "1")
        answer = json.loads(read_line(reader.stdout, 20))
        plain = answer["processor_ns"] / answer["messages"]
        say(f"cost: {sent} messages at {rate} a second, 100 bytes: bus thread {ours / 1000:.2f} us a message, "
            f"plain hiredis subscriber {plain / 1000:.2f} us; ratio {ours / plain:.2f}; {before}")  # fmt: skip
    finally:
        reader.kill()
        reader.wait()
        sink.close()
        bridge.stop()
        server.close()


def resume() -> None:
    clients, entries, listeners, rate, seconds = 1000, 1000, 100, 500, 140
    before = load()
    server = Redis()
    pipe = server.client().pipeline(transaction=False)
    for i in range(entries + 1):
        pipe.xadd("st.past", {"data": b"x" * 100}, id=f"{i + 1}-0")
    pipe.execute()
    settings = bridge_config(server.url, workers=1, **{**WIDE, "replay": {"ring_messages": 100}})
    bridge = Server("bench-resume", settings)
    live = Sink(bridge, listeners, 1, {"type": "subscribe", "id": 1, "channel": "st.live"}, prompt=True)
    past = {"type": "subscribe", "id": 1, "channel": "st.past", "from": {"after": ["0/1-0"]}}
    rounds: list[Round] = []
    if FIRST:
        assert server.process
        be_prompt(bridge.pid, server.process.pid, rank=1)
    with tempfile.NamedTemporaryFile("r") as times:
        live.wait("subscribed", listeners)
        argv = [sys.executable, __file__, "--pump", str(server.port), str(rate), times.name]
        pumped = subprocess.Popen(argv)
        steal = Steal()
        try:
            live.wait("message", rate * listeners)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                rounds.append(one_crowd(bridge, live, past, (clients, entries)))
            time.sleep(1)
            came = live.ask("latest")["latest"]
            sent = [tuple(map(int, line.split())) for line in times if line.endswith("\n")]
        finally:
            steal.stop()
            pumped.kill()
            pumped.wait()
            live.close()
            bridge.stop()
            server.close()
    say(f"resume: {clients} clients resume {entries} messages each in {len(rounds)} rounds; a live stream of {rate} a second "
        f"to {listeners} sockets; one worker; {before}")  # fmt: skip
    found = [(then, came[n], (came[n] - then) / 1e6) for n, then in sent if n < len(came) and came[n]]
    tell_resume(rounds, *steal.sides(rounds, found))


def tell_resume(rounds: list[Round], calm: list[float], busy: list[float], left_out: int) -> None:
    took = sorted(r.took for r in rounds)
    say(f"  took {took[0]:.1f} to {took[-1]:.1f} s, median {statistics.median(took):.1f}; live messages: {len(calm)} in between, "
        f"{len(busy)} meanwhile, {left_out} left out, as the host took processor time within a tenth of a second")  # fmt: skip
    if not calm or not busy:
        return
    p50, p99 = ([share(side, part) for side in (calm, busy)] for part in (0.5, 0.99))
    say(f"  from the XADD to the last socket: p50 {p50[0]:.2f} ms in between, {p50[1]:.2f} ms meanwhile; "
        f"p99 {p99[0]:.2f} and {p99[1]:.2f} ms, ratio {p99[1] / p99[0]:.2f}")  # fmt: skip


def pump_entries(port: int, rate: float, file: str) -> None:
    """In a process of its own, until it is ended: numbered entries for the stream st.live, and a line of
    the file for each, with its number and when it was made."""
    be_prompt()
    target = Redis(start=False)
    target.port = port
    with open(file, "w", encoding="ascii") as lines:

        def make(number: int) -> bytes:
            lines.write(f"{number} {time.monotonic_ns()}\n")
            if number % 250 == 0:
                lines.flush()
            return command("XADD", "st.live", "*", "data", stamped(number=number))

        pump(target, rate, 3600, make)


PARTS = {"channels": channels, "latency": latency, "cost": cost, "resume": resume}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("part", nargs="*", help=", ".join(PARTS))
    parser.add_argument("--first", action="store_true", help="the bridge and Redis run before all else (resume)")  # fmt: skip
    parser.add_argument("--pump", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    globals()["FIRST"] = options.first
    if options.pump:
        port, rate, file = options.pump
        return pump_entries(int(port), float(rate), file)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    for name in options.part or PARTS:
        PARTS[name]()
    return None


if __name__ == "__main__":
    main()
