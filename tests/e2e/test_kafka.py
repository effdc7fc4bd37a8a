"""Kafka topics through the whole bridge, on a real broker that lives, dies and freezes."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from client import Client, Frame
from conftest import Start
from kafka_server import ANSWER, KafkaServer
from server import PATIENCE, Server, run

Connect = Callable[..., Client]

PARTITIONS = 24
# Values of murmur2 as Apache Kafka's own tests have them.
HASHES = {"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536}


@pytest.fixture
def broker(kafka: KafkaServer) -> Iterator[KafkaServer]:
    """One that the test may kill or freeze."""
    yield kafka
    if kafka.process:
        kafka.thaw()
    kafka.start()


@pytest.fixture
def made(kafka: KafkaServer, topic: str) -> str:
    """A topic of the test's own with one partition."""
    kafka.create(topic)
    return topic


def settings(kafka: KafkaServer, **more: Any) -> dict[str, Any]:
    return {
        "listen": "127.0.0.1:0",
        "drain": 2000,
        "linger": 0,
        "buses": {"k": {"type": "kafka", "url": kafka.url, **more}},
    }


@pytest.fixture(scope="module")
def bridge(kafka: KafkaServer) -> Iterator[Server]:
    """The daemon that most of these tests share."""
    started = Server("kafka-shared", settings(kafka, refresh=500))
    yield started
    started.stop()


def take(client: Client, count: int, channel: str, timeout: float = 10.0) -> list[Frame]:
    return client.messages(channel, count, timeout)


def offsets(frames: list[Frame]) -> dict[str, list[int]]:
    """Of each partition, in the order in which they came."""
    found: dict[str, list[int]] = {}
    for frame in frames:
        partition, offset = frame["pos"].split("/")
        found.setdefault(partition, []).append(int(offset))
    return found


def unbroken(frames: list[Frame], first: int = 0) -> bool:
    """Each partition's offsets follow each other without a hole or a duplicate."""
    return all(o == list(range(first, first + len(o))) for o in offsets(frames).values())


def await_log(server: Server, text: str) -> None:
    deadline = time.monotonic() + 20 * PATIENCE
    while text not in server.log():
        assert time.monotonic() < deadline, server.log()
        time.sleep(0.02)


# ---- messages


def test_from_programs_to_pages(
    bridge: Server, connect: Connect, kafka: KafkaServer, made: str
) -> None:
    page = connect(bridge)
    assert page.subscribe(made)["cursor"] == ["0/-1"]
    before = int(1000 * time.time()) - 5000
    for i, (payload, form) in enumerate(
        (
            (b'{"n":9007199254740993}', "data"),
            ("grüße".encode(), "text"),
            (b"\x00\xff\r\n", "binary"),
            (b"", "text"),
        )
    ):
        assert kafka.produce(made, payload, b"k") == f"0/{i}"
        frame = page.next("message", made)
        assert (frame.form, frame.payload) == (form, payload)
        assert (frame["pos"], frame["key"]) == (f"0/{i}", "k")
        assert before < frame["ts"] < before + 60000
    kafka.produce(made, None, b"gone")
    frame = page.next("message", made)
    assert frame["tombstone"] is True and frame["data"] is None and frame["key"] == "gone"
    kafka.produce(made, b"1", None, [("trace", b"abc"), ("empty", b""), ("null", None)])
    frame = page.next("message", made)
    assert "key" not in frame
    assert frame["headers"] == {"trace": "abc", "empty": "", "null": ""}


def test_from_pages_to_programs(
    bridge: Server, connect: Connect, kafka: KafkaServer, topic: str
) -> None:
    kafka.create(topic, 3)
    page = connect(bridge)
    pos = page.publish(topic, data={"a": 1}, key="k", headers={"h": "v"}, partition=2)
    assert pos == "2/0"
    message = kafka.read(topic, pos)
    assert json.loads(message.value()) == {"a": 1}
    assert (message.key(), message.headers()) == (b"k", [("h", b"v")])
    pos = page.publish(topic, tombstone=True, key="k", partition=1)
    message = kafka.read(topic, pos)
    assert (pos, message.value(), message.key()) == ("1/0", None, b"k")
    message = kafka.read(topic, page.publish(topic, text="", key=""))
    assert (message.value(), message.key()) == (b"", b"")
    assert kafka.read(topic, page.publish(topic, text="x")).key() is None


