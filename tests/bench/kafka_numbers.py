#!/usr/bin/env python3
"""The bridge on a real Kafka broker, in numbers: each measured beside something plain, in the same run.

    tests/bench/kafka_numbers.py [quiet] [fanout] [keys] [growth] [properties] [cluster] [resume]
                                                                             (default: all)

quiet     a topic with 20 messages a second: time from the producer's acknowledgement to the socket
fanout    100 messages a second to 1 000 sockets, one worker: processor time of a delivery, beside the bus
          in memory under the same load
keys      10 000 messages a second, each to one of 10 000 channels by key of one topic, on 1 000 sockets:
          the same. Kafka's producer sends each message by itself (linger.ms 0), what is due in one
          millisecond together, as the WebSocket that feeds the bus in memory has it (1), and as
          librdkafka does by itself (5)
growth    threads and memory with more topics, and with more clients
properties  what the settings of docs/kafka.md buy: of each the latency of a quiet topic, that of the first
          message of a topic that nobody followed yet, that of a publish, and the processor time of the idle bus
cluster   three brokers, three replicas: from the acknowledgement to the socket, and a publish
resume    1 000 clients resume 1 000 messages of a topic with three partitions each, at once, while
          another topic is live: the ages of the live messages meanwhile and in between, over some rounds,
          in all and in two parts, before and after the acknowledgement. What was under way within a tenth
          of a second of a time in which the host of a virtual machine took processor time is left out

Needs Java and what tests/kafka/broker says, a C compiler, librdkafka-dev and what
tests/e2e/requirements.txt names (build/venv has it). Loopback only, ends by itself, starts and stops all
it needs. The machine should be idle: the load average before each part is printed with it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Producer

from rig import (
    ROOT, WIDE, Round, Sink, Steal, be_prompt, load, one_crowd, say, share, stamped, tool,
)  # fmt: skip

sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from client import Client  # noqa: E402
from kafka_cluster import KafkaCluster  # noqa: E402
from kafka_server import Kafka, KafkaServer  # noqa: E402
from server import Server  # noqa: E402


FIRST = False
# So that the broker does not stand still for its own tidying while the ages of messages are measured: with
# the tests' small heap it does for 9 to 30 ms every second at 500 messages a second, which is their p99.
ROOMY = "-Xms1536m -Xmx1536m -Xmn1200m"


def settings(kafka: Kafka, **bus: Any) -> dict[str, Any]:
    """Channels of both kinds, by topic and by key; one worker, so that both have the same."""
    return {
        **WIDE,
        "listen": "127.0.0.1:0",
        "workers": 1,
        "buses": {
            "k": {"type": "kafka", "url": kafka.url, **bus},
            "m": {"type": "memory"},
        },
        "channels": [
            {"match": "k.{topic}", "bus": "k", "topic": "{topic}"},
            {"match": "k.{topic}.{key}", "bus": "k", "topic": "{topic}", "key": "{key}"},
            {"match": "m.{topic}", "bus": "m", "topic": "{topic}"},
            {"match": "m.{topic}.{key}", "bus": "m", "topic": "{topic}", "key": "{key}"},
        ],
    }


@contextmanager
def broker() -> Iterator[KafkaServer]:
    kafka = KafkaServer()
    try:
        kafka.start()
        yield kafka
    finally:
        kafka.stop()


@contextmanager
def bridge(name: str, config: dict[str, Any]) -> Iterator[Server]:
    server = Server(f"bench-{name}", config)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def sink(
    server: Server, connections: int, each: int, channel: str, prompt: bool = False
) -> Iterator[Sink]:
    """The clients, subscribed; a '#' in the channel is the number of the subscription."""
    frame = {"type": "subscribe", "id": 1, "channel": channel}
    clients = Sink(server, connections, each, frame, prompt=prompt)
    try:
        clients.wait("subscribed", connections * each)
        yield clients
    finally:
        clients.close()


def feed(*words: object) -> dict[str, Any]:
    """Runs source.c to its end."""
    argv = [tool("source", "rdkafka", "pthread"), *map(str, words)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout))


def threads(server: Server) -> dict[str, int]:
    """Processor time in ns by the name of the thread."""
    found: dict[str, int] = {}
    for task in Path(f"/proc/{server.pid}/task").iterdir():
        name = (task / "comm").read_text().strip()
        found[name] = found.get(name, 0) + int((task / "schedstat").read_text().split()[0])
    return found


def spent(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: after[name] - before.get(name, 0) for name in after}


# ---- quiet


def ages(kafka: Kafka, clients: Sink, topic: str, rate: int, count: int) -> list[float]:
    """From each acknowledgement to the socket, in ms; what is there before its producer knows is 0."""
    clients.ask("clear")
    before = clients.report()["message"]
    with tempfile.NamedTemporaryFile("r") as acks:
        feed("kafka", kafka.address, topic, 0, rate, count, 0, acks.name)
        acked = [int(line) for line in acks]
    clients.wait("message", before + count)
    came = clients.ask("arrivals")["arrivals"]
    assert len(came) == count and all(came), "a message is missing"
    return [max(0, a - b) / 1e6 for a, b in zip(came, acked, strict=True)]


def quiet() -> None:
    before = load()
    with broker() as kafka:
        kafka.create("quiet")
        with bridge("quiet", settings(kafka)) as server, sink(server, 1, 1, "k.quiet") as clients:
            ages(kafka, clients, "quiet", 20, 20)
            found = ages(kafka, clients, "quiet", 20, 1000)
    say(f"quiet: {len(found)} messages at 20 a second, from the acknowledgement to the socket: p50 "
        f"{share(found, 0.5):.2f} ms, p99 {share(found, 0.99):.2f} ms, max {max(found):.2f} ms; {before}")  # fmt: skip


# ---- what a delivery costs


class Cost:
    """Of some rounds under the same load."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.rounds: list[dict[str, float]] = []  # microseconds of a delivery by thread

    def add(self, times: dict[str, int], deliveries: int) -> None:
        self.rounds.append({name: ns / 1000 / deliveries for name, ns in times.items()})

    def median(self, *names: str) -> float:
        """Of the whole process, or of the threads of these names."""
        return statistics.median(
            sum(us for name, us in r.items() if not names or name in names) for r in self.rounds
        )

    def __str__(self) -> str:
        names = sorted({name for r in self.rounds for name in r})
        parts = ", ".join(f"{n} {m:.2f}" for n in names if (m := self.median(n)) > 0.005)
        return f"{self.what} {self.median():.2f} us ({parts})"


