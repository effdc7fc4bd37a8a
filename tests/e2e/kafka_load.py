"""A load on a Kafka topic from programs and through the bridge, and what became of it.

Everything is known afterwards: what the independent producer's brokers acknowledged, how each publish
of the bridge was answered, what each subscriber saw, and what is in the log."""

from __future__ import annotations

import collections
import json
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from confluent_kafka import Consumer, Message, Producer, TopicPartition
from websockets.exceptions import ConnectionClosed

from client import Client
from kafka_server import ANSWER, Kafka
from server import PATIENCE, Server

Log = dict[str, str]  # position: value

WINDOW = 100  # publishes of one client that are not answered


class Worker:
    """A thread that does something until it is told to stop; its trouble is raised by stop()."""

    def __init__(self, run: Callable[[], None]) -> None:
        self.enough = threading.Event()
        self.trouble: BaseException | None = None
        self.run = run
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.run()
        except BaseException as error:
            self.trouble = error

    def stop(self) -> None:
        self.enough.set()
        self.thread.join()
        if self.trouble:
            raise self.trouble


class Programs:
    """The independent producer: so many messages a second, idempotent, acknowledged by all."""

    def __init__(self, kafka: Kafka, topic: str, rate: int) -> None:
        self.topic = topic
        self.pause = 1.0 / rate
        self.sent = 0
        self.acknowledged: Log = {}
        self.producer = Producer(
            {**kafka.base, "acks": "all", "enable.idempotence": True, "linger.ms": 5}
        )
        self.worker = Worker(self._run)

    def _delivered(self, error: Any, message: Message) -> None:
        assert error is None, error
        position = f"{message.partition()}/{message.offset()}"
        self.acknowledged[position] = (message.value() or b"").decode()

    def _run(self) -> None:
        began = time.monotonic()
        while not self.worker_told():
            due = int((time.monotonic() - began) / self.pause)
            while self.sent < due:
                text = f"p{self.sent}"
                self.producer.produce(
                    self.topic, text.encode(), text.encode(), on_delivery=self._delivered
                )
                self.sent += 1
            self.producer.poll(0.005)
        assert self.producer.flush(120 * PATIENCE) == 0, "messages without an acknowledgement"

    def worker_told(self) -> bool:
        return hasattr(self, "worker") and self.worker.enough.is_set()

    def stop(self) -> None:
        self.worker.stop()
        assert len(self.acknowledged) == self.sent


class Publisher:
    """A page that publishes at a rate, never more than WINDOW ahead, and keeps every answer."""

    def __init__(self, server: Server, topic: str, rate: int, name: str) -> None:
        self.client = Client(server.url)
        self.topic = topic
        self.pause = 1.0 / rate
        self.name = name
        self.sent = 0
        self.answers: dict[int, list[dict[str, Any]]] = collections.defaultdict(list)
        self.reader = Worker(self._read)
        self.writer = Worker(self._write)

    def _read(self) -> None:
        try:
            while True:
                frame = json.loads(self.client.ws.recv())
                self.answers[frame["id"]].append(frame)
        except ConnectionClosed:
            return

    def _write(self) -> None:
        began = time.monotonic()
        while not (hasattr(self, "writer") and self.writer.enough.wait(0.002)):
            due = int((time.monotonic() - began) / self.pause)
            while self.sent < due and self.sent - len(self.answers) < WINDOW:
                text = f"{self.name}{self.sent}"
                self.client.send(
                    type="publish", id=self.sent, channel=self.topic, text=text, key=text
                )
                self.sent += 1

    def stop(self) -> None:
        """When all is answered, and nothing more comes."""
        self.writer.stop()
        deadline = time.monotonic() + 30 * PATIENCE
        while len(self.answers) < self.sent:
            assert time.monotonic() < deadline, f"{self.sent - len(self.answers)} unanswered"
            time.sleep(0.02)
        self.client.send(type="ping", id=-1)
        while -1 not in self.answers:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        self.client.close()
        self.reader.stop()
        del self.answers[-1]

    def await_published(self) -> None:
        """Until one is answered so that has yet to be sent."""
        first = self.sent
        deadline = time.monotonic() + 60 * PATIENCE
        while not any(
            number >= first and frames[0]["type"] == "published"
            for number, frames in list(self.answers.items())
        ):
            assert time.monotonic() < deadline, self.summary()
            time.sleep(0.02)

    def texts(self, *codes: str) -> dict[str, dict[str, Any]]:
        """What was answered so, by its text."""
        return {
            f"{self.name}{number}": frames[0]
            for number, frames in list(self.answers.items())
            if frames[0].get("code", "published") in codes
        }

    def check(self, log: Log) -> None:
        """Answered once each; what was published is in the log once, at its place; what was
        refused is not."""
        assert set(self.answers) == set(range(self.sent))
        assert all(len(frames) == 1 for frames in self.answers.values())
        found = collections.Counter(log.values())
        for text, frame in self.texts("published").items():
            assert log[frame["pos"]] == text, (text, frame)
            places = [place for place, value in log.items() if value == text]
            assert found[text] == 1, (frame, places)
        for text in self.texts("outcome_unknown"):
            assert found[text] <= 1, (text, found[text])
        for text in self.texts("bus_unavailable", "busy"):
            assert found[text] == 0, (text, found[text])
        # In each partition in the order in which they were sent, whatever happened between them.
        places: dict[str, list[tuple[int, int]]] = collections.defaultdict(list)
        for place, text in log.items():
            if text.startswith(self.name):
                partition, offset = place.split("/")
                places[partition].append((int(offset), int(text[len(self.name) :])))
        for found_there in places.values():
            sent = [number for _, number in sorted(found_there)]
            assert sent == sorted(sent)
        known = self.texts("published", "outcome_unknown", "bus_unavailable", "busy")
        assert len(known) == self.sent, [f for f in self.answers.values() if f[0]["type"] == "error"]

    def summary(self) -> str:
        count = collections.Counter(
            frames[0].get("code", "published") for frames in list(self.answers.values())
        )
        return f"{self.sent} publishes: {dict(count)}"


