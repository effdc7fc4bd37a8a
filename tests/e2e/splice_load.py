"""The load of test_splice.py: many clients that subscribe and unsubscribe at random while others publish.

Every publisher notes at which place of the log each of its messages stands: together these notes are the
truth. Every client notes for each subscription what came, in its order. Afterwards each subscription is
compared with the truth: from its cursor on there must be every message of the channel, once and in order,
but for the ranges that a `gap` announced.

One process runs the publishers, others the clients; each has an event loop of its own.
"""

from __future__ import annotations

import asyncio
import bisect
import json
import random
import socket
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

PLAIN = 10
TOPICS = 4
KEYS = "abcdefgh"

Channel = tuple[str, str | None]  # topic, key


def channels() -> dict[str, Channel]:
    """Every channel with its topic and key."""
    found: dict[str, Channel] = {f"plain.p{i}": (f"p{i}", None) for i in range(PLAIN)}
    for t in range(TOPICS):
        found[f"whole.k{t}"] = (f"k{t}", None)
        found |= {f"keyed.k{t}.{key}": (f"k{t}", key) for key in KEYS}
    return found


@dataclass(frozen=True)
class Plan:
    url: str
    port: int
    seed: int
    deliveries: int
    publishers: int
    rate: float  # publishes a second in all
    history: int  # messages of a topic that the bus keeps
    patience: float


@dataclass
class Truth:
    """What stands in the log of each topic: places, values and keys, in the order of the log."""

    topics: dict[str, list[tuple[int, int, str | None]]]
    epochs: dict[str, str]

    def channel(self, channel: Channel) -> tuple[array[int], array[int]]:
        topic, key = channel
        rows = [row for row in self.topics.get(topic, []) if key is None or row[2] == key]
        return array("q", (row[0] for row in rows)), array("q", (row[1] for row in rows))


def split(pos: str) -> tuple[str, int]:
    epoch, _, n = pos.removeprefix("0/").rpartition("-")
    return epoch, int(n)


def place(cursor: list[str]) -> int:
    """The place that a cursor names; the empty one is before everything."""
    return split(cursor[0])[1] if cursor else 0


# ---- publishers


async def publisher(
    plan: Plan,
    index: int,
    shared: Any,
    log: list[tuple[str, int, int, str | None]],
    epochs: dict[str, str],
) -> None:
    """Publishes in bursts, without waiting for replies, until enough has been delivered."""
    chance = random.Random(f"{plan.seed} publisher {index}")
    names = channels()
    targets = [name for name in names if not name.startswith("whole.")]
    asked: list[tuple[str, str | None, int]] = []
    acknowledged = 0

    async def acknowledge(ws: ClientConnection) -> None:
        nonlocal acknowledged
        async for text in ws:
            frame = json.loads(text)
            if frame["type"] == "welcome":
                continue
            assert frame["type"] == "published", frame
            topic, key, value = asked[frame["id"]]
            epoch, n = split(frame["pos"])
            assert epochs.setdefault(topic, epoch) == epoch, f"{topic} has two epochs"
            log.append((topic, n, value, key))
            acknowledged += 1

    deadline = time.monotonic() + 600 * plan.patience
    async with connect(plan.url, compression=None, max_size=None) as ws:
        reader = asyncio.create_task(acknowledge(ws))
        while sum(shared.delivered) < plan.deliveries and not shared.stop.value:
            assert time.monotonic() < deadline, f"only {sum(shared.delivered)} deliveries"
            burst = chance.choice([1, 10, 100, 300])
            for _ in range(burst):
                name = chance.choice(targets)
                topic, key = names[name]
                value = index << 32 | len(asked)
                await ws.send(
                    f'{{"type":"publish","id":{len(asked)},"channel":"{name}","data":{{"v":{value},"t":{time.monotonic():.3f}}}}}'
                )
                asked.append((topic, key, value))
            await asyncio.sleep(burst / plan.rate * plan.publishers)
            while max(shared.lag) > 1 and time.monotonic() < deadline and not reader.done():
                await asyncio.sleep(0.02)
            if reader.done():
                break
        while acknowledged < len(asked) and not reader.done():
            assert time.monotonic() < deadline, "publishes are not acknowledged"
            await asyncio.sleep(0.01)
        if reader.done():
            await reader
            raise AssertionError("a publisher was disconnected")
        reader.cancel()


