"""The load of test_redis_faults.py: publishers, clients and what makes their life hard, and the verdict.

Some other program publishes numbers to channels and adds them to streams, straight to Redis; clients of the
bridge follow them, leave and come back at random; others publish through the bridge. Between the bridge and
Redis everything goes wrong that can: see Trouble. Afterwards each subscription is judged:

  channel   each number is larger than the one before; where a number that Redis has acknowledged is
            missing, a `gap` stands between its neighbours
  stream    from the cursor on exactly what XRANGE says, no hole, no duplicate, no gap; also over leaving
            and coming back with the cursor
  publish   one reply each; `published` is in the stream once, `outcome_unknown` at most once, anything
            else never; what is there has the order in which it was sent
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import redis
from websockets.asyncio.client import ClientConnection, connect

from redis_server import Proxy, Redis, ours
from server import PATIENCE

CHANNELS = [f"ps.c{i}" for i in range(4)]
STREAMS = [f"st.s{i}" for i in range(4)]
INBOX = "st.inbox"
END = -1


@dataclass
class Plan:
    url: str
    server: Redis
    proxy: Proxy
    seed: int
    seconds: float
    clients: int = 10
    publishers: int = 2
    rate: float = 400.0  # numbers a second to all channels and streams together


# ---- the other program


class Program(threading.Thread):
    """Publishes straight to Redis, and knows of each number whether Redis has acknowledged it."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(daemon=True)
        self.plan = plan
        self.chance = random.Random(f"{plan.seed} program")
        self.begun = dict.fromkeys(CHANNELS + STREAMS, 0)  # highest number that may be out
        self.sure: dict[str, set[int]] = {name: set() for name in CHANNELS}
        self.ending = threading.Event()
        self.error: str | None = None

    def run(self) -> None:
        try:
            self.publish()
        except Exception as error:
            self.error = repr(error)

    def publish(self) -> None:
        client = self.plan.server.client(socket_timeout=0.4 * PATIENCE)
        pause = 1 / self.plan.rate
        while not self.ending.is_set():
            for _ in range(self.chance.choice([1, 1, 5, 20])):
                self.one(client, self.chance.choice(CHANNELS + STREAMS))
                if not self.ending.is_set():
                    time.sleep(pause)

    def one(self, client: redis.Redis, name: str) -> None:
        n = self.begun[name] = self.begun[name] + 1
        try:
            if name in CHANNELS:
                client.publish(name, n)
                self.sure[name].add(n)
            else:
                client.xadd(name, {"data": n})
        except redis.RedisError:
            time.sleep(0.02)  # not counted on, and not repeated


# ---- trouble


