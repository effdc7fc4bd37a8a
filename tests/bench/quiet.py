#!/usr/bin/env python3
"""How long a quiet channel waits behind a busy one: 10 000 sockets on one channel, and one on another.

    tests/bench/quiet.py [--rates 0,10,50,100,200] [--seconds 5] [--servers wsbus-redis,floor-redis]

The busy channel gets so many messages a second; RATE 0 is without it. Meanwhile a message goes to the
quiet channel about every 25 ms, at random, and its age is taken when it arrives: from before it is
published until it has been read. Server on one core, everything else on the other (fanout.py); the
socket of the quiet channel and Redis go before all else there (SCHED_FIFO, if that is allowed), so that
the figures are the server's as far as they can be. Half seconds in which the host took more than a
hundredth of the processors' time do not count.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import select
import socket
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import fanout  # noqa: E402
from rig import PATIENCE, STOLEN, stolen, stolen_since  # noqa: E402
from servers import LOAD_CORE, SERVERS, Server, Setup  # noqa: E402
from workloads import Load, Shape, read_line, spawn  # noqa: E402

SOCKETS = 10000
EVERY = 0.025
WARM = 1.5
WINDOW = 0.5


class Quiet:
    """One subscriber of channel 1, and its publisher."""

    def __init__(self, server: Server) -> None:
        self.by_redis = server.feed == "redis"
        self.inlet = self.upgrade(server.port, "/sub/1/1/2" if server.dialect == "floor" else "/ws")
        if server.dialect == "wsbus":
            self.inlet.sendall(frame('{"type":"subscribe","id":0,"channel":"b.00001"}'))
            text = b""
            while b'"subscribed"' not in text:
                text += self.inlet.recv(65536)
        if self.by_redis:
            self.outlet = socket.create_connection(("127.0.0.1", server.redis))
        else:
            self.outlet = self.upgrade(server.port, "/ws")
        self.outlet.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = 0

    def upgrade(self, port: int, path: str) -> socket.socket:
        s = socket.create_connection(("127.0.0.1", port))
        s.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += s.recv(65536)
        return s

    def publish(self, text: str) -> None:
        if self.by_redis:
            body = f"*3\r\n$7\r\nPUBLISH\r\n$7\r\nb.00001\r\n${len(text)}\r\n{text}\r\n"
            self.outlet.sendall(body.encode())
        else:
            self.outlet.sendall(frame('{"type":"publish","channel":"b.00001","data":' + text + "}"))

    def age(self) -> float:
        """Milliseconds that one message takes."""
        self.number += 1
        mark = f'"quiet-{self.number}"'
        began = time.monotonic()
        self.publish(mark)
        text = b""
        while mark.encode() not in text:
            if not select.select([self.inlet], [], [], 60)[0]:
                raise SystemExit("a message of the quiet channel has not come")
            text += self.inlet.recv(65536)
        took = (time.monotonic() - began) * 1000
        while select.select([self.outlet], [], [], 0)[0]:
            self.outlet.recv(65536)
        return took


def frame(text: str) -> bytes:
    n = len(text)
    size = bytes([0x80 | n]) if n < 126 else bytes([0x80 | 126]) + n.to_bytes(2, "big")
    return b"\x81" + size + bytes(4) + text.encode()


def first(pid: int) -> bool:
    """Whatever else runs on its core; of what it starts nothing has that."""
    try:
        os.sched_setscheduler(pid, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except PermissionError:
        return False
    return True


def left_alone(quiet: Quiet, seconds: float) -> list[float]:
    """The ages of so many seconds that the host left to the machine, or of what there was of these."""
    ages: list[float] = []
    end, counted = time.monotonic() + PATIENCE * seconds, 0.0
    while counted < seconds and time.monotonic() < end:
        then, began, some = stolen(), time.monotonic(), []
        while time.monotonic() < began + WINDOW:
            some.append(quiet.age())
            time.sleep(random.uniform(0, 2 * EVERY))
        if stolen_since(then) < STOLEN:
            ages += some
            counted += WINDOW
    return ages


def measure(kind: type[Server], rate: float, seconds: float) -> str:
    server = kind(Setup())
    load = feed = None
    try:
        for aid in server.aids.processes:
            if aid is not server.process:
                first(aid.pid)
        load = Load(server, Shape(SOCKETS, 1, 1, 0))
        load.ask(f"wait {SOCKETS}")
        quiet = Quiet(server)
        server.await_channels(2)
        if rate:
            feed = spawn("feed", *server.feeding, f"rate={rate}", f"seconds={PATIENCE * seconds + 4}")
            read_line(feed, 30, "feed")
        time.sleep(WARM)
        before = load.ask("clear")["messages"]
        used, began = server.cpu(), time.monotonic()
        ages = left_alone(quiet, seconds)
        used, lasted = server.cpu() - used, time.monotonic() - began
        busy = load.ask("report")
        busy["messages"] -= before
    finally:
        for process in (feed, load and load.process):
            if process:
                process.kill()
                process.wait()
        server.stop()
    if not ages:
        return f"{rate:6g}/s  the host has taken processor time all along"
    ages.sort()
    p99 = ages[int(len(ages) * 0.99)]
    return (
        f"{rate:6g}/s  quiet ms: median {statistics.median(ages):6.2f}  p99 {p99:6.2f}"
        f"  most {ages[-1]:6.2f}  ({len(ages)});  busy: {busy['messages'] / lasted / 1e6:.2f} M/s,"
        f" {busy['messages'] / lasted / SOCKETS / rate if rate else 1:.0%}, p50 {busy['p50']:.0f} ms,"
        f" server {used / lasted:.0%} of its core, {busy['lost']} lost, {busy['told']} of them told"
    )


def main() -> int:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", default="0,10,50,100,200")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--servers", default="wsbus-redis")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    fanout.build()
    os.sched_setaffinity(0, {int(LOAD_CORE)})
    if not first(0):
        print("without SCHED_FIFO: what the generator does is in the ages")
    for name in options.servers.split(","):
        print(f"{name}: {SOCKETS} sockets on a busy channel, one on a quiet one")
        for rate in options.rates.split(","):
            line = measure(SERVERS[name], float(rate), options.seconds)
            print("  " + line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
