"""Fixtures: one daemon for all ordinary tests, a factory for special ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from client import Client
from kafka_server import KafkaServer
from redis_server import Proxy, Redis, bridge_config
from server import BINARY, FULL, WORKERS, Server, config

Start = Callable[..., Server]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip = pytest.mark.skip(reason="long: set WSBUS_TEST_FULL=1")
    for item in items:
        if "long" in item.keywords and not FULL:
            item.add_marker(skip)


def pytest_report_header() -> str:
    return f"wsbus: {BINARY}, workers: {WORKERS}"


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The daemon that most tests share; each uses channels of its own."""
    started = Server("shared", config())
    yield started
    started.stop()


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaServer]:
    """A broker for all tests; each uses topics of its own."""
    broker = KafkaServer()
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    """start(config=None, *args, env=None): a daemon of the test's own, stopped in order after it."""
    running: list[Server] = []

    def factory(settings: dict[str, Any] | None = None, *args: str, **more: Any) -> Server:
        name = f"{request.node.name}-{len(running)}"
        started = Server(name, settings, *args, **more)
        running.append(started)
        return started

    yield factory
    for started in running:
        started.stop()


@pytest.fixture
def connect(server: Server) -> Iterator[Callable[..., Client]]:
    """connect(server=None, **options): a client that is closed after the test."""
    clients: list[Client] = []

    def factory(to: Server | None = None, **options: Any) -> Client:
        client = Client((to or server).url, **options)
        clients.append(client)
        return client

    yield factory
    for client in clients:
        client.ws.close_timeout = 0.1  # the close frame stands behind what the test has not read
        client.close()


@pytest.fixture
def client(connect: Callable[..., Client]) -> Client:
    return connect()


_names = itertools.count(1)


@pytest.fixture
def topic() -> str:
    """A name that no other test uses."""
    return f"n{next(_names)}"


@pytest.fixture
def channel(topic: str) -> str:
    """A plain channel of the test's own."""
    return f"plain.{topic}"


# ---- a real Redis


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """The Redis that most tests share; each uses channels of its own."""
    started = Redis()
    yield started
    started.close()


@pytest.fixture(scope="session")
def bridge(redis_server: Redis) -> Iterator[Server]:
    """The daemon in front of it; see bridge_config() for its channels."""
    started = Server("bridge", bridge_config(redis_server.url, workers=WORKERS))
    yield started
    started.stop()


@pytest.fixture
def redis_start() -> Iterator[Callable[..., Redis]]:
    """redis_start(**options): a Redis of the test's own."""
    running: list[Redis] = []

    def factory(**options: Any) -> Redis:
        running.append(Redis(**options))
        return running[-1]

    yield factory
    for started in running:
        started.close()


@pytest.fixture
def proxy_to() -> Iterator[Callable[[Redis], Proxy]]:
    """proxy_to(redis): a proxy in front of it, closed after the test."""
    running: list[Proxy] = []

    def factory(to: Redis) -> Proxy:
        running.append(Proxy(to.port))
        return running[-1]

    yield factory
    for proxy in running:
        proxy.close()