def test_partitions_as_javas_producer(
    bridge: Server, connect: Connect, kafka: KafkaServer, topic: str
) -> None:
    kafka.create(topic, 7)
    page = connect(bridge)
    for key, value in HASHES.items():
        pos = page.publish(topic, data=1, key=key)
        assert pos.split("/")[0] == str((value & 0x7FFFFFFF) % 7)


def test_partition_by_the_channels_key(
    start: Start, connect: Connect, kafka: KafkaServer, topic: str
) -> None:
    """On a channel by key a message gets the key, and with it the partition of Java's producer."""
    kafka.create(topic, 7)
    by_key = {"match": "keyed.{key}", "bus": "k", "topic": topic, "key": "{key}"}
    page = connect(start({**settings(kafka), "channels": [by_key]}))
    page.subscribe("keyed.foobar")
    pos = page.publish("keyed.foobar", data=1)
    assert pos.split("/")[0] == str((HASHES["foobar"] & 0x7FFFFFFF) % 7)
    assert kafka.read(topic, pos).key() == b"foobar"
    page.publish("keyed.21", data=2)
    frame = page.next("message", "keyed.foobar")
    assert (frame["pos"], frame["key"], frame["data"]) == (pos, "foobar", 1)
    page.quiet()


def test_order_of_one_client(
    bridge: Server, connect: Connect, kafka: KafkaServer, topic: str
) -> None:
    """What one page publishes to a partition stands there in the order in which it was sent."""
    kafka.create(topic, 3)
    page, other = connect(bridge), connect(bridge)
    asked = [
        (client.ask("publish", channel=topic, data=n, key=name, partition=n % 3), client, name, n)
        for n in range(300)
        for client, name in ((page, "page"), (other, "other"))
    ]
    places = [(client.reply(number)["pos"], name, n) for number, client, name, n in asked]
    found = page.history(topic, "earliest", limit=1000)["messages"]
    stored = {m["pos"]: (m["key"], m["data"]) for m in found}
    assert len(stored) == len(places)
    for pos, name, n in places:
        assert stored[pos] == (name, n)
    for name in ("page", "other"):
        for partition in range(3):
            mine = [int(pos[2:]) for pos, by, n in places if by == name and n % 3 == partition]
            assert mine == sorted(mine)


def test_large_messages(bridge: Server, connect: Connect, kafka: KafkaServer, made: str) -> None:
    page = connect(bridge)
    page.subscribe(made)
    payload = b"x" * (1 << 20)
    for _ in range(3):
        kafka.produce(made, payload)
    for frame in page.messages(made, 3):
        assert frame.payload == payload


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compression(
    bridge: Server, connect: Connect, kafka: KafkaServer, made: str, codec: str
) -> None:
    from confluent_kafka import Producer

    page = connect(bridge)
    page.subscribe(made)
    options = {"compression.type": codec, "linger.ms": 50, "enable.idempotence": True}
    producer = Producer({**kafka.base, **options})
    for i in range(200):
        producer.produce(made, json.dumps({"n": i, "text": "a" * 200}).encode())
    assert producer.flush(20) == 0
    frames = page.messages(made, 200)
    assert [f["data"]["n"] for f in frames] == list(range(200))
    assert unbroken(frames)


def test_transactions(bridge: Server, connect: Connect, kafka: KafkaServer, made: str) -> None:
    """What was aborted never comes, control records leave holes, open ones come when committed."""
    from confluent_kafka import Producer

    page = connect(bridge)
    page.subscribe(made)
    producer = Producer({**kafka.base, "transactional.id": made})
    producer.init_transactions(30)
    for n, commit in ((1, True), (2, False), (3, True)):
        producer.begin_transaction()
        producer.produce(made, str(n).encode())
        producer.flush(20)
        if n == 3:
            other = connect(bridge)
            cursor = other.subscribe(made)["cursor"]
            assert int(cursor[0].split("/")[1]) <= 3
        producer.commit_transaction(30) if commit else producer.abort_transaction(30)
    assert [f["data"] for f in page.messages(made, 2)] == [1, 3]
    assert other.next("message", made)["data"] == 3
    kafka.produce(made, b"4")
    assert page.next("message", made)["data"] == 4
    assert other.next("message", made)["data"] == 4


