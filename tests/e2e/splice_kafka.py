"""The splice test's topics and producers on Kafka, and what stands in the log afterwards.

Producers of librdkafka write bursts with every codec, some within transactions, a third of which are
aborted, and one topic is compacted all the while: offsets have holes of every kind. Of one topic the oldest
messages are deleted now and then, and one gets more partitions in the middle. An independent consumer
reads the log at the end.
"""

from __future__ import annotations

import bisect
import random
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
)

from splice_load import Channel, Cursor, Plan, Row, Truth, now_ms

KEYS = "abcdefgh"
ANSWER = 30.0
PARTITIONS = {"p0": 1, "p1": 3, "p2": 6, "k0": 4, "k1": 2, "k2": 12, "c0": 2, "d0": 3}
GROWS = {"p2": 9}
COMPACTED = "c0"
SHORTENED = "d0"
KEPT = 30  # messages of each partition of it, about
COMPACTION = {
    "cleanup.policy": "compact",
    "segment.ms": "300",
    "min.cleanable.dirty.ratio": "0.01",
    "max.compaction.lag.ms": "300",
    "delete.retention.ms": "100000",
}
# Deliveries, with which compaction and retention must have had something to do.
ENOUGH = 100_000
# Codec, and whether it writes in transactions.
WRITERS = [
    ("none", False),
    ("gzip", False),
    ("snappy", False),
    ("lz4", False),
    ("zstd", False),
    ("none", True),
    ("lz4", True),
]


@dataclass(frozen=True, kw_only=True)
class KafkaPlan(Plan):
    brokers: str
    prefix: str  # of the topics on the broker

    def topic(self, name: str) -> str:
        return f"{self.prefix}-{name}"


def channels() -> dict[str, Channel]:
    """Every channel with its topic and key."""
    found: dict[str, Channel] = {}
    for topic in PARTITIONS:
        found[f"whole.{topic}"] = (topic, None)
        if not topic.startswith("p"):
            found |= {f"keyed.{topic}.{key}": (topic, key) for key in KEYS}
    return found


def rules(prefix: str, bus: str) -> list[dict[str, Any]]:
    topic = f"{prefix}-{{topic}}"
    return [
        {"match": "whole.{topic}", "bus": bus, "topic": topic},
        {"match": "keyed.{topic}.{key}", "bus": bus, "topic": topic, "key": "{key}"},
    ]


def create(plan: KafkaPlan, admin: AdminClient) -> None:
    new = [
        NewTopic(plan.topic(name), count, 1, config=COMPACTION if name == COMPACTED else {})
        for name, count in PARTITIONS.items()
    ]
    for done in admin.create_topics(new).values():
        done.result(ANSWER)


def stop_compaction(plan: KafkaPlan, admin: AdminClient) -> None:
    """What is there now stays."""
    resource = ConfigResource(
        ConfigResource.Type.TOPIC,
        plan.topic(COMPACTED),
        incremental_configs=[
            ConfigEntry("cleanup.policy", "delete", incremental_operation=AlterConfigOpType.SET)
        ],
    )
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(ANSWER)
    deadline = time.monotonic() + ANSWER * plan.patience
    while True:
        asked = ConfigResource(ConfigResource.Type.TOPIC, plan.topic(COMPACTED))
        (answer,) = admin.describe_configs([asked]).values()
        if answer.result(ANSWER)["cleanup.policy"].value == "delete":
            return
        assert time.monotonic() < deadline, "compaction does not stop"


Place = tuple[str, int, int]  # topic, partition, offset
Entry = tuple[int, str | None, int]  # value, key, time


@dataclass
class Written:
    """What stands in the log, and since when at the latest."""

    entries: dict[Place, Entry] = field(default_factory=dict)
    since: dict[Place, int] = field(default_factory=dict)

    def note(self, place: Place, entry: Entry) -> None:
        self.entries[place] = entry
        self.since[place] = now_ms()

    def add(self, other: Written) -> None:
        self.entries |= other.entries
        self.since |= other.since


