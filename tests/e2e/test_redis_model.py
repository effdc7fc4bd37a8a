"""The past of a stream against a model: what Redis knows of it, asked the same questions at random."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import redis

from client import Client, Frame
from conftest import Start
from redis_server import VERSION, Redis, bridge_config
from server import WORKERS

Connect = Callable[..., Client]
Id = tuple[int, int]

KEYS = ["a", "b", "rare"]
TOP = 2**64 - 1
ZERO = (0, 0)


def text(id: Id) -> str:
    return f"{id[0]}-{id[1]}"


def parse(pos: str) -> Id:
    ms, _, seq = pos.removeprefix("0/").partition("-")
    return int(ms), int(seq)


def before(id: Id) -> Id:
    return (id[0], id[1] - 1) if id[1] else (id[0] - 1, TOP) if id[0] else ZERO


class Stream:
    """A stream of Redis 7 as XINFO STREAM shows it, beside the real one."""

    def __init__(self, program: redis.Redis) -> None:
        self.program = program
        self.values = self.names = 0
        self.forget()

    @property
    def topic(self) -> str:
        return f"t{self.names}"

    @property
    def name(self) -> str:
        return f"st.{self.topic}"

    def rename(self) -> None:
        """To a name that the bridge has not heard of: nobody follows it, nothing of it is in a ring."""
        old = self.name
        self.names += 1
        if self.program.exists(old):
            self.program.rename(old, self.name)

    def forget(self) -> None:
        self.entries: list[tuple[Id, int, str | None]] = []
        self.last, self.deleted, self.added = ZERO, ZERO, 0

    def add(self, rng: random.Random) -> None:
        ms = self.last[0] + rng.choice([0, 0, 1, 5, 1000])
        id = (
            (ms, self.last[1] + rng.choice([1, 7]))
            if ms == self.last[0]
            else (ms, rng.choice([0, 3]))
        )
        key = rng.choices([*KEYS, None], [10, 5, 1, 3])[0]
        self.values += 1
        fields = {"data": self.values, **({} if key is None else {"key": key})}
        self.program.xadd(self.name, fields, id=text(id))  # type: ignore[arg-type]
        self.entries.append((id, self.values, key))
        self.last = id
        self.added += 1

    def trim(self, count: int) -> None:
        self.program.xtrim(self.name, maxlen=count, approximate=False)
        self.entries = self.entries[len(self.entries) - count :] if count < len(self.entries) else self.entries  # fmt: skip

    def delete(self, rng: random.Random) -> None:
        if self.entries:
            gone = rng.choice(self.entries)
            self.program.xdel(self.name, text(gone[0]))
            self.entries.remove(gone)
            self.deleted = max(self.deleted, gone[0])

    def change(self, rng: random.Random, *, removing: bool, deleting: bool) -> None:
        what = rng.random()
        if what < 0.7:
            for _ in range(rng.choice([1, 3, 20])):
                self.add(rng)
        elif what < 0.75 and removing:
            self.trim(rng.randrange(len(self.entries) + 1))
        elif what < 0.80 and removing:
            self.delete(rng)
        elif what < 0.81 and deleting:
            self.program.delete(self.name)
            self.forget()

    @property
    def origin(self) -> Id:
        """The place before the first entry there is."""
        return before(self.entries[0][0]) if self.entries else self.last

    def between(self, after: Id, until: Id, key: str | None) -> list[int]:
        return [v for id, v, k in self.entries if after < id <= until and key in (None, k)]

    def whole_after(self, place: Id) -> tuple[bool, str | None]:
        """Whether Redis can show that nothing after the place is gone; if not, why.

        Without a reason single entries were deleted: then it goes on from the place, otherwise from
        the oldest entry.
        """
        if place > self.last:
            return False, "epoch"
        counted = VERSION >= (7, 0)  # before, Redis does not know what was removed
        if place < self.origin:
            if not counted or self.added != len(self.entries):
                return False, "expired"
            # Nothing was ever removed, so a place here that is not the first of all is of another log.
            return place == ZERO, None if place == ZERO else "epoch"
        return not counted or self.deleted <= place, None


def a_place(rng: random.Random, stream: Stream) -> Id:
    ids = [id for id, _, _ in stream.entries] or [stream.last]
    id = rng.choice([*ids, stream.last, stream.origin, ZERO])
    return rng.choice([id, id, id, before(id), (id[0], id[1] + 1), (id[0] + 2, 0)])


def key_of(channel: str) -> str | None:
    return None if channel.startswith("st.") else channel.rpartition(".")[2]


def newest(found: list[int], count: int) -> list[int]:
    return found[len(found) - count :] if count < len(found) else found


def a_question(
    rng: random.Random, stream: Stream, key: str | None, until: Id
) -> tuple[Any, list[int], bool | None, str | None]:
    """from, the values to come, recovered, reason."""
    kind = rng.choice(["earliest", "after", "after", "after", "last", "last", "time"])
    if kind == "after":
        place = ZERO if rng.random() < 0.1 else a_place(rng, stream)
        cursor = [] if place == ZERO and rng.random() < 0.5 else [f"0/{text(place)}"]
        whole, reason = stream.whole_after(place)
        start = place if whole or reason is None else ZERO
        return (
            {"after": cursor},
            stream.between(start, until, key),
            whole,
            reason,
        )
    if kind == "time":
        t = a_place(rng, stream)[0] + rng.choice([0, 0, 1])
        return {"time": t}, stream.between(before((t, 0)), until, key), None, None
    want = stream.between(ZERO, until, key)
    if kind == "last":
        count = rng.choice([0, 1, 2, 5, 30, 1000])
        return {"last": count}, newest(want, count), None, None
    return "earliest", want, None, None


def take_replay(client: Client, channel: str) -> tuple[list[Frame], Frame]:
    messages = []
    while (frame := client.next(channel=channel))["type"] != "live":
        assert frame["type"] == "message", frame
        messages.append(frame)
    return messages, frame


def check_subscribe(rng: random.Random, client: Client, stream: Stream, channel: str) -> None:
    key = key_of(channel)
    from_, want, recovered, reason = a_question(rng, stream, key, (TOP, TOP))
    frame = client.subscribe(channel, from_)
    messages, live = take_replay(client, channel)
    found = [m["data"] for m in messages]
    about = (channel, from_, frame, live, found, want, vars(stream))
    if isinstance(from_, dict) and from_.get("last") == 1 and key and not want:
        assert len(found) <= 1, about  # the newest of its key may be kept longer than the stream
    else:
        assert found == want, about
    assert (frame.get("recovered"), frame.get("reason")) == (recovered, reason), about
    start = parse(frame["cursor"][0])
    assert stream.between(start, (TOP, TOP), key) == want or found != want, about
    assert parse(live["cursor"][0]) == stream.last, about
    client.unsubscribe(channel)


def check_history(rng: random.Random, client: Client, stream: Stream, channel: str) -> None:
    key = key_of(channel)
    until = rng.choice([stream.last, a_place(rng, stream)])
    named = until != stream.last or rng.random() < 0.5
    more: dict[str, Any] = {"until": [f"0/{text(until)}"]} if named else {}
    from_, want, recovered, reason = a_question(rng, stream, key, until)
    limit = rng.choice([1, 2, 7, 1000])
    page = client.history(channel, from_, limit=limit, **more)
    found = [m["data"] for m in page["messages"]]
    about = (channel, from_, more, limit, page, want, vars(stream))
    assert found == want[: len(found)] and len(found) <= limit, about
    assert len(found) == min(limit, len(want)) or page["more"], about
    assert (page.get("recovered"), page.get("reason")) == (recovered, reason), about
    low, high = parse(page["before"][0]), parse(page["cursor"][0])
    assert low <= high, about
    assert stream.between(low, high, key) == found, about
    while page["more"]:
        page = client.history(channel, {"after": page["cursor"]}, limit=1000, **more)
        found += [m["data"] for m in page["messages"]]
    assert found == want, about


@pytest.mark.parametrize(
    ("followed", "ring"), [(False, 1000), (True, 0), (True, 10), (True, 1000)]
)  # fmt: skip
def test_the_past_agrees_with_a_model(
    start: Start, connect: Connect, redis_start: Any, followed: bool, ring: int
) -> None:
    """Whether somebody follows the stream or not, and whatever the ring holds of it, the answers are the same.

    What is removed from the stream may still be in the ring: so there is no removing with one.
    """
    rng = random.Random(ring + followed)
    server: Redis = redis_start()
    settings = bridge_config(server.url, workers=WORKERS, replay={"ring_messages": ring, "ring_keys": min(ring, 10)}, linger=0)  # fmt: skip
    special = start(settings)
    client = connect(special)
    stream = Stream(server.client())
    keeper = connect(special)
    if followed:
        keeper.subscribe(stream.name)
    for _ in range(300):
        if not followed:
            stream.rename()
        seen = stream.values
        stream.change(rng, removing=not followed or ring == 0, deleting=not followed)
        for value in range(seen + 1, stream.values + 1) if followed else []:
            while (frame := keeper.next(channel=stream.name))["type"] == "gap":
                pass
            assert frame["data"] == value, "the bridge has seen what the program has added"
        check = rng.choice([check_subscribe, check_history])
        channels = [stream.name, *(f"keyed.{stream.topic}.{key}" for key in [*KEYS, "never"])]
        check(rng, client, stream, rng.choice(channels))
    client.quiet()