def delivery_costs(server: Server, clients: Sink, run: Callable[[], int], each: int) -> dict[str, int]:
    """Processor time by thread of one round, in which run() sends so many messages of `each` deliveries."""
    got = clients.report()["message"]
    start = threads(server)
    sent = run()
    clients.wait("message", got + sent * each)
    return spent(start, threads(server))


LINGERS = {"k0": 0, "k": 1, "k5": 5}


def compare(name: str, sockets: int, channels: int, rate: int, seconds: int, rounds: int) -> None:
    """Both buses, each in a daemon of its own, by turns under the same load."""
    before = load()
    count, keys = rate * seconds, channels if channels > 1 else 0
    each = sockets if channels == 1 else 1
    subscriptions = 1 if channels == 1 else channels // sockets
    costs = {side: Cost(f"Kafka, linger.ms {ms}") for side, ms in LINGERS.items()}
    costs["m"] = Cost("memory")
    reports: dict[str, list[dict[str, Any]]] = {side: [] for side in costs}
    acks: dict[str, list[float]] = {side: [] for side in LINGERS}
    with broker() as kafka:
        kafka.create("load")
        config = settings(kafka)
        with bridge(f"{name}-k", config) as of_kafka, bridge(f"{name}-m", config) as of_memory:
            suffix = ".#" if keys else ""
            with (
                sink(of_kafka, sockets, subscriptions, f"k.load{suffix}") as kafka_clients,
                sink(of_memory, sockets, subscriptions, f"m.load{suffix}") as memory_clients,
            ):

                def once(side: str) -> dict[str, int]:
                    ours = side == "m"
                    server, clients = (
                        (of_memory, memory_clients) if ours else (of_kafka, kafka_clients)
                    )
                    clients.ask("clear")

                    def run() -> int:
                        if ours:
                            done = feed("ws", server.port, f"m.load{suffix}", keys, rate, count)
                        else:
                            target = ("kafka", kafka.address, "load")
                            done = feed(*target, keys, rate, count, LINGERS[side])
                            acks[side].append(done["p99"])
                        return int(done["sent"])

                    took = delivery_costs(server, clients, run, each)
                    reports[side].append(clients.report())
                    return took

                for i in range(rounds + 1):
                    for side, cost in costs.items():
                        took = once(side)
                        if i > 0:  # caches, pages, connections
                            cost.add(took, count * each)
    say(f"{name}: {rate} messages a second to {sockets} sockets on {channels} channels, {rounds} rounds of {seconds} s; "
        f"a delivery costs: {'; '.join(map(str, costs.values()))}; {before}")  # fmt: skip
    for side, cost in costs.items():
        found = reports[side][1:]
        p50, p99 = (statistics.median(r[part] for r in found) for part in ("p50", "p99"))
        ratio = cost.median() / costs["m"].median()
        workers = cost.median("wsbus-0") / costs["m"].median("wsbus-0")
        acked = f", to the acknowledgement p99 {statistics.median(acks[side][1:]):.2f} ms" if side in acks else ""
        say(f"  {cost.what}: {ratio:.2f} of the bus in memory, the workers alone {workers:.2f}; from the producer to the "
            f"socket p50 {p50:.2f} ms, p99 {p99:.2f} ms{acked}")  # fmt: skip