def run_publishers(plan: Plan, shared: Any, pipe: Connection) -> None:
    log: list[tuple[str, int, int, str | None]] = []
    epochs: dict[str, str] = {}

    async def all_of_them() -> None:
        await asyncio.gather(
            *(publisher(plan, i, shared, log, epochs) for i in range(plan.publishers))
        )

    try:
        asyncio.run(all_of_them())
        topics: dict[str, list[tuple[int, int, str | None]]] = {}
        for topic, n, value, key in log:
            topics.setdefault(topic, []).append((n, value, key))
        for topic, rows in topics.items():
            rows.sort()
            places = [row[0] for row in rows]
            assert places == list(range(1, len(rows) + 1)), (
                f"the places of {topic} are not 1, 2, 3, …"
            )
            newest: dict[int, int] = {}
            for _, value, _ in rows:
                assert newest.get(value >> 32, -1) < value, (
                    f"publishes to {topic} changed their order"
                )
                newest[value >> 32] = value
        pipe.send(Truth(topics, epochs))
    except Exception as error:
        shared.stop.value = 1
        pipe.send(f"publishers: {error!r}")


# ---- clients


@dataclass
class Subscription:
    name: str
    kind: str  # of `from`
    asked: int  # after, last: the number
    cursor: int
    recovered: bool | None
    reason: str | None
    numbers: array[int] = field(default_factory=lambda: array("q"))
    values: array[int] = field(default_factory=lambda: array("q"))
    marks: list[tuple[int, str, int, int]] = field(
        default_factory=list
    )  # before which message, what, from, to
    lives: int = 0
    live: int = -1
    ended: bool = False
    now: int = 0

    def __post_init__(self) -> None:
        self.now = self.cursor


