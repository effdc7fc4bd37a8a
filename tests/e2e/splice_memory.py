"""The splice test's publishers on the memory bus: they publish through the daemon and note the positions."""

from __future__ import annotations

import asyncio
import json
import random
import time
from multiprocessing.connection import Connection
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from splice_load import Channel, Plan, Row, Truth, split

PLAIN = 10
TOPICS = 4
KEYS = "abcdefgh"


def channels() -> dict[str, Channel]:
    """Every channel with its topic and key."""
    found: dict[str, Channel] = {f"plain.p{i}": (f"p{i}", None) for i in range(PLAIN)}
    for t in range(TOPICS):
        found[f"whole.k{t}"] = (f"k{t}", None)
        found |= {f"keyed.k{t}.{key}": (f"k{t}", key) for key in KEYS}
    return found


async def publisher(
    plan: Plan,
    index: int,
    shared: Any,
    log: list[tuple[str, int, int, str | None]],
    epochs: dict[str, str],
) -> None:
    """Publishes in bursts, without waiting for replies, until enough has been delivered."""
    chance = random.Random(f"{plan.seed} publisher {index}")
    names = plan.names
    targets = [name for name in names if not name.startswith("whole.")]
    asked: list[tuple[str, str | None, int]] = []
    acknowledged = 0

    async def acknowledge(ws: ClientConnection) -> None:
        nonlocal acknowledged
        async for text in ws:
            frame = json.loads(text)
            if frame["type"] == "welcome":
                continue
            assert frame["type"] == "published", frame
            topic, key, value = asked[frame["id"]]
            _, epoch, n = split(frame["pos"])
            assert epochs.setdefault(topic, epoch) == epoch, f"{topic} has two epochs"
            log.append((topic, n, value, key))
            acknowledged += 1

    deadline = time.monotonic() + 600 * plan.patience
    async with connect(plan.url, compression=None, max_size=None) as ws:
        reader = asyncio.create_task(acknowledge(ws))
        while sum(shared.delivered) < plan.deliveries and not shared.stop.value:
            assert time.monotonic() < deadline, f"only {sum(shared.delivered)} deliveries"
            burst = chance.choice([1, 10, 100, 300])
            for _ in range(burst):
                name = chance.choice(targets)
                topic, key = names[name]
                value = index << 32 | len(asked)
                await ws.send(
                    f'{{"type":"publish","id":{len(asked)},"channel":"{name}","data":{{"v":{value},"t":{time.monotonic():.3f}}}}}'
                )
                asked.append((topic, key, value))
            await asyncio.sleep(burst / plan.rate * plan.publishers)
            while max(shared.lag) > 1 and time.monotonic() < deadline and not reader.done():
                await asyncio.sleep(0.02)
            if reader.done():
                break
        while acknowledged < len(asked) and not reader.done():
            assert time.monotonic() < deadline, "publishes are not acknowledged"
            await asyncio.sleep(0.01)
        if reader.done():
            await reader
            raise AssertionError("a publisher was disconnected")
        reader.cancel()


def run_publishers(plan: Plan, shared: Any, pipe: Connection) -> None:
    log: list[tuple[str, int, int, str | None]] = []
    epochs: dict[str, str] = {}

    async def all_of_them() -> None:
        await asyncio.gather(
            *(publisher(plan, i, shared, log, epochs) for i in range(plan.publishers))
        )

    try:
        asyncio.run(all_of_them())
        topics: dict[str, list[Row]] = {}
        for topic, n, value, key in log:
            topics.setdefault(topic, []).append(Row(0, n, value, key))
        for topic, rows in topics.items():
            rows.sort()
            assert [row.number for row in rows] == list(range(1, len(rows) + 1)), (
                f"the places of {topic} are not 1, 2, 3, …"
            )
            newest: dict[int, int] = {}
            for row in rows:
                assert newest.get(row.value >> 32, -1) < row.value, (
                    f"publishes to {topic} changed their order"
                )
                newest[row.value >> 32] = row.value
        pipe.send(Truth(topics))
    except Exception as error:
        shared.stop.value = 1
        pipe.send(f"publishers: {error!r}")
