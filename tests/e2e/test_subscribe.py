"""subscribe and unsubscribe."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from client import Client, Frame, at, cursor_of, data, ordinal, split

Connect = Callable[..., Client]


def test_subscribe_now(client: Client, channel: str) -> None:
    client.publish(channel, data="old")
    frame = client.subscribe(channel)
    assert "recovered" not in frame and "reason" not in frame
    assert ordinal(cursor_of(frame)) == 1
    pos = client.publish(channel, data="new")
    message = client.next("message", channel)
    assert message["data"] == "new" and message["pos"] == pos == at(cursor_of(frame), 2)
    client.quiet()


def test_subscribe_to_an_empty_channel(client: Client, channel: str) -> None:
    frame = client.subscribe(channel, "now")
    partition, epoch, n = split(cursor_of(frame))
    assert partition == "0" and n == 0
    assert split(client.publish(channel, data=1)) == ("0", epoch, 1)


@pytest.mark.parametrize(
    "from_", ["earliest", {"after": []}, {"time": 0}, {"last": 5}, {"ago": 10**12}]
)
def test_past_of_an_empty_channel(client: Client, channel: str, from_: Any) -> None:
    frame = client.subscribe(channel, from_)
    assert ordinal(cursor_of(frame)) == 0
    assert frame.get("recovered") is (True if "after" in from_ else None)
    assert cursor_of(client.next("live", channel)) == cursor_of(frame)
    client.publish(channel, data=1)
    assert client.next("message")["data"] == 1
    client.quiet()


def test_subscribe_earliest(client: Client, channel: str) -> None:
    positions = client.publish_many(channel, 300)
    frame = client.subscribe(channel, "earliest")
    assert cursor_of(frame) == at(positions[0], 0) and "recovered" not in frame
    messages = client.messages(channel, 300)
    assert data(messages) == list(range(1, 301))
    assert [m["pos"] for m in messages] == positions
    assert cursor_of(client.next("live", channel)) == positions[-1]
    client.publish(channel, data=301)
    assert client.next("message")["data"] == 301
    client.quiet()


@pytest.mark.parametrize("seen", [0, 1, 17, 49, 50])
def test_subscribe_after(client: Client, channel: str, seen: int) -> None:
    positions = client.publish_many(channel, 50)
    frame = client.subscribe(channel, {"after": [at(positions[0], seen)]})
    assert frame["recovered"] is True and "reason" not in frame
    assert cursor_of(frame) == at(positions[0], seen)
    assert data(client.messages(channel, 50 - seen)) == list(range(seen + 1, 51))
    assert cursor_of(client.next("live", channel)) == positions[-1]
    client.quiet()


def test_empty_cursor_reads_everything(client: Client, channel: str) -> None:
    client.publish_many(channel, 3)
    frame = client.subscribe(channel, {"after": []})
    assert frame["recovered"] is True and ordinal(cursor_of(frame)) == 0
    assert data(client.messages(channel, 3)) == [1, 2, 3]
    client.next("live", channel)
    page = client.history(channel, {"after": []})
    assert page["recovered"] is True and data(page["messages"]) == [1, 2, 3]


@pytest.mark.parametrize("count", [0, 1, 7, 20, 21, 10**9, 2**53 - 1])
def test_subscribe_last(client: Client, channel: str, count: int) -> None:
    positions = client.publish_many(channel, 20)
    frame = client.subscribe(channel, {"last": count})
    first = max(20 - count, 0)
    assert cursor_of(frame) == at(positions[0], first) and "recovered" not in frame
    assert data(client.messages(channel, 20 - first)) == list(range(first + 1, 21))
    assert cursor_of(client.next("live", channel)) == positions[-1]
    client.quiet()


def test_subscribe_time(client: Client, channel: str) -> None:
    client.publish_many(channel, 3)
    time.sleep(0.03)
    client.publish_many(channel, 3, first=4)
    stamps = [m["ts"] for m in client.history(channel)["messages"]]
    assert abs(stamps[0] - time.time() * 1000) < 60_000 and stamps == sorted(stamps)
    assert stamps[3] > stamps[2]
    client.subscribe(channel, {"time": stamps[3]})
    assert data(client.messages(channel, 3)) == [4, 5, 6]
    client.next("live", channel)
    client.unsubscribe(channel)
    client.subscribe(channel, {"time": stamps[2] + 1})
    assert data(client.messages(channel, 3)) == [4, 5, 6]
    client.next("live", channel)
    client.unsubscribe(channel)
    frame = client.subscribe(channel, {"time": 2**53 - 1})
    assert ordinal(cursor_of(frame)) == 6
    client.next("live", channel)
    client.quiet()


def test_subscribe_ago(client: Client, channel: str) -> None:
    client.publish(channel, data="old")
    time.sleep(2)  # the time between two messages is what is tested
    client.publish(channel, data="new")
    old, new = (m["ts"] for m in client.history(channel)["messages"])
    client.subscribe(channel, {"ago": 60_000})
    assert data(client.messages(channel, 2)) == ["old", "new"]
    client.next("live", channel)
    client.unsubscribe(channel)
    client.subscribe(channel, {"ago": int(time.time() * 1000) - (old + new) // 2})
    assert client.next("message")["data"] == "new"
    client.next("live", channel)
    client.unsubscribe(channel)
    while int(time.time() * 1000) <= new:
        time.sleep(0.001)  # all of the above may fit into one millisecond
    client.subscribe(channel, {"ago": 0})
    client.next("live", channel)
    client.quiet()


def test_live_comes_only_if_from_asked_for_the_past(client: Client, channel: str) -> None:
    client.publish(channel, data=1)
    client.subscribe(channel, "now")
    client.publish(channel, data=2)
    client.next("message")
    client.quiet()


FROMS: list[Any] = [
    "", "later", "Now", 1, True, [], {}, {"after": "x"}, {"after": [1]}, {"after": [None]}, {"after": {}}, {"after": ["x"]},
    {"after": ["0"]}, {"after": ["0/"]}, {"after": ["/x-1"]}, {"after": ["-1/x-1"]}, {"after": ["00/x-1"]}, {"after": ["0/x-"]},
    {"after": ["0/-1"]}, {"after": ["0/x-y"]}, {"after": ["0/X-1"]}, {"after": ["0/x-1 "]}, {"after": ["0/x-99999999999999999999999"]},
    {"after": ["0/x-1", "0/x-2"]}, {"after": [f"{i}/x-1" for i in range(1025)]}, {"after": ["99999999999999/x-1"]},
    {"time": "1"}, {"time": -1}, {"time": 1.5}, {"time": 2**53}, {"ago": -1}, {"ago": "5"}, {"ago": 2**53},
    {"last": -1}, {"last": 2**53}, {"last": "1"}, {"last": True}, {"last": 1, "time": 1}, {"after": [], "last": 1}, {"foo": 1},
]  # fmt: skip


@pytest.mark.parametrize("from_", FROMS, ids=lambda value: json.dumps(value)[:40])
def test_from_that_is_none(client: Client, channel: str, from_: Any) -> None:
    frame = client.refused("bad_request", {"type": "subscribe", "channel": channel, "from": from_})
    assert frame["channel"] == channel
    client.refused("bad_request", {"type": "history", "channel": channel, "from": from_})
    client.subscribe(channel)


def test_what_is_not_supported_is_refused(client: Client, channel: str) -> None:
    ask = {"type": "subscribe", "channel": channel}
    client.refused("unsupported", {**ask, "from": "snapshot"})
    client.refused("unsupported", {**ask, "filter": {"key": "a"}})
    client.refused("unsupported", {**ask, "policy": "conflate"})
    client.refused("unsupported", {**ask, "policy": "conflate", "interval": 100})
    client.refused("unsupported", {"type": "history", "channel": channel, "filter": {"key": "a"}})
    client.refused("unsupported", {"type": "history", "channel": channel, "from": "snapshot"})
    client.refused("unsupported", {"type": "auth", "token": "x"})
    client.subscribe(channel)


def test_policy_that_is_none(client: Client, channel: str) -> None:
    policies: list[Any] = ["", "foo", 1, []]
    for policy in policies:
        client.refused("bad_request", type="subscribe", channel=channel, policy=policy)


def test_already_subscribed(client: Client, channel: str) -> None:
    client.subscribe(channel)
    frame = client.refused("already_subscribed", type="subscribe", channel=channel)
    assert frame["channel"] == channel
    client.publish(channel, data=1)
    client.next("message")
    client.quiet()


def test_already_subscribed_while_subscribing(client: Client, channel: str) -> None:
    first = client.ask("subscribe", channel=channel)
    second = client.ask("subscribe", channel=channel, from_="earliest")
    assert client.reply(first)["type"] == "subscribed"
    assert client.reply(second)["code"] == "already_subscribed"


def test_not_subscribed(client: Client, channel: str) -> None:
    assert (
        client.refused("not_subscribed", type="unsubscribe", channel=channel)["channel"] == channel
    )
    client.subscribe(channel)
    client.unsubscribe(channel)
    client.refused("not_subscribed", type="unsubscribe", channel=channel)


def test_unsubscribe(connect: Connect, channel: str) -> None:
    reader, writer = connect(), connect()
    reader.subscribe(channel)
    writer.publish_many(channel, 10)
    assert data(reader.messages(channel, 10)) == list(range(1, 11))
    frame = reader.unsubscribe(channel)
    assert "reason" not in frame
    writer.publish_many(channel, 10)
    reader.quiet()


def test_unsubscribe_in_the_midst_of_a_replay(client: Client, channel: str) -> None:
    client.publish_many(channel, 2000)
    subscribed = client.ask("subscribe", channel=channel, from_="earliest")
    ended = client.ask("unsubscribe", channel=channel)
    assert client.next("subscribed")["id"] == subscribed
    frame = client.next()
    while frame["type"] in ("message", "live"):
        frame = client.next()
    assert frame["type"] == "unsubscribed" and frame["id"] == ended
    client.quiet()


def test_resubscribe_without_waiting(client: Client, channel: str) -> None:
    client.publish_many(channel, 5)
    client.subscribe(channel)
    asked = []
    for _ in range(20):
        asked.append(client.ask("unsubscribe", channel=channel))
        asked.append(client.ask("subscribe", channel=channel, from_={"last": 2}))
    last = client.ask("publish", channel=channel, data=6)
    got: list[Frame] = []
    published = False  # its answer may come before or after the message
    while not published or asked[-1] not in [f.get("id") for f in got] or not whole(tail(got)):
        frame = client.next()
        if frame.get("id") == last:
            published = True
        else:
            got.append(frame)
    assert [f["id"] for f in got if "id" in f] == asked
    rounds = "".join(letter(f) for f in got)
    assert re.fullmatch(r"(us(mml|mm|m|))*us(mmlm|mmml|mml)", rounds), rounds
    # Which are the last two is looked for when it is the subscription's turn: 6 may be one of them.
    assert data([f for f in tail(got) if f["type"] == "message"]) in ([4, 5, 6], [5, 6])
    client.quiet()


def letter(frame: Frame) -> str:
    return {"unsubscribed": "u", "subscribed": "s", "message": "m", "live": "l"}[frame["type"]]


def whole(frames: list[Frame]) -> bool:
    return any(f["type"] == "live" for f in frames) and any(f.get("data") == 6 for f in frames)


def tail(frames: list[Frame]) -> list[Frame]:
    """What came since the newest subscription began."""
    starts = [i for i, frame in enumerate(frames) if frame["type"] == "subscribed"]
    return frames[starts[-1] :] if starts else []


def test_subscribe_unsubscribe_at_once_leaves_nothing(connect: Connect, channel: str) -> None:
    client, writer = connect(), connect()
    for _ in range(50):
        client.send(type="subscribe", channel=channel)
        client.send(type="unsubscribe", channel=channel)
    client.quiet()
    writer.publish(channel, data=1)
    client.quiet()
    client.refused("not_subscribed", type="unsubscribe", channel=channel)


def test_many_subscribers(connect: Connect, channel: str) -> None:
    readers = [connect() for _ in range(20)]
    for reader in readers:
        reader.subscribe(channel)
    connect().publish_many(channel, 100)
    raws = [[m.raw for m in reader.messages(channel, 100)] for reader in readers]
    assert all(raw == raws[0] for raw in raws), (
        "a message frame holds nothing that depends on the receiver"
    )
