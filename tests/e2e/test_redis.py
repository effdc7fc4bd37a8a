"""Redis channels through the whole bridge, on a real server that lives, dies and freezes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from client import Client, data
from conftest import Start
from redis_server import RedisClient, RedisServer
from server import PATIENCE, Server, run

Connect = Callable[..., Client]

TIMEOUT_MS = int(1000 * PATIENCE)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """Not started yet."""
    server = RedisServer()
    yield server
    server.stop()


def bridge(start: Start, redis: RedisServer, **changes: Any) -> Server:
    bus = {"type": "redis", "url": redis.url, "timeout": TIMEOUT_MS}
    return start(
        {"listen": "127.0.0.1:0", "drain": 1000, "linger": 0, "buses": {"r": bus}, **changes}
    )


def published(client: Client, channel: str, value: Any) -> int:
    frame = client.call("publish", channel=channel, data=value)
    assert frame["type"] == "published" and "pos" not in frame, frame
    return int(frame["receivers"])


def publish_until_received(client: Client, channel: str, value: Any) -> None:
    """The connections to Redis come back one after the other."""
    deadline = time.monotonic() + 20 * PATIENCE
    while time.monotonic() < deadline:
        frame = client.call("publish", channel=channel, data=value)
        if frame["type"] == "published" and frame["receivers"] == 1:
            return
        time.sleep(0.05)
    raise AssertionError("nobody receives")


def test_programs_and_pages_talk(start: Start, connect: Connect, redis: RedisServer) -> None:
    redis.start()
    with connect(bridge(start, redis)) as page:
        assert page.subscribe("news")["cursor"] is None
        program = RedisClient(redis.path)
        assert program.call("SUBSCRIBE", "news")[0] == b"subscribe"
        for payload, form in (
            (b'{"n":9007199254740993}', "data"),
            ("grüße".encode(), "text"),
            (b"\x00\xff\r\n", "binary"),
            (b"", "text"),
        ):
            assert redis.call("PUBLISH", "news", payload) == 2
            frame = page.next("message")
            assert (frame.form, frame.payload) == (form, payload)
            assert "pos" not in frame
            assert program.receive() == [b"message", b"news", payload]
        assert published(page, "news", {"a": 1}) == 2
        assert json.loads(program.receive()[2]) == {"a": 1}
        assert page.next("message")["data"] == {"a": 1}
        program.close()


def test_one_subscription_for_all_sockets(
    start: Start, connect: Connect, redis: RedisServer
) -> None:
    redis.start()
    server = bridge(start, redis)
    with connect(server) as one, connect(server) as two:
        one.subscribe("c")
        two.subscribe("c")
        assert redis.call("PUBSUB", "NUMSUB", "c") == [b"c", 1]
        one.unsubscribe("c")
        assert published(one, "c", 1) == 1
        assert two.next("message")["data"] == 1
        two.unsubscribe("c")
        deadline = time.monotonic() + 10 * PATIENCE
        while redis.call("PUBSUB", "NUMSUB", "c") != [b"c", 0]:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_down_at_the_start(start: Start, connect: Connect, redis: RedisServer) -> None:
    server = bridge(start, redis, bus_wait=300)
    with connect(server) as client:
        client.refused("bus_unavailable", type="subscribe", channel="a")
        asked = client.ask("publish", channel="a", data=1)
        redis.start()
        assert client.reply(asked)["type"] == "published"
        deadline = time.monotonic() + 20 * PATIENCE
        while client.call("subscribe", channel="a")["type"] != "subscribed":
            assert time.monotonic() < deadline
        publish_until_received(client, "a", 2)
        assert client.next("message")["data"] == 2


def test_killed_and_started_again(start: Start, connect: Connect, redis: RedisServer) -> None:
    redis.start()
    with connect(bridge(start, redis)) as client:
        for channel in ("a", "b"):
            client.subscribe(channel)
        redis.kill()
        redis.start()
        assert {client.next("gap")["channel"] for _ in range(2)} == {"a", "b"}
        for channel in ("a", "b"):
            publish_until_received(client, channel, channel)
            assert data(client.messages(channel, 1)) == [channel]
        client.quiet()


def test_frozen(start: Start, connect: Connect, redis: RedisServer) -> None:
    """Found by the bridge's own deadline; what had been written is not known to have happened."""
    redis.start()
    server = bridge(start, redis)
    with connect(server) as client:
        client.subscribe("a")
        redis.freeze()
        began = time.monotonic()
        client.refused("outcome_unknown", type="publish", channel="a", data=1)
        while "subscriptions: " not in server.log():
            assert time.monotonic() - began < 3 * TIMEOUT_MS / 1000
            time.sleep(0.01)
        redis.thaw()
        gap = client.next("gap")
        assert (gap["channel"], gap["reason"]) == ("a", "bus")
        publish_until_received(client, "a", 2)
        assert data(client.messages("a", 1)) == [2]


