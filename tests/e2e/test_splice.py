"""Exactness: whatever clients do at whatever moment, each subscription sees every message once, in order."""

from __future__ import annotations

import os
import random

import pytest

import splice_load
import splice_memory
from conftest import Start
from server import FULL, PATIENCE, SANITIZER, config

DELIVERIES = 20_000 if SANITIZER == "thread" else 1_000_000 if FULL else 100_000
HISTORY = 600


@pytest.mark.timeout(1500)
def test_splice(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("WSBUS_TEST_SEED") or random.SystemRandom().getrandbits(32))
    settings = config(
        workers=3,
        buses={"m": {"type": "memory", "history": HISTORY}},
        limits={"queue_bytes": 65536, "send_buffer": 16384},
        log={"level": "debug"},
    )
    special = start(settings)
    plan = splice_load.Plan(
        url=special.url,
        port=special.port,
        seed=seed,
        clients=300,
        names=splice_memory.channels(),
        kinds={"now": 40, "after": 35, "last": 15, "earliest": 10},
        deliveries=DELIVERIES,
        publishers=4,
        rate=1500 / PATIENCE,
        history=HISTORY,
        patience=PATIENCE,
    )
    result = splice_load.run(plan, splice_memory.run_publishers)
    with capsys.disabled():
        print(f"\nsplice: seed {seed}, {result}")
    splice_load.verdict(result, plan, seed, DELIVERIES, special.log())
