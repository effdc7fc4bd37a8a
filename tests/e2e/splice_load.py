"""The load of the splice tests: many clients that subscribe and unsubscribe at random while others publish.

What stands in the log of each topic, and where, is the truth; whoever publishes tells it (splice_memory.py,
splice_kafka.py). Every client notes for each subscription what came, in its order. Afterwards each
subscription is compared with the truth: in every partition there must be every message of the channel from
its cursor on, once and in order, but for the ranges that a `gap` announced.

One process runs the publishers, others the clients; each has an event loop of its own.
"""

from __future__ import annotations

import asyncio
import bisect
import itertools
import json
import multiprocessing
import random
import socket
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

PROCESSES = 2
PENDING = 3  # requests of a client without a reply: it waits then
# How far a busy daemon may be behind the log, ms.
SLACK = 20_000

Channel = tuple[str, str | None]  # topic, key
Cursor = dict[int, int]  # of each partition the number in it


@dataclass(frozen=True, kw_only=True)
class Plan:
    url: str
    port: int
    seed: int
    clients: int
    names: dict[str, Channel]  # every channel
    kinds: dict[str, int]  # of `from`, and how often
    deliveries: int
    publishers: int
    rate: float  # publishes a second in all
    patience: float
    history: int | None = None  # messages of a topic that the bus keeps; None: all
    first: int = 0  # the number before the first message of all
    timed: bool = False  # messages have producers' times, in the truth too
    began: int = field(default_factory=lambda: now_ms())


class Row(NamedTuple):
    """A message in the log."""

    partition: int
    number: int
    value: int
    key: str | None
    ts: int = 0
    seen: int = 0  # when everybody could read it, at the latest
    kept: bool = True  # False: it was there, and compaction may have removed it at any time


class Log:
    """What stands in one partition of a topic, or only the messages with a key."""

    def __init__(self, rows: Iterable[Row] = (), oldest: int = 0) -> None:
        rows = list(rows)
        self.oldest = oldest
        self.numbers = array("q", (row.number for row in rows))
        self.values = array("q", (row.value for row in rows))
        self.times = array("q", (row.ts for row in rows))
        self.seen = array("q", (row.seen for row in rows))
        self._kept = array("q", itertools.accumulate((row.kept for row in rows), initial=0))

    def after(self, number: int) -> int:
        """The index of the first message after it."""
        return bisect.bisect_right(self.numbers, number)

    def lacking(self, first: int, end: int) -> int:
        """How many of these must have come."""
        return self._kept[end] - self._kept[first]

    @property
    def start(self) -> int:
        """The index of the oldest message that is there for sure: retention is as far as that."""
        return bisect.bisect_left(self.numbers, self.oldest)

    @property
    def last(self) -> int:
        """The index behind the last message that must come."""
        return bisect.bisect_left(self._kept, self._kept[-1])


@dataclass
class Truth:
    """What stands in the log of each topic, in its order."""

    topics: dict[str, list[Row]]
    oldest: dict[str, Cursor] = field(default_factory=dict)  # where retention has removed some

    def channel(self, channel: Channel) -> dict[int, Log]:
        topic, key = channel
        parts: dict[int, list[Row]] = {}
        for row in self.topics.get(topic, []):
            if key is None or row.key == key:
                parts.setdefault(row.partition, []).append(row)
        oldest = self.oldest.get(topic, {})
        return {p: Log(rows, oldest.get(p, 0)) for p, rows in parts.items()}

    @property
    def published(self) -> int:
        return sum(len(rows) for rows in self.topics.values())


def now_ms() -> int:
    return int(time.time() * 1000)


def split(pos: str) -> tuple[int, str, int]:
    """Partition, epoch (of a bus that has them) and number of a position."""
    partition, _, rest = pos.partition("/")
    epoch, _, number = rest.rpartition("-")
    return (int(partition), epoch, int(number)) if epoch else (int(partition), "", int(rest))


def join(partition: int, epoch: str, number: int) -> str:
    return f"{partition}/{epoch}-{number}" if epoch else f"{partition}/{number}"


def places(cursor: list[str]) -> Cursor:
    found = {partition: number for partition, _, number in map(split, cursor)}
    assert len(found) == len(cursor), f"a partition twice: {cursor}"
    return found


# ---- clients


