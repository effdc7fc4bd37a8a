"""A node dies in the middle of a busy topic, and its clients go on at another one from their cursors."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from typing import Any

import pytest
from confluent_kafka import Producer
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from conftest import Start
from kafka_server import ANSWER, KafkaServer
from server import PATIENCE, WORKERS, Server

PARTITIONS = 24
RATE = 2000 / PATIENCE
KEYS = "abcdefgh"
DEADLINE = 30 * PATIENCE


def settings(kafka: KafkaServer) -> dict[str, Any]:
    return {
        "listen": "127.0.0.1:0",
        "workers": WORKERS,
        "drain": 2000,
        "bus_wait": 60000,
        "buses": {"k": {"type": "kafka", "url": kafka.url}},
        "channels": [
            {"match": "keyed.{topic}.{key}", "bus": "k", "topic": "{topic}", "key": "{key}"},
            {"match": "*", "bus": "k"},
        ],
    }


class Stream(threading.Thread):
    """Writes RATE messages a second, until it is told to stop, and notes where they stand."""

    def __init__(self, kafka: KafkaServer, topic: str) -> None:
        super().__init__(daemon=True)
        self.producer = Producer({**kafka.base, "enable.idempotence": True, "linger.ms": 5})
        self.topic = topic
        self.ending = threading.Event()
        self.written: dict[tuple[int, int], tuple[int, str]] = {}
        self.seconds = 0.0

    def delivered(self, entry: tuple[int, str], error: Any, message: Any) -> None:
        assert error is None, error
        self.written[message.partition(), message.offset()] = entry

    def run(self) -> None:
        began = time.monotonic()
        count = 0
        while not self.ending.wait(0.005):
            while count < (time.monotonic() - began) * RATE:
                entry = count, KEYS[count // 3 % len(KEYS)]
                self.producer.produce(
                    self.topic,
                    str(count).encode(),
                    entry[1].encode(),
                    partition=count % PARTITIONS,
                    on_delivery=lambda e, m, entry=entry: self.delivered(entry, e, m),
                )
                count += 1
            self.producer.poll(0)
        self.seconds = time.monotonic() - began
        self.producer.flush(ANSWER)

    def expected(self, key: str | None, start: dict[int, int]) -> list[tuple[int, int, int]]:
        return sorted(
            (partition, offset, number)
            for (partition, offset), (number, of) in self.written.items()
            if offset > start[partition] and key in (None, of)
        )


class Follower:
    """Keeps its cursor, and goes on from it wherever it is sent."""

    def __init__(self, channel: str, key: str | None) -> None:
        self.channel = channel
        self.key = key
        self.start: dict[int, int] = {}
        self.cursor: dict[int, int] = {}
        self.messages: list[tuple[int, int, int]] = []
        self.subscriptions = 0
        self.live = False

    def where(self) -> Any:
        if not self.cursor:
            return "now"
        return {"after": [f"{partition}/{offset}" for partition, offset in self.cursor.items()]}

    def take(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "message":
            partition, offset = (int(part) for part in frame["pos"].split("/"))
            # A key has holes in offsets: those are compared at the end.
            wanted = self.cursor[partition] + 1
            assert offset == wanted or (self.key and offset > wanted), f"{offset}, not {wanted}"
            self.messages.append((partition, offset, frame["data"]))
            self.cursor[partition] = offset
            return
        assert frame["type"] in ("subscribed", "live", "position"), frame
        told = {int(p): int(o) for p, o in (pos.split("/") for pos in frame["cursor"])}
        assert len(told) == PARTITIONS
        if frame["type"] == "subscribed" and self.cursor:
            assert frame["recovered"] is True and "reason" not in frame, frame
            assert told == self.cursor
        elif frame["type"] == "live":
            assert all(told[p] >= offset for p, offset in self.cursor.items())
        self.cursor = told
        self.start = self.start or dict(told)
        self.subscriptions += frame["type"] == "subscribed"
        self.live = frame["type"] != "subscribed" or self.subscriptions == 1

    async def follow(self, server: Server) -> None:
        """Until the server dies."""
        self.live = False
        async with connect(server.url, compression=None, max_size=None) as ws:
            await ws.recv()
            body = {"type": "subscribe", "id": 1, "channel": self.channel, "from": self.where()}
            await ws.send(json.dumps(body))
            try:
                async for text in ws:
                    self.take(json.loads(text))
            except ConnectionClosed:
                pass

    async def run(self, servers: list[Server]) -> None:
        """`servers` becomes shorter as they die."""
        while servers:
            await self.follow(servers[0])


async def until(followers: list[Follower], tasks: list[Any], what: str, reached: Any) -> None:
    deadline = time.monotonic() + DEADLINE
    while not all(reached(f) for f in followers):
        for task in tasks:
            if task.done():
                task.result()
        assert time.monotonic() < deadline, f"not all followers are {what}"
        await asyncio.sleep(0.02)


async def play(stream: Stream, servers: list[Server], followers: list[Follower]) -> None:
    """Each server but the last is killed when everybody follows there and has had some messages."""
    tasks = [asyncio.create_task(follower.run(servers)) for follower in followers]
    lives = len(servers)
    for life in range(1, lives + 1):
        await until(
            followers,
            tasks,
            f"live in life {life}",
            lambda f, life=life: f.live and f.subscriptions == life,
        )
        if life == 1:
            stream.start()
        counts = Counter({f: len(f.messages) for f in followers})
        more = RATE / (1 if life < lives else 4)
        await until(
            followers,
            tasks,
            "on their way",
            lambda f, counts=counts, more=more: (
                len(f.messages) > counts[f] + more / (len(KEYS) if f.key else 1)
            ),
        )
        if life < lives:
            servers.pop(0).kill()
    stream.ending.set()
    stream.join()
    ends = {f: len(stream.expected(f.key, f.start)) for f in followers}
    await until(followers, tasks, "at the end", lambda f: len(f.messages) >= ends[f])
    servers.clear()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_resume_after_sigkill(
    kafka: KafkaServer, topic: str, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    kafka.create(topic, PARTITIONS)
    dying = [Server(f"kafka-resume-{i}", settings(kafka)) for i in range(2)]
    stream = Stream(kafka, topic)
    followers = [Follower(topic, None) for _ in range(6)]
    followers += [Follower(f"keyed.{topic}.{key}", key) for key in KEYS]
    try:
        asyncio.run(play(stream, [*dying, start(settings(kafka))], followers))
    finally:
        stream.ending.set()
        for server in dying:
            server.kill()
    with capsys.disabled():
        rate = len(stream.written) / stream.seconds
        print(f"\nkafka resume: {len(stream.written)} written, {rate:.0f} a second, ", end="")
        print(f"{sum(len(f.messages) for f in followers)} deliveries")
    for follower in followers:
        assert sorted(follower.messages) == stream.expected(follower.key, follower.start)
    for server in dying:
        server.check_log()