class Writer:
    """One producer, and what the broker has acknowledged and committed of it."""

    def __init__(self, plan: KafkaPlan, index: int, base: dict[str, Any]) -> None:
        self.plan = plan
        self.index = index
        self.chance = random.Random(f"{plan.seed} writer {index}")
        codec, self.transactional = WRITERS[index]
        settings = {**base, "compression.type": codec, "enable.idempotence": True, "linger.ms": 5}
        if self.transactional:
            settings["transactional.id"] = f"{plan.prefix}-{index}"
        self.producer = Producer(settings)
        if self.transactional:
            self.producer.init_transactions(ANSWER)
        self.open = False
        self.count = 0
        self.written = Written()
        self.pending = Written()  # of the open transaction
        self.begun: list[int] = []  # when transactions began, and ended
        self.ended: list[int] = []

    def note(self, topic: str, entry: Entry, error: Any, m: Any) -> None:
        assert error is None, error
        into = self.pending if self.transactional else self.written
        into.note((topic, m.partition(), m.offset()), entry)

    def write(self, burst: int) -> None:
        if self.transactional and not self.open:
            self.begun.append(now_ms())
            self.producer.begin_transaction()
            self.open = True
        for _ in range(burst):
            topic = self.chance.choice(list(PARTITIONS))
            key = None if topic.startswith("p") else self.chance.choice(KEYS)
            if topic == COMPACTED and self.chance.random() < 0.5:
                key = f"x{self.chance.randrange(200)}"
            # By key, or anywhere: a key is then in several partitions.
            more = {}
            if self.chance.random() < 0.3:
                more["partition"] = self.chance.randrange(PARTITIONS[topic])
            value, ts = self.index << 32 | self.count, now_ms()
            self.count += 1
            entry = (value, key, ts)
            self.producer.produce(
                self.plan.topic(topic),
                f'{{"v":{value},"t":{time.monotonic():.3f},"ts":{ts}}}',
                key,
                timestamp=ts,
                on_delivery=lambda e, m, topic=topic, entry=entry: self.note(topic, entry, e, m),
                **more,
            )
            self.producer.poll(0)

    def end(self) -> None:
        """Ends the transaction, if one is open; all of it is in the log, also when it is aborted."""
        if not self.open:
            return
        assert self.producer.flush(ANSWER) == 0
        if self.chance.random() < 0.3:
            self.producer.abort_transaction(ANSWER)
        else:
            self.producer.commit_transaction(ANSWER)
            self.pending.since = dict.fromkeys(self.pending.since, now_ms())
            self.written.add(self.pending)
        self.ended.append(now_ms())
        self.pending = Written()
        self.open = False

    def hides(self, since: int) -> int:
        """Until when a transaction that was open then kept others from being read."""
        index = bisect.bisect(self.begun, since)
        return self.ended[index - 1] if index else 0

    def finish(self) -> None:
        self.end()
        assert self.producer.flush(ANSWER) == 0


def grow(plan: KafkaPlan, admin: AdminClient) -> None:
    new = [NewPartitions(plan.topic(name), count) for name, count in GROWS.items()]
    for done in admin.create_partitions(new).values():
        done.result(ANSWER)


class Shortener:
    """Deletes the oldest messages of a topic."""

    def __init__(self, plan: KafkaPlan, admin: AdminClient) -> None:
        self.topic = plan.topic(SHORTENED)
        self.admin = admin
        self.oldest: Cursor = {}

    def shorten(self, writers: list[Writer]) -> None:
        ends: Cursor = {}
        for writer in writers:
            for topic, partition, offset in writer.written.entries:
                if topic == SHORTENED:
                    ends[partition] = max(offset, ends.get(partition, 0))
        new = [
            TopicPartition(self.topic, partition, end - KEPT)
            for partition, end in ends.items()
            if end - KEPT > self.oldest.get(partition, 0)
        ]
        if new:
            for place, done in self.admin.delete_records(new).items():
                self.oldest[place.partition] = done.result(ANSWER).low_watermark