class Actor:
    """One client: subscribes and unsubscribes at random and notes what comes."""

    def __init__(self, plan: Plan, index: int, shared: Any, slot: int) -> None:
        self.plan = plan
        self.index = index
        self.shared = shared
        self.slot = slot
        self.chance = random.Random(f"{plan.seed} client {index}")
        self.slow = index % 10 == 0
        self.names = channels()
        self.list = list(self.names)
        self.ids = 0
        self.asked: dict[int, tuple[str, str, str, int]] = {}  # id: what, name, kind, number
        self.wanted: set[str] = set()
        self.current: dict[str, Subscription] = {}
        self.places: dict[str, tuple[str, int]] = {}  # of a topic: epoch and place
        self.done: list[Subscription] = []
        self.closes: Counter[int] = Counter()
        self.errors: list[str] = []
        self.calm = asyncio.Event()
        self.idle = asyncio.Event()

    def fail(self, text: str) -> None:
        self.errors.append(f"client {self.index}: {text}")

    # -- out

    def start(self, name: str) -> str:
        kind = self.chance.choices(["now", "after", "last", "earliest"], [40, 35, 15, 10])[0]
        topic = self.names[name][0]
        number = 0
        value = f'"{kind}"'
        if kind == "after":
            if topic not in self.places:
                kind, value = "now", '"now"'
            else:
                epoch, number = self.places[topic]
                value = f'{{"after":["0/{epoch}-{number}"]}}'
        elif kind == "last":
            number = self.chance.randrange(50)
            value = f'{{"last":{number}}}'
        self.ids += 1
        self.asked[self.ids] = ("subscribe", name, kind, number)
        self.wanted.add(name)
        return f'{{"type":"subscribe","id":{self.ids},"channel":"{name}","from":{value}}}'

    def end(self, name: str) -> str:
        self.ids += 1
        self.asked[self.ids] = ("unsubscribe", name, "", 0)
        self.wanted.discard(name)
        return f'{{"type":"unsubscribe","id":{self.ids},"channel":"{name}"}}'

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
                if not self.calm.is_set():
                    for text in self.step():
                        await ws.send(text)
        except ConnectionClosed:
            pass  # receive() sees it too

    # -- in

    def take(self, text: str) -> None:
        frame = json.loads(text)
        type_ = frame["type"]
        if type_ == "message":
            sub = self.current.get(frame["channel"])
            if sub is None:
                return self.fail(f"message without a subscription: {text}")
            n = split(frame["pos"])[1]
            sub.numbers.append(n)
            sub.values.append(frame["data"]["v"])
            sub.now = n
            self.shared.delivered[self.slot] += 1
            if not self.slow and (sub.lives or sub.kind == "now"):
                lag = time.monotonic() - frame["data"]["t"]
                if lag > self.shared.lag[self.slot]:
                    self.shared.lag[self.slot] = lag
        elif type_ == "subscribed":
            what, name, kind, number = self.asked.pop(frame["id"])
            if what != "subscribe" or name != frame["channel"] or name in self.current:
                return self.fail(f"not expected: {text}")
            sub = Subscription(
                name,
                kind,
                number,
                place(frame["cursor"]),
                frame.get("recovered"),
                frame.get("reason"),
            )
            self.current[name] = sub
            self.remember(sub, split(frame["cursor"][0])[0])
        elif type_ == "unsubscribed":
            what, name, _, _ = self.asked.pop(frame.get("id"), ("", "", "", 0))
            if what != "unsubscribe" or name != frame["channel"] or name not in self.current:
                return self.fail(f"not expected: {text}")
            self.finish(name, ended=True)
        elif type_ in ("live", "gap", "position"):
            sub = self.current.get(frame["channel"])
            if sub is None:
                return self.fail(f"{type_} without a subscription: {text}")
            if type_ == "gap":
                after, until = place(frame["after"]), place(frame["until"])
                sub.marks.append((len(sub.numbers), frame["reason"], after, until))
            else:
                until = place(frame["cursor"])
                sub.marks.append((len(sub.numbers), type_, until, until))
            if type_ == "live":
                sub.lives += 1
                sub.live = until
            sub.now = until
        elif type_ != "welcome":
            self.fail(f"not expected: {text}")
        return None

    def remember(self, sub: Subscription, epoch: str = "") -> None:
        topic = self.names[sub.name][0]
        known = self.places.get(topic, (epoch, 0))[0]
        if epoch and known != epoch:
            self.fail(f"{topic} has two epochs")
        self.places[topic] = (known, sub.now)

    def finish(self, name: str, *, ended: bool) -> None:
        sub = self.current.pop(name)
        sub.ended = ended
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
            # 1006: it did not read as far as the close frame in time. test_splice.py compares
            # how often that was with what the daemon's log says.
            if code in (4000, 1006) and self.slow:
                self.closes[code] += 1
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
            for name in list(self.current):
                self.finish(name, ended=False)

    def settled(self, last: dict[str, int]) -> bool:
        """Every reply is there, every replay complete, and every channel at its end."""
        if self.errors or self.idle.is_set():
            return True
        return not self.asked and all(
            sub.now >= last[name] and (sub.kind == "now" or sub.lives)
            for name, sub in self.current.items()
        )


# ---- judgement


