"""Redis channels: mapping, confirmation, sharing, and the gap after a loss."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from client import Client, data
from conftest import Start
from redis_server import Proxy, Redis, bridge_config, calls, numsub, ours, since_7, until
from server import WORKERS, Server

Connect = Callable[..., Client]


@pytest.fixture
def client(connect: Connect, bridge: Server) -> Client:
    return connect(bridge)


@pytest.fixture
def program(redis_server: Redis) -> redis.Redis:
    """Some other program that uses the same Redis."""
    return redis_server.client()


@pytest.fixture
def channel(topic: str) -> str:
    return f"ps.{topic}"


def listen(program: redis.Redis, channel: str) -> redis.client.PubSub:
    """A program that has subscribed."""
    heard = program.pubsub()
    heard.subscribe(channel)
    answer = heard.get_message(timeout=10)
    assert answer and answer["type"] == "subscribe"
    return heard


def hear(heard: redis.client.PubSub) -> bytes:
    message = heard.get_message(timeout=10)
    assert message and message["type"] == "message", message
    return bytes(message["data"])


# ---- what a program publishes, and what a page publishes


def test_from_a_program_to_the_page(client: Client, program: redis.Redis, channel: str) -> None:
    assert client.subscribe(channel)["cursor"] is None
    before = int(time.time() * 1000)
    assert program.publish(channel, '{"bid": 1}') == 1
    frame = client.next("message")
    assert list(frame) == ["type", "channel", "ts", "data"]
    assert frame["channel"] == channel and frame["data"] == {"bid": 1}
    assert before - 1000 <= frame["ts"] <= int(time.time() * 1000) + 1000
    client.quiet()


def test_from_the_page_to_a_program(client: Client, program: redis.Redis, channel: str) -> None:
    heard = listen(program, channel)
    frame = client.call("publish", channel=channel, data={"text": "hello"})
    assert set(frame) == {"type", "id", "receivers"} and frame["type"] == "published"
    assert frame["receivers"] == 1
    assert hear(heard) == b'{"text": "hello"}'
    heard.close()
    until(lambda: numsub(program, channel) == 0, "the program is gone")
    assert client.call("publish", channel=channel, data=1)["receivers"] == 0


def test_a_publisher_that_has_subscribed_gets_its_own(client: Client, channel: str) -> None:
    client.subscribe(channel)
    assert client.call("publish", channel=channel, data=1)["receivers"] == 1
    assert client.next("message", channel)["data"] == 1


PAYLOADS = [
    b"", b"hello", b" ", b"\xff", b"\x00", b"a\x00b", b"\r\n", b"+OK\r\n$-1\r\n", b"\xed\xa0\x80", bytes(range(256)),
    "\u00e4\U0001f600\uffff".encode(), b'{"a":1,"a":2}', b"9007199254740993", b"1e400", b'"\\ud800"', b'{"a":\n [1]}', b"\xef\xbb\xbf{}",
    b"{", b"nul", b"null", b"[" * 600 + b"]" * 600, b"x" * 65_000,
]  # fmt: skip


def form_of(payload: bytes) -> str:
    """As PROTOCOL says: what these payloads look like on the wire."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return "binary"
    try:
        json.loads(text)
        return "data"
    except (ValueError, RecursionError):
        return "text"


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda p: repr(p[:12]))
def test_payloads_both_ways(
    client: Client, program: redis.Redis, channel: str, payload: bytes
) -> None:
    client.subscribe(channel)
    program.publish(channel, payload)
    frame = client.next("message")
    if payload != PAYLOADS[-2]:  # nested deeper than 512, which Python takes for JSON
        assert frame.form == form_of(payload), frame.raw[:200]
    assert frame.payload == payload, frame.raw[:200]
    heard = listen(program, channel)
    client.call("publish", channel=channel, binary=base64.b64encode(payload).decode())
    assert hear(heard) == payload
    assert client.next("message").payload == payload
    heard.close()


def test_a_payload_larger_than_a_publish_may_be(
    client: Client, program: redis.Redis, channel: str
) -> None:
    """message_bytes bounds what clients send, not what comes from the bus."""
    client.subscribe(channel)
    big = b"x" * 3_000_000
    program.publish(channel, big)
    assert client.next("message").payload == big
    client.refused("too_large", type="publish", channel=channel, text="x" * 65537)


