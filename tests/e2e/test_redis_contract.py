"""The tests of the protocol once more, on Redis Streams: what a page can say does not depend on the bus.

Left out is what needs a daemon of its own, what does arithmetic on the memory bus's positions, and
tombstones, which a stream cannot hold.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import ModuleType

import pytest

import test_contract_frames
import test_history
import test_payload
import test_publish
import test_rules
import test_subscribe
from client import Client
from redis_server import Redis
from server import CONFIG, Server, config

POSITIONS = {
    "test_broken_positions", "test_channels_share_the_positions_of_their_topic", "test_history_at_its_edges",
    "test_history_defaults", "test_history_of_an_empty_channel", "test_history_until", "test_paging_backwards",
    "test_publish_is_acknowledged_with_its_position", "test_publishes_keep_their_order", "test_subscribe_after",
    "test_subscribe_earliest", "test_subscribe_last", "test_subscribe_now", "test_subscribe_time",
    "test_subscribe_to_an_empty_channel",
}  # fmt: skip
TOMBSTONES = {"test_history_holds_the_very_frames", "test_publish_forms", "test_tombstone"}
HEADERS = {"test_headers"}  # one of them has the name of the payload's field


@pytest.fixture(scope="session")
def server(redis_server: Redis) -> Iterator[Server]:
    """In place of the daemon with the memory bus: the same channels on streams."""
    rules = [{**rule, "bus": "r", "kind": "stream"} for rule in CONFIG["channels"]]
    buses = {"r": {"type": "redis", "url": redis_server.url}}
    started = Server("contract-redis", config(buses=buses, channels=rules))
    yield started
    started.stop()


@pytest.fixture(autouse=True)
def _live_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "live_between", True)


def take(module: ModuleType) -> None:
    for name, test in vars(module).items():
        if not name.startswith("test_") or name in POSITIONS | TOMBSTONES | HEADERS:
            continue
        fixtures = set(inspect.signature(test).parameters)
        if fixtures & {"client", "connect"} and "start" not in fixtures:
            globals()[name] = test


for _module in (
    test_contract_frames, test_history, test_payload, test_publish, test_rules, test_subscribe,
):  # fmt: skip
    take(_module)