def judge(sub: Subscription, numbers: array[int], values: array[int], plan: Plan) -> str | None:
    """What is wrong with this subscription; None: it is exact."""
    at = bisect.bisect_right(numbers, sub.cursor)
    taken = 0
    for index, what, after, until in [*sub.marks, (len(sub.numbers), "end", -1, -1)]:
        count = index - taken
        if (
            sub.numbers[taken:index] != numbers[at : at + count]
            or sub.values[taken:index] != values[at : at + count]
        ):
            for i in range(count):
                if (
                    at + i >= len(numbers)
                    or sub.numbers[taken + i] != numbers[at + i]
                    or sub.values[taken + i] != values[at + i]
                ):
                    wanted = numbers[at + i] if at + i < len(numbers) else None
                    return f"message {taken + i}: expected {wanted}, got {sub.numbers[taken + i]}"
        at += count
        taken = index
        if what == "end":
            break
        if bisect.bisect_right(numbers, after) != at:
            return f"{what} at {after}, but the next message would be {numbers[at] if at < len(numbers) else None}"
        if until < after:
            return f"{what} goes backwards from {after} to {until}"
        at = bisect.bisect_right(numbers, until)
    return judge_start(sub, plan)


def judge_start(sub: Subscription, plan: Plan) -> str | None:
    if sub.lives > (0 if sub.kind == "now" else 1):
        return f"{sub.lives} times live"
    if (sub.recovered is None) is (sub.kind == "after"):
        return f"recovered is {sub.recovered}"
    if sub.recovered is True and sub.cursor != sub.asked:
        return f"recovered from {sub.asked}, but begins at {sub.cursor}"
    if sub.recovered is False:
        if sub.reason != "expired" or sub.cursor <= sub.asked:
            return f"not recovered from {sub.asked} because {sub.reason}, begins at {sub.cursor}"
        if sub.lives and sub.asked >= sub.live - plan.history:
            return f"not recovered from {sub.asked}, which was still there"
    if sub.lives and sub.kind == "earliest" and sub.cursor > max(0, sub.live - plan.history):
        return f"earliest begins at {sub.cursor} although the log ended before {sub.live}"
    if sub.lives and sub.kind == "last" and not sub.name.startswith("keyed.") and sub.cursor > 0:
        gaps = any(mark[1] not in ("live", "position") for mark in sub.marks)
        before_live = next(mark[0] for mark in sub.marks if mark[1] == "live")
        if before_live < sub.asked and not gaps:
            return f"last {sub.asked} brought {before_live}"
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
        table = {name: truth.channel(channel) for name, channel in channels().items()}
        last = {name: numbers[-1] if numbers else 0 for name, (numbers, _) in table.items()}
        deadline = time.monotonic() + 60 * plan.patience
        while not all(actor.settled(last) for actor in actors) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        for actor in actors:
            if not actor.settled(last):
                behind = {
                    name: (sub.kind, sub.now, last[name], sub.lives)
                    for name, sub in actor.current.items()
                    if sub.now < last[name] or not (sub.kind == "now" or sub.lives)
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
        for code, count in actor.closes.items():
            figures[f"closed with {code}"] += count
        for sub in [*actor.done, *actor.current.values()]:
            figures["subscriptions"] += 1
            figures[f"from {sub.kind}"] += 1
            figures["deliveries"] += len(sub.numbers)
            figures["not recovered"] += sub.recovered is False
            for _, what, _, _ in sub.marks:
                figures[f"gap {what}" if what not in ("live", "position") else what] += 1
            if isinstance(truth, Truth):
                wrong = judge(sub, *table[sub.name], plan)
                if wrong:
                    errors.append(
                        f"client {actor.index}, {sub.name} from {sub.kind} {sub.asked} at {sub.cursor}: {wrong}"
                    )
    return {"errors": errors, "figures": dict(figures)}


def run_clients(plan: Plan, indices: range, shared: Any, slot: int, pipe: Connection) -> None:
    try:
        pipe.send(asyncio.run(play(plan, indices, shared, slot, pipe)))
    except Exception as error:
        shared.stop.value = 1
        pipe.send({"errors": [f"clients {indices}: {error!r}"], "figures": {}})