@pytest.mark.parametrize(
    "name", ["\u00e4\u65e5\u672c", "\U0001f600", 'quo"te\\', "a[b]?c", "a:b:c", "$SYS", "%25", "\u00ad", "x" * 250]
)  # fmt: skip
def test_names_of_channels(client: Client, program: redis.Redis, name: str) -> None:
    """The channel's name is the Redis channel's, byte for byte; nothing in it is a pattern."""
    channel = f"ps.{name}"
    client.subscribe(channel)
    assert numsub(program, channel) == 1
    assert program.publish(channel.encode(), b"1") == 1
    assert client.next("message", channel)["data"] == 1
    assert client.call("publish", channel=channel, data=2)["receivers"] == 1
    assert client.next("message", channel)["data"] == 2
    assert program.publish("ps.abc", b"other") == 0


def test_a_rule_names_the_channel(client: Client, program: redis.Redis, topic: str) -> None:
    """Two rules on one Redis channel: both get it, and Redis is asked once."""
    client.subscribe(f"alias.{topic}")
    assert numsub(program, f"ps.{topic}") == 1 and numsub(program, f"alias.{topic}") == 0
    client.subscribe(f"ps.{topic}")
    assert program.publish(f"ps.{topic}", "1") == 1
    assert {client.next("message")["channel"] for _ in range(2)} == {f"ps.{topic}", f"alias.{topic}"}  # fmt: skip
    client.unsubscribe(f"ps.{topic}")
    program.publish(f"ps.{topic}", "2")
    assert data(client.messages(f"alias.{topic}", 1)) == [2]
    client.quiet()


def test_what_a_bus_without_a_log_cannot_do(client: Client, channel: str) -> None:
    for from_ in ("earliest", {"after": []}, {"time": 0}, {"ago": 1}, {"last": 1}):
        client.refused("unsupported", {"type": "subscribe", "channel": channel, "from": from_})
    client.refused("unsupported", type="history", channel=channel)
    for fields in ({"key": "k"}, {"headers": {"a": "b"}}):
        client.refused("unsupported", {"type": "publish", "channel": channel, "data": 1, **fields})
    client.refused("unsupported", type="publish", channel=channel, tombstone=True)
    client.subscribe(channel, "now")


@since_7
def test_sharded_messages_are_not_ours(client: Client, program: redis.Redis, channel: str) -> None:
    """SPUBLISH is another space of names: not followed, as the manual says."""
    client.subscribe(channel)
    assert program.execute_command("SPUBLISH", channel, "1") == 0
    program.publish(channel, "2")
    assert client.next("message")["data"] == 2


def test_publishes_keep_their_order(client: Client, program: redis.Redis, channel: str) -> None:
    heard = listen(program, channel)
    asked = [client.ask("publish", channel=channel, data=i) for i in range(2000)]
    assert [client.reply(n)["type"] for n in asked] == ["published"] * 2000
    assert [int(hear(heard)) for _ in range(2000)] == list(range(2000))
    heard.close()


def test_a_burst_arrives_whole_and_in_order(
    connect: Connect, bridge: Server, program: redis.Redis, topic: str
) -> None:
    readers = [connect(bridge) for _ in range(4)]
    for reader in readers:
        for i in range(5):
            reader.subscribe(f"ps.{topic}.{i}")
    pipe = program.pipeline(transaction=False)
    for i in range(10_000):
        pipe.publish(f"ps.{topic}.{i % 5}", i)
    pipe.execute()
    for reader in readers:
        got: dict[str, list[int]] = {}
        for _ in range(10_000):
            frame = reader.next("message")
            got.setdefault(frame["channel"], []).append(frame["data"])
        for i in range(5):
            assert got[f"ps.{topic}.{i}"] == list(range(i, 10_000, 5))
        reader.quiet()


# ---- one subscription for all