# ---- topics


def test_unknown_topic(
    bridge: Server, connect: Connect, kafka: KafkaServer, topic: str
) -> None:
    """Nothing is created by asking, although the broker would allow it."""
    page = connect(bridge)
    for request in ("subscribe", "publish", "history"):
        more = {"data": 1} if request == "publish" else {}
        answer = page.refused("unknown_channel", type=request, channel=topic, **more)
        assert "Unknown topic" in answer["message"], answer
    assert topic not in kafka.admin.list_topics(timeout=20).topics
    kafka.create(topic)
    page.subscribe(topic)
    page.publish(topic, data=1)
    assert page.next("message")["data"] == 1


def test_nothing_is_left_in_kafka(
    start: Start, connect: Connect, kafka: KafkaServer, topic: str
) -> None:
    """No consumer group, no topic of the bridge's own, whatever is asked of it."""

    def here() -> tuple[set[str], set[str]]:
        groups = kafka.admin.list_consumer_groups().result(ANSWER).valid
        return {g.group_id for g in groups}, set(kafka.admin.list_topics(timeout=ANSWER).topics)

    kafka.create(topic, 2)
    before = here()
    page = connect(start(settings(kafka)))
    page.subscribe(topic)
    page.publish(topic, data=1, partition=0)
    page.next("message", topic)
    for from_ in ("earliest", {"last": 1}, {"ago": 60_000}, {"after": ["0/-1"]}):
        assert len(page.history(topic, from_)["messages"]) == 1
    page.unsubscribe(topic)
    assert page.subscribe(topic, "earliest")["cursor"] == ["0/-1", "1/-1"]
    page.next("message", topic)
    assert here() == before


def test_by_one_argument(
    start: Start, connect: Connect, kafka: KafkaServer, topic: str
) -> None:
    """Nothing but an address on the command line; the first of the two brokers is not there."""
    kafka.create(topic, 2)
    url = f"kafka://127.0.0.1:1,{kafka.address}"
    page = connect(start(None, url, "--set", "listen=127.0.0.1:0"))
    page.subscribe(topic)
    pos = kafka.produce(topic, b"1", b"k", [("h", b"v")], 1)
    frame = page.next("message", topic)
    assert (frame["pos"], frame["key"], frame["headers"]) == (pos, "k", {"h": "v"})
    assert frame["ts"] > 0 and frame["data"] == 1
    assert page.publish(topic, data=2, partition=1) == "1/1"


def test_queue_full_is_busy(
    start: Start, connect: Connect, broker: KafkaServer, made: str
) -> None:
    """At once, while those in the queue wait for the broker and are stored in the end."""
    bus = settings(broker, queue_bytes=1 << 20, publish_timeout=60000)
    page = connect(start({**bus, "limits": {"message_bytes": 200_000}}))
    page.publish(made, data="first")
    broker.freeze()
    text = "x" * 140_000  # seven of them are less than a megabyte, eight are more
    asked = [page.ask("publish", channel=made, text=text) for _ in range(7)]
    for _ in range(3):
        answer = page.refused("busy", type="publish", channel=made, text=text)
        assert "wait for the brokers" in answer["message"]
    assert not page.kept, page.kept
    broker.thaw()
    assert [page.reply(n, 60)["pos"] for n in asked] == [f"0/{1 + i}" for i in range(7)]
    assert page.publish(made, text=text) == "0/8"


def test_partition_that_is_not_there(bridge: Server, connect: Connect, made: str) -> None:
    page = connect(bridge)
    page.refused("bad_request", type="publish", channel=made, data=1, partition=1)
    assert page.publish(made, data=1, partition=0) == "0/0"
    page.refused("bad_request", type="publish", channel=made, data=1, partition=1)


def test_too_large_for_the_topic(
    start: Start, connect: Connect, kafka: KafkaServer, topic: str
) -> None:
    kafka.create(topic, 1, max_message_bytes="1000")
    page = connect(start(settings(kafka)))
    answer = page.refused("too_large", type="publish", channel=topic, text="x" * 2000)
    assert "Message size too large" in answer["message"], answer
    assert page.publish(topic, data=1) == "0/0"


