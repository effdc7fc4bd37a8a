"""Reading the past against a model: a log in Python, asked the same questions at random."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from client import Client, Frame, at, cursor_of, ordinal
from conftest import Start
from server import config

Connect = Callable[..., Client]

KEYS = ["a", "b", "c", "rare"]
WHOLE = "whole.t"
HISTORY = 60
MOST = 25


class Log:
    """What a memory bus with `history` messages has of one topic."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.keys: list[str | None] = []

    @property
    def last(self) -> int:
        return len(self.keys)

    @property
    def first(self) -> int:
        return max(1, self.last - HISTORY + 1)

    def between(self, after: int, until: int, key: str | None) -> list[int]:
        """Ids of messages in (after, until] that are still there."""
        low = max(after + 1, self.first)
        return [
            i
            for i in range(low, min(until, self.last) + 1)
            if key is None or self.keys[i - 1] == key
        ]

    def place(self, n: int) -> list[str]:
        return [at(self.origin, n)]


def key_of(channel: str) -> str | None:
    return None if channel == WHOLE else channel.rpartition(".")[2]


def grow(rng: random.Random, client: Client, log: Log) -> None:
    for _ in range(rng.choice([0, 1, 3, 30])):
        key = rng.choices([*KEYS, None], [10, 10, 5, 1, 3])[0]
        more: dict[str, Any] = {} if key is None else {"key": key}
        pos = client.publish(WHOLE, data=log.last + 1, **more)
        log.keys.append(key)
        assert ordinal(pos) == log.last


def ask_after(rng: random.Random, log: Log) -> tuple[dict[str, Any], int | None, str | None]:
    """A cursor, the place from which it reads (None: it names none), why it cannot be kept."""
    n = rng.randint(0, log.last + 3)
    if rng.random() < 0.1:
        lost = "expired" if log.first > 1 else None
        return {"after": []}, 0, lost
    if rng.random() < 0.1:
        return {"after": ["0/zzzzz-3"]}, 0, "epoch"
    cursor = {"after": log.place(n)}
    if n > log.last:
        return cursor, 0, "epoch"
    return cursor, n, "expired" if n + 1 < log.first else None


def newest(found: list[int], count: int) -> list[int]:
    return found[len(found) - count :] if count < len(found) else found


def expect_replay(
    rng: random.Random, log: Log, key: str | None
) -> tuple[Any, list[int], bool | None, str | None, bool]:
    """from, the ids to come, recovered, reason, whether a gap comes first."""
    kind = rng.choice(["earliest", "after", "after", "after", "last", "last", "time"])
    if kind == "after":
        from_, n, reason = ask_after(rng, log)
        assert n is not None
        want = log.between(n, log.last, key)
        if reason is None and len(want) > MOST:
            reason = "limit"
        return from_, newest(want, MOST), reason is None, reason, False
    want = log.between(0, log.last, key)
    if kind == "last":
        count = rng.choice([0, 1, 2, 5, MOST, MOST + 1, 1000])
        wanted = newest(want, count)
        return {"last": count}, newest(wanted, MOST), None, None, len(wanted) > MOST
    if kind == "time" and rng.random() < 0.5:
        return {"time": 2**53 - 1}, [], None, None, False
    from_ = {"time": 0} if kind == "time" else "earliest"
    return from_, newest(want, MOST), None, None, len(want) > MOST


def take_replay(client: Client, channel: str) -> tuple[list[Frame], list[Frame], Frame]:
    gaps, messages = [], []
    while (frame := client.next(channel=channel))["type"] != "live":
        if frame["type"] == "gap":
            assert not messages, "a gap comes before the replay"
            gaps.append(frame)
        else:
            assert frame["type"] == "message", frame
            messages.append(frame)
    return gaps, messages, frame