def fanout() -> None:
    compare("fanout", sockets=1000, channels=1, rate=100, seconds=4, rounds=5)


def keys() -> None:
    compare("keys", sockets=1000, channels=10_000, rate=10_000, seconds=4, rounds=5)


# ---- growth


def settled(server: Server) -> tuple[int, int]:
    """Threads, and bytes of memory."""
    return len(list(Path(f"/proc/{server.pid}/task").iterdir())), server.rss()


def plain_memory(kafka: KafkaServer, topics: int) -> float:
    """Bytes a topic that librdkafka alone needs to follow it."""
    code = f"""
import time
from confluent_kafka import Consumer, TopicPartition
def memory():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
def read(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        consumer.poll(0.1)
consumer = Consumer({{"bootstrap.servers": "{kafka.address}", "group.id": "plain"}})
places = [TopicPartition(f"g{{i}}", 0, 0) for i in range({topics})]
consumer.assign(places[:1])
read(2)
before = memory()
consumer.incremental_assign(places[1:])
read(5)
print((memory() - before) / ({topics} - 1))
"""
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def growth() -> None:
    before, topics, clients = load(), 500, 2000
    with broker() as kafka:
        for start in range(0, topics, 50):
            kafka.create_many([f"g{i}" for i in range(start, start + 50)])
        with bridge("growth", settings(kafka)) as server:
            with sink(server, 1, 1, "k.g#"):
                first = settled(server)
                with sink(server, 1, topics, "k.g#"):
                    many_topics = settled(server)
                with sink(server, clients, 1, "k.g0"):
                    many_clients = settled(server)
        plain = plain_memory(kafka, topics)
    say(f"growth: one topic: {first[0]} threads, {first[1] >> 20} MB; {topics} topics: {many_topics[0]} threads, "
        f"{(many_topics[1] - first[1]) / (topics - 1) / 1024:.1f} KB for each (librdkafka alone {plain / 1024:.1f} KB); {clients} more clients on one: "
        f"{many_clients[0]} threads, {(many_clients[1] - many_topics[1]) / clients / 1024:.1f} KB for each; {before}")  # fmt: skip


# ---- properties


def first_messages(kafka: KafkaServer, server: Server, topics: list[str]) -> list[float]:
    """Of topics that nobody follows yet: from the acknowledgement to the socket, in ms."""
    found = []
    with Client(server.url) as client:
        for topic in topics:
            client.subscribe(f"k.{topic}")
            kafka.produce(topic, b"first")
            acked = time.monotonic()
            client.next("message")
            found.append((time.monotonic() - acked) * 1000)
    return found