def test_many_partitions(
    bridge: Server, connect: Connect, kafka: KafkaServer, topic: str
) -> None:
    kafka.create(topic, PARTITIONS)
    page = connect(bridge)
    cursor = page.subscribe(topic)["cursor"]
    assert cursor == [f"{i}/-1" for i in range(PARTITIONS)]
    kafka.produce_many(topic, 2000)
    frames = page.messages(topic, 2000)
    assert sorted(f["data"] for f in frames) == list(range(2000))
    assert len(offsets(frames)) == PARTITIONS and unbroken(frames)


def test_added_partitions(
    bridge: Server, connect: Connect, kafka: KafkaServer, made: str
) -> None:
    page = connect(bridge)
    page.subscribe(made)
    kafka.grow(made, 4)
    for i in range(4):
        kafka.produce(made, str(i).encode(), partition=i)
    frames = page.messages(made, 4)
    assert sorted((f["pos"], f["data"]) for f in frames) == [(f"{i}/0", i) for i in range(4)]
    assert page.publish(made, data=9, partition=3) == "3/1"


def test_deleted_topic(bridge: Server, connect: Connect, kafka: KafkaServer, made: str) -> None:
    page, other = connect(bridge), connect(bridge)
    lives = f"{made}-lives"
    kafka.create(lives)
    other.subscribe(lives)
    page.subscribe(made)
    page.publish(made, data=1)
    page.next("message")
    kafka.delete(made)
    frame = page.next("unsubscribed", made, 20)
    assert "Unknown topic" in json.dumps(frame), frame
    kafka.produce(lives, b"1")
    assert other.next("message", lives)["pos"] == "0/0"
    page.refused("unknown_channel", type="subscribe", channel=made)
    page.refused("unknown_channel", type="publish", channel=made, data=1)


def test_topic_created_anew(
    bridge: Server, connect: Connect, kafka: KafkaServer, made: str
) -> None:
    """Shorter than it was: whoever follows is told, and begins again; so does who was away."""
    page = connect(bridge)
    page.subscribe(made)
    kafka.produce_many(made, 50)
    cursor = page.messages(made, 50)[-1]["pos"]
    kafka.delete(made)
    kafka.create(made)
    page.next("unsubscribed", made, 20)
    assert page.subscribe(made)["cursor"] == ["0/-1"]
    kafka.produce(made, b"1")
    assert page.next("message", made)["data"] == 1
    page = connect(bridge)
    answer = page.subscribe(made, {"after": [cursor]})
    assert (answer["recovered"], answer["reason"]) == (False, "epoch")
    assert page.next("message", made)["pos"] == "0/0"


def test_topics_created_anew_again_and_again(
    start: Start, connect: Connect, kafka: KafkaServer, topic: str
) -> None:
    """With no time between: what librdkafka 2.4 to 2.9 knows of them must not break it."""
    topics = [f"{topic}-{i}" for i in range(4)]
    kafka.create_many(topics)
    page = connect(start(settings(kafka, refresh=200)))
    for life in range(6):
        for name in topics:
            page.subscribe(name)
            assert page.publish(name, data=life) == "0/0"
            assert page.next("message", name)["data"] == life
        for done in kafka.admin.delete_topics(topics).values():
            done.result(ANSWER)
        kafka.create_many(topics)
        ended = [page.next("unsubscribed", timeout=30)["channel"] for _ in topics]
        assert sorted(ended) == topics
    page.quiet()


# ---- life


def test_down_at_start(
    start: Start, connect: Connect, broker: KafkaServer, made: str
) -> None:
    broker.kill()
    server = start(settings(broker, publish_timeout=60000))
    page = connect(server)
    began = time.monotonic()
    page.refused("bus_unavailable", type="subscribe", channel=made)
    assert time.monotonic() - began < 8 * PATIENCE
    asked = page.ask("publish", channel=made, data=1)
    broker.start()
    assert page.reply(asked, 60)["pos"] == "0/0"
    assert page.subscribe(made)["cursor"] == ["0/0"]
    page.publish(made, data=2)
    assert page.next("message")["data"] == 2