@dataclass
class Track:
    """What came of one partition."""

    cursor: int
    numbers: array[int] = field(default_factory=lambda: array("q"))
    values: array[int] = field(default_factory=lambda: array("q"))
    # Before which message, what, from, to.
    marks: list[tuple[int, str, int, int]] = field(default_factory=list)
    now: int = 0

    def __post_init__(self) -> None:
        self.now = self.cursor

    def mark(self, what: str, after: int, until: int) -> None:
        self.marks.append((len(self.numbers), what, after, until))
        self.now = until


@dataclass
class Subscription:
    name: str
    kind: str  # of `from`
    number: int  # last, time, ago: the number
    asked: Cursor  # after
    sent: int  # when it was asked for, and confirmed
    confirmed: int
    first: int  # the number before the first message of a partition
    cursor: Cursor
    recovered: bool | None
    reason: str | None
    tracks: dict[int, Track] = field(default_factory=dict)
    count: int = 0
    replayed: int = 0
    lives: int = 0
    live: Cursor = field(default_factory=dict)
    gaps: int = 0

    def __post_init__(self) -> None:
        self.tracks = {partition: Track(number) for partition, number in self.cursor.items()}

    def track(self, partition: int) -> Track:
        """One that was not there when it began is read from its first message."""
        if partition not in self.tracks:
            self.tracks[partition] = Track(self.first)
        return self.tracks[partition]

    def at_end(self, last: Cursor) -> bool:
        """Everything there was has come."""
        return (self.kind == "now" or bool(self.lives)) and all(
            self.track(partition).now >= number for partition, number in last.items()
        )

    def take_gap(self, reason: str, after: Cursor, until: Cursor) -> None:
        self.gaps += 1
        for partition, number in until.items():
            self.track(partition).mark(f"gap {reason}", after[partition], number)

    def take_cursor(self, what: str, cursor: Cursor) -> None:
        """Of a `live` or `position`."""
        for partition, number in cursor.items():
            self.track(partition).mark(what, number, number)
        if what == "live":
            self.lives += 1
            self.live = cursor
            self.replayed = self.count


@dataclass
class Request:
    what: str
    name: str
    kind: str = ""
    number: int = 0
    asked: Cursor = field(default_factory=dict)
    sent: int = 0


