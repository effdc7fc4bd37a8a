"""A Kafka broker that dies or freezes while much goes on, and what the bridge makes of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Start
from kafka_load import Load
from kafka_server import KafkaServer
from pulse import Pulse, beside_memory, complaints
from server import PATIENCE, Server

PARTITIONS = 6
RATE = 200


@pytest.fixture(scope="module")
def running() -> Iterator[KafkaServer]:
    broker = KafkaServer()
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


@pytest.fixture
def broker(running: KafkaServer) -> Iterator[KafkaServer]:
    """One that the test may kill or freeze."""
    yield running
    if running.process:
        running.thaw()
    running.start()


def threads(server: Server) -> int:
    return len(list(Path(f"/proc/{server.pid}/task").iterdir()))


def await_answers(load: Load, code: str) -> None:
    """Until a publish of each page has been answered so."""
    load.kafka.wait(lambda: all(publisher.texts(code) for publisher in load.publishers), 60)


def await_states(server: Server, state: str, count: int) -> None:
    deadline = time.monotonic() + 60 * PATIENCE
    while server.log().count(f"event=bus_{state} bus=k") < count:
        assert time.monotonic() < deadline, server.log()
        time.sleep(0.02)


@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_under_load(start: Start, broker: KafkaServer, topic: str, fault: str) -> None:
    """For longer than a publish may take. What was published is there once, and nothing was lost."""
    broker.create(topic, PARTITIONS)
    options = {"type": "kafka", "url": broker.url, "publish_timeout": 800}
    server = start(beside_memory(options))
    with Pulse(server) as pulse, Load(broker, server, topic, RATE) as load:
        load.await_more(200)
        for life in range(1, 3):
            broker.kill() if fault == "killed" else broker.freeze()
            await_answers(load, "outcome_unknown" if fault == "frozen" else "bus_unavailable")
            if fault == "killed":
                await_states(server, "down", life)
                broker.start()
                await_states(server, "up", life + 1)
            broker.thaw()
            load.await_more(200)
            for publisher in load.publishers:
                publisher.await_published()
        summary = load.finish()
    print(summary, pulse.figures(), sep="\n")
    # The second one is too short to be noticed always.
    assert len(complaints(server)) == 2 if fault == "killed" else len(complaints(server)) <= 2


def test_an_outage_leaves_nothing_behind(
    start: Start, broker: KafkaServer, topic: str
) -> None:
    """Producers are given up again and again meanwhile."""
    broker.create(topic, PARTITIONS)
    options = {"type": "kafka", "url": broker.url, "publish_timeout": 200}
    server = start(beside_memory(options))
    with Load(broker, server, topic, RATE) as load:
        load.await_more(100)
        before = threads(server)
        broker.freeze()
        await_answers(load, "outcome_unknown")
        most, end = 0, time.monotonic() + 5 * PATIENCE
        while time.monotonic() < end:
            most = max(most, threads(server))
            time.sleep(0.05)
        broker.thaw()
        load.await_more(100)
        print(load.finish(), f"{before} threads before, {most} at most")
    assert most < before + 25
    broker.wait(lambda: threads(server) <= before + 5)