def publishes(server: Server, count: int) -> list[float]:
    """From a publish to its `published`, in ms."""
    found = []
    with Client(server.url) as client:
        for _ in range(count + 20):
            begun = time.monotonic()
            client.publish("k.sent", text="x" * 100)
            found.append((time.monotonic() - begun) * 1000)
    return found[20:]


def idle(server: Server, seconds: float) -> float:
    """Processor time in percent of one core."""
    start = threads(server)
    time.sleep(seconds)
    return sum(spent(start, threads(server)).values()) / seconds / 1e7


def properties() -> None:
    tries: list[dict[str, Any]] = [
        {},
        {"fetch.wait.max.ms": 5},
        {"fetch.wait.max.ms": 100},
        {"fetch.wait.max.ms": 500},
        {"socket.nagle.disable": False},
        {"linger.ms": 5},
    ]
    with broker() as kafka:
        kafka.create_many(["quiet", "sent"])
        for number, given in enumerate(tries):
            before = load()
            topics = [f"first-{number}-{i}" for i in range(20)]
            kafka.create_many(topics)
            config = settings(kafka, properties=given)
            with bridge("properties", config) as server, sink(server, 1, 1, "k.quiet") as clients:
                ages(kafka, clients, "quiet", 20, 20)
                found = ages(kafka, clients, "quiet", 20, 400)
                first = first_messages(kafka, server, topics)
                sent = publishes(server, 400)
                busy = idle(server, 5)
            say(f"properties {json.dumps(given)}: quiet p50 {share(found, 0.5):.2f} ms, p99 {share(found, 0.99):.2f} ms; "
                f"first message median {statistics.median(first):.1f} ms, max {max(first):.1f} ms; "
                f"publish p50 {share(sent, 0.5):.2f} ms, p99 {share(sent, 0.99):.2f} ms; idle {busy:.2f} % of a core; {before}")  # fmt: skip


# ---- cluster


def cluster() -> None:
    before = load()
    kafka = KafkaCluster()
    try:
        kafka.start()
        kafka.create_many(["quiet", "sent"])
        with bridge("cluster", settings(kafka)) as server, sink(server, 1, 1, "k.quiet") as clients:
            ages(kafka, clients, "quiet", 20, 20)
            found = ages(kafka, clients, "quiet", 20, 400)
            sent = publishes(server, 400)
    finally:
        kafka.stop()
    say(f"cluster: three brokers, three replicas, {len(found)} messages at 20 a second, from the acknowledgement to "
        f"the socket: p50 {share(found, 0.5):.2f} ms, p99 {share(found, 0.99):.2f} ms; "
        f"publish p50 {share(sent, 0.5):.2f} ms, p99 {share(sent, 0.99):.2f} ms; {before}")  # fmt: skip


# ---- resume


class Trip(NamedTuple):
    """Of one live message, in ms: to the acknowledgement, from there to the last socket, and both."""

    acked: float
    delivered: float
    age: float


def trips(file: str, live: Sink) -> list[tuple[int, int, Trip]]:
    """When each message was produced, when the last socket had it, and its trip."""
    came = live.ask("latest")["latest"]
    found = []
    for line in Path(file).read_text().splitlines():
        words = line.split()
        if len(words) != 3 or int(words[0]) >= len(came):
            continue
        began, acked, end = int(words[1]), int(words[2]), came[int(words[0])]
        if end:
            found.append((began, end, Trip((acked - began) / 1e6, (end - acked) / 1e6, (end - began) / 1e6)))
    return found


