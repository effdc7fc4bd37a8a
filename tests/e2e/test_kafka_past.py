"""The past of Kafka topics: pages, places, resuming, and logs with holes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Producer

from client import Client, Frame
from conftest import Start
from kafka_server import ANSWER, KafkaServer
from server import PATIENCE, Server

Connect = Callable[..., Client]

TOTAL = 400
LONG_AGO = int(time.time() * 1000) - 3_600_000


def settings(kafka: KafkaServer) -> dict[str, Any]:
    return {
        "listen": "127.0.0.1:0",
        "drain": 2000,
        "linger": 0,
        "buses": {"k": {"type": "kafka", "url": kafka.url, "refresh": 500}},
        "channels": [
            {"match": "keyed.{topic}.{key}", "bus": "k", "topic": "{topic}", "key": "{key}"},
            {"match": "*", "bus": "k"},
        ],
    }


@pytest.fixture(scope="module")
def bridge(kafka: KafkaServer) -> Iterator[Server]:
    started = Server("kafka-past", settings(kafka))
    yield started
    started.stop()


@pytest.fixture
def page(bridge: Server, connect: Connect) -> Client:
    return connect(bridge)


def fill(
    kafka: KafkaServer, topic: str, partitions: int, count: int = TOTAL, first: int = 0
) -> list[Any]:
    """Number n in partition n % partitions, n ms after LONG_AGO; returns those elsewhere."""

    def make(n: int) -> dict[str, Any]:
        return {"value": str(n).encode(), "key": f"k{n % 10}", "timestamp": LONG_AGO + n}

    return kafka.number(topic, partitions, range(first, first + count), make)


@pytest.fixture(params=[1, 6])
def filled(kafka: KafkaServer, topic: str, request: pytest.FixtureRequest) -> tuple[str, int]:
    return kafka.filled(topic, int(request.param), fill), int(request.param)


def numbers(frames: list[Any]) -> list[int]:
    return [int(frame["data"]) for frame in frames]


def in_order(found: list[int], partitions: int) -> bool:
    """Within each partition, and none twice."""
    return len(set(found)) == len(found) and all(
        [n for n in found if n % partitions == p]
        == sorted(n for n in found if n % partitions == p)
        for p in range(partitions)
    )


def forward(page: Client, channel: str, from_: Any, limit: int = 37, **fields: Any) -> list[Frame]:
    found: list[Frame] = []
    for _ in range(1000):
        answer = page.history(channel, from_, limit=limit, **fields)
        found += answer["messages"]
        assert len(answer["messages"]) <= limit
        from_ = {"after": answer["cursor"]}
        if not answer["more"]:
            return found
    raise AssertionError("no end")


# ---- pages


def test_pages_forward(page: Client, filled: tuple[str, int]) -> None:
    topic, partitions = filled
    found = numbers(forward(page, topic, "earliest"))
    assert sorted(found) == list(range(TOTAL)) and in_order(found, partitions)


def test_pages_backward(page: Client, filled: tuple[str, int]) -> None:
    topic, partitions = filled
    pages: list[list[int]] = []
    fields: dict[str, Any] = {}
    while True:
        answer = page.history(topic, {"last": 45}, limit=45, **fields)
        if not answer["messages"]:
            break
        pages.append(numbers(answer["messages"]))
        fields = {"until": answer["before"]}
    assert [len(p) for p in pages] == [45] * (TOTAL // 45) + [TOTAL % 45]
    # By time over all partitions: each page is older than the one before.
    for n, found in enumerate(pages):
        assert sorted(found) == list(range(max(TOTAL - 45 * (n + 1), 0), TOTAL - 45 * n))
        assert in_order(found, partitions)


def test_pages_of_a_key(page: Client, filled: tuple[str, int]) -> None:
    topic, _ = filled
    every_tenth = list(range(3, TOTAL, 10))
    channel = f"keyed.{topic}.k3"
    assert sorted(numbers(forward(page, channel, "earliest", 7))) == every_tenth
    assert sorted(numbers(page.history(channel, {"last": 5})["messages"])) == every_tenth[-5:]
    assert page.history(f"keyed.{topic}.none", {"last": 5})["messages"] == []


def test_from_a_time(page: Client, filled: tuple[str, int]) -> None:
    topic, _ = filled
    found = numbers(forward(page, topic, {"time": LONG_AGO + 250}))
    assert sorted(found) == list(range(250, TOTAL))
    assert forward(page, topic, {"time": LONG_AGO + TOTAL}) == []


def test_from_a_while_ago(page: Client, kafka: KafkaServer, topic: str) -> None:
    """The messages' own times count."""
    kafka.create(topic, 3)
    minute, now = 60_000, int(time.time() * 1000)
    for n in range(90):
        age = (90 - n) * minute
        kafka.producer.produce(topic, str(n).encode(), partition=n % 3, timestamp=now - age)
    assert kafka.producer.flush(ANSWER) == 0
    ago = {"ago": 30 * minute + minute // 2}
    found = numbers(forward(page, topic, ago))
    assert sorted(found) == list(range(60, 90)) and in_order(found, 3)
    page.subscribe(topic, ago)
    found = numbers(page.messages(topic, 30))
    assert sorted(found) == list(range(60, 90)) and in_order(found, 3)
    page.next("live", topic)
    assert page.history(topic, {"ago": minute // 2})["messages"] == []


def test_replay_and_live(page: Client, kafka: KafkaServer, filled: tuple[str, int]) -> None:
    topic, partitions = filled
    page.subscribe(topic, {"last": 60})
    found = numbers(page.messages(topic, 60))
    assert sorted(found) == list(range(TOTAL - 60, TOTAL)) and in_order(found, partitions)
    page.next("live", topic)
    assert not fill(kafka, topic, partitions, 20, TOTAL)
    found = numbers(page.messages(topic, 20))
    assert sorted(found) == list(range(TOTAL, TOTAL + 20)) and in_order(found, partitions)


def test_an_empty_topic(page: Client, kafka: KafkaServer, topic: str) -> None:
    kafka.create(topic, 3)
    for from_ in ("earliest", {"last": 10}, {"time": LONG_AGO}, {"after": []}):
        answer = page.history(topic, from_)
        assert answer["messages"] == [] and answer["more"] is False
        assert answer["cursor"] == ["0/-1", "1/-1", "2/-1"]
    assert page.subscribe(topic, "earliest")["cursor"] == ["0/-1", "1/-1", "2/-1"]
    page.next("live", topic)


# ---- resuming


def test_on_another_node_after_sigkill(
    kafka: KafkaServer, topic: str, start: Start, connect: Connect
) -> None:
    kafka.create(topic, 6)
    first = Server("kafka-past-killed", settings(kafka))
    page = connect(first)
    cursor = dict(p.split("/") for p in page.subscribe(topic)["cursor"])
    assert not fill(kafka, topic, 6, 100)
    seen = []
    for frame in page.messages(topic, 70):
        seen.append(int(frame["data"]))
        partition, offset = frame["pos"].split("/")
        assert int(cursor[partition]) < int(offset)
        cursor[partition] = offset
    first.kill()
    assert not fill(kafka, topic, 6, 300, 100)
    page = connect(start(settings(kafka)))
    answer = page.subscribe(topic, {"after": [f"{p}/{o}" for p, o in cursor.items()]})
    assert answer["recovered"] is True
    seen += numbers(page.messages(topic, 330))
    page.next("live", topic)
    assert not fill(kafka, topic, 6, 12, 400)
    seen += numbers(page.messages(topic, 12))
    assert sorted(seen) == list(range(412)) and in_order(seen, 6)
    page.quiet()


def test_a_partition_that_was_added(page: Client, kafka: KafkaServer, topic: str) -> None:
    kafka.create(topic, 2)
    assert not fill(kafka, topic, 2, 20)
    cursor = page.history(topic, "earliest")["cursor"]
    kafka.grow(topic, 4)
    producer = Producer(kafka.base)  # one that knows of no fewer
    for n in range(8):
        producer.produce(topic, str(n).encode(), partition=n % 4)
    assert producer.flush(ANSWER) == 0
    assert sorted(numbers(forward(page, topic, {"after": cursor}, 3))) == list(range(8))
    answer = page.subscribe(topic, {"after": cursor})
    assert answer["recovered"] is True
    assert sorted(numbers(page.messages(topic, 8))) == list(range(8))
    page.next("live", topic)


def test_retention_has_passed(page: Client, kafka: KafkaServer, topic: str) -> None:
    kafka.create(topic, 2)
    assert not fill(kafka, topic, 2, 40)
    cursor = page.history(topic, "earliest", limit=10)["cursor"]
    whole = page.history(topic, "earliest")["cursor"]
    kafka.shorten(topic, 0, 15)
    answer = page.history(topic, {"after": ["0/3", "1/9"]})
    assert (answer["recovered"], answer["reason"]) == (False, "expired")
    found = numbers(answer["messages"])
    assert sorted(found) == sorted([*range(30, 40, 2), *range(21, 40, 2)])
    answer = page.subscribe(topic, {"after": ["0/3", "1/9"]})
    assert (answer["recovered"], answer["reason"]) == (False, "expired")
    assert answer["cursor"] == ["0/14", "1/9"]
    assert sorted(numbers(page.messages(topic, 15))) == sorted(found)
    page.next("live", topic)
    # Exactly at the place where it begins now, nothing is missing.
    assert page.history(topic, {"after": ["0/14", "1/9"]})["recovered"] is True
    assert page.history(topic, {"after": whole})["recovered"] is True
    assert len(cursor) == 2


def test_a_cursor_ahead_of_the_log(page: Client, kafka: KafkaServer, topic: str) -> None:
    kafka.create(topic, 2)
    assert not fill(kafka, topic, 2, 10)
    for cursor in (["0/4", "1/900"], ["0/4", "1/4", "2/0"]):
        answer = page.history(topic, {"after": cursor})
        assert (answer["recovered"], answer["reason"]) == (False, "epoch")
    answer = page.subscribe(topic, {"after": ["0/4", "1/900"]})
    assert (answer["recovered"], answer["reason"]) == (False, "epoch")
    assert answer["cursor"] == ["0/4", "1/-1"]
    assert numbers(page.messages(topic, 5)) == [1, 3, 5, 7, 9]
    page.next("live", topic)


# ---- logs with holes


def compact(kafka: KafkaServer, topic: str) -> None:
    kafka.create(
        topic,
        cleanup_policy="compact",
        segment_ms="200",
        min_cleanable_dirty_ratio="0.01",
        delete_retention_ms="100000",
        max_compaction_lag_ms="200",
    )


def test_a_compacted_topic(page: Client, kafka: KafkaServer, topic: str) -> None:
    compact(kafka, topic)
    for n in range(60):
        kafka.producer.produce(topic, str(n).encode(), f"k{n % 3}".encode())
    assert kafka.producer.flush(ANSWER) == 0
    deadline = time.monotonic() + 60 * PATIENCE
    for extra in itertools.count():
        # What is written now closes the segment before.
        kafka.produce(topic, b"0", f"new{extra % 2}".encode())
        found = page.history(topic, "earliest", limit=1000)
        if len(found["messages"]) < 20:
            break
        assert time.monotonic() < deadline
        time.sleep(0.3)
    positions = [m["pos"] for m in found["messages"]]
    assert [n for n in numbers(found["messages"]) if n > 0] == [57, 58, 59]
    # A place within the holes is as good as any.
    answer = page.history(topic, {"after": ["0/20"]}, limit=1000)
    assert answer["recovered"] is True
    assert [m["pos"] for m in answer["messages"]][:3] == positions[:3]
    # Messages are counted, not offsets.
    for count in range(1, len(positions) + 1):
        last = page.history(topic, {"last": count}, limit=1000)
        assert len(last["messages"]) == count
    assert len(forward(page, topic, "earliest", 1)) >= len(positions)
    page.subscribe(topic, {"after": ["0/-1"]})
    messages = page.messages(topic, len(positions))
    assert [f["pos"] for f in messages][:3] == positions[:3]
    page.next("live", topic)


def test_a_time_that_kafka_does_not_find(page: Client, kafka: KafkaServer, topic: str) -> None:
    """Of a batch that compaction has emptied Kafka still takes the time for that of a message."""
    compact(kafka, topic)
    writer = Producer({**kafka.base, "enable.idempotence": True})  # its last batch stays, if empty

    def write(key: str, age: int, producer: Producer = kafka.producer) -> None:
        producer.produce(topic, str(age), key, timestamp=LONG_AGO - age)
        assert producer.flush(ANSWER) == 0

    write("k", 4000, writer)
    write("k", 8000)
    write("z", 1000)  # so much later that it begins another segment, which is not compacted
    deadline = time.monotonic() + 60 * PATIENCE
    while numbers(page.history(topic, "earliest")["messages"]) != [8000, 1000]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for age, found in ((9000, [8000, 1000]), (6000, [1000]), (2000, [1000])):
        assert numbers(page.history(topic, {"time": LONG_AGO - age})["messages"]) == found
    assert page.history(topic, {"time": LONG_AGO})["messages"] == []
    page.subscribe(topic, {"time": LONG_AGO - 6000})
    assert page.next("message")["data"] == 1000


@pytest.fixture
def transactions(kafka: KafkaServer, topic: str) -> Iterator[Producer]:
    producer = Producer({**kafka.base, "transactional.id": f"t-{topic}", "linger.ms": 0})
    producer.init_transactions(ANSWER)
    yield producer


def write(producer: Producer, topic: str, first: int, count: int) -> None:
    producer.begin_transaction()
    for n in range(first, first + count):
        producer.produce(topic, str(n).encode(), partition=0)
    assert producer.flush(ANSWER) == 0


def test_transactions(
    page: Client, kafka: KafkaServer, topic: str, transactions: Producer
) -> None:
    kafka.create(topic)
    write(transactions, topic, 0, 5)
    transactions.commit_transaction(ANSWER)
    # The mark that ends a transaction is no message, and is written a little later.
    kafka.wait(lambda: len(page.history(topic, "earliest")["messages"]) == 5)
    answer = page.history(topic, "earliest")
    assert numbers(answer["messages"]) == list(range(5)) and answer["more"] is False
    assert numbers(page.history(topic, {"last": 3})["messages"]) == [2, 3, 4]
    write(transactions, topic, 100, 5)
    transactions.abort_transaction(ANSWER)
    answer = page.history(topic, {"after": answer["cursor"]})
    assert answer["messages"] == [] and answer["recovered"] is True and answer["more"] is False
    assert numbers(page.history(topic, {"last": 3})["messages"]) == [2, 3, 4]
    write(transactions, topic, 5, 5)
    before = page.history(topic, "earliest")
    assert numbers(before["messages"]) == list(range(5)) and before["more"] is False
    cursor = page.subscribe(topic, "earliest")["cursor"]
    assert cursor == ["0/-1"]
    assert numbers(page.messages(topic, 5)) == list(range(5))
    page.next("live", topic)
    kafka.produce(topic, b"10", partition=0)  # behind a transaction that is open
    page.quiet()
    transactions.commit_transaction(ANSWER)
    assert numbers(page.messages(topic, 6)) == list(range(5, 11))
    assert numbers(forward(page, topic, {"after": before["cursor"]}, 2)) == list(range(5, 11))
    assert numbers(forward(page, topic, "earliest", 1)) == list(range(11))
    assert numbers(page.history(topic, {"last": 8})["messages"]) == list(range(3, 11))


# ---- what messages may be


def test_every_kind_of_message(page: Client, kafka: KafkaServer, topic: str) -> None:
    kafka.create(topic)
    kafka.produce(topic, None, b"gone")
    kafka.produce(topic, b"", b"")
    kafka.produce(topic, b'{"n":9007199254740993}', None)
    kafka.produce(topic, b"\x00\xff", b"\xfe", [("a", b"\xff\x00"), ("b", b"x"), ("c", None)])
    kafka.produce(topic, b"x" * 1_000_000, b"big")
    for frames in (forward(page, topic, "earliest", 2), self_replay(page, topic)):
        gone, empty, null_key, binary, big = frames
        assert gone["tombstone"] is True and gone["key"] == "gone" and gone["data"] is None
        assert empty["text"] == "" and empty["key"] == ""
        assert "key" not in null_key and null_key["data"] == {"n": 9007199254740993}
        assert binary["binary"] == "AP8=" and binary["key_binary"] == "/g=="
        assert binary["headers"] == {"a": {"binary": "/wA="}, "b": "x", "c": ""}
        assert len(big["text"]) == 1_000_000


def self_replay(page: Client, topic: str) -> list[Frame]:
    page.subscribe(topic, "earliest")
    found = page.messages(topic, 5)
    page.next("live", topic)
    return found


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compression(page: Client, kafka: KafkaServer, topic: str, codec: str) -> None:
    kafka.create(topic)
    options = {"compression.type": codec, "linger.ms": 50, "enable.idempotence": True}
    producer = Producer({**kafka.base, **options})
    for n in range(300):
        producer.produce(topic, str(n).encode() + b" " * 100)
    assert producer.flush(ANSWER) == 0
    assert numbers(forward(page, topic, "earliest", 50)) == list(range(300))
    assert numbers(page.history(topic, {"last": 3})["messages"]) == [297, 298, 299]


def test_large_messages_in_pieces(page: Client, kafka: KafkaServer, topic: str) -> None:
    """Each is more than a piece, and more than a reader asks for at once."""
    kafka.create(topic, 2)
    for n in range(12):
        kafka.produce(topic, b'"%d%s"' % (n, b"x" * 990_000), partition=n % 2)
    frames = forward(page, topic, "earliest")
    assert sorted(int(f["data"].rstrip("x")) for f in frames) == list(range(12))
    page.subscribe(topic, "earliest")
    frames = page.messages(topic, 12)
    assert sorted(int(f["data"].rstrip("x")) for f in frames) == list(range(12))
    page.next("live", topic)


# ---- many at a time


def test_many_readers(bridge: Server, connect: Connect, filled: tuple[str, int]) -> None:
    """More requests than readers, all at once."""
    topic, partitions = filled
    pages = [connect(bridge) for _ in range(20)]
    for n, page in enumerate(pages):
        page.send(type="subscribe", id=1, channel=topic, from_={"last": 20 * (n + 1)})
    for n, page in enumerate(pages):
        assert page.reply(1)["type"] == "subscribed"
        found = numbers(page.messages(topic, 20 * (n + 1)))
        assert sorted(found) == list(range(TOTAL - 20 * (n + 1), TOTAL))
        assert in_order(found, partitions)
        page.next("live", topic)


def test_a_topic_that_is_not_there(page: Client) -> None:
    page.refused("unknown_channel", type="history", channel="nowhere", **{"from": "earliest"})


def test_a_frozen_broker(
    kafka: KafkaServer, filled: tuple[str, int], start: Start, connect: Connect
) -> None:
    """Requests end without it, and are served again when it is back."""
    topic, _ = filled
    page = connect(start({**settings(kafka), "bus_wait": 500}))
    # So short a time is for what comes then.
    kafka.wait(lambda: page.call("history", channel=topic, from_={"last": 5})["type"] == "history")
    kafka.freeze()
    try:
        for from_ in ("earliest", {"last": 5}, {"time": LONG_AGO}):
            page.refused("bus_unavailable", {"from": from_}, type="history", channel=topic)
    finally:
        kafka.thaw()
    found: list[int] = []

    def served() -> bool:
        # Each reader notices by itself that the broker is back.
        nonlocal found
        answer = page.call("history", channel=topic, from_="earliest", limit=TOTAL)
        found = numbers(answer.get("messages", []))
        return answer["type"] == "history" and not answer["more"]

    kafka.wait(served)
    assert sorted(found) == list(range(TOTAL))