class Actor:
    """One client: subscribes and unsubscribes at random and notes what comes."""

    def __init__(self, plan: Plan, index: int, shared: Any, slot: int) -> None:
        self.plan = plan
        self.index = index
        self.shared = shared
        self.slot = slot
        self.chance = random.Random(f"{plan.seed} client {index}")
        self.slow = index % 10 == 0
        self.names = plan.names
        self.list = list(self.names)
        self.ids = 0
        self.asked: dict[int, Request] = {}
        self.wanted: set[str] = set()
        self.refused: set[str] = set()  # its last subscribe was: the bus took too long
        self.current: dict[str, Subscription] = {}
        self.epochs: dict[str, str] = {}  # of a topic
        self.places: dict[str, Cursor] = {}  # of a topic
        self.done: list[Subscription] = []
        self.figures: Counter[str] = Counter()
        self.errors: list[str] = []
        self.calm = asyncio.Event()
        self.idle = asyncio.Event()

    def fail(self, text: str) -> None:
        self.errors.append(f"client {self.index}: {text}")

    # -- out

    def request(self, type_: str, request: Request, **more: Any) -> str:
        self.ids += 1
        self.asked[self.ids] = request
        return json.dumps({"type": type_, "id": self.ids, "channel": request.name, **more})

    def start(self, name: str) -> str:
        plan = self.plan
        kind = self.chance.choices(list(plan.kinds), list(plan.kinds.values()))[0]
        topic = self.names[name][0]
        request = Request("subscribe", name, kind, sent=now_ms())
        value: Any = kind
        if kind == "after":
            if topic not in self.places:
                request.kind = value = "now"
            else:
                request.asked = self.places[topic]
                epoch = self.epochs[topic]
                value = {"after": [join(p, epoch, n) for p, n in request.asked.items()]}
        elif kind == "last":
            request.number = self.chance.randrange(50)
            value = {"last": request.number}
        elif kind == "time":
            request.number = self.chance.randrange(plan.began, request.sent + 1)
            value = {"time": request.number}
        elif kind == "ago":
            request.number = self.chance.randrange(request.sent - plan.began + 1)
            value = {"ago": request.number}
        self.wanted.add(name)
        return self.request("subscribe", request, **{"from": value})

    def end(self, name: str) -> str:
        self.wanted.discard(name)
        return self.request("unsubscribe", Request("unsubscribe", name))

    def step(self) -> Iterator[str]:
        free = [name for name in self.list if name not in self.wanted]
        roll = self.chance.random()
        if not self.wanted or (len(self.wanted) < 4 and roll < 0.5):
            yield self.start(self.chance.choice(free))
            return
        name = self.chance.choice(sorted(self.wanted))
        yield self.end(name)
        if roll > 0.7:
            yield self.start(name)
        if roll > 0.95:
            yield self.end(name)

    async def behave(self, ws: ClientConnection) -> None:
        try:
            while not self.calm.is_set():
                await asyncio.sleep(self.chance.expovariate(1 / (0.25 * self.plan.patience)))
                if not self.calm.is_set() and len(self.asked) < PENDING:
                    for text in self.step():
                        await ws.send(text)
        except ConnectionClosed:
            pass  # receive() sees it too

    # -- in

    def take(self, text: str) -> None:
        frame = json.loads(text)
        type_ = frame["type"]
        if type_ == "message":
            self.take_message(frame)
        elif "id" in frame:
            self.take_reply(type_, frame)
        elif type_ in ("live", "gap", "position"):
            sub = self.current.get(frame["channel"])
            if sub is None:
                self.fail(f"{type_} without a subscription: {text}")
            elif type_ == "gap":
                sub.take_gap(frame["reason"], places(frame["after"]), places(frame["until"]))
            else:
                sub.take_cursor(type_, places(frame["cursor"]))
        elif type_ != "welcome":
            self.fail(f"not expected: {text}")

    def take_message(self, frame: Any) -> None:
        sub = self.current.get(frame["channel"])
        if sub is None:
            return self.fail(f"message without a subscription: {frame}")
        partition, _, number = split(frame["pos"])
        data = frame["data"]
        track = sub.track(partition)
        track.numbers.append(number)
        track.values.append(data["v"])
        track.now = number
        sub.count += 1
        if self.plan.timed and data["ts"] != frame["ts"]:
            self.fail(f"not the producer's time: {frame}")
        self.shared.delivered[self.slot] += 1
        if not self.slow and (sub.lives or sub.kind == "now"):
            lag = time.monotonic() - data["t"]
            if lag > self.shared.lag[self.slot]:
                self.shared.lag[self.slot] = lag
        return None

    def take_reply(self, type_: str, frame: Any) -> None:
        request = self.asked.pop(frame["id"], Request("nothing", ""))
        name = request.name
        if name != frame["channel"]:
            return self.fail(f"not expected: {frame}")
        if type_ == "subscribed" and request.what == "subscribe" and name not in self.current:
            sub = Subscription(
                name,
                request.kind,
                request.number,
                request.asked,
                request.sent,
                now_ms(),
                self.plan.first,
                places(frame["cursor"]),
                frame.get("recovered"),
                frame.get("reason"),
            )
            self.current[name] = sub
            epoch = split(frame["cursor"][0])[1]
            if self.epochs.setdefault(self.names[name][0], epoch) != epoch:
                self.fail(f"{name} has two epochs")
            self.remember(sub)
            self.refused.discard(name)
        elif type_ == "unsubscribed" and request.what == "unsubscribe" and name in self.current:
            self.finish(name)
        elif not self.is_refusal(type_, frame, request):
            return self.fail(f"not expected: {frame}")
        return None

    def is_refusal(self, type_: str, frame: Any, request: Request) -> bool:
        """Of a subscribe: it may be that the bus is slow; or what comes of unsubscribing after that."""
        name = request.name
        if name in self.current:
            return False
        if request.what == "unsubscribe":
            return name in self.refused and (
                type_ == "unsubscribed" or frame["code"] == "not_subscribed"
            )
        if type_ != "error" or frame["code"] not in ("bus_unavailable", "busy"):
            return False
        self.figures["refused"] += 1
        self.refused.add(name)
        if not any(r.name == name and r.what == "subscribe" for r in self.asked.values()):
            self.wanted.discard(name)
        return True

    def remember(self, sub: Subscription) -> None:
        self.places[self.names[sub.name][0]] = {p: t.now for p, t in sub.tracks.items()}

    def finish(self, name: str) -> None:
        sub = self.current.pop(name)
        self.remember(sub)
        self.done.append(sub)

    async def receive(self, ws: ClientConnection) -> None:
        async for text in ws:
            assert isinstance(text, str)
            self.take(text)
            if self.slow and not self.calm.is_set():
                await asyncio.sleep(1.0 if self.chance.random() < 0.002 else 0.004)

    async def connection(self) -> bool:
        """One connection to its end. True: it was too slow, and may come again."""
        sock = socket.socket()
        if self.slow:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.plan.port))
        ws = await connect(
            self.plan.url,
            sock=sock,
            compression=None,
            max_size=None,
            open_timeout=60,
            ping_interval=None,
        )
        mover = asyncio.create_task(self.behave(ws))
        reader = asyncio.create_task(self.receive(ws))
        idle = asyncio.create_task(self.idle.wait())
        try:
            await asyncio.wait([reader, idle], return_when=asyncio.FIRST_COMPLETED)
            if not reader.done():
                return False
            code = 1000
            try:
                reader.result()
            except ConnectionClosed as error:
                code = error.rcvd.code if error.rcvd else 1006
            # 1006: it did not read as far as the close frame in time. check_closes() compares
            # how often that was with what the daemon's log says.
            if code in (4000, 1006) and self.slow:
                self.figures[f"closed with {code}"] += 1
                return True
            self.fail(f"closed with {code}")
            return False
        finally:
            for task in (mover, reader, idle):
                task.cancel()
            await asyncio.gather(mover, reader, idle, return_exceptions=True)
            await ws.close()

    async def run(self) -> None:
        while await self.connection():
            self.asked.clear()
            self.wanted.clear()
            self.refused.clear()
            for name in list(self.current):
                self.finish(name)

    def settled(self, last: dict[str, Cursor]) -> bool:
        """Every reply is there, every replay complete, and every channel at its end."""
        if self.errors or self.idle.is_set():
            return True
        return not self.asked and all(sub.at_end(last[name]) for name, sub in self.current.items())


