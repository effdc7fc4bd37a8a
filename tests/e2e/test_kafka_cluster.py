"""Three Kafka brokers, of which some die or freeze while much goes on."""

from __future__ import annotations

import collections
from collections.abc import Iterator

import pytest

from conftest import Start
from kafka_cluster import KafkaCluster
from kafka_load import Load
from kafka_server import Kafka
from pulse import Pulse, beside_memory, complaints

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

PARTITIONS = 12
RATE = 600


@pytest.fixture(scope="module", params=["4.3.0", "3.9.1"])
def running(request: pytest.FixtureRequest) -> Iterator[KafkaCluster]:
    started = KafkaCluster(request.param)
    try:
        started.start()
        yield started
    finally:
        started.stop()


@pytest.fixture
def cluster(running: KafkaCluster) -> Iterator[KafkaCluster]:
    """One whose brokers the test may kill or freeze."""
    yield running
    for broker in running.brokers.values():
        if broker.process:
            broker.thaw()
    running.start()


def bus(kafka: Kafka) -> dict[str, object]:
    return {"type": "kafka", "url": kafka.url, "refresh": 1000}


def most_leading(cluster: KafkaCluster, topic: str) -> int:
    """The broker that leads most partitions."""
    return collections.Counter(cluster.leaders(topic)).most_common(1)[0][0]


@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_leaders_change_under_load(
    start: Start, cluster: KafkaCluster, topic: str, fault: str
) -> None:
    """Twice, another broker each time. For a log nothing is lost."""
    cluster.create(topic, PARTITIONS)
    server = start(beside_memory(bus(cluster)))
    lost = []
    with Pulse(server) as pulse, Load(cluster, server, topic, RATE) as load:
        load.await_more(1000)
        for _ in range(2):
            node = most_leading(cluster, topic)
            broker = cluster.brokers[node]
            lost.append(broker.address)
            broker.kill() if fault == "killed" else broker.freeze()
            cluster.await_leaders(topic, node)
            load.await_more(1000)
            cluster.start() if fault == "killed" else broker.thaw()
            cluster.wait(cluster.whole, 60)
            load.await_more(1000)
        summary = load.finish()
    print(summary, pulse.figures(), sep="\n")
    said = complaints(server)
    if fault == "frozen":  # a minute passes before librdkafka complains about one that is silent
        assert len(said) <= 2, said
    else:
        assert len(said) == 2 and all(a in line for a, line in zip(lost, said, strict=True)), said