class Trouble:
    """One thing after another goes wrong between the bridge and Redis, and is set right again."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.chance = random.Random(f"{plan.seed} trouble")
        self.done: Counter[str] = Counter()
        self.kinds = [
            self.cut, self.cut, self.refuse, self.hold_down, self.hold_up, self.slow, self.freeze, self.kill, self.client_kill,
        ]  # fmt: skip

    async def run(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        while time.monotonic() < until:
            await asyncio.sleep(self.chance.uniform(0.1, 0.6))
            kind = self.chance.choice(self.kinds)
            await loop.run_in_executor(None, kind)
            self.done[kind.__name__] += 1
        await loop.run_in_executor(None, self.plan.proxy.restore)

    def wait(self, longest: float) -> None:
        time.sleep(self.chance.uniform(0.02, longest))

    def cut(self) -> None:
        self.plan.proxy.cut()

    def refuse(self) -> None:
        self.plan.proxy.cut(refuse=True)
        self.wait(0.5)
        self.plan.proxy.restore()

    def hold_down(self) -> None:
        """Redis hears us, we do not hear it; cut or not afterwards."""
        self.plan.proxy.hold(down=True)
        self.wait(1.0)
        if self.chance.random() < 0.5:
            self.plan.proxy.cut()
        self.plan.proxy.restore()

    def hold_up(self) -> None:
        self.plan.proxy.hold(up=True)
        self.wait(1.0)
        if self.chance.random() < 0.5:
            self.plan.proxy.cut()
        self.plan.proxy.restore()

    def slow(self) -> None:
        self.plan.proxy.delay, self.plan.proxy.piece = 0.03, 700
        self.wait(0.8)
        self.plan.proxy.restore()

    def freeze(self) -> None:
        self.plan.server.freeze()
        self.wait(1.0)
        self.plan.server.thaw()

    def kill(self) -> None:
        self.plan.server.kill()
        self.wait(0.3)
        self.plan.server.start()

    def client_kill(self) -> None:
        client = self.plan.server.client()
        try:
            for found in ours(client):
                if self.chance.random() < 0.5:
                    client.execute_command("CLIENT", "KILL", "ID", found["id"])
        except redis.RedisError:
            pass


# ---- clients


@dataclass
class Subscription:
    name: str
    client: int
    start: int  # channel: highest number that may have been out when it was confirmed
    cursor: str | None
    numbers: list[int] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    gaps: list[int] = field(default_factory=list)  # before which number


class Client:
    """Follows all names, leaves some and comes back."""

    def __init__(self, plan: Plan, index: int, program: Program) -> None:
        self.plan = plan
        self.index = index
        self.program = program
        self.chance = random.Random(f"{plan.seed} client {index}")
        self.asked: dict[int, tuple[str, str]] = {}
        self.ids = 0
        self.current: dict[str, Subscription] = {}
        self.places: dict[str, str] = {}  # of a stream: where to go on
        self.done: list[Subscription] = []
        self.errors: list[str] = []
        self.refused: Counter[str] = Counter()
        self.calm = False

    def request(self, type_: str, name: str, **more: Any) -> str:
        self.ids += 1
        self.asked[self.ids] = (type_, name)
        return json.dumps({"type": type_, "id": self.ids, "channel": name, **more})

    def subscribe(self, name: str) -> str:
        if name in self.places:
            return self.request("subscribe", name, **{"from": {"after": [self.places[name]]}})
        return self.request("subscribe", name)

    async def behave(self, ws: ClientConnection) -> None:
        """Whatever is not followed and not asked for is asked for; now and then one is left."""
        while True:
            busy = {name for _, name in self.asked.values()}
            for name in CHANNELS + STREAMS:
                if name not in self.current and name not in busy:
                    await ws.send(self.subscribe(name))
            if not self.calm and self.chance.random() < 0.3:
                free = [name for name in self.current if name not in busy]
                if free:
                    await ws.send(self.request("unsubscribe", self.chance.choice(free)))
            await asyncio.sleep(self.chance.uniform(0.05, 0.3))

    def fail(self, text: str) -> None:
        self.errors.append(f"client {self.index}: {text[:300]}")

    def take(self, frame: dict[str, Any]) -> None:
        kind = frame["type"]
        if "id" in frame:
            return self.reply(kind, frame)
        sub = self.current.get(frame.get("channel", ""))
        if sub is None:
            return self.fail(f"not expected: {frame}")
        if kind == "message":
            if frame["data"] != END:
                sub.numbers.append(frame["data"])
                sub.places.append(frame.get("pos", ""))
            if "pos" in frame:
                self.places[sub.name] = frame["pos"]
            elif frame["data"] == END:
                sub.numbers.append(END)
        elif kind == "gap" and frame["reason"] == "bus" and sub.cursor is None:
            sub.gaps.append(len(sub.numbers))
        elif kind in ("live", "position"):
            self.places[sub.name] = frame["cursor"][0]
        else:
            self.fail(f"not expected: {frame}")
        return None

    def reply(self, kind: str, frame: dict[str, Any]) -> None:
        asked, name = self.asked.pop(frame["id"], ("", ""))
        if asked == "subscribe" and kind == "subscribed":
            cursor = frame["cursor"][0] if frame["cursor"] else None
            if cursor and frame.get("recovered", True) is not True:
                self.fail(f"not recovered: {frame}")
            if name in self.places and cursor != self.places[name]:
                self.fail(f"asked to go on at {self.places[name]}: {frame}")
            if cursor:
                self.places[name] = cursor
            self.current[name] = Subscription(name, self.index, self.program.begun[name], cursor)
        elif asked == "unsubscribe" and kind == "unsubscribed":
            self.done.append(self.current.pop(name))
        elif kind == "error" and asked == "subscribe" and frame["code"] == "bus_unavailable":
            self.refused["subscribe"] += 1
        else:
            self.fail(f"not expected as the reply to {asked} {name}: {frame}")

    async def run(self) -> None:
        async with connect(
            self.plan.url, compression=None, max_size=None, ping_interval=None
        ) as ws:
            mover = asyncio.create_task(self.behave(ws))
            try:
                await ws.recv()  # welcome
                async for text in ws:
                    self.take(json.loads(text))
                self.fail(f"closed with {ws.close_code}")
            finally:
                mover.cancel()

    def at_end(self, last: dict[str, int]) -> bool:
        return len(self.current) == len(CHANNELS + STREAMS) and all(
            sub.numbers and sub.numbers[-1] == END if sub.cursor is None else self.places[name] == last[name]
            for name, sub in self.current.items()
        )  # fmt: skip


class Publisher:
    """Publishes numbers through the bridge, some of them at once, and notes the replies."""

    def __init__(self, plan: Plan, index: int) -> None:
        self.plan = plan
        self.index = index
        self.chance = random.Random(f"{plan.seed} publisher {index}")
        self.replies: dict[int, list[str]] = {}
        self.sent = 0
        self.calm = False
        self.errors: list[str] = []

    async def run(self) -> None:
        async with connect(
            self.plan.url, compression=None, max_size=None, ping_interval=None
        ) as ws:
            mover = asyncio.create_task(self.behave(ws))
            try:
                await ws.recv()
                async for text in ws:
                    frame = json.loads(text)
                    outcome = frame["code"] if frame["type"] == "error" else frame["type"]
                    self.replies.setdefault(frame["id"], []).append(outcome)
                self.errors.append(f"publisher {self.index} closed with {ws.close_code}")
            finally:
                mover.cancel()

    async def behave(self, ws: ClientConnection) -> None:
        while not self.calm:
            for _ in range(self.chance.choice([1, 5, 30])):
                self.sent += 1
                body = {
                    "type": "publish",
                    "id": self.sent,
                    "channel": INBOX,
                    "data": [self.index, self.sent],
                }
                await ws.send(json.dumps(body))
            await asyncio.sleep(self.chance.uniform(0.02, 0.2))

    def judge(self, entries: list[list[int]]) -> list[str]:
        mine = [n for who, n in entries if who == self.index]
        found = Counter(mine)
        wrong = list(self.errors)
        if mine != sorted(mine):
            wrong.append(f"publisher {self.index}: the order has changed")
        for n in range(1, self.sent + 1):
            outcomes = self.replies.get(n, [])
            most = {"published": 1, "outcome_unknown": 1}.get(outcomes[0], 0) if outcomes else 0
            least = 1 if outcomes == ["published"] else 0
            if len(outcomes) != 1 or not least <= found[n] <= most:
                wrong.append(f"publish {self.index}/{n}: replies {outcomes}, {found[n]} times in the stream")  # fmt: skip
        return wrong


# ---- the verdict


def judge_channel(sub: Subscription, sure: set[int]) -> str | None:
    """What was out already when the subscription was confirmed may come or not, from some number on."""
    numbers = [n for n in sub.numbers if n != END]
    previous = min(sub.start, numbers[0] - 1) if numbers else sub.start
    for i, n in enumerate(numbers):
        if n <= previous:
            return f"{n} after {previous}"
        missing = [m for m in range(previous + 1, n) if m in sure]
        if missing and i not in sub.gaps:
            return (
                f"{missing[:5]} are missing before {n}, and there is no gap; gaps before {sub.gaps}"
            )
        previous = n
    return None


def judge_stream(sub: Subscription, entries: list[tuple[str, int]]) -> str | None:
    assert sub.cursor
    wanted = [e for e in entries if order(e[0]) > order(sub.cursor)][: len(sub.numbers)]
    got = list(zip(sub.places, sub.numbers, strict=True))
    for have, want in zip(got, wanted, strict=False):
        if have != want:
            return f"expected {want}, got {have}"
    return None if len(got) == len(wanted) else f"{len(got) - len(wanted)} more than there are"


def order(pos: str) -> tuple[int, int]:
    ms, _, seq = pos.removeprefix("0/").partition("-")
    return int(ms), int(seq)


async def play(plan: Plan) -> tuple[list[str], Counter[str]]:
    """Runs it all; what is wrong, and figures."""
    program, trouble = Program(plan), Trouble(plan)
    clients = [Client(plan, i, program) for i in range(plan.clients)]
    publishers = [Publisher(plan, i) for i in range(plan.publishers)]
    tasks = [asyncio.create_task(actor.run()) for actor in [*clients, *publishers]]
    program.start()
    await trouble.run(time.monotonic() + plan.seconds)
    for actor in [*clients, *publishers]:
        actor.calm = True
    program.ending.set()
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, program.join)
    talk = plan.server.client()
    errors: list[str] = []
    last = {name: f"0/{(talk.xrevrange(name, count=1) or [(b'0-0', {})])[0][0].decode()}" for name in STREAMS}  # fmt: skip
    deadline = time.monotonic() + 30 * PATIENCE
    while not all(c.at_end(last) for c in clients) and time.monotonic() < deadline:
        for name in CHANNELS:
            talk.publish(name, END)
        await asyncio.sleep(0.1)
    for client in clients:
        if not client.at_end(last):
            at = {n: client.places.get(n) for n in STREAMS}
            errors.append(f"client {client.index} is not at the end: {at} of {last}, follows {sorted(client.current)}, asked {client.asked}")  # fmt: skip
    while any(len(p.replies) < p.sent for p in publishers) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            errors.append(repr(result))
    return errors + verdict(clients, publishers, program, talk), figures(
        clients, publishers, trouble
    )


def verdict(
    clients: list[Client], publishers: list[Publisher], program: Program, talk: redis.Redis
) -> list[str]:
    errors = [f"the program ended: {program.error}"] if program.error else []
    streams = {
        name: [(f"0/{id.decode()}", int(f[b"data"])) for id, f in talk.xrange(name)]
        for name in STREAMS
    }
    for client in clients:
        errors += client.errors
        for sub in [*client.done, *client.current.values()]:
            if sub.cursor is None:
                wrong = judge_channel(sub, program.sure[sub.name])
            else:
                wrong = judge_stream(sub, streams[sub.name])
            if wrong:
                errors.append(f"client {client.index}, {sub.name}: {wrong}")
    inbox = [json.loads(f[b"data"]) for _, f in talk.xrange(INBOX)]
    for publisher in publishers:
        errors += publisher.judge(inbox)
    return errors


def figures(clients: list[Client], publishers: list[Publisher], trouble: Trouble) -> Counter[str]:
    found: Counter[str] = Counter()
    for client in clients:
        for sub in [*client.done, *client.current.values()]:
            found["subscriptions"] += 1
            kind = "from channels" if sub.cursor is None else "from streams"
            found[kind] += sum(n != END for n in sub.numbers)
            found["gaps"] += len(sub.gaps)
        found["subscribes refused"] += client.refused["subscribe"]
    for publisher in publishers:
        found.update(f"replies {o}" for outcomes in publisher.replies.values() for o in outcomes)
    found.update({f"trouble {kind}": count for kind, count in trouble.done.items()})
    return found
