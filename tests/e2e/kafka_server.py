"""A real Kafka for tests (tests/kafka/broker) and an independent client of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from confluent_kafka import (
    Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition,
)  # fmt: skip
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from ports import free_port
from server import PATIENCE, ROOT

# The first start may fetch the broker.
START = 120.0
ANSWER = 20.0

FENCED = KafkaError.INVALID_REPLICATION_FACTOR
EXISTS = KafkaError.TOPIC_ALREADY_EXISTS

Headers = list[tuple[str, bytes | None]]


def rights(user: str, topic: str, operations: Iterable[AclOperation]) -> list[AclBinding]:
    return [
        AclBinding(
            ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, f"User:{user}", "*",
            operation, AclPermissionType.ALLOW,
        )
        for operation in operations
    ]  # fmt: skip


def filter_of(right: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        right.restype, right.name, right.resource_pattern_type, right.principal, right.host,
        right.operation, right.permission_type,
    )  # fmt: skip


def quiet(*_: Any) -> None:
    """What the client complains about while the broker is down."""


def stopped(task: Path) -> bool:
    try:
        return task.read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return True  # it ended meanwhile


class Kafka:
    """What an independent client does with one broker or more."""

    replicas = 1

    def __init__(self, address: str) -> None:
        self.address = address
        self.url = f"kafka://{address}"
        base = {"bootstrap.servers": address, "log_level": 0, "error_cb": quiet}
        self.base = {
            **base,
            "reconnect.backoff.max.ms": 500,
            "allow.auto.create.topics": False,
        }
        self._admin: AdminClient | None = None
        self._producer: Producer | None = None

    @property
    def admin(self) -> AdminClient:
        if not self._admin:
            self._admin = AdminClient(self.base)
        return self._admin

    @property
    def producer(self) -> Producer:
        if not self._producer:
            self._producer = Producer(
                {**self.base, "acks": "all", "enable.idempotence": True, "linger.ms": 0}
                | {"message.max.bytes": 10_000_000}
            )
        return self._producer

    # ---- topics

    def wait(self, there: Callable[[], Any], patience: float = ANSWER) -> None:
        deadline = time.monotonic() + patience * PATIENCE
        while not there():
            if time.monotonic() > deadline:
                raise AssertionError("the broker does not get there")
            time.sleep(0.01)

    def has(self, topic: str, partitions: int) -> bool:
        return self.complete(self.admin.list_topics(topic, timeout=ANSWER).topics[topic], partitions)

    def complete(self, seen: Any, partitions: int) -> bool:
        return (
            seen.error is None
            and len(seen.partitions) == partitions
            and all(p.leader >= 0 and len(p.isrs) == self.replicas for p in seen.partitions.values())
        )

    def _create(self, new: list[NewTopic]) -> None:
        """A broker that was frozen, or had no time for its heartbeat, may be fenced for a moment."""

        def created() -> bool:
            errors = [done.exception(ANSWER) for done in self.admin.create_topics(new).values()]
            for error in errors:
                if error and error.args[0].code() not in (FENCED, EXISTS, KafkaError._DESTROY_BROKER):
                    raise error
            return all(not error or error.args[0].code() == EXISTS for error in errors)

        self.wait(created)

    def create(self, topic: str, partitions: int = 1, **settings: str) -> None:
        config = {name.replace("_", "."): value for name, value in settings.items()}
        self._create([NewTopic(topic, partitions, self.replicas, config=config)])
        self.wait(lambda: self.has(topic, partitions))

    def create_many(self, topics: list[str]) -> None:
        self._create([NewTopic(t, 1, self.replicas) for t in topics])
        self.wait(lambda: all(self.has(t, 1) for t in topics))

    def grow(self, topic: str, partitions: int) -> None:
        self.admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(ANSWER)
        self.wait(lambda: self.has(topic, partitions))

    def delete(self, topic: str) -> None:
        self.admin.delete_topics([topic])[topic].result(ANSWER)
        self.wait(lambda: self.admin.list_topics(topic, timeout=ANSWER).topics[topic].error)

    def shorten(self, topic: str, partition: int, before: int) -> None:
        """Deletes what lies before this offset; a leader that has just started may need a moment."""
        place = TopicPartition(topic, partition, before)

        def shortened() -> bool:
            try:
                for done in self.admin.delete_records([place]).values():
                    done.result(ANSWER)
            except KafkaException:
                return False
            return True

        self.wait(shortened)

    # ---- rights

    def allow(self, user: str, topic: str, *operations: AclOperation) -> None:
        """The user may do this from now on."""
        for done in self.admin.create_acls(rights(user, topic, operations)).values():
            done.result(ANSWER)

    def forbid(self, user: str, topic: str, *operations: AclOperation) -> None:
        """What was allowed is no more."""
        for right in rights(user, topic, operations):
            taken = self.admin.delete_acls([filter_of(right)])
            assert all(done.result(ANSWER) for done in taken.values())

    # ---- messages

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        headers: Headers | None = None,
        partition: int = -1,
    ) -> str:
        """Returns the position as wsbus writes it."""
        places: list[str] = []

        def delivered(error: Any, message: Any) -> None:
            assert error is None, error
            places.append(f"{message.partition()}/{message.offset()}")

        more = {} if partition < 0 else {"partition": partition}
        self.producer.produce(
            topic, value, key, headers=headers or [], on_delivery=delivered, **more
        )
        self.producer.flush(ANSWER)
        assert places, "no answer of the broker"
        return places[0]

    def produce_many(self, topic: str, count: int, first: int = 0) -> None:
        """Numbers as text, key and partition by turns as the client chooses."""
        refused: list[Any] = []
        for i in range(first, first + count):
            self.producer.produce(
                topic,
                str(i).encode(),
                str(i).encode(),
                on_delivery=lambda error, _: error and refused.append(error),
            )
            self.producer.poll(0)
        assert self.producer.flush(ANSWER) == 0 and not refused

    def read(self, topic: str, position: str) -> Any:
        """The message at a position."""
        partition, offset = (int(part) for part in position.split("/"))
        consumer = Consumer({**self.base, "group.id": "test", "enable.auto.commit": False})
        try:
            consumer.assign([TopicPartition(topic, partition, offset)])
            message = consumer.poll(ANSWER)
            assert message is not None and not message.error()
            return message
        finally:
            consumer.close()


    def number(
        self, topic: str, partitions: int, numbers: range, make: Callable[[int], dict[str, Any]]
    ) -> list[Any]:
        """Message n, as make(n) has it, to partition n % partitions; returns those that are not
        acknowledged at offset n // partitions."""
        wrong: list[Any] = []

        def delivered(n: int, error: Any, message: Message) -> None:
            if error or message.offset() != n // partitions:
                wrong.append((n, error, message.offset()))

        for n in numbers:
            self.producer.produce(
                topic, partition=n % partitions, on_delivery=partial(delivered, n), **make(n)
            )
            self.producer.poll(0)
        assert self.producer.flush(ANSWER) == 0
        return wrong

    def filled(self, topic: str, partitions: int, fill: Callable[..., list[Any]]) -> str:
        """A topic of this or a similar name, with all that fill() puts into it where it belongs.

        A producer that saw a new topic as unknown for a moment counts anew, and the broker drops what
        looks like a duplicate (librdkafka issue 3712): such a topic is left alone."""
        wrong: list[Any] = []
        for name in (topic, f"{topic}-again", f"{topic}-once-more"):
            self.create(name, partitions)
            wrong = fill(self, name, partitions)
            if not wrong:
                return name
        raise AssertionError(f"the broker does not keep what it acknowledges: {wrong}")