def test_many_sockets_are_one_subscription(
    connect: Connect, bridge: Server, program: redis.Redis, channel: str
) -> None:
    before = calls(program, "subscribe")
    clients = [connect(bridge) for _ in range(30)]
    asked = [c.ask("subscribe", channel=channel) for c in clients]
    assert all(c.reply(n)["type"] == "subscribed" for c, n in zip(clients, asked, strict=True))
    assert numsub(program, channel) == 1
    assert calls(program, "subscribe") == before + 1
    assert program.publish(channel, "7") == 1
    assert all(c.next("message", channel)["data"] == 7 for c in clients)
    # One connection listens, whatever the number of channels.
    clients[0].subscribe(f"{channel}.other")
    assert len([c for c in ours(program) if int(c["sub"]) > 0]) == 1


def test_unsubscribed_when_the_last_has_left(
    start: Start, connect: Connect, redis_server: Redis, program: redis.Redis, channel: str
) -> None:
    special = start(bridge_config(redis_server.url, workers=WORKERS, linger=300))
    first, second = connect(special), connect(special)
    for client in (first, second):
        client.subscribe(channel)
    first.unsubscribe(channel)
    program.publish(channel, "1")
    assert second.next("message")["data"] == 1
    left = time.monotonic()
    second.close()
    until(lambda: numsub(program, channel) == 0, "UNSUBSCRIBE")
    assert time.monotonic() - left >= 0.25, "it lingers"
    first.quiet()
    first.subscribe(channel)
    program.publish(channel, "2")
    assert first.next("message")["data"] == 2


def test_a_reload_within_linger_costs_redis_nothing(
    start: Start, connect: Connect, redis_start: Callable[..., Redis], channel: str
) -> None:
    own = redis_start()  # it counts calls, and what others did before may still be on its way
    program = own.client()
    special = start(bridge_config(own.url, workers=WORKERS, linger=60_000))
    before = calls(program, "subscribe"), calls(program, "unsubscribe")
    for _ in range(5):
        client = connect(special)
        client.subscribe(channel)
        client.close()
    assert numsub(program, channel) == 1
    assert (calls(program, "subscribe"), calls(program, "unsubscribe")) == (before[0] + 1, before[1])  # fmt: skip


def test_leaving_and_coming_back_at_once(
    start: Start, connect: Connect, redis_server: Redis, program: redis.Redis, channel: str
) -> None:
    """A subscribe that meets the UNSUBSCRIBE on its way is confirmed by a new SUBSCRIBE."""
    special = start(bridge_config(redis_server.url, workers=WORKERS, linger=0))
    client = connect(special)
    for i in range(300):
        client.subscribe(channel)
        assert program.publish(channel, i) == 1, i
        assert client.next("message", channel)["data"] == i
        client.send(type="unsubscribe", channel=channel)
    client.quiet()
    until(lambda: numsub(program, channel) == 0, "UNSUBSCRIBE")


# ---- confirmed means confirmed


def test_nothing_is_lost_after_subscribed(client: Client, program: redis.Redis, topic: str) -> None:
    for i in range(200):
        client.subscribe(f"ps.{topic}.{i}")
        assert program.publish(f"ps.{topic}.{i}", i) == 1, i
        assert client.next("message")["data"] == i


def test_subscribed_waits_for_redis(
    start: Start, connect: Connect, redis_server: Redis, proxy_to: Any, topic: str
) -> None:
    """While the confirmation is held back there is no `subscribed`, and the socket lives."""
    proxy: Proxy = proxy_to(redis_server)
    client = connect(start(bridge_config(proxy.url, workers=WORKERS)))
    client.subscribe(f"ps.{topic}.first")
    program = redis_server.client()
    proxy.hold(down=True)
    asked = client.ask("subscribe", channel=f"ps.{topic}.second")
    until(lambda: numsub(program, f"ps.{topic}.second") == 1, "SUBSCRIBE arrives")
    client.quiet()
    proxy.restore()
    assert client.reply(asked)["type"] == "subscribed"
    client.quiet()


