"""Whatever happens between the bridge and Redis: no hole that is not announced, in streams none at all."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable

import pytest

import redis_faults
from conftest import Start
from redis_server import Proxy, Redis, bridge_config
from server import SANITIZER, WORKERS

QUICK = {"timeout": 700, "connect_timeout": 700, "publish_timeout": 1500}


def faults(
    start: Start, server: Redis, proxy: Proxy, seconds: float, show: pytest.CaptureFixture[str]
) -> bool:
    """False: too little happened to show anything."""
    seed = int(os.environ.get("WSBUS_TEST_SEED") or random.SystemRandom().getrandbits(32))
    settings = bridge_config(proxy.url, QUICK, workers=WORKERS, linger=100, bus_wait=1000)
    special = start(settings)
    rate = 100.0 if SANITIZER == "thread" else 400.0
    plan = redis_faults.Plan(special.url, server, proxy, seed, seconds, rate=rate)
    errors, figures = asyncio.run(redis_faults.play(plan))
    with show.disabled():
        print(f"\nredis faults: seed {seed}, ", end="")
        print(", ".join(f"{count} {name}" for name, count in sorted(figures.items())))
    if errors:
        pytest.fail(f"seed {seed}, {len(errors)} errors:\n" + "\n".join(errors[:20]), pytrace=False)
    return all(figures[name] for name in ("from channels", "from streams", "gaps", "replies published"))


@pytest.mark.timeout(200)
def test_faults(
    start: Start, redis_start: Callable[..., Redis], proxy_to: Callable[[Redis], Proxy], capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    for seconds in (6, 12, 24):  # a machine that is busy with other things needs longer
        server = redis_start(appendonly="yes", appendfsync="always")
        if faults(start, server, proxy_to(server), seconds, capsys):
            return
    pytest.fail("too little happened")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_faults_for_long(
    start: Start, redis_start: Callable[..., Redis], proxy_to: Callable[[Redis], Proxy], capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    server = redis_start(appendonly="yes", appendfsync="always")
    assert faults(start, server, proxy_to(server), 180, capsys)