class KafkaServer(Kafka):
    """One broker; down at first. `url` and what it holds are good over starts and kills."""

    def __init__(self, version: str = "", settings: str = "") -> None:
        self.port = free_port(2)
        super().__init__(f"127.0.0.1:{self.port}")
        self.folder = tempfile.mkdtemp(prefix="wsbus-kafka-")
        self.version = version
        self.process: subprocess.Popen[bytes] | None = None
        self.configure(settings)

    def configure(self, settings: str) -> None:
        """What is otherwise than in tests/kafka/broker from the next start on."""
        (Path(self.folder) / "extra.properties").write_text(settings)

    # ---- life

    def launch(self) -> None:
        """Without waiting for it."""
        version = {"KAFKA_VERSION": self.version} if self.version else {}
        self.process = subprocess.Popen(
            # It must not outlive the tests, however they end.
            ["setpriv", "--pdeathsig", "KILL", str(ROOT / "tests/kafka/broker")]
            + ["run", self.folder, str(self.port)],
            env={**os.environ, **version},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def ready(self) -> bool:
        assert self.process
        if self.process.poll() is not None:
            raise RuntimeError(f"the broker ended with {self.process.returncode}")
        try:
            return bool(self.admin.list_topics(timeout=0.3).brokers)
        except KafkaException:
            return False

    def listens(self) -> bool:
        with socket.socket() as caller:
            return caller.connect_ex(("127.0.0.1", self.port)) == 0

    def start(self) -> None:
        if self.process:
            return
        self.launch()
        self.wait(self.ready, START)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process = None

    def freeze(self) -> None:
        """Returns when each of its threads has taken notice."""
        assert self.process
        os.kill(self.process.pid, signal.SIGSTOP)
        tasks = Path(f"/proc/{self.process.pid}/task")
        self.wait(lambda: all(stopped(task) for task in tasks.glob("*/stat")))

    def thaw(self) -> None:
        assert self.process
        os.kill(self.process.pid, signal.SIGCONT)

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