def test_many_channels_at_once(
    start: Start, connect: Connect, redis_server: Redis, program: redis.Redis, topic: str
) -> None:
    special = start(
        bridge_config(redis_server.url, workers=WORKERS, limits={"subscriptions": 5000})
    )
    client = connect(special)
    names = [f"ps.{topic}.{i}" for i in range(3000)]
    asked = [client.ask("subscribe", channel=name) for name in names]
    assert {client.reply(n)["type"] for n in asked} == {"subscribed"}
    pipe = program.pipeline(transaction=False)
    for i, name in enumerate(names):
        pipe.publish(name, i)
    assert pipe.execute() == [1] * 3000
    got = {f["channel"]: f["data"] for f in (client.next("message") for _ in names)}
    assert got == {name: i for i, name in enumerate(names)}

    # After a loss the live set comes back, in batches and not one by one.
    before = calls(program, "subscribe")
    program.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    gaps = {client.next("gap")["channel"] for _ in names}
    assert gaps == set(names)
    assert calls(program, "subscribe") - before < 1000
    pipe = program.pipeline(transaction=False)
    for name in names:
        pipe.pubsub_numsub(name)
    assert all(answer[0][1] == 1 for answer in pipe.execute())


# ---- the gap


def lose(program: redis.Redis) -> None:
    """Ends all connections that listen to channels."""
    assert program.execute_command("CLIENT", "KILL", "TYPE", "pubsub") >= 1


def test_every_subscriber_is_told_before_the_next_message(
    start: Start, connect: Connect, redis_server: Redis, program: redis.Redis, topic: str
) -> None:
    special = start(bridge_config(redis_server.url, workers=WORKERS))
    clients = [connect(special) for _ in range(10)]
    names = [f"ps.{topic}.a", f"ps.{topic}.b", f"alias.{topic}"]
    for client in clients:
        for name in names:
            client.subscribe(name)
    late = connect(special)
    lose(program)
    for name in names:
        redis_name = name.replace("alias", "ps")
        until(lambda n=redis_name: program.publish(n, "1"), "subscribed again")  # type: ignore[misc]
    for client in clients:
        seen: dict[str, list[str]] = {}
        while {n for n in seen if "message" in seen[n]} != set(names):
            frame = client.next()
            seen.setdefault(frame["channel"], []).append(frame["type"])
            if frame["type"] == "gap":
                assert frame["reason"] == "bus" and "after" not in frame, frame
        assert all(types[0] == "gap" and types.count("gap") == 1 for types in seen.values()), seen
        client.quiet()
    # Who came later has lost nothing.
    late.subscribe(names[0])
    program.publish(names[0], "2")
    for client in [late, *clients]:
        assert client.next("message", names[0])["data"] == 2
        client.quiet()


def test_the_gap_needs_no_message(
    start: Start, connect: Connect, redis_server: Redis, proxy_to: Any, topic: str
) -> None:
    """It comes when the bus is back; and once for each loss, however long it took."""
    proxy: Proxy = proxy_to(redis_server)
    client = connect(start(bridge_config(proxy.url, workers=WORKERS)))
    client.subscribe(f"ps.{topic}")
    program = redis_server.client()
    for _ in range(3):
        proxy.cut(refuse=True)
        until(lambda: numsub(program, f"ps.{topic}") == 0, "Redis sees the loss")
        client.quiet()
        proxy.restore()
        frame = client.next("gap", f"ps.{topic}")
        assert frame["reason"] == "bus"
        program.publish(f"ps.{topic}", "1")
        assert client.next("message")["data"] == 1
    client.quiet()


def test_only_the_live_set_comes_back(
    start: Start, connect: Connect, redis_server: Redis, proxy_to: Any, topic: str
) -> None:
    proxy: Proxy = proxy_to(redis_server)
    special = start(bridge_config(proxy.url, workers=WORKERS, linger=0))
    client, program = connect(special), redis_server.client()
    names = [f"ps.{topic}.{i}" for i in range(10)]
    for name in names:
        client.subscribe(name)
    proxy.cut(refuse=True)
    until(lambda: not program.pubsub_channels(f"ps.{topic}.*"), "Redis sees the loss")
    for name in names[:5]:
        client.unsubscribe(name)
    asked = client.ask("subscribe", channel=f"ps.{topic}.new")
    proxy.restore()
    assert client.reply(asked)["type"] == "subscribed"
    assert {client.next("gap")["channel"] for _ in range(5)} == set(names[5:])
    wanted = {n.encode() for n in [*names[5:], f"ps.{topic}.new"]}
    until(lambda: set(program.pubsub_channels(f"ps.{topic}.*")) == wanted, "the live set")
    client.quiet()