# ---- judgement


def judge(sub: Subscription, logs: dict[int, Log], plan: Plan) -> str | None:
    """What is wrong with this subscription; None: it is exact."""
    for partition in sorted(logs.keys() | sub.tracks.keys()):
        wrong = judge_track(sub.track(partition), logs.get(partition, Log()))
        if wrong:
            return f"partition {partition}: {wrong}"
    return judge_start(sub, logs, plan) or (judge_times(sub, logs) if plan.timed else None)


def judge_track(track: Track, log: Log) -> str | None:
    at = log.after(track.cursor)
    taken = 0
    for index, what, after, until in [*track.marks, (len(track.numbers), "end", -1, -1)]:
        try:
            at = follow(track, taken, index, log, at)
        except ValueError as error:
            return str(error)
        taken = index
        if what == "end":
            break
        reached = log.after(after)
        if reached < at or log.lacking(at, reached):
            return f"{what} at {after}, but the next message would be {log.numbers[at : at + 1]}"
        if until < after:
            return f"{what} goes backwards from {after} to {until}"
        at = max(at, log.after(until))
    return None


def follow(track: Track, first: int, end: int, log: Log, at: int) -> int:
    """Compares what came with what stands from index `at` on; the index of what comes next."""
    until = at + end - first
    if (
        track.numbers[first:end] == log.numbers[at:until]
        and track.values[first:end] == log.values[at:until]
    ):
        return until
    for i in range(first, end):
        number = track.numbers[i]
        here = bisect.bisect_left(log.numbers, number, at)
        if here == len(log.numbers) or log.numbers[here] != number or log.lacking(at, here):
            raise ValueError(f"message {i}: expected {log.numbers[at : at + 1]}, got {number}")
        if log.values[here] != track.values[i]:
            raise ValueError(f"message {i}: not the value that stands at {number}")
        at = here + 1
    return at


def judge_start(sub: Subscription, logs: dict[int, Log], plan: Plan) -> str | None:
    if sub.lives > (0 if sub.kind == "now" else 1):
        return f"{sub.lives} times live"
    if (sub.recovered is None) is (sub.kind == "after"):
        return f"recovered is {sub.recovered}"
    if sub.kind == "after":
        return judge_after(sub, logs, plan)
    # What a partition that was added has brought by then may come live: it is followed from its beginning.
    begun = [p for p in sub.tracks if sub.cursor.get(p, sub.first) == sub.live.get(p, sub.first) == sub.first]
    brought = sub.replayed + sum(len(sub.tracks[p].numbers) for p in begun)
    for partition, number in sub.cursor.items():
        log = logs.get(partition, Log())
        if plan.history is None:
            at = log.after(number)
            left = late = log.lacking(min(log.start, at), at) > 0
        else:
            left = number > plan.first
            late = number > max(plan.first, sub.live.get(partition, number) - plan.history)
        if sub.lives and sub.kind == "earliest" and late:
            return f"earliest begins at {sub.cursor}, the log ended before {sub.live}"
        if sub.lives and sub.kind == "last" and left and brought < sub.number:
            # Where the bus keeps only so many of a topic, a key may have fewer.
            if not sub.gaps and (plan.history is None or not sub.name.startswith("keyed.")):
                return f"last {sub.number} brought {sub.replayed}"
    return None


