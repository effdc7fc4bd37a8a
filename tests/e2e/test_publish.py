"""publish."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from client import Client, data, ordinal, split
from server import Server

Connect = Callable[..., Client]


def test_publish_is_acknowledged_with_its_position(client: Client, channel: str) -> None:
    frame = client.call("publish", channel=channel, data={"a": 1})
    assert set(frame) == {"type", "id", "pos"} and frame["type"] == "published"
    assert ordinal(frame["pos"]) == 1
    assert ordinal(client.publish(channel, data=2)) == 2
    assert split(frame["pos"])[1] != split(client.publish(channel + ".other", data=1))[1]


def test_a_message_frame(client: Client, channel: str) -> None:
    client.subscribe(channel)
    before = int(time.time() * 1000)
    pos = client.publish(
        channel, data={"bid": 1}, key="EURUSD", headers={"trace": "t1", "": "empty"}
    )
    frame = client.next("message")
    assert list(frame) == ["type", "channel", "pos", "ts", "key", "headers", "data"]
    assert {k: frame[k] for k in ("channel", "pos", "key", "headers", "data")} == {
        "channel": channel, "pos": pos, "key": "EURUSD", "headers": {"trace": "t1", "": "empty"}, "data": {"bid": 1},
    }  # fmt: skip
    assert before - 1000 <= frame["ts"] <= int(time.time() * 1000) + 1000
    client.publish(channel, data=1)
    assert list(client.next("message")) == ["type", "channel", "pos", "ts", "data"]


def test_a_burst_is_answered_in_order(client: Client, connect: Connect, channel: str) -> None:
    """Many times what the bridge reads of a socket at once, and frames that are cut by that."""
    other = connect()
    other.subscribe(channel)
    sizes = [1, 100, 480, 512, 528, 600, 3000] * 10
    frames = [
        {"type": "publish", "id": i, "channel": channel, "text": "x" * n} for i, n in enumerate(sizes)
    ]
    client.send_together(*frames)
    assert [client.next("published")["id"] for _ in sizes] == list(range(len(sizes)))
    assert [len(other.next("message")["text"]) for _ in sizes] == sizes


def test_publish_forms(client: Client, channel: str) -> None:
    client.subscribe(channel)
    cases: list[tuple[dict[str, Any], str, bytes | None]] = [
        ({"data": {"a": [1]}}, "data", b'{"a": [1]}'),
        ({"data": None}, "data", b"null"),
        ({"data": False}, "data", b"false"),
        ({"data": "s"}, "data", b'"s"'),
        ({"text": "hello"}, "text", b"hello"),
        ({"text": ""}, "text", b""),
        ({"text": "12"}, "data", b"12"),
        ({"binary": "/w=="}, "binary", b"\xff"),
        ({"binary": "aGk="}, "text", b"hi"),
        ({"binary": ""}, "text", b""),
        ({"binary": "e30="}, "data", b"{}"),
        ({"tombstone": True, "key": "k"}, "data", None),
    ]
    for fields, form, payload in cases:
        client.publish(channel, **fields)
        frame = client.next("message")
        assert (frame.form, frame.payload) == (form, payload), frame.raw
        assert ("tombstone" in frame) is (payload is None)


def test_tombstone(client: Client, channel: str) -> None:
    client.subscribe(channel)
    client.publish(channel, key="k", tombstone=True)
    frame = client.next("message")
    assert frame["data"] is None and frame["tombstone"] is True and frame["key"] == "k"
    assert frame.raw.endswith('"data":null,"tombstone":true}')


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"data": 1, "text": "a"}, {"text": "a", "binary": ""}, {"data": 1, "tombstone": True}, {"text": 1}, {"text": {}},
        {"binary": 1}, {"binary": "a"}, {"binary": "aGk"}, {"binary": "aGk=="}, {"binary": "aG k="}, {"binary": "aGl="},
        {"binary": "_w=="}, {"binary": "/x=="}, {"binary": "===="}, {"binary": "aGk=aGk="}, {"binary": "aGk=\n"}, {"tombstone": "yes"},
        {"tombstone": 1}, {"tombstone": False}, {"data": 1, "key": 1}, {"data": 1, "key": {}}, {"data": 1, "headers": []},
        {"data": 1, "headers": {"a": 1}}, {"data": 1, "headers": "x"}, {"data": 1, "partition": "0"},
        {"data": 1, "partition": -1}, {"data": 1, "partition": 1.5}, {"data": 1, "partition": 2**40},
    ],
    ids=lambda fields: json.dumps(fields)[:40],
)  # fmt: skip
def test_publish_that_is_none(client: Client, channel: str, fields: dict[str, Any]) -> None:
    answer = client.refused("bad_request", {"type": "publish", "channel": channel, **fields})
    assert answer["channel"] == channel
    assert client.history(channel)["messages"] == []


def test_publish_with_lone_surrogates(client: Client, channel: str) -> None:
    client.send(f'{{"type":"publish","channel":"{channel}","text":"\\ud800"}}')
    assert client.next("error", channel)["code"] == "bad_request"
    client.send(f'{{"type":"publish","channel":"{channel}","data":1,"key":"\\udc00"}}')
    assert client.next("error", channel)["code"] == "bad_request"


def test_publish_to_a_partition(client: Client, channel: str) -> None:
    assert split(client.publish(channel, data=1, partition=0))[0] == "0"
    # Whether this is a partition the topic lacks or something the bus cannot do is a matter of view.
    frame = client.call("publish", channel=channel, data=1, partition=1)
    assert frame["type"] == "error" and frame["code"] in ("bad_request", "unsupported"), frame


def test_publishes_keep_their_order(client: Client, channel: str) -> None:
    client.subscribe(channel)
    positions = client.publish_many(channel, 2000)
    assert [ordinal(p) for p in positions] == list(range(1, 2001))
    assert data([f for f in client.kept if f["type"] == "message"]) == list(
        range(1, len(client.kept) + 1)
    )
    assert data(client.messages(channel, 2000)) == list(range(1, 2001))
    client.quiet()


def test_publish_before_and_after_subscribe_in_one_go(client: Client, channel: str) -> None:
    """Frames take effect in the order in which they were sent."""
    client.send(type="publish", channel=channel, data=1)
    client.send(type="subscribe", channel=channel)
    client.send(type="publish", channel=channel, data=2)
    assert data(client.history(channel)["messages"]) == [1, 2]
    assert client.next("message")["data"] == 2
    client.send(type="unsubscribe", channel=channel)
    client.send(type="publish", channel=channel, data=3)
    assert data(client.history(channel)["messages"]) == [1, 2, 3]
    client.quiet()


def test_what_was_sent_before_the_close_is_carried_out(connect: Connect, channel: str) -> None:
    writer = connect()
    for i in range(200):
        writer.send(type="publish", channel=channel, data=i)
    writer.close()
    reader = connect()
    reader.subscribe(channel, "earliest")
    assert data(reader.messages(channel, 200)) == list(range(200))


def test_too_large(client: Client, channel: str) -> None:
    limit = client.welcome["limits"]["message_bytes"]
    client.subscribe(channel)
    client.publish(channel, text="x" * limit)
    assert client.next("message").payload == b"x" * limit
    assert (
        client.refused("too_large", type="publish", channel=channel, text="x" * (limit + 1))[
            "channel"
        ]
        == channel
    )
    # Key and headers count too, and escapes count decoded.
    client.refused("too_large", type="publish", channel=channel, text="x" * limit, key="k")
    client.refused(
        "too_large", type="publish", channel=channel, text="x" * limit, headers={"a": "b"}
    )
    client.publish(channel, text="\n" * limit)
    assert client.next("message").payload == b"\n" * limit
    client.quiet()


def test_frame_too_big(connect: Connect, server: Server) -> None:
    client = connect()
    limit = client.welcome["limits"]["frame_bytes"]
    frame = '{"type":"ping","id":1,"x":""}'
    client.send(frame.replace('""', f'"{"x" * (limit - len(frame))}"'))
    assert client.reply(1)["type"] == "pong"
    client.send(frame.replace('""', f'"{"x" * (limit - len(frame) + 1)}"'))
    assert client.closed() == 1009
    connect().quiet()