@pytest.mark.parametrize("partitions", [1, PARTITIONS])
def test_killed_under_a_subscription(
    start: Start, connect: Connect, broker: KafkaServer, topic: str, partitions: int
) -> None:
    """No hole, nothing twice, no gap: the log has it all."""
    broker.create(topic, partitions)
    server = start(settings(broker))
    page = connect(server)
    page.subscribe(topic)
    broker.produce_many(topic, 500)
    frames = page.messages(topic, 500)
    for life in range(2):
        first = len(frames)
        broker.kill()
        await_log(server, "Connection refused")
        broker.start()
        broker.produce_many(topic, 500, first)
        frames += page.messages(topic, 500, 30)
        assert unbroken(frames)
    assert sorted(f["data"] for f in frames) == list(range(1500))
    page.quiet()


def test_frozen(start: Start, connect: Connect, broker: KafkaServer, made: str) -> None:
    """Other buses live on, requests are answered, and the daemon stops in time."""
    configuration = settings(broker, publish_timeout=3000)
    configuration["buses"]["m"] = {"type": "memory"}
    configuration["channels"] = [
        {"match": "local.**", "bus": "m"},
        {"match": "**", "bus": "k"},
    ]
    server = start(configuration)
    page = connect(server)
    page.subscribe(made)
    page.publish(made, data=1)
    assert page.next("message")["data"] == 1
    broker.freeze()
    asked = page.ask("publish", channel=made, data=2)
    page.subscribe("local.a")
    page.publish("local.a", data="here")
    assert page.next("message", "local.a")["data"] == "here"
    answer = page.reply(asked)
    assert answer["code"] in ("outcome_unknown", "bus_unavailable"), answer
    broker.thaw()
    deadline = time.monotonic() + 20 * PATIENCE
    while page.call("publish", channel=made, data=3)["type"] != "published":
        assert time.monotonic() < deadline
    while page.next("message", made, 20)["data"] != 3:
        pass
    broker.freeze()
    page.ask("publish", channel=made, data=4)
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 9 * PATIENCE


def test_retention_passes_a_follower(
    start: Start, connect: Connect, broker: KafkaServer, made: str
) -> None:
    """What was trimmed during an outage is told as a gap, and the feed goes on behind it."""
    server = start(settings(broker))
    page = connect(server)
    page.subscribe(made)
    broker.produce_many(made, 10)
    page.messages(made, 10)
    server.process.send_signal(signal.SIGSTOP)
    try:
        broker.produce_many(made, 40, 10)
        broker.kill()
        broker.start()
        broker.shorten(made, 0, 45)
    finally:
        server.process.send_signal(signal.SIGCONT)
    seen = []
    while not seen or seen[-1] != 49:
        frame = page.next(None, made, 20)
        if frame["type"] == "gap":
            assert frame["reason"] == "expired", frame
        else:
            seen.append(frame["data"])
    assert seen[-5:] == [45, 46, 47, 48, 49]
    assert seen == sorted(set(seen))


# ---- configuration


@pytest.mark.parametrize(
    ("bus", "words"),
    [
        ({"url": "kafka://a,"}, "names a broker without a host"),
        ({"url": "kafka://a:b"}, "whole number from 1 to 65535"),
        ({"url": "kafka://secret@a"}, "a user, a"),
        ({"url": "kafka://a/b"}, "nothing may come"),
        ({"properties": {"nonsense": 1}}, 'No such configuration property: \\"nonsense\\"'),
        ({"properties": {"fetch.wait.max.ms": "x"}}, "fetch.wait.max.ms"),
        ({"properties": {"acks": "1"}}, "is not yours to set"),
        ({"properties": {"enable.auto.commit": True}}, "nothing is committed"),
        ({"properties": {"ssl.ca.location": "/nowhere.pem"}, "url": "kafkas://a"}, "ssl.ca.location failed"),
    ],
)
def test_refused_settings(tmp_path: Any, bus: dict[str, Any], words: str) -> None:
    file = tmp_path / "wsbus.json"
    file.write_text(json.dumps({"buses": {"k": {"type": "kafka", **bus}}}))
    result = run("check", "-c", str(file))
    assert result.returncode != 0
    assert words.replace("\\", "") in result.stderr.replace("\\", ""), result.stderr
    assert "secret" not in result.stderr