class Follower:
    """A page that follows a topic from now on, and keeps all that comes."""

    def __init__(self, server: Server, topic: str) -> None:
        self.client = Client(server.url)
        self.cursor = self.client.subscribe(topic)["cursor"]
        self.seen: list[tuple[str, str]] = []  # position and value
        self.other: list[dict[str, Any]] = []
        self.over = False
        self.reader = Worker(self._read)

    def _take(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "message":
            self.seen.append((frame["pos"], str(frame.get("text", frame.get("data")))))
        else:
            self.other.append(frame)

    def _read(self) -> None:
        try:
            while True:
                self._take(json.loads(self.client.ws.recv()))
        except ConnectionClosed as error:
            if not self.over:
                self.other.append({"type": "closed", "reason": str(error)})

    def stop(self, count: int) -> None:
        """When so many have come."""
        deadline = time.monotonic() + 60 * PATIENCE
        while len(self.seen) < count and not self.other:
            assert time.monotonic() < deadline, f"{len(self.seen)} of {count}"
            time.sleep(0.02)
        self.over = True
        self.client.close()
        self.reader.stop()

    def check(self, log: Log) -> None:
        """All of the log behind the first cursor, each partition in order, and nothing else."""
        assert not self.other, self.other[:3]
        last = {int(p): int(o) for p, o in (place.split("/") for place in self.cursor)}
        for position, value in self.seen:
            partition, offset = (int(part) for part in position.split("/"))
            assert offset > last[partition], f"{position} after {last[partition]}"
            # What is between them must be nothing: transactions and compaction leave holes.
            for between in range(last[partition] + 1, offset):
                assert f"{partition}/{between}" not in log, f"{partition}/{between} did not come"
            last[partition] = offset
            assert log[position] == value
        assert len(self.seen) == len(log)


def read_log(kafka: Kafka, topic: str) -> Log:
    """All of it, by the independent client."""
    consumer = Consumer({**kafka.base, "group.id": "test", "enable.auto.commit": False})
    found: Log = {}
    try:
        partitions = consumer.list_topics(topic, timeout=ANSWER).topics[topic].partitions
        ends = {
            p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=ANSWER)[1]
            for p in partitions
        }
        consumer.assign([TopicPartition(topic, p, 0) for p, end in ends.items() if end > 0])
        left = {p for p, end in ends.items() if end > 0}
        deadline = time.monotonic() + 60 * PATIENCE
        while left:
            assert time.monotonic() < deadline, left
            for message in consumer.consume(1000, 0.2):
                assert not message.error(), message.error()
                partition, offset = message.partition(), message.offset()
                found[f"{partition}/{offset}"] = (message.value() or b"").decode()
                if offset + 1 >= ends[partition]:
                    left.discard(partition)
        return found
    finally:
        consumer.close()


class Load:
    """All of it together on one topic: programs, publishers, followers. It ends with the block."""

    def __init__(self, kafka: Kafka, server: Server, topic: str, rate: int) -> None:
        self.kafka = kafka
        self.topic = topic
        self.followers = [Follower(server, topic) for _ in range(2)]
        self.programs = Programs(kafka, topic, rate)
        self.publishers = [Publisher(server, topic, 100, name) for name in "ab"]

    def __enter__(self) -> Load:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Also where something failed."""
        self.programs.worker.enough.set()
        for publisher in self.publishers:
            publisher.writer.enough.set()
            publisher.client.close()
        for follower in self.followers:
            follower.over = True
            follower.client.close()

    def await_more(self, messages: int) -> None:
        """So many more have reached every follower."""
        goals = [len(f.seen) + messages for f in self.followers]
        deadline = time.monotonic() + 90 * PATIENCE
        while not all(len(f.seen) >= n for f, n in zip(self.followers, goals, strict=True)):
            assert time.monotonic() < deadline, self.state()
            assert not any(follower.other for follower in self.followers), self.state()
            time.sleep(0.02)

    def state(self) -> str:
        seen = [len(follower.seen) for follower in self.followers]
        programs = f"{len(self.programs.acknowledged)} of {self.programs.sent} acknowledged"
        other = [follower.other for follower in self.followers]
        return f"followers have {seen} and {other}, {programs}, {[p.summary() for p in self.publishers]}"

    def finish(self) -> str:
        """Ends it in order, and looks at everything."""
        for part in (self.programs, *self.publishers):
            part.stop()
        log = read_log(self.kafka, self.topic)
        for follower in self.followers:
            follower.stop(len(log))
        found = collections.Counter(log.values())
        for position, text in self.programs.acknowledged.items():
            assert log[position] == text and found[text] == 1, (position, text)
        for follower in self.followers:
            follower.check(log)
        for publisher in self.publishers:
            publisher.check(log)
        lines = [f"{len(log)} messages", *(p.summary() for p in self.publishers)]
        return "; ".join(lines)
