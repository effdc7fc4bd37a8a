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


def check_closes(log: str, figures: Counter[str]) -> None:
    """The daemon closed nobody but slow readers, and cut off only who outlasted its close.

    A reader has some seconds to take what is on its way to it, with the close frame at the end;
    after that the connection ends without one. Every 1006 must be such a case by the log.
    """
    lines = log.splitlines()
    closing = [line for line in lines if "event=session_closing" in line]
    assert all(" code=4000 " in line for line in closing), closing
    timeouts = sum("event=timeout" in line and "waiting_for=close" in line for line in lines)
    cut = figures["closed with 1006"]
    assert cut <= timeouts, f"{cut} connections were cut off, {timeouts} of them by a timeout"
    assert cut + figures["closed with 4000"] <= len(closing), figures


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
    check_closes(special.log(), figures)
    assert all(figures[f"from {kind}"] for kind in ("now", "after", "last", "earliest"))
