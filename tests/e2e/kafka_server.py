"""A real Kafka broker for tests (tests/kafka/broker) and an independent client of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
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
WAIT = 120.0
ANSWER = 20.0

Headers = list[tuple[str, bytes | None]]


# A second listener with a login, beside the plain one, where everybody may do everything.
GUARDED = """
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{next},SASL_PLAINTEXT://127.0.0.1:{guarded}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{guarded}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=\\
 org.apache.kafka.common.security.plain.PlainLoginModule required user_bridge="secret";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=false
"""


def quiet(*_: Any) -> None:
    """What the client complains about while the broker is down."""


class KafkaServer:
    """Down at first. `url` and what it holds are good over starts and kills."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="wsbus-kafka-")
        self.port = free_port(2)
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"kafka://{self.address}"
        self.process: subprocess.Popen[bytes] | None = None
        base = {"bootstrap.servers": self.address, "log_level": 0, "error_cb": quiet}
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

    def guard(self) -> str:
        """Before it starts: a listener for the user bridge with the password secret; its address."""
        guarded = free_port()
        text = GUARDED.format(port=self.port, next=self.port + 1, guarded=guarded)
        (Path(self.folder) / "extra.properties").write_text(text)
        return f"127.0.0.1:{guarded}"

    def allow(self, topic: str, *operations: AclOperation) -> None:
        """The user bridge may do this from now on."""
        rights = [
            AclBinding(
                ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:bridge", "*",
                operation, AclPermissionType.ALLOW,
            )
            for operation in operations
        ]  # fmt: skip
        for done in self.admin.create_acls(rights).values():
            done.result(ANSWER)

    # ---- life

    def start(self) -> None:
        if self.process:
            return
        self.process = subprocess.Popen(
            # It must not outlive the tests, however they end.
            ["setpriv", "--pdeathsig", "KILL", str(ROOT / "tests/kafka/broker")]
            + ["run", self.folder, str(self.port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + WAIT * PATIENCE
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"the broker ended with {self.process.returncode}")
            try:
                if self.admin.list_topics(timeout=0.3).brokers:
                    return
            except KafkaException:
                pass
            if time.monotonic() > deadline:
                raise RuntimeError("the broker does not answer")

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process = None

    def freeze(self) -> None:
        assert self.process
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process
        os.kill(self.process.pid, signal.SIGCONT)

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- topics

    def wait(self, there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + ANSWER * PATIENCE
        while not there():
            if time.monotonic() > deadline:
                raise AssertionError("the broker does not get there")
            time.sleep(0.01)

    def has(self, topic: str, partitions: int) -> bool:
        seen = self.admin.list_topics(topic, timeout=ANSWER).topics[topic]
        return seen.error is None and len(seen.partitions) == partitions

    def create(self, topic: str, partitions: int = 1, **settings: str) -> None:
        config = {name.replace("_", "."): value for name, value in settings.items()}
        new = NewTopic(topic, partitions, 1, config=config)
        self.admin.create_topics([new])[topic].result(ANSWER)
        self.wait(lambda: self.has(topic, partitions))

    def create_many(self, topics: list[str]) -> None:
        for done in self.admin.create_topics([NewTopic(t, 1, 1) for t in topics]).values():
            done.result(ANSWER)
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
        for i in range(first, first + count):
            self.producer.produce(topic, str(i).encode(), str(i).encode())
            self.producer.poll(0)
        assert self.producer.flush(ANSWER) == 0

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
