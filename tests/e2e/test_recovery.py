"""What a cursor brings back, and what it cannot: recovered, gap, position."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from client import Client, at, cursor_of, data, ordinal
from conftest import Start
from server import config

Connect = Callable[..., Client]


def test_expired(start: Start, connect: Connect) -> None:
    special = start(config(buses={"m": {"type": "memory", "history": 10}}))
    client = connect(special)
    positions = client.publish_many("plain.a", 30)
    page = client.history("plain.a")
    assert data(page["messages"]) == list(range(21, 31)) and page["before"] == [positions[19]]
    frame = client.subscribe("plain.a", {"after": [positions[4]]})
    assert frame["recovered"] is False and frame["reason"] == "expired"
    assert cursor_of(frame) == positions[19], (
        "the place just before the first message that will come"
    )
    assert data(client.messages("plain.a", 10)) == list(range(21, 31))
    client.next("live")
    client.unsubscribe("plain.a")

    # P itself is gone, but every message after it is still there.
    frame = client.subscribe("plain.a", {"after": [positions[19]]})
    assert frame["recovered"] is True
    assert data(client.messages("plain.a", 10)) == list(range(21, 31))
    client.next("live")
    client.unsubscribe("plain.a")

    page = client.history("plain.a", {"after": [positions[4]]}, limit=3)
    assert page["recovered"] is False and page["reason"] == "expired"
    assert data(page["messages"]) == [21, 22, 23] and page["more"] is True

    # The empty cursor reads from the beginning of the partition, which is gone.
    page = client.history("plain.a", {"after": []}, limit=3)
    assert data(page["messages"]) == [21, 22, 23]
    page = client.history("plain.a", {"after": [at(positions[0], 0)]}, limit=3)
    assert page["recovered"] is False and page["reason"] == "expired"


def test_epoch(start: Start, connect: Connect, client: Client, channel: str) -> None:
    first = start(config())
    old = connect(first)
    cursor = [old.publish_many("plain.a", 5)[2]]
    old.close()
    first.stop()
    second = start(config())
    new = connect(second)
    new.publish_many("plain.a", 4, first=100)
    frame = new.subscribe("plain.a", {"after": cursor})
    assert frame["recovered"] is False and frame["reason"] == "epoch"
    assert ordinal(cursor_of(frame)) == 0
    assert data(new.messages("plain.a", 4)) == [100, 101, 102, 103]
    new.next("live")
    page = new.history("plain.a", {"after": cursor})
    assert page["recovered"] is False and page["reason"] == "epoch"
    assert data(page["messages"]) == [100, 101, 102, 103]


def test_epoch_beyond_the_end(client: Client, channel: str) -> None:
    positions = client.publish_many(channel, 3)
    frame = client.subscribe(channel, {"after": [at(positions[0], 4)]})
    assert frame["recovered"] is False and frame["reason"] == "epoch"
    assert data(client.messages(channel, 3)) == [1, 2, 3]
    client.next("live")


def test_limit(start: Start, connect: Connect) -> None:
    client = connect(start(config(replay={"max_messages": 50})))
    positions = client.publish_many("plain.a", 200)
    frame = client.subscribe("plain.a", {"after": [positions[9]]})
    assert frame["recovered"] is False and frame["reason"] == "limit"
    assert cursor_of(frame) == positions[149]
    assert data(client.messages("plain.a", 50)) == list(range(151, 201))
    client.next("live")
    client.unsubscribe("plain.a")

    frame = client.subscribe("plain.a", {"after": [positions[149]]})
    assert frame["recovered"] is True
    assert data(client.messages("plain.a", 50)) == list(range(151, 201))
    client.next("live")
    client.unsubscribe("plain.a")

    for from_ in ("earliest", {"last": 100}, {"time": 0}):
        frame = client.subscribe("plain.a", from_)
        assert "recovered" not in frame
        gap = client.next("gap", "plain.a")
        assert gap["reason"] == "limit"
        assert gap["until"] == [positions[149]]
        assert gap["after"] == [] or ordinal(gap["after"][0]) <= 100
        assert data(client.messages("plain.a", 50)) == list(range(151, 201))
        client.next("live")
        client.unsubscribe("plain.a")
    client.subscribe("plain.a", {"last": 50})
    assert data(client.messages("plain.a", 50)) == list(range(151, 201))
    client.next("live")


def test_gap_can_be_fetched_by_history(start: Start, connect: Connect) -> None:
    client = connect(start(config(replay={"max_messages": 50})))
    client.publish_many("plain.a", 80)
    client.subscribe("plain.a", "earliest")
    gap = client.next("gap", "plain.a")
    page = client.history("plain.a", {"after": gap["after"]}, until=gap["until"])
    live = [f for f in client.kept if f["type"] == "message"]
    live += client.messages("plain.a", 50)[len(live) :] if len(live) < 50 else []
    assert data(page["messages"]) == list(range(1, 31)) and page["recovered"] is True
    if "lost" in gap:
        assert gap["lost"] == 30


@pytest.mark.long
@pytest.mark.timeout(200)
def test_position(client: Client, topic: str) -> None:
    """The log of the topic moves on with other keys only: a position frame tells."""
    frame = client.subscribe(f"keyed.{topic}.a")
    last = client.publish_many(f"keyed.{topic}.b", 5)[-1]
    assert cursor_of(frame) == at(last, 0)
    started = time.monotonic()
    assert client.next("position", f"keyed.{topic}.a", timeout=70)["cursor"] == [last]
    last = client.publish_many(f"keyed.{topic}.b", 5)[-1]
    assert client.next("position", f"keyed.{topic}.a", timeout=70)["cursor"] == [last]
    assert time.monotonic() - started > 55
    client.publish(f"keyed.{topic}.a", data=1)
    assert client.next("message")["data"] == 1