def produce(
    plan: KafkaPlan, shared: Any, shortener: Shortener, admin: AdminClient, base: dict[str, Any]
) -> Written:
    """In bursts, until enough has been delivered."""
    chance = random.Random(f"{plan.seed} producers")
    writers = [Writer(plan, i, base) for i in range(len(WRITERS))]
    deadline = time.monotonic() + 600 * plan.patience
    grown = False

    def enough() -> bool:
        deleted = bool(shortener.oldest) or plan.deliveries < ENOUGH
        return deleted and sum(shared.delivered) >= plan.deliveries

    while not enough() and not shared.stop.value:
        assert time.monotonic() < deadline, f"only {sum(shared.delivered)} deliveries"
        burst = chance.choice([1, 10, 100, 300])
        chance.choice(writers).write(burst)
        time.sleep(burst / plan.rate)
        for writer in writers:
            writer.producer.poll(0)
            if chance.random() < 0.3:
                writer.end()
        while max(shared.lag) > 1 and time.monotonic() < deadline and not shared.stop.value:
            for writer in writers:
                writer.end()
            time.sleep(0.02)
        if chance.random() < 0.05:
            shortener.shorten(writers)
        if not grown and sum(shared.delivered) > plan.deliveries / 3:
            grow(plan, admin)
            grown = True
    written = Written()
    for writer in writers:
        writer.finish()
        written.add(writer.written)
    for place, since in written.since.items():
        written.since[place] = max(since, *(writer.hides(since) for writer in writers))
    return written


def read(plan: KafkaPlan, topic: str, base: dict[str, Any]) -> dict[Place, Entry]:
    """All of a topic that is committed."""
    settings = {
        "group.id": "splice",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
    }
    consumer = Consumer({**base, **settings})
    found: dict[Place, Entry] = {}
    try:
        name = plan.topic(topic)
        partitions = consumer.list_topics(name, ANSWER).topics[name].partitions
        consumer.assign([TopicPartition(name, p, 0) for p in partitions])
        ends = 0
        while ends < len(partitions):
            (m, *_) = consumer.consume(1, ANSWER) or [None]
            assert m is not None, f"{topic} does not end"
            if m.error():
                assert m.error().code() == KafkaError._PARTITION_EOF, m.error()
                ends += 1
                continue
            value = int(m.value().split(b",")[0].split(b":")[1])
            key = m.key().decode() if m.key() is not None else None
            found[topic, m.partition(), m.offset()] = (value, key, m.timestamp()[1])
        return found
    finally:
        consumer.close()


def tell(plan: KafkaPlan, written: Written, oldest: Cursor, base: dict[str, Any]) -> Truth:
    """What was committed, all of it in the log but for what compaction and retention have removed."""
    topics: dict[str, list[Row]] = {}
    for topic in PARTITIONS:
        there = read(plan, topic, base)
        mine = {place: entry for place, entry in written.entries.items() if place[0] == topic}
        cut = oldest if topic == SHORTENED else {}
        left = {place: entry for place, entry in mine.items() if place[2] >= cut.get(place[1], 0)}
        if topic != COMPACTED:
            assert there == left, f"{topic}: {len(left)} were acknowledged, {len(there)} are there"
        assert there.items() <= mine.items(), f"{topic}: more is there than was acknowledged"
        topics[topic] = [
            Row(
                place[1],
                place[2],
                *entry,
                written.since[place],
                place in there or place not in left,
            )
            for place, entry in sorted(mine.items())
        ]
        if topic == COMPACTED and plan.deliveries >= ENOUGH:
            assert len(there) < len(mine), "nothing was compacted"
    assert oldest or plan.deliveries < ENOUGH, "nothing was deleted"
    return Truth(topics, {SHORTENED: oldest})


def run_producers(plan: KafkaPlan, shared: Any, pipe: Connection) -> None:
    base = {"bootstrap.servers": plan.brokers, "allow.auto.create.topics": False, "log_level": 0}
    try:
        admin = AdminClient(base)
        shortener = Shortener(plan, admin)
        written = produce(plan, shared, shortener, admin, base)
        stop_compaction(plan, admin)
        pipe.send(tell(plan, written, shortener.oldest, base))
    except Exception as error:
        shared.stop.value = 1
        pipe.send(f"producers: {error!r}")