def test_a_refusal_hits_one_channel(start: Start, connect: Connect, redis: RedisServer) -> None:
    redis.start()
    redis.call("ACL", "SETUSER", "default", "resetchannels", "&open.*")
    with connect(bridge(start, redis)) as client:
        client.subscribe("open.a")
        for type_ in ("subscribe", "publish"):
            fields = {"data": 1} if type_ == "publish" else {}
            error = client.refused("bus_error", type=type_, channel="secret", **fields)
            assert error["message"].startswith("NOPERM")
        assert published(client, "open.a", 1) == 1
        assert data(client.messages("open.a", 1)) == [1]


def test_a_wrong_password(start: Start, connect: Connect, redis: RedisServer) -> None:
    """Redis's words are in the log, ours are not, and the right password is not asked for twice."""
    redis.start()
    redis.call("ACL", "SETUSER", "page", "on", ">right", "allchannels", "+@all")
    url = redis.url.replace("://", "://page:hush-hush@")
    server = start(None, url, "--set", "listen=127.0.0.1:0", "--set", "bus_wait=300")
    with connect(server) as client:
        client.refused("bus_unavailable", type="subscribe", channel="a")
        assert "WRONGPASS" in server.log()
        redis.call("ACL", "SETUSER", "page", ">hush-hush")
        deadline = time.monotonic() + 20 * PATIENCE
        while client.call("subscribe", channel="a")["type"] != "subscribed":
            assert time.monotonic() < deadline
    assert server.log().count("WRONGPASS") <= 2  # once for each connection
    assert "hush" not in server.log()


def test_two_bridges(start: Start, connect: Connect, redis: RedisServer) -> None:
    redis.start()
    with (
        connect(bridge(start, redis)) as one,
        connect(bridge(start, redis)) as two,
    ):
        one.subscribe("c")
        two.subscribe("c")
        assert published(one, "c", 1) == 2
        assert published(two, "c", 2) == 2
        for client in (one, two):
            assert data(client.messages("c", 2)) == [1, 2]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://h:0", "port"),
        ("redis://u:hush@h/x", "database"),
        ("redis://hush@h", "password"),
        ("redis://u:hush/1@h", "%2F"),
        ("redis://h?no=1", '"no"'),
        ("rediss://h?ca=/nowhere", "/nowhere"),
        ("redis://h?ca=/nowhere", "rediss://"),
        ("redis+unix://h", "redis+unix:///"),
    ],
)
def test_wrong_urls(url: str, words: str) -> None:
    done = run("check", url)
    assert done.returncode == 2
    assert words in done.stderr + done.stdout
    assert "hush" not in done.stderr + done.stdout
    assert len((done.stderr + done.stdout).splitlines()) == 1


def test_the_password_is_never_printed() -> None:
    for args in (
        ["redis://u:hush@h/1"],
        ["redis://h", "--set", "buses.redis.user=u", "--set", "buses.redis.password=hush"],
    ):
        done = run("config", *args)
        assert done.returncode == 0, done.stderr
        assert "hush" not in done.stdout + done.stderr
