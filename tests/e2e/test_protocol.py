"""Frames, ids, errors and limits of a connection (sections 1, 4 and 5 of the protocol)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from client import Client, data
from conftest import Start
from server import config

Connect = Callable[..., Client]


# ---- welcome


def test_welcome(client: Client) -> None:
    frame = client.welcome
    assert frame["type"] == "welcome"
    assert re.fullmatch(r"wsbus/\d+\.\d+\.\d+\S*", frame["server"])
    assert isinstance(frame["session"], str) and frame["session"]
    assert isinstance(frame["ping"], int) and frame["ping"] >= 0
    assert frame["auth"] == "anonymous"
    assert frame["limits"]["message_bytes"] == 65536
    assert frame["limits"]["frame_bytes"] == 132096
    assert frame["limits"]["subscriptions"] == 256
    assert frame["limits"]["history"] > 0
    assert client.ws.subprotocol == "wsbus.v1"


def test_sessions_have_names_of_their_own(connect: Connect) -> None:
    assert connect().welcome["session"] != connect().welcome["session"]


def test_subprotocol_may_be_left_out(connect: Connect) -> None:
    client = connect(subprotocols=None)
    assert client.ws.subprotocol is None
    client.quiet()


def test_subprotocol_is_found_among_others(connect: Connect) -> None:
    client = connect(subprotocols=["chat", "wsbus.v1", "x"])
    assert client.ws.subprotocol == "wsbus.v1"


def test_compression_may_be_offered(connect: Connect, channel: str) -> None:
    client = connect(compression="deflate")
    client.subscribe(channel)
    client.publish(channel, data={"a": "b" * 1000})
    assert client.next("message")["data"] == {"a": "b" * 1000}


# ---- ids


@pytest.mark.parametrize(
    "value",
    [
        0,
        1,
        -1,
        2**53 - 1,
        -(2**53 - 1),
        "",
        "a",
        "x" * 64,
        "é" * 32,
        'quote " back \\',
        "\n\t",
        "\u2028",
        "\0",
    ],
)
def test_ids_come_back(client: Client, value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        client.send(f'{{"type":"ping","id":{text}}}')
        assert client.reply(value)["type"] == "pong"


@pytest.mark.parametrize(
    "text",
    [
        "1.5", "-0.5", "true", "false", "[]", "{}", "[1]", str(2**53), str(-(2**53)), "9" * 40, "1e400",
        json.dumps("x" * 65), json.dumps("é" * 33, ensure_ascii=False), json.dumps("x" * 1000), r'"\ud800"',
    ],
)  # fmt: skip
def test_ids_that_are_none(client: Client, text: str) -> None:
    client.refused("bad_request", f'{{"type":"ping","id":{text}}}')
    client.quiet()


def test_ids_are_not_compared(client: Client) -> None:
    for _ in range(3):
        client.send('{"type":"ping","id":7}')
    assert [client.next("pong")["id"] for _ in range(3)] == [7, 7, 7]


def test_frames_without_id_get_no_success_reply(client: Client, channel: str) -> None:
    client.send(type="ping")
    client.send(type="subscribe", channel=channel)
    client.send(type="publish", channel=channel, data=1)
    assert client.next("message", channel)["data"] == 1
    client.send(type="unsubscribe", channel=channel)
    client.publish(channel, data=2)
    client.quiet()


def test_null_id_counts_as_absent(client: Client) -> None:
    client.send('{"type":"ping","id":null}')
    client.quiet()


def test_errors_without_id(client: Client, channel: str) -> None:
    client.send(type="unsubscribe", channel=channel)
    frame = client.next("error", channel)
    assert frame["code"] == "not_subscribed" and "id" not in frame
    client.send(type="history", channel=channel)
    frame = client.next("error", channel)
    assert frame["code"] == "bad_request" and "id" not in frame


# ---- frames


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "x", "1", "null", "true", '"ping"', "[]", '[{"type":"ping"}]', "{", "{}", '{"type":"ping"', '{"type":"ping"}}',
        '{"type":"ping",}', "{'type':'ping'}", '{"type":1}', '{"type":null}', '{"type":["ping"]}', '\ufeff{"type":"ping"}',
        '{"type":"ping","id":01}', '{"type":"ping" "id":1}', '{"type":"ping"}{"type":"ping"}', '{"type":"pi\nng"}',
        '{"type":"ping","id":NaN}', '{"type":"ping","x":"\\x41"}', '{"type":"ping","x":+1}', '{"type":"ping","x":1.}',
    ],
)  # fmt: skip
def test_no_frames(client: Client, text: str) -> None:
    client.refused("bad_request", text)
    client.quiet()


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"ping","type":"ping"}',
        '{"type":"ping","id":1,"id":1}',
        '{"type":"ping","i\\u0064":1,"id":2}',
        '{"type":"subscribe","channel":"plain.a","channel":"plain.a"}',
        '{"type":"publish","channel":"plain.a","data":1,"data":1}',
        '{"type":"subscribe","channel":"plain.a","from":"now","from":"now"}',
    ],
)
def test_field_given_twice(client: Client, text: str) -> None:
    client.refused("bad_request", text)
    client.quiet()


def test_unknown_fields_are_ignored(client: Client, channel: str) -> None:
    assert client.call("ping", foo=1, bar={"type": [None]}, Type="x")["type"] == "pong"
    client.send('{"x":1,"x":2,"type":"ping","id":"twice"}')
    assert client.reply("twice")["type"] == "pong"
    client.subscribe(channel, colour="red")
    client.publish(channel, data=1, ttl=5)
    assert client.next("message")["data"] == 1


def test_null_counts_as_absent(client: Client, channel: str) -> None:
    frame = client.call(
        "subscribe", channel=channel, filter=None, policy=None, interval=None, **{"from": None}
    )
    assert frame["type"] == "subscribed", frame
    client.publish(
        channel,
        data=1,
        key=None,
        headers=None,
        partition=None,
        text=None,
        binary=None,
        tombstone=None,
    )
    message = client.next("message")
    assert message["data"] == 1 and "key" not in message and "headers" not in message
    page = client.history(channel, until=None, limit=None, filter=None)
    assert data(page["messages"]) == [1]
    client.refused("bad_request", type="subscribe", channel=None)


def test_white_space_and_order_of_members_do_not_matter(client: Client, channel: str) -> None:
    client.send(f' {{ "channel" : "{channel}" ,\r\n\t"id":"a", "type" : "subscribe" }} ')
    assert client.reply("a")["type"] == "subscribed"
    client.send(
        f'{{"data":{{"type":"ping","id":3}},"id":"b","channel":"{channel}","type":"publish"}}'
    )
    assert client.reply("b")["type"] == "published"
    assert client.next("message")["data"] == {"type": "ping", "id": 3}


def test_unknown_type(client: Client) -> None:
    for name in ("nonsense", "", "Ping", "welcome", "message", "ping "):
        client.refused("unknown_type", type=name)
    client.quiet()


def test_ping(client: Client) -> None:
    assert client.call("ping") == {"type": "pong", "id": 1}


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "a..b", ".a", "a.", "a b", "a\tb", "a\nb", "\0", "a\x7fb", "a\u0085b", "a\u00a0b", "a\u2003b", "a\u3000b", "plain.*",
        "plain.**", "plain.{x}", "plain.}", "x" * 256, "é" * 128, 1, True, [], {}, ["plain.a"],
    ],
)  # fmt: skip
def test_names_that_are_no_channels(client: Client, name: Any) -> None:
    for type_ in ("subscribe", "unsubscribe", "history"):
        client.refused("bad_request", type=type_, channel=name)
    client.refused("bad_request", type="publish", channel=name, data=1)
    client.quiet()


@pytest.mark.parametrize(
    "name", ["Ä", "日本語.x", "a-b_c~1", "UPPER", "a/b:c", "x" * 200, "\U0001f600", "é" * 120]
)
def test_names_that_are_channels(client: Client, topic: str, name: str) -> None:
    channel = f"plain.{topic}.{name}"[:255]
    client.subscribe(channel)
    client.publish(channel, data=1)
    assert client.next("message", channel)["data"] == 1
    assert client.history(channel)["messages"][0]["channel"] == channel


def test_names_are_case_sensitive(client: Client, channel: str) -> None:
    client.subscribe(channel + ".a")
    client.publish(channel + ".A", data=1)
    client.quiet()


def test_missing_channel(client: Client) -> None:
    for type_ in ("subscribe", "unsubscribe", "history", "publish"):
        client.refused("bad_request", type=type_, data=1)


# ---- limits


def test_limit_of_subscriptions(start: Start, connect: Connect) -> None:
    client = connect(start(config(limits={"subscriptions": 3})))
    assert client.welcome["limits"]["subscriptions"] == 3
    for i in range(3):
        client.subscribe(f"plain.{i}")
    frame = client.refused("limit", type="subscribe", channel="plain.3")
    assert frame["limit"] == "limits.subscriptions" and frame["channel"] == "plain.3"
    client.unsubscribe("plain.1")
    client.subscribe("plain.3")


def test_a_hundred_subscriptions_in_one_burst(client: Client, channel: str) -> None:
    asked = [client.ask("subscribe", channel=f"{channel}.{i}") for i in range(100)]
    assert all(client.reply(number)["type"] == "subscribed" for number in asked)
    for i in range(100):
        client.publish(f"{channel}.{i}", data=i)
    assert sorted(m["data"] for m in (client.next("message") for _ in range(100))) == list(
        range(100)
    )


def test_too_many_errors(connect: Connect) -> None:
    client = connect()
    for i in range(99):
        client.refused("unknown_type", type="x", id=i)
    client.quiet()
    client = connect()
    for i in range(100):
        client.send(type="x", id=i)
    assert client.closed() == 4501
    assert [f["id"] for f in client.kept] == list(range(100))