def resume() -> None:
    clients, messages, partitions, listeners, rate, seconds = 1000, 1000, 3, 100, 500, 140
    before = load()
    os.environ.setdefault("KAFKA_HEAP", ROOMY)
    rounds: list[Round] = []
    with broker() as kafka, tempfile.NamedTemporaryFile("r") as acks:
        kafka.create("live")
        kafka.create("past", partitions)
        for i in range(messages):
            kafka.producer.produce("past", b"x" * 100, partition=i % partitions)
        assert kafka.producer.flush(20) == 0
        config = {**settings(kafka), "replay": {"ring_messages": 100}}
        with bridge("resume", config) as server, sink(server, listeners, 1, "k.live", prompt=True) as live:
            argv = [sys.executable, __file__, "--pump", kafka.address, "live", str(rate), acks.name]
            pumped = subprocess.Popen(argv)
            steal = Steal()
            try:
                live.wait("message", 4 * rate * listeners)
                if FIRST:
                    assert kafka.process
                    be_prompt(server.pid, kafka.process.pid, rank=1)
                cursor = [f"{p}/-1" for p in range(partitions)]
                past = {"type": "subscribe", "id": 1, "channel": "k.past", "from": {"after": cursor}}
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    rounds.append(one_crowd(server, live, past, (clients, messages)))
                time.sleep(2 * steal.STEP / 1e9 + 1)
                found = trips(acks.name, live)
            finally:
                steal.stop()
                pumped.kill()
                pumped.wait()
    say(f"resume: {clients} clients resume {messages} messages each in {len(rounds)} rounds; a live topic of {rate} a second "
        f"to {listeners} sockets; one worker; {before}")  # fmt: skip
    tell_resume(rounds, found, steal)


def tell_resume(rounds: list[Round], found: list[tuple[int, int, Trip]], steal: Steal) -> None:
    took = sorted(r.took for r in rounds)
    calm, busy, left_out = steal.sides(rounds, found)
    say(f"  took {took[0]:.1f} to {took[-1]:.1f} s, median {statistics.median(took):.1f}; live messages: {len(calm)} in between, {len(busy)} "
        f"meanwhile, {left_out} left out, as the host took processor time within a tenth of a second")  # fmt: skip
    if not calm or not busy:
        return
    for name, words in (
        ("age", "from the producer to the last socket"),
        ("acked", "  to the acknowledgement"),
        ("delivered", "  from there to the last socket"),
    ):
        sides = [[getattr(trip, name) for trip in side] for side in (calm, busy)]
        p50, p99 = ([share(side, part) for side in sides] for part in (0.5, 0.99))
        say(f"  {words}: p50 {p50[0]:.2f} ms in between, {p50[1]:.2f} ms meanwhile; p99 {p99[0]:.2f} and {p99[1]:.2f} ms, "
            f"ratio {p99[1] / max(0.01, p99[0]):.2f}")  # fmt: skip


def pump(address: str, topic: str, rate: float, acks: str) -> None:
    """In a process of its own, until it is ended: dated and numbered messages. A line of the file for
    each: its number, when it was produced, and when it was acknowledged."""
    producer = Producer({"bootstrap.servers": address, "linger.ms": 0, "log_level": 0})
    be_prompt()
    began, sent, written = time.monotonic(), 0, time.monotonic()
    with open(acks, "w", encoding="ascii") as lines:

        def produce(number: int) -> None:
            then = time.monotonic_ns()
            producer.produce(
                topic,
                stamped(number=number),
                on_delivery=lambda *_: lines.write(f"{number} {then} {time.monotonic_ns()}\n"),
            )

        while True:
            due = int((time.monotonic() - began) * rate)
            for number in range(sent, due):
                produce(number)
            sent = max(sent, due)
            producer.poll(0.001)
            if time.monotonic() - written > 0.5:
                lines.flush()
                written = time.monotonic()


PARTS = {
    "quiet": quiet,
    "fanout": fanout,
    "keys": keys,
    "growth": growth,
    "properties": properties,
    "cluster": cluster,
    "resume": resume,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("part", nargs="*", help=", ".join(PARTS))
    parser.add_argument("--first", action="store_true", help="the bridge and the broker run before all else (resume)")  # fmt: skip
    parser.add_argument("--pump", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    globals()["FIRST"] = options.first
    if options.pump:
        address, topic, rate, acks = options.pump
        pump(address, topic, float(rate), acks)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    for name in options.part or PARTS:
        PARTS[name]()


if __name__ == "__main__":
    main()
