"""history."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from client import Client, at, cursor_of, data, ordinal

Connect = Callable[..., Client]


def test_history_of_an_empty_channel(client: Client, channel: str) -> None:
    page = client.history(channel)
    assert page["messages"] == [] and page["more"] is False
    assert page["cursor"] == page["before"] and ordinal(cursor_of(page)) == 0
    assert "recovered" not in page


def test_history_holds_the_very_frames(client: Client, channel: str) -> None:
    client.subscribe(channel)
    client.publish(channel, data={"a": 1.50}, key="k", headers={"h": "v"})
    client.publish(channel, text="x")
    client.publish(channel, tombstone=True, key="k")
    live = [client.next("message") for _ in range(3)]
    page = client.history(channel)
    assert page["messages"] == live
    assert ",".join(m.raw for m in live) in page.raw


def test_history_defaults(client: Client, channel: str) -> None:
    client.publish_many(channel, 150)
    page = client.history(channel)
    assert data(page["messages"]) == list(range(1, 101)) and page["more"] is True
    assert ordinal(cursor_of(page)) == 100 and ordinal(page["before"][0]) == 0


@pytest.mark.parametrize("limit", [0, -1, 1.5, "10", True, []])
def test_history_limit_that_is_none(client: Client, channel: str, limit: Any) -> None:
    client.refused("bad_request", type="history", channel=channel, limit=limit)


def test_history_limit_is_cut(client: Client, channel: str) -> None:
    most = client.welcome["limits"]["history"]
    client.publish_many(channel, most + 10)
    page = client.history(channel, limit=most + 5)
    assert data(page["messages"]) == list(range(1, most + 1)) and page["more"] is True
    assert len(client.history(channel, limit=2**53 - 1)["messages"]) == most


@pytest.mark.parametrize("limit", [1, 7, 100, 250])
def test_paging_forwards(client: Client, channel: str, limit: int) -> None:
    total = 1234 if limit > 1 else 123
    client.publish_many(channel, total)
    got: list[int] = []
    page = client.history(channel, limit=limit)
    before: list[str] = page["before"]
    while True:
        assert page["before"] == before, "pages join without a hole"
        got += data(page["messages"])
        before = page["cursor"]
        if not page["more"]:
            break
        assert len(page["messages"]) == limit
        page = client.history(channel, {"after": before}, limit=limit)
        assert page["recovered"] is True
    assert got == list(range(1, total + 1))
    client.publish(channel, data=total + 1)
    frame = client.subscribe(channel, {"after": before})
    assert frame["recovered"] is True
    assert client.next("message")["data"] == total + 1
    client.next("live")


@pytest.mark.parametrize("limit", [7, 100, 250])
def test_paging_backwards(client: Client, channel: str, limit: int) -> None:
    client.publish_many(channel, 1234)
    got: list[int] = []
    page = client.history(channel, {"last": limit}, limit=limit)
    while page["messages"]:
        assert len(page["messages"]) == min(limit, 1234 - len(got))
        got = data(page["messages"]) + got
        page = client.history(channel, {"last": limit}, until=page["before"], limit=limit)
    assert got == list(range(1, 1235))
    assert ordinal(page["before"][0]) == 0


def test_history_until(client: Client, channel: str) -> None:
    positions = client.publish_many(channel, 20)
    page = client.history(channel, {"after": [positions[4]]}, until=[positions[9]])
    assert data(page["messages"]) == [6, 7, 8, 9, 10], "after is exclusive, until inclusive"
    assert page["more"] is False and page["recovered"] is True and cursor_of(page) == positions[9]
    page = client.history(channel, {"last": 3}, until=[positions[9]])
    assert data(page["messages"]) == [8, 9, 10]
    page = client.history(channel, until=[positions[9]], limit=4)
    assert data(page["messages"]) == [1, 2, 3, 4] and page["more"] is True
    page = client.history(channel, {"after": page["cursor"]}, until=[positions[9]], limit=6)
    assert data(page["messages"]) == [5, 6, 7, 8, 9, 10] and page["more"] is False
    page = client.history(channel, {"after": [positions[9]]}, until=[positions[4]])
    assert page["messages"] == [] and page["more"] is False
    page = client.history(channel, until=[])
    assert len(page["messages"]) == 20, (
        "a partition that until does not name is read to its present end"
    )
    page = client.history(channel, until=[at(positions[0], 0)])
    assert page["messages"] == [] and page["more"] is False


def test_history_until_that_is_none(client: Client, channel: str) -> None:
    untils: list[Any] = ["x", {}, 1, ["x"], ["0/a-1", "0/a-2"], [1], True]
    for until in untils:
        client.refused("bad_request", type="history", channel=channel, until=until)


def test_history_by_time(client: Client, channel: str) -> None:
    client.publish_many(channel, 2)
    time.sleep(0.03)
    client.publish_many(channel, 2, first=3)
    stamps = [m["ts"] for m in client.history(channel)["messages"]]
    assert data(client.history(channel, {"time": stamps[2]})["messages"]) == [3, 4]
    assert data(client.history(channel, {"ago": 60_000})["messages"]) == [1, 2, 3, 4]
    assert data(client.history(channel, "now")["messages"]) == []
    assert data(client.history(channel, {"last": 0})["messages"]) == []


def test_history_page_ends_at_256_kib(client: Client, channel: str) -> None:
    for i in range(20):
        client.publish(channel, text=f"{i:02}" + "x" * 30_000)
    page = client.history(channel, limit=100)
    size = sum(len(m["text"]) for m in page["messages"])
    assert page["more"] is True and 256 * 1024 - 31_000 < size < 256 * 1024 + 31_000, size
    got = [m["text"][:2] for m in page["messages"]]
    while page["more"]:
        page = client.history(channel, {"after": page["cursor"]}, limit=100)
        got += [m["text"][:2] for m in page["messages"]]
    assert got == [f"{i:02}" for i in range(20)]


def test_history_burst_is_answered_each_once(client: Client, channel: str) -> None:
    """One at a time and 16 waiting: what is beyond is busy, and every id has its one reply."""
    client.publish_many(channel, 1000)
    asked = [client.ask("history", channel=channel, limit=1000) for _ in range(100)]
    replies = [client.reply(number) for number in asked]
    done = [r for r in replies if r["type"] == "history"]
    busy = [r for r in replies if r["type"] == "error"]
    assert len(done) >= 17 and all(r["code"] == "busy" and r["retry"] is True for r in busy)
    assert all(r["messages"] == done[0]["messages"] for r in done)
    client.quiet()