def check_subscribe(rng: random.Random, client: Client, log: Log, channel: str) -> None:
    key = key_of(channel)
    from_, want, recovered, reason, gap = expect_replay(rng, log, key)
    frame = client.subscribe(channel, from_)
    gaps, messages, live = take_replay(client, channel)
    about = (channel, from_, frame, gaps, log.first, log.last)
    found = [m["data"] for m in messages]
    if isinstance(from_, dict) and from_.get("last") == 1 and key and not want:
        assert len(found) <= 1  # the newest of its key may be kept longer than the log
    else:
        assert found == want, about
    assert frame.get("recovered") == recovered and frame.get("reason") == reason, about
    assert [g["reason"] for g in gaps] == (["limit"] if gap else []), about
    assert live["cursor"] == log.place(log.last), about
    # `cursor`: just before the first message to come, and nothing of the channel in between.
    start = ordinal(cursor_of(frame))
    assert log.between(start, log.last, key) == want or found != want, about
    for g in gaps:
        assert g["until"] == frame["cursor"], about
    client.unsubscribe(channel)


def check_history(rng: random.Random, client: Client, log: Log, channel: str) -> None:
    key = key_of(channel)
    until = rng.choice([log.last, rng.randint(0, log.last + 3)])
    named = until != log.last or rng.random() < 0.5
    more: dict[str, Any] = {"until": log.place(until)} if named else {}
    limit = rng.choice([1, 2, 7, 1000])
    reason: str | None = None
    recovered: bool | None = None
    kind = rng.choice(["earliest", "after", "last"])
    if kind == "after":
        from_, n, reason = ask_after(rng, log)
        assert n is not None
        want = log.between(n, until, key)
        recovered = reason is None
    else:
        count = rng.choice([0, 1, 3, MOST])
        want = log.between(0, until, key)
        want = newest(want, count) if kind == "last" else want
        from_ = {"last": count} if kind == "last" else "earliest"
    page = client.history(channel, from_, limit=limit, **more)
    about = (channel, from_, more, limit, page, log.first, log.last, want)
    found = [m["data"] for m in page["messages"]]
    # A page ends early where it has looked at `max_messages`.
    assert found == want[: len(found)] and len(found) <= limit, about
    assert len(found) == min(limit, len(want)) or page["more"], about
    assert page.get("recovered") == recovered and page.get("reason") == reason, about
    before, cursor = ordinal(page["before"][0]), ordinal(cursor_of(page))
    assert before <= cursor, about
    if found:
        assert before < found[0] and cursor >= found[-1], about
        assert log.between(before, found[0] - 1, key) == [] or kind == "after", about
    assert log.between(cursor, until, key) == want[len(found) :], about
    while page["more"]:
        page = client.history(channel, {"after": page["cursor"]}, limit=1000, **more)
        assert page["recovered"] is True and page["before"] == log.place(cursor), about
        cursor = ordinal(cursor_of(page))
        found += [m["data"] for m in page["messages"]]
    assert found == want, about


@pytest.mark.parametrize("ring", [0, 5, 40, 60])
def test_the_past_agrees_with_a_model(start: Start, connect: Connect, ring: int) -> None:
    """Whatever the ring holds of the log, the answers are the same."""
    rng = random.Random(ring)
    special = start(
        config(
            buses={"m": {"type": "memory", "history": HISTORY}},
            replay={"ring_messages": ring, "max_messages": MOST},
            linger=rng.choice([0, 5000]),
        )
    )
    client, keeper = connect(special), connect(special)
    keeper.subscribe(WHOLE)  # the feed lives, so that there is a ring
    log = Log(cursor_of(client.history(WHOLE)))
    channels = [WHOLE, *(f"keyed.t.{key}" for key in [*KEYS, "never"])]
    for _ in range(250):
        grow(rng, client, log)
        check = rng.choice([check_subscribe, check_history])
        check(rng, client, log, rng.choice(channels))
    client.quiet()
    got = [keeper.next("message")["data"] for _ in range(log.last)]
    assert got == list(range(1, log.last + 1))
