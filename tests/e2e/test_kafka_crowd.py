"""Many clients resume one topic at once: each gets exactly its own, and Kafka is read about once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message

from client import Client, Frame
from conftest import Start
from crowd import ask_all, reads_of, replayed
from kafka_server import ANSWER, KafkaServer
from server import Server

Connect = Callable[..., Client]

TOTAL = 1500
PAGES = 24
ALONE = 4  # reads of one client at least


def settings(kafka: KafkaServer, **replay: int) -> dict[str, Any]:
    return {
        "listen": "127.0.0.1:0",
        "drain": 100,
        "buses": {"k": {"type": "kafka", "url": kafka.url}},
        "channels": [
            {"match": "keyed.{topic}.{key}", "bus": "k", "topic": "{topic}", "key": "{key}"},
            {"match": "*", "bus": "k"},
        ],
        "replay": {"ring_messages": 10, **replay},
    }


@pytest.fixture(params=[1, 3])
def filled(kafka: KafkaServer, topic: str, request: pytest.FixtureRequest) -> tuple[str, int]:
    return kafka.filled(topic, int(request.param), fill), int(request.param)


def fill(
    kafka: KafkaServer, topic: str, partitions: int, count: int = TOTAL, first: int = 0
) -> list[Any]:
    """Number n in partition n % partitions, at offset n // partitions; returns those elsewhere."""
    wrong: list[Any] = []

    def delivered(n: int, error: Any, message: Message) -> None:
        if error or message.offset() != n // partitions:
            wrong.append((n, error, message.offset()))

    for n in range(first, first + count):
        value = f"{n}{'x' * 150}".encode()
        kafka.producer.produce(
            topic,
            value,
            f"k{n % 10}",
            partition=n % partitions,
            on_delivery=partial(delivered, n),
        )
        kafka.producer.poll(0)
    assert kafka.producer.flush(ANSWER) == 0
    return wrong


def numbers(frames: list[Frame]) -> list[int]:
    return [int(frame["text"].rstrip("x")) for frame in frames]


def in_order(found: list[int], partitions: int) -> bool:
    return all(
        [n for n in found if n % partitions == p]
        == sorted(n for n in found if n % partitions == p)
        for p in range(partitions)
    )


def readers(server: Server) -> int:
    """Its consumers, without the one for what is live and the one for questions."""
    tasks = Path(f"/proc/{server.pid}/task").iterdir()
    names = [(task / "comm").read_text().strip() for task in tasks]
    return names.count("rdk:main") - 2


def test_from_places_near_each_other(
    kafka: KafkaServer, filled: tuple[str, int], start: Start, connect: Connect
) -> None:
    topic, partitions = filled
    bridge = start(settings(kafka))
    pages = [connect(bridge) for _ in range(PAGES)]
    # So many are known of each partition; no two cursors are alike.
    known = [[(n * 37 + p * 11) % 60 for p in range(partitions)] for n in range(PAGES)]
    cursors = [[f"{p}/{k - 1}" for p, k in enumerate(each)] for each in known]
    ask_all(pages, [topic] * PAGES, [{"after": cursor} for cursor in cursors])
    for page, each in zip(pages, known, strict=True):
        found = numbers(replayed(page, topic))
        assert in_order(found, partitions)
        wanted = [n for n in range(TOTAL) if n // partitions >= each[n % partitions]]
        assert sorted(found) == wanted
    assert not fill(kafka, topic, partitions, partitions, TOTAL)
    for page in pages:
        found = numbers(page.messages(topic, partitions))
        assert sorted(found) == list(range(TOTAL, TOTAL + partitions))
    assert 1 <= readers(bridge) <= 4
    assert 0 < reads_of(bridge, pages) < PAGES * ALONE / 2


def test_channels_of_one_topic_by_key(
    kafka: KafkaServer, filled: tuple[str, int], start: Start, connect: Connect
) -> None:
    topic, _ = filled
    bridge = start(settings(kafka))
    pages = [connect(bridge) for _ in range(PAGES)]
    channels = [f"keyed.{topic}.k{n % 10}" for n in range(PAGES)]
    ask_all(pages, channels, ["earliest"] * PAGES)
    for n, page in enumerate(pages):
        found = numbers(replayed(page, channels[n]))
        assert sorted(found) == [i for i in range(TOTAL) if i % 10 == n % 10]
    assert reads_of(bridge, pages) < PAGES * ALONE / 2


def test_so_many_readers(
    kafka: KafkaServer, filled: tuple[str, int], start: Start, connect: Connect
) -> None:
    """With one reader, and nothing shared: all are served, one after the other."""
    topic, partitions = filled
    bridge = start(settings(kafka, readers=1, pass_bytes=0))
    pages = [connect(bridge) for _ in range(8)]
    ask_all(pages, [topic] * 8, ["earliest"] * 8)
    assert len(connect(bridge).history(topic, "earliest", limit=100)["messages"]) == 100
    for page in pages:
        found = numbers(replayed(page, topic))
        assert sorted(found) == list(range(TOTAL)) and in_order(found, partitions)
    assert readers(bridge) == 1
    assert reads_of(bridge, pages) >= 8 * ALONE
