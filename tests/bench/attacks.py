#!/usr/bin/env python3
"""What attacks cost the others: memory of the daemon, and how old messages are when healthy clients
have them, before and while one goes on. The table of docs/security.md.

    tests/bench/attacks.py [--seconds 12] [--clients 100] [--rate 500] [--workers 1] [--any] [ATTACK…]

The limits are the defaults. A hundred healthy clients follow one channel; the attacker (see
tests/e2e/attackers.py) comes from one address, by a PROXY header, and has what the others leave of the
processors: a real one has machines of its own. What is measured in windows of a second in which the
host took more than a hundredth of the processors' time does not count, without --any. Needs a C
compiler for the clients that measure, and the Python of the end-to-end tests.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import threading
import time
from typing import Any

from rig import ROOT, Sink, load, say, seconds_left

from attackers import ATTACKS  # isort: skip  # of tests/e2e, which rig has put into the path
from client import Client  # isort: skip
from server import Server  # isort: skip
from test_metrics import scrape  # isort: skip

BEFORE = 5  # seconds without an attack
FRAME = {"type": "subscribe", "id": 1, "channel": "plain.healthy"}
SCRIPT = str(ROOT / "tests" / "e2e" / "attackers.py")


def settings(workers: int) -> dict[str, Any]:
    return {
        "listen": ["127.0.0.1:0", {"address": "127.0.0.1:0", "proxy_protocol": True}],
        "trusted_proxies": ["127.0.0.1"],
        "admin": "127.0.0.1:0",
        "workers": workers,
        "buses": {"m": {"type": "memory"}},
        "channels": [{"match": "plain.**", "bus": "m"}],
        "compression": {"enabled": True},
        "limits": {"ping_ms": 0},  # the clients that measure do not answer pings
    }


class Feed(threading.Thread):
    """Publishes messages that carry the time, at a steady rate."""

    def __init__(self, server: Server, rate: int) -> None:
        super().__init__(daemon=True)
        self.client, self.rate, self.over = Client(server.url), rate, False

    def run(self) -> None:
        with contextlib.suppress(PermissionError):  # this thread alone, for the attacker is a child
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(2))
        due = time.monotonic()
        while not self.over:
            self.client.ws.send(
                '{"type":"publish","channel":"plain.healthy","data":{"t":%d}}' % time.monotonic_ns()
            )
            due += 1 / self.rate
            time.sleep(max(0.0, due - time.monotonic()))
        self.client.close()


class Watch(threading.Thread):
    """The most memory that the daemon has while this runs."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.server, self.most, self.over = server, 0, False

    def run(self) -> None:
        while not self.over:
            self.most = max(self.most, self.server.rss())
            time.sleep(0.02)

    def end(self) -> int:
        self.over = True
        self.join()
        return self.most


def limits_hit(before: dict[Any, float], after: dict[Any, float]) -> str:
    found = []
    for (name, labels), count in after.items():
        if name == "wsbus_limit_hits_total" and count > before[name, labels]:
            option = labels.partition("limits.")[2][:-1]
            found.append(f"{option} {count - before[name, labels]:.0f}")
    return ", ".join(found) or "-"


def ages(sink: Sink, name: str) -> str:
    before, during = sink.report(0), sink.report(1)
    return f"{before[name]:.2f} / {during[name]:.2f} ms"


def attack(name: str, options: argparse.Namespace) -> None:
    server = Server(f"bench-{name}", settings(options.workers))
    try:
        port = server.log().split("event=listening ")[2].split("address=")[1].split()[0]
        port = port.strip('"').rpartition(":")[2]
        with Client(server.url) as client:
            for _ in range(200):
                client.publish("plain.big", data="x" * 5000)
        sink = Sink(server, options.clients, 1, FRAME, prompt=True)
        sink.wait("subscribed", options.clients)
        feed = Feed(server, options.rate)
        sink.ask("into -1")
        feed.start()
        time.sleep(1)
        calm = [seconds_left(sink, 0, BEFORE, options.any)]
        memory, counts = server.rss(), scrape(server)
        watch = Watch(server)
        watch.start()
        attacker = subprocess.Popen(
            [sys.executable, SCRIPT, name, port, "3600", "198.51.100.1"], stdout=subprocess.DEVNULL
        )
        os.setpriority(os.PRIO_PROCESS, attacker.pid, 10)
        try:
            calm.append(seconds_left(sink, 1, options.seconds, options.any))
        finally:
            attacker.kill()
            attacker.wait()
        most, hit = watch.end(), limits_hit(counts, scrape(server))
        time.sleep(2)
        after = server.rss()
        feed.over = True
        feed.join()
        say(
            f"| {name} | {hit} | {memory >> 20} / {most >> 20} / {after >> 20} MB "
            f"| {ages(sink, 'p50')} | {ages(sink, 'p99')} | {calm[0]} / {calm[1]} |"
        )
        sink.close()
    finally:
        server.kill()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=12, help="of each attack that count")
    parser.add_argument("--any", action="store_true", help="all of them count")
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--rate", type=int, default=500, help="messages a second")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=", ".join(ATTACKS))
    options = parser.parse_args()
    say(f"{load()}\n")
    say(
        "| attack | limits that were hit | memory before / during / after "
        "| half before / during | p99 before / during | seconds that count |"
    )
    say("| --- | --- | --- | --- | --- | --- |")
    for name in options.attacks or ATTACKS:
        attack(name, options)


if __name__ == "__main__":
    main()