def test_cut_off_for_its_output_buffer(
    start: Start, connect: Connect, redis_start: Any, topic: str
) -> None:
    """Redis drops a subscriber that does not read. The bridge, frozen here, says so afterwards."""
    server: Redis = redis_start(client_output_buffer_limit="pubsub 200kb 100kb 1")
    # What had come to the frozen bridge goes to the client at once, and is more than usually may wait.
    limits = {"queue_bytes": 1 << 28}
    special = start(bridge_config(server.url, workers=WORKERS, limits=limits))
    client, program = connect(special), server.client()
    client.subscribe(f"ps.{topic}")
    special.process.send_signal(19)
    try:
        load = "x" * 100_000
        until(lambda: program.publish(f"ps.{topic}", load) == 0, "Redis cuts us off", 30)
    finally:
        special.process.send_signal(18)
    until(lambda: program.publish(f"ps.{topic}", "last"), "subscribed again")
    frames = []
    while (frame := client.next())["type"] != "gap":
        assert frame["type"] == "message" and len(frame["text"]) == 100_000
        frames.append(frame)
    assert frame["reason"] == "bus"
    assert client.next("message")["text"] == "last"
    client.quiet()


# ---- how it is started


def test_a_url_on_the_command_line(start: Start, connect: Connect, redis_start: Any) -> None:
    server: Redis = redis_start(user="page on >s:e%c/t ~* &* +@all")
    special = start(
        None, server.url.replace("//", "//page:s%3Ae%25c%2Ft@") + "/0", "--set", "listen=127.0.0.1:0"
    )  # fmt: skip
    client, program = connect(special), server.client()
    client.subscribe("news")
    program.publish("news", "1")
    assert client.next("message", "news")["data"] == 1
    assert {c["user"] for c in ours(program)} == {"page"}
    client.refused("unknown_channel", type="subscribe", channel="__keyspace@0__")


def test_two_urls(start: Start, connect: Connect, redis_start: Any) -> None:
    server: Redis = redis_start()
    special = start(None, server.url, "memory:", "--set", "listen=127.0.0.1:0")
    client = connect(special)
    client.subscribe("redis/news")
    server.client().publish("news", "1")
    assert client.next("message", "redis/news")["data"] == 1
    client.refused("unknown_channel", type="subscribe", channel="news")


def test_two_bridges(
    start: Start, connect: Connect, redis_server: Redis, client: Client, channel: str
) -> None:
    """A publish reaches the clients of every node; each node counts once."""
    other = connect(start(bridge_config(redis_server.url, workers=WORKERS)))
    client.subscribe(channel)
    other.subscribe(channel)
    for i, publisher in enumerate((client, other)):
        assert publisher.call("publish", channel=channel, data=i)["receivers"] == 2
    for reader in (client, other):
        assert data(reader.messages(channel, 2)) == [0, 1]


def test_a_unix_socket(start: Start, connect: Connect, redis_start: Any) -> None:
    server: Redis = redis_start(unix=True)
    for url in (server.url, f"redis+{server.url}?db=0"):
        client = connect(start(bridge_config(url, workers=WORKERS)))
        client.subscribe("ps.a")
        server.client().publish("ps.a", "1")
        assert client.next("message")["data"] == 1


def test_a_database_of_its_own(start: Start, connect: Connect, redis_start: Any) -> None:
    """Keys, and so streams, belong to a database; channels are the same in all."""
    server: Redis = redis_start()
    client = connect(start(bridge_config(server.url + "/3", workers=WORKERS)))
    client.subscribe("ps.a")
    server.client().publish("ps.a", "1")
    assert client.next("message")["data"] == 1
    client.publish("st.a", data=1)
    assert server.client(db=3).xlen("st.a") == 1 and server.client().xlen("st.a") == 0
