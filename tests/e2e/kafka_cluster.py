"""A cluster of three Kafka brokers."""

from __future__ import annotations

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata

from kafka_server import START, Kafka, KafkaServer

SIZE = 3

# A broker that is silent for so long is taken for dead; longer than a busy machine keeps one waiting.
SILENCE_MS = 4000

SETTINGS = """
node.id={node}
controller.quorum.voters={voters}
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
broker.heartbeat.interval.ms=300
broker.session.timeout.ms={silence}
replica.lag.time.max.ms={silence}
"""


class KafkaCluster(Kafka):
    """Three brokers, numbered from 1; all down at first."""

    replicas = SIZE

    def __init__(self, version: str = "") -> None:
        self.brokers = {node: KafkaServer(version) for node in range(1, SIZE + 1)}
        super().__init__(",".join(b.address for b in self.brokers.values()))
        voters = ",".join(
            f"{node}@127.0.0.1:{b.port + 1}" for node, b in self.brokers.items()
        )
        for node, broker in self.brokers.items():
            broker.configure(SETTINGS.format(node=node, voters=voters, silence=SILENCE_MS))

    def start(self) -> None:
        """All that are down; returns when all partitions are everywhere again."""
        for broker in self.brokers.values():
            if not broker.process:
                broker.launch()
        self.wait(self.whole, START)

    def stop(self) -> None:
        for broker in self.brokers.values():
            broker.stop()

    def seen(self) -> ClusterMetadata | None:
        try:
            return self.admin.list_topics(timeout=2)
        except KafkaException:
            return None

    def whole(self) -> bool:
        for broker in self.brokers.values():
            assert broker.process and broker.process.poll() is None, "a broker ended"
            if not broker.listens():
                return False
        seen = self.seen()
        return seen is not None and len(seen.brokers) == SIZE and all(
            len(p.isrs) == len(p.replicas)
            for topic in seen.topics.values()
            for p in topic.partitions.values()
        )

    def has(self, topic: str, partitions: int) -> bool:
        """Each broker that runs says so: a new client asks the only one whose address it was given."""
        for broker in self.brokers.values():
            if not broker.process:
                continue
            try:
                seen = AdminClient(broker.base).list_topics(topic, timeout=5).topics[topic]
            except KafkaException:
                return False
            if not self.complete(seen, partitions):
                return False
        return True

    def leaders(self, topic: str) -> list[int]:
        """Of each partition; -1: none."""
        seen = self.admin.list_topics(topic, timeout=5).topics[topic]
        if seen.error:
            raise KafkaException(seen.error)
        return [seen.partitions[p].leader for p in sorted(seen.partitions)]

    def await_leaders(self, topic: str, without: int) -> None:
        """Until another broker leads what this one has led."""

        def others() -> bool:
            try:
                return all(leader not in (-1, without) for leader in self.leaders(topic))
            except KafkaException:
                return False

        self.wait(others, 120)
