"""Many clients resume one topic at once: each gets exactly its own, and Kafka is read about once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client import Client, Frame
from conftest import Start
from crowd import ask_all, reads_of, replayed
from kafka_server import ANSWER, KafkaServer
from server import Server
from test_metrics import value

Connect = Callable[..., Client]

TOTAL = 1500
PAGES = 24
ALONE = 4  # reads of one client at least
HELPERS = 4  # threads that ask the brokers something, made when there is more than one question


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

    def make(n: int) -> dict[str, Any]:
        return {"value": f"{n}{'x' * 150}".encode(), "key": f"k{n % 10}"}

    return kafka.number(topic, partitions, range(first, first + count), make)


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


def threads(server: Server) -> int:
    return len(list(Path(f"/proc/{server.pid}/task").iterdir()))


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


def test_one_feed_for_all_channels_by_key(
    kafka: KafkaServer, topic: str, start: Start, connect: Connect
) -> None:
    """10 000 channels, one topic: one feed, and no more consumers than with one of them."""
    pages_, each = 5, 2000
    kafka.create(topic, 3)
    config = {**settings(kafka), "admin": "127.0.0.1:0", "limits": {"subscriptions": each}}
    bridge = start({**config, "linger": 0})
    pages = [connect(bridge) for _ in range(pages_)]
    channels = [[f"keyed.{topic}.k{page}-{n}" for n in range(each)] for page in range(pages_)]
    pages[0].subscribe(channels[0][0])
    alone = threads(bridge)
    asked = [
        [page.ask("subscribe", channel=channel) for channel in wanted[not number :]]
        for number, (page, wanted) in enumerate(zip(pages, channels, strict=True))
    ]
    for page, numbers_ in zip(pages, asked, strict=True):
        for number in numbers_:
            assert page.reply(number)["type"] == "subscribed"
    assert value(bridge, "bus_feeds") == 1
    assert value(bridge, "bus_followers") == value(bridge, "subscriptions") == pages_ * each
    assert threads(bridge) <= alone + HELPERS and readers(bridge) == 0
    for number, wanted in enumerate(channels):
        for channel in (wanted[7], wanted[-1]):
            key = channel.rpartition(".")[2]
            pos = kafka.produce(topic, b"1", key.encode())
            frame = pages[number].next("message", channel)
            assert (frame["pos"], frame["key"]) == (pos, key)
    for page in pages:
        page.quiet()
        page.close()
    kafka.wait(lambda: value(bridge, "bus_feeds") == 0)


def test_one_consumer_for_all_topics(
    kafka: KafkaServer, topic: str, start: Start, connect: Connect
) -> None:
    """The first subscriber of a topic starts it, the last one ends it."""
    topics = [f"{topic}-{n}" for n in range(40)]
    kafka.create_many(topics)
    bridge = start({**settings(kafka), "admin": "127.0.0.1:0", "linger": 0})
    page, other = connect(bridge), connect(bridge)
    page.subscribe(topics[0])
    before = threads(bridge)
    for asked in [page.ask("subscribe", channel=name) for name in topics[1:]]:
        assert page.reply(asked)["type"] == "subscribed"
    other.subscribe(topics[0])
    assert value(bridge, "bus_feeds") == len(topics)
    assert threads(bridge) <= before + HELPERS and readers(bridge) == 0
    for name in topics:
        kafka.producer.produce(name, b"1")
    assert kafka.producer.flush(ANSWER) == 0
    assert {page.next("message")["channel"] for _ in topics} == set(topics)
    assert other.next("message")["channel"] == topics[0]
    for name in topics:
        page.unsubscribe(name)
    kafka.wait(lambda: value(bridge, "bus_feeds") == 1)
    kafka.produce(topics[0], b"2")
    assert other.next("message")["data"] == 2
    other.unsubscribe(topics[0])
    kafka.wait(lambda: value(bridge, "bus_feeds") == 0)


@pytest.mark.parametrize("bound", ["at_once", "each"])
def test_a_budget(
    kafka: KafkaServer, filled: tuple[str, int], start: Start, connect: Connect, bound: str
) -> None:
    """For the bus, or for each client: beyond it is `busy`, and what was accepted is served whole."""
    topic, _ = filled
    page = connect(start(settings(kafka, **{bound: 1})))
    page.history(topic, {"last": 1})  # what is asked of the brokers first has been
    asks = {"type": "subscribe", "channel": f"keyed.{topic}.k3", "from": "earliest"}
    page.send_together({**asks, "id": 1, "channel": topic}, {**asks, "id": 2})
    refused = page.reply(2)
    assert refused["code"] == "busy" and refused["retry"] is True
    assert 500 <= refused["retry_after"] < 1500
    assert sorted(numbers(replayed(page, topic))) == list(range(TOTAL))
    page.send(asks, id=1)
    assert sorted(numbers(replayed(page, asks["channel"]))) == list(range(3, TOTAL, 10))


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
