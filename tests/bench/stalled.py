#!/usr/bin/env python3
"""What clients that read nothing cost those who read: the age of messages when a hundred healthy clients
have them, the processor time and the memory of the daemon, before many stall and while they do. The
last section of docs/slow-clients.md.

    tests/bench/stalled.py [--readers 10000] [--seconds 10] [--windows 5] [--count 25] [--memory MIB]
        [--workers 1] [--policy drop|disconnect|both]

Ten channels get a hundred messages a second each, of 250 bytes; the healthy follow one of them, each of
those who stall one of the ten. What happens from their beginning on is shown in windows. The ratio at the
end is of the time after these and of that before they came and after they have gone, each with half of or
all of COUNT seconds in which the host took no more than a hundredth of the processors' time: a hundredth
of the messages of one window is eight of them. Needs a C compiler for the clients that measure, and the
Python of the end-to-end tests.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import threading
import time
from typing import Any

from rig import Sink, be_prompt, load, say, seconds_left  # puts tests/e2e into the path

from client import Client  # isort: skip
from raw import stalled_reader, wait_for  # isort: skip
from server import Server, config  # isort: skip
from test_metrics import scrape  # isort: skip

HEALTHY, CHANNELS, RATE = 100, 10, 100


class Feed(threading.Thread):
    """Publishes messages that carry the time, at a steady rate."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.client, self.over, self.sent = Client(server.url), threading.Event(), 0

    def run(self) -> None:
        be_prompt(threading.get_native_id())
        pad, began = "y" * 200, time.monotonic()
        while not self.over.wait(max(0.0, began + self.sent / RATE - time.monotonic())):
            for i in range(CHANNELS):
                load = f'{{"t":{time.monotonic_ns()},"x":"{pad}"}}'
                self.client.send(f'{{"type":"publish","channel":"plain.{i}","data":{load}}}')
            self.sent += 1

    def end(self) -> None:
        self.over.set()
        self.join()
        self.client.close()


def cpu(server: Server) -> float:
    """Seconds of the processor that it has used."""
    with open(f"/proc/{server.pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Span:
    """The processor time of a while, and one line about it."""

    def __init__(self, server: Server) -> None:
        self.server, self.began, self.work = server, time.monotonic(), cpu(server)

    def tell(self, name: str, report: dict[str, Any]) -> None:
        sessions = scrape(self.server)["wsbus_sessions", ""]
        share = (cpu(self.server) - self.work) / (time.monotonic() - self.began)
        say(
            f"| {name} | {sessions:.0f} | {report['p50']:.2f} ms | {report['p99']:.2f} ms "
            f"| {share:.1%} | {self.server.rss() >> 20} MiB |"
        )


def window(server: Server, sink: Sink, name: str, seconds: float) -> None:
    span = Span(server)
    sink.ask("drop")
    sink.ask("into 2")
    time.sleep(seconds)
    sink.ask("into -1")
    span.tell(name, sink.report(2))
    sink.ask("drop")


def count(server: Server, sink: Sink, name: str, into: int, seconds: int) -> None:
    span = Span(server)
    got = seconds_left(sink, into, seconds)
    span.tell(f"{name}: {got} s that count", sink.report(into))


def run(options: argparse.Namespace) -> None:
    limits = {"ping_ms": 0, "connections": options.readers + 500}
    if options.memory:
        limits["memory_bytes"] = options.memory << 20
    server = Server("bench-stalled", config(workers=options.workers, limits=limits, admin="127.0.0.1:0"))
    policies = ["drop", "disconnect"] if options.policy == "both" else [options.policy]
    stalled: list[socket.socket] = []
    feed = Feed(server)
    sink = Sink(server, HEALTHY, 1, {"type": "subscribe", "id": 1, "channel": "plain.0"}, prompt=True)
    try:
        sink.ask(f"wait subscribed {HEALTHY}")
        sink.ask("into -1")
        feed.start()
        time.sleep(2)
        count(server, sink, "nobody stalls", 0, options.count // 2)
        for i in range(options.readers):
            policy = policies[i // CHANNELS % len(policies)]
            stalled.append(stalled_reader(server.port, f"plain.{i % CHANNELS}", policy))
        for i in range(options.windows):
            window(server, sink, f"they stall, {i * options.seconds:.0f} s", options.seconds)
        count(server, sink, "they stall", 1, options.count)
        for sock in stalled:
            sock.close()
        wait_for(lambda: scrape(server)["wsbus_sessions", ""] == HEALTHY + 1, 120)
        count(server, sink, "nobody stalls any more", 0, options.count // 2)
        before, during = sink.report(0), sink.report(1)
        say(f"\np99 {during['p99'] / before['p99']:.2f} times, half {during['p50'] / before['p50']:.2f}")
        feed.end()
        sink.ask(f"wait message {feed.sent * HEALTHY}")  # nobody who reads has lost anything
    finally:
        sink.close()
        for sock in stalled:
            sock.close()
        server.kill()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--readers", type=int, default=10_000, help="that stall")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--windows", type=int, default=5, help="of these while they stall")
    parser.add_argument("--count", type=int, default=25, help="seconds that count")
    parser.add_argument("--memory", type=int, default=0, help="limits.memory_bytes, MiB")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--policy", choices=["drop", "disconnect", "both"], default="both")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    say(f"{load()}\n")
    say("| | connections | half | p99 | processor | resident |")
    say("| --- | --- | --- | --- | --- | --- |")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
