"""Exactness on a real broker: each subscription sees every message once, in the order of its partition."""

from __future__ import annotations

import os
import random

import pytest

import splice_kafka
import splice_load
from conftest import Start
from kafka_server import KafkaServer
from server import FULL, PATIENCE, SANITIZER

DELIVERIES = 20_000 if SANITIZER == "thread" else 1_000_000 if FULL else 100_000


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("workers", [3, pytest.param(1, marks=pytest.mark.long)])
def test_splice(
    start: Start, kafka: KafkaServer, topic: str, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("WSBUS_TEST_SEED") or random.SystemRandom().getrandbits(32))
    special = start(
        {
            "listen": "127.0.0.1:0",
            "workers": workers,
            "drain": 3000,
            # Feeds end and begin again, and the past is in the ring only in part.
            "linger": 300,
            "bus_wait": 30000,
            "replay": {"ring_messages": 200},
            "limits": {"queue_bytes": 65536, "send_buffer": 16384},
            "log": {"level": "debug"},
            "buses": {"k": {"type": "kafka", "url": kafka.url, "refresh": 500}},
            "channels": splice_kafka.rules(topic, "k"),
        }
    )
    plan = splice_kafka.KafkaPlan(
        url=special.url,
        port=special.port,
        seed=seed,
        clients=100,
        names=splice_kafka.channels(),
        kinds={"now": 35, "after": 30, "last": 12, "earliest": 5, "time": 9, "ago": 9},
        deliveries=DELIVERIES,
        publishers=len(splice_kafka.WRITERS),
        rate=1000 / PATIENCE,
        first=-1,
        timed=True,
        patience=PATIENCE,
        brokers=kafka.address,
        prefix=topic,
    )
    splice_kafka.create(plan, kafka.admin)
    result = splice_load.run(plan, splice_kafka.run_producers)
    with capsys.disabled():
        print(f"\nkafka splice: seed {seed}, workers {workers}, {result}")
    splice_load.verdict(result, plan, seed, DELIVERIES, special.log())