def judge_after(sub: Subscription, logs: dict[int, Log], plan: Plan) -> str | None:
    if sub.recovered is False and sub.reason != "expired":
        return f"not recovered from {sub.asked} because {sub.reason}"
    lost = False
    for partition, number in sub.cursor.items():
        asked = sub.asked.get(partition, plan.first)
        if sub.recovered and number != asked:
            return f"recovered from {sub.asked}, but begins at {sub.cursor}"
        if number == asked:
            continue
        lost = True
        oldest = logs.get(partition, Log()).oldest - 1
        if plan.history is not None and sub.lives:
            oldest = sub.live[partition] - plan.history
        if number < asked or (asked >= oldest and (sub.lives or plan.history is None)):
            return f"not recovered from {sub.asked}, which was still there: {sub.cursor}"
    if sub.recovered is False and not lost:
        return f"not recovered from {sub.asked}, but begins there"
    return None


def judge_times(sub: Subscription, logs: dict[int, Log]) -> str | None:
    """Is what was left out older than what was asked for, and what came not?

    The order of the log is not that of the times: a message may be written long after it was made. But
    what could be read before another one was made is older, and stands before it if they share a
    partition.
    """
    if sub.kind in ("after", "earliest"):
        return None
    oldest, newest = {
        "now": (sub.sent - SLACK, sub.confirmed),
        "time": (min(sub.number, sub.sent - SLACK), sub.number),
        "ago": (sub.sent - sub.number, sub.confirmed - sub.number),
        "last": (0, sub.confirmed),
    }[sub.kind]
    left, came = 0, []
    for partition, number in sub.cursor.items():
        log, track = logs.get(partition, Log()), sub.tracks[partition]
        at = log.after(number)
        left = max([left, *(log.times[i] for i in range(log.start, at) if log.lacking(i, i + 1))])
        came += log.seen[at : log.after(track.numbers[-1]) if track.numbers else at]
    if left > newest:
        return f"{sub.cursor} leaves out a message of {left}, which is newer than {newest}"
    if came and min(came) < oldest:
        return f"{sub.cursor} brings a message of {min(came)}, which is older than {oldest}"
    if sub.kind == "last":
        if came and sub.number and left > min(came) + SLACK:
            return f"leaves out a message of {left}, and brings one of {min(came)}"
        old = sum(seen < sub.sent - SLACK for seen in came)
        if old > sub.number:
            return f"last {sub.number} brings {old}"
    return None


# ---- the process of some clients


async def play(
    plan: Plan, indices: range, shared: Any, slot: int, pipe: Connection
) -> dict[str, Any]:
    actors = [Actor(plan, index, shared, slot) for index in indices]
    tasks = [asyncio.create_task(actor.run()) for actor in actors]
    loop = asyncio.get_running_loop()
    answer = loop.run_in_executor(None, pipe.recv)
    while not answer.done():
        shared.lag[slot] = 0.0
        await asyncio.sleep(0.2)
        if any(actor.errors for actor in actors):
            shared.stop.value = 1
    truth = answer.result()
    errors: list[str] = []
    for actor in actors:
        actor.calm.set()
    if isinstance(truth, Truth):
        table = {name: truth.channel(channel) for name, channel in plan.names.items()}
        last = {
            name: {
                partition: log.numbers[log.last - 1] for partition, log in logs.items() if log.last
            }
            for name, logs in table.items()
        }
        deadline = time.monotonic() + 60 * plan.patience
        while not all(actor.settled(last) for actor in actors) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        for actor in actors:
            if not actor.settled(last):
                behind = {
                    name: (
                        sub.kind,
                        {p: t.now for p, t in sub.tracks.items()},
                        last[name],
                        sub.lives,
                    )
                    for name, sub in actor.current.items()
                    if not sub.at_end(last[name])
                }
                actor.fail(f"not at the end: {behind}, replies missing: {actor.asked}")
    for actor in actors:
        actor.idle.set()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, BaseException):
            errors.append(repr(result))
    figures: Counter[str] = Counter()
    for actor in actors:
        errors += actor.errors
        figures.update(actor.figures)
        for sub in [*actor.done, *actor.current.values()]:
            figures["subscriptions"] += 1
            figures[f"from {sub.kind}"] += 1
            figures["deliveries"] += sub.count
            figures["not recovered"] += sub.recovered is False
            figures["live"] += sub.lives
            figures["gaps"] += sub.gaps
            if isinstance(truth, Truth):
                wrong = judge(sub, table[sub.name], plan)
                if wrong:
                    errors.append(
                        f"client {actor.index}, {sub.name} from {sub.kind} {sub.asked or sub.number} at {sub.cursor}: {wrong}"
                    )
    return {"errors": errors, "figures": dict(figures)}


