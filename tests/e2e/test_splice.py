"""Exactness: whatever clients do at whatever moment, each subscription sees every message once, in order."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

import splice_load
from conftest import Start
from server import FULL, PATIENCE, SANITIZER, config

CLIENTS = 300
PROCESSES = 2
DELIVERIES = 20_000 if SANITIZER == "thread" else 1_000_000 if FULL else 100_000
HISTORY = 600


@dataclass
class Shared:
    """What all processes see: deliveries and lag of each client process, and whether to stop."""

    delivered: Any
    lag: Any
    stop: Any


@pytest.mark.timeout(1500)
def test_splice(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("WSBUS_TEST_SEED") or random.SystemRandom().getrandbits(32))
    settings = config(
        workers=3,
        buses={"m": {"type": "memory", "history": HISTORY}},
        limits={"queue_bytes": 65536, "send_buffer": 16384},
    )
    special = start(settings)
    plan = splice_load.Plan(
        url=special.url,
        port=special.port,
        seed=seed,
        deliveries=DELIVERIES,
        publishers=4,
        rate=1500 / PATIENCE,
        history=HISTORY,
        patience=PATIENCE,
    )
    spawn = multiprocessing.get_context("spawn")
    shared = Shared(
        spawn.RawArray("q", PROCESSES), spawn.RawArray("d", PROCESSES), spawn.RawValue("i", 0)
    )
    began = time.monotonic()
    pipes = [spawn.Pipe() for _ in range(PROCESSES + 1)]
    share = CLIENTS // PROCESSES
    processes = [
        spawn.Process(
            target=splice_load.run_clients,
            args=(plan, range(i * share, (i + 1) * share), shared, i, pipes[i][1]),
            daemon=True,
        )
        for i in range(PROCESSES)
    ]
    processes.append(
        spawn.Process(
            target=splice_load.run_publishers, args=(plan, shared, pipes[-1][1]), daemon=True
        )
    )
    try:
        for process in processes:
            process.start()
        truth = pipes[-1][0].recv()
        for mine, _ in pipes[:-1]:
            mine.send(truth)
        results = [mine.recv() for mine, _ in pipes[:-1]]
        for process in processes:
            process.join(30)
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()
    seconds = time.monotonic() - began
    figures: Counter[str] = Counter()
    errors = [] if isinstance(truth, splice_load.Truth) else [truth]
    for result in results:
        figures.update(result["figures"])
        errors += result["errors"]
    published = (
        sum(len(rows) for rows in truth.topics.values())
        if isinstance(truth, splice_load.Truth)
        else 0
    )
    with capsys.disabled():
        print(f"\nsplice: seed {seed}, {seconds:.1f} s, {published} published, ", end="")
        print(
            ", ".join(f"{count} {name}" for name, count in sorted(figures.items())),
            f"{len(errors)} errors",
            sep=", ",
        )
    if errors:
        pytest.fail(
            f"seed {seed}, {len(errors)} errors:\n"
            + "\n".join(error[:300] for error in errors[:20]),
            pytrace=False,
        )
    assert figures["deliveries"] >= DELIVERIES
    assert all(figures[f"from {kind}"] for kind in ("now", "after", "last", "earliest"))