def run_clients(plan: Plan, indices: range, shared: Any, slot: int, pipe: Connection) -> None:
    try:
        pipe.send(asyncio.run(play(plan, indices, shared, slot, pipe)))
    except Exception as error:
        shared.stop.value = 1
        pipe.send({"errors": [f"clients {indices}: {error!r}"], "figures": {}})


# ---- all of them


@dataclass
class Shared:
    """What all processes see: deliveries and lag of each client process, and whether to stop."""

    delivered: Any
    lag: Any
    stop: Any


@dataclass
class Result:
    published: int
    figures: Counter[str]
    errors: list[str]
    seconds: float

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in sorted(self.figures.items()))
        return (
            f"{self.seconds:.1f} s, {self.published} published, {counts}, {len(self.errors)} errors"
        )


def run(plan: Plan, publish: Callable[[Any, Any, Connection], None]) -> Result:
    """Clients in some processes, and in one `publish`, which sends the Truth, or a text if it fails."""
    spawn = multiprocessing.get_context("spawn")
    shared = Shared(
        spawn.RawArray("q", PROCESSES), spawn.RawArray("d", PROCESSES), spawn.RawValue("i", 0)
    )
    began = time.monotonic()
    pipes = [spawn.Pipe() for _ in range(PROCESSES + 1)]
    processes = [
        spawn.Process(
            target=run_clients,
            args=(plan, range(i, plan.clients, PROCESSES), shared, i, pipes[i][1]),
            daemon=True,
        )
        for i in range(PROCESSES)
    ]
    processes.append(spawn.Process(target=publish, args=(plan, shared, pipes[-1][1]), daemon=True))
    try:
        for process in processes:
            process.start()
        truth = pipes[-1][0].recv()
        for mine, _ in pipes[:-1]:
            mine.send(truth)
        results = [mine.recv() for mine, _ in pipes[:-1]]
        for process in processes:
            process.join(30)
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()
    known = isinstance(truth, Truth)
    found = Result(truth.published if known else 0, Counter(), [] if known else [truth], 0)
    for result in results:
        found.figures.update(result["figures"])
        found.errors += result["errors"]
    found.seconds = time.monotonic() - began
    return found


def check_closes(log: str, figures: Counter[str]) -> None:
    """The daemon closed nobody but slow readers, and cut off only who outlasted its close.

    A reader has some seconds to take what is on its way to it, with the close frame at the end;
    after that the connection ends without one. Every 1006 must be such a case by the log.
    """
    lines = log.splitlines()
    closing = [line for line in lines if "event=session_closing" in line]
    assert all(" code=4000 " in line for line in closing), closing
    timeouts = sum("event=timeout" in line and "waiting_for=close" in line for line in lines)
    cut = figures["closed with 1006"]
    assert cut <= timeouts, f"{cut} connections were cut off, {timeouts} of them by a timeout"
    assert cut + figures["closed with 4000"] <= len(closing), figures


def verdict(result: Result, plan: Plan, seed: int, deliveries: int, log: str) -> None:
    """Nothing was wrong, there was enough of everything, and nobody was closed without a reason."""
    if result.errors:
        pytest.fail(
            f"seed {seed}, {len(result.errors)} errors:\n"
            + "\n".join(error[:300] for error in result.errors[:20]),
            pytrace=False,
        )
    assert result.figures["deliveries"] >= deliveries
    check_closes(log, result.figures)
    assert all(result.figures[f"from {kind}"] for kind in plan.kinds)
