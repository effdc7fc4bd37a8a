"""Life with a real Redis: down, killed, frozen, refusing, loading, full, a replica, a cluster."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from client import Client, Frame, data
from conftest import Start
from ports import free_port
from redis_server import (
    Proxy,
    Redis,
    bridge_config,
    calls,
    numsub,
    ours,
    since_7,
    until,
)
from server import PATIENCE, WORKERS, Server, run
from steady import steadily

Connect = Callable[..., Client]
RedisStart = Callable[..., Redis]
ProxyTo = Callable[[Redis], Proxy]


def add(program: redis.Redis, stream: str, value: Any, **fields: Any) -> str:
    return "0/" + program.xadd(stream, {"data": value, **fields}).decode()


# Where a test waits until one of them has passed: longer than a busy machine stands still. The others have
# the usual times, which are longer than that by far.
BRISK = 2500


def bridged(url: str, bus: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return bridge_config(url, bus, workers=WORKERS, **changes)


def alive(client: Client, program: redis.Redis, channel: str) -> None:
    """The subscription to a Redis channel carries messages (again); gaps may come first."""
    until(lambda: program.publish(channel, '"alive"'), "subscribed again")
    others = []
    while (frame := client.next())["channel"] != channel or frame["type"] != "message":
        if frame["channel"] != channel:
            others.append(frame)
        else:
            assert frame["type"] == "gap" and frame["reason"] == "bus", frame
    assert frame["data"] == "alive"
    client.kept[:0] = others


def bus_is(server: Server, state: str) -> None:
    """The log says so of the bus."""
    until(lambda: f"event=bus_{state}" in server.log(), f"bus {state}: {server.log()[-500:]}")


# ---- down


def test_down_at_the_start(start: Start, connect: Connect, redis_start: RedisStart) -> None:
    server = redis_start(start=False)
    special = start(bridged(server.url, {"publish_timeout": 500}, bus_wait=500))
    client = connect(special)
    with urllib.request.urlopen(f"http://127.0.0.1:{special.port}/livez", timeout=10) as answer:
        assert answer.status == 200
    for channel in ("ps.a", "st.a"):
        began = time.monotonic()
        answer = client.refused("bus_unavailable", type="subscribe", channel=channel)
        assert answer["channel"] == channel and time.monotonic() - began > 0.4
    client.refused("bus_unavailable", type="history", channel="st.a")
    client.refused("bus_unavailable", type="publish", channel="st.a", data=1)
    server.start()
    program = server.client()

    def subscribed(channel: str) -> bool:
        return bool(client.call("subscribe", channel=channel)["type"] == "subscribed")

    until(lambda: subscribed("ps.a"), "the bridge comes alive by itself")
    until(lambda: subscribed("st.a"), "streams too")
    program.publish("ps.a", "1")
    assert client.next("message")["data"] == 1
    add(program, "st.a", 2)
    assert client.next("message")["data"] == 2
    assert program.xlen("st.a") == 1, "a publish that was refused is not sent later"


def test_a_subscribe_that_waits_is_confirmed(
    start: Start, connect: Connect, redis_start: RedisStart
) -> None:
    server = redis_start(start=False)
    client = connect(start(bridged(server.url, bus_wait=60_000)))
    asked = [client.ask("subscribe", channel=c) for c in ("ps.a", "ps.b", "st.a")]
    asked.append(client.ask("history", channel="st.a"))
    client.quiet()
    server.start()
    answers = [client.reply(n)["type"] for n in asked]
    assert answers == ["subscribed"] * 3 + ["history"]
    client.quiet()


# ---- gone and back


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_restarted(start: Start, connect: Connect, redis_start: RedisStart, how: str) -> None:
    """Channels get their gap; a stream that Redis kept goes on in silence."""
    server = redis_start(appendonly="yes", appendfsync="always")
    client = connect(start(bridged(server.url)))
    client.subscribe("ps.a")
    client.subscribe("st.a")
    program = server.client()
    add(program, "st.a", 1)
    assert client.next("message")["data"] == 1
    getattr(server, how)()
    server.start()
    add(program, "st.a", 2)
    until(lambda: numsub(program, "ps.a"), "subscribed again")
    program.publish("ps.a", "3")
    seen: dict[str, list[Any]] = {"ps.a": [], "st.a": []}
    while len(seen["ps.a"]) < 2 or len(seen["st.a"]) < 1:
        frame = client.next()
        seen[frame["channel"]].append(frame.get("data", frame["type"]))
    assert seen == {"ps.a": ["gap", 3], "st.a": [2]}
    client.quiet()


def test_restarted_and_empty(start: Start, connect: Connect, redis_start: RedisStart) -> None:
    """Redis that keeps nothing: ids go on by the clock, so the stream does too. What was lost with it is told."""
    server = redis_start()
    client = connect(start(bridged(server.url)))
    client.subscribe("st.a")
    program = server.client()
    add(program, "st.a", 1)
    assert client.next("message")["data"] == 1
    server.kill()
    server.start()
    add(program, "st.a", 2)
    frame = client.next()
    if frame["type"] == "gap":
        assert frame["reason"] == "expired"
        frame = client.next("message")
    assert frame["data"] == 2
    client.quiet()


def test_frozen(start: Start, connect: Connect, redis_start: RedisStart) -> None:
    """No connection breaks, nothing is refused: only silence tells, within `timeout`."""
    server = redis_start()
    bus = {"timeout": BRISK, "publish_timeout": BRISK}
    special = start(bridged(server.url, bus, bus_wait=BRISK))
    client = connect(special)
    program = server.client()
    for channel in ("ps.a", "st.a"):
        client.subscribe(channel)
    client.publish("st.a", data=0)
    client.next("message")
    server.freeze()
    try:
        began = time.monotonic()
        answer = client.call("publish", channel="st.a", data=1)
        assert answer["code"] == "outcome_unknown", answer
        bus_is(special, "down")
        assert time.monotonic() - began < (BRISK / 1000 + 4) * PATIENCE
        client.refused("bus_unavailable", type="subscribe", channel="ps.b")
        client.quiet()
    finally:
        server.thaw()
    alive(client, program, "ps.a")
    while (answer := client.call("publish", channel="st.a", data=2))["type"] == "error":
        assert answer["code"] == "bus_unavailable", answer
    # What was on its way to the frozen server may have been carried out once, never twice.
    entries = [int(f[b"data"]) for _, f in program.xrange("st.a")]
    assert entries in ([0, 2], [0, 1, 2]), entries
    assert [client.next("message", "st.a")["data"] for _ in entries[1:]] == entries[1:]


@pytest.mark.parametrize("kind", ["normal", "pubsub", "all"])
def test_client_kill(start: Start, connect: Connect, redis_start: RedisStart, kind: str) -> None:
    """Connections cut by the administrator: nothing of a stream is lost or doubled."""
    server = redis_start()
    client = connect(start(bridged(server.url)))
    program = server.client()
    client.subscribe("ps.a")
    client.subscribe("st.a")
    for i in range(10):
        for found in ours(program):
            if kind == "all" or (int(found["sub"]) > 0) is (kind == "pubsub"):
                program.execute_command("CLIENT", "KILL", "ID", found["id"])
        add(program, "st.a", i)
    got: list[Any] = []
    while len(got) < 10:
        frame = client.next()
        if frame["channel"] == "st.a":
            assert frame["type"] == "message"
            got.append(frame["data"])
        else:
            assert kind != "normal" and frame["type"] == "gap"
    assert got == list(range(10))
    alive(client, program, "ps.a")
    client.quiet()


# ---- publishes in flight


def test_in_flight_when_the_connection_dies(
    start: Start, connect: Connect, redis_start: RedisStart, proxy_to: ProxyTo
) -> None:
    """Written and not answered: outcome_unknown, each once, and no second XADD."""
    server = redis_start()
    proxy = proxy_to(server)
    client = connect(start(bridged(proxy.url)))
    program = server.client()
    client.publish("st.a", data=0)
    client.call("publish", channel="ps.a", data=0)
    proxy.hold(down=True)
    more = [client.ask("publish", channel="ps.a", data=i) for i in range(1, 11)]
    asked = [client.ask("publish", channel="st.a", data=i) for i in range(1, 11)]
    until(lambda: program.xlen("st.a") == 11, "the last of them arrive at Redis")
    proxy.cut()
    proxy.restore()
    for number in [*asked, *more]:
        answer = client.reply(number)
        assert answer["type"] == "error" and answer["code"] == "outcome_unknown", answer
        assert answer["retry"] is False
    client.publish("st.a", data=11)
    client.quiet()
    assert [int(f[b"data"]) for _, f in program.xrange("st.a")] == list(range(12))


def test_not_written_yet(
    start: Start, connect: Connect, redis_start: RedisStart, proxy_to: ProxyTo
) -> None:
    """Published while Redis is away: sent when it is back, each once and in order, or refused."""
    server = redis_start()
    proxy = proxy_to(server)
    settings = bridged(proxy.url, {"publish_timeout": 20_000})
    client = connect(start(settings))
    program = server.client()
    client.publish("st.a", data=0)
    proxy.cut(refuse=True)
    until(lambda: not ours(program), "Redis sees the loss")
    asked = [client.ask("publish", channel="st.a", data=i) for i in range(1, 101)]
    client.quiet()
    proxy.restore()
    answers = [client.reply(number) for number in asked]
    fine = [i for i, a in enumerate(answers, 1) if a["type"] == "published"]
    refused = Counter(a["code"] for a in answers if a["type"] == "error")
    assert set(refused) <= {"bus_unavailable", "outcome_unknown"} and fine, refused
    values = [int(f[b"data"]) for _, f in program.xrange("st.a")]
    assert values == [0, *fine], "each that was acknowledged once and in order, and no other"


def test_a_publish_that_waits_too_long_is_taken_back(
    start: Start, connect: Connect, redis_start: RedisStart, proxy_to: ProxyTo
) -> None:
    server = redis_start()
    proxy = proxy_to(server)
    client = connect(start(bridged(proxy.url, {"publish_timeout": BRISK})))
    program = server.client()
    client.publish("st.a", data=0)
    proxy.cut(refuse=True)
    until(lambda: not ours(program), "Redis sees the loss")
    asked = [client.ask("publish", channel="st.a", data=i) for i in range(1, 21)]
    for number in asked:
        answer = client.reply(number)
        assert answer.get("code") == "bus_unavailable" and answer["retry"] is True, answer
    proxy.restore()
    while client.call("publish", channel="st.a", data=100)["type"] == "error":
        pass
    assert program.xlen("st.a") == 2


def test_too_much_waits(
    start: Start, connect: Connect, redis_start: RedisStart, proxy_to: ProxyTo
) -> None:
    """Beyond queue_bytes a publish is `busy` at once; memory does not grow."""
    server = redis_start()
    proxy = proxy_to(server)
    bus = {"timeout": 30_000, "publish_timeout": 30_000, "queue_bytes": 100_000}
    client = connect(start(bridged(proxy.url, bus)))
    program = server.client()
    client.publish("st.a", data=0)
    proxy.hold(down=True)
    asked = [client.ask("publish", channel="st.a", text="x" * 10_000) for _ in range(50)]
    busy = [client.reply(number) for number in asked[-20:]]
    assert {a.get("code") for a in busy} == {"busy"}, busy[0]
    proxy.restore()
    done = [client.reply(number) for number in asked[:-20]]
    fine = sum(a["type"] == "published" for a in done)
    assert 3 <= fine <= 15 and program.xlen("st.a") == fine + 1


# ---- logins


@pytest.mark.parametrize("login", ["", ":wrong@", "bridge:wrong@", "nobody:x@"])
def test_a_login_that_redis_refuses(
    start: Start, connect: Connect, redis_start: RedisStart, login: str
) -> None:
    """The log has Redis's words; when the server is set right the bridge comes alive by itself."""
    server = redis_start(requirepass="right", user="bridge on >good ~* &* +@all")
    special = start(bridged(server.url.replace("//", f"//{login}"), bus_wait=500))
    client = connect(special)
    answer = client.call("subscribe", channel="ps.a")
    assert answer["code"] in ("bus_unavailable", "bus_error"), answer
    word = "WRONGPASS" if login else "NOAUTH"
    until(lambda: word in special.log(), f"{word} in the log: {special.log()[-500:]}")
    assert "wrong" not in special.log().replace("WRONGPASS", "").lower() or not login
    program = server.client(password="right")
    # ACL of the default user; sending a password that is not asked for is an error by itself.
    rules = {"": ["nopass"], ":wrong@": ["resetpass", ">wrong"]}
    if login in rules:
        program.execute_command("ACL", "SETUSER", "default", *rules[login])
    else:
        name, _, word = login.rstrip("@").partition(":")
        program.execute_command("ACL", "SETUSER", name, "on", "resetpass", f">{word}", "~*", "&*", "+@all")  # fmt: skip
    while client.call("subscribe", channel="ps.a")["type"] == "error":
        pass
    program.publish("ps.a", "1")
    assert client.next("message")["data"] == 1


# The least that docs/redis.md names; the test and the page must agree.
LEAST = {
    "connection": "+ping +client|setname",
    "pubsub": "resetchannels &ps.* +subscribe +unsubscribe +publish",
    "stream": "+xinfo|stream +xread +xrange +xrevrange +xadd +client|id +client|unblock ~st.*",
}


def least(*parts: str) -> str:
    return "bridge on >secret " + " ".join(LEAST[p] for p in ("connection", *parts))


def exercise_pubsub(client: Client, program: redis.Redis) -> None:
    client.subscribe("ps.a")
    program.publish("ps.a", "1")
    assert client.next("message")["data"] == 1
    assert client.call("publish", channel="ps.a", data=2)["receivers"] == 1
    assert client.next("message")["data"] == 2
    for found in ours(program):
        program.execute_command("CLIENT", "KILL", "ID", found["id"])
    alive(client, program, "ps.a")
    client.unsubscribe("ps.a")
    until(lambda: numsub(program, "ps.a") == 0, "UNSUBSCRIBE")


def exercise_stream(client: Client, program: redis.Redis) -> None:
    for i in range(5):
        client.publish("st.a", data=i, key="k")
        add(program, "st.b", i)
    for from_ in (
        "now",
        "earliest",
        {"time": 0},
        {"ago": 60_000},
        {"last": 2},
        {"after": ["0/5-0"]},
    ):
        client.subscribe("st.a", from_)
        client.subscribe("st.b", from_)
        add(program, "st.a", "end")
        while client.next(channel=None).get("text") != "end":
            pass
        client.unsubscribe("st.a")
        client.unsubscribe("st.b")
        client.kept.clear()
    assert client.history("st.b", {"last": 2})["messages"]
    assert client.history("keyed.a.k", {"last": 2})["messages"]


@pytest.mark.parametrize("what", ["pubsub", "stream", "both"])
def test_the_least_rights(
    start: Start, connect: Connect, redis_start: RedisStart, what: str
) -> None:
    """These rights are enough for everything; Redis notes no denied command."""
    parts = ("pubsub", "stream") if what == "both" else (what,)
    server = redis_start(user=least(*parts))
    client = connect(start(bridged(server.url.replace("//", "//bridge:secret@"), linger=0)))
    program = server.client()
    if "pubsub" in parts:
        exercise_pubsub(client, program)
    if "stream" in parts:
        exercise_stream(client, program)
    denied = program.execute_command("ACL", "LOG")
    assert not denied, denied


def test_the_manual_names_these_rights() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "redis.md").read_text()
    named = set(page.replace("`", " ").split())
    for part in LEAST.values():
        for right in part.split():
            assert right in named or right[0] in "&~", right


def test_no_right_to_one_channel(start: Start, connect: Connect, redis_start: RedisStart) -> None:
    """Asked together with others, refused alone; in Redis's words."""
    server = redis_start(user="bridge on >p ~st.ok* resetchannels &ps.ok* +@all")
    client = connect(start(bridged(server.url.replace("//", "//bridge:p@"))))
    program = server.client()
    names = ["ps.ok1", "ps.bad", "ps.ok2", "st.ok1", "st.bad", "st.ok2"]
    asked = {name: client.ask("subscribe", channel=name) for name in names}
    for name, number in asked.items():
        answer = client.reply(number)
        if name.endswith("bad"):
            assert answer["code"] == "bus_error" and "NOPERM" in answer["message"], answer
        else:
            assert answer["type"] == "subscribed", answer
    for name in ("ps.bad", "st.bad"):
        answer = client.refused("bus_error", type="publish", channel=name, data=1)
        assert "NOPERM" in answer["message"]
    for name in names:
        if name.startswith("ps"):
            program.publish(name, "1")
        else:
            add(program, name, 1)
    got = {client.next("message")["channel"] for _ in range(4)}
    assert got == {n for n in names if "ok" in n}
    client.quiet()


def test_a_right_that_is_taken_away(
    start: Start, connect: Connect, redis_start: RedisStart
) -> None:
    """Redis cuts the subscriber; what it refuses afterwards ends, the others come back."""
    server = redis_start(user="bridge on >p ~* &* +@all")
    client = connect(start(bridged(server.url.replace("//", "//bridge:p@"))))
    program = server.client()
    names = [f"ps.ok{i}" for i in range(20)] + ["ps.bad", "st.ok", "st.bad"]
    for name in names:
        client.subscribe(name)
    program.execute_command(
        "ACL", "SETUSER", "bridge", "resetchannels", "&ps.ok*", "resetkeys", "~st.ok"
    )
    for found in ours(program):
        program.execute_command("CLIENT", "KILL", "ID", found["id"])
    add(program, "st.ok", 1)
    seen: dict[str, Frame] = {}
    while len(seen) < len(names):
        frame = client.next(timeout=20)
        seen.setdefault(frame["channel"], frame)
    for name, frame in seen.items():
        if name.endswith("bad"):
            assert frame["type"] == "unsubscribed" and "NOPERM" in frame["reason"], frame
        elif name.startswith("ps"):
            assert frame["type"] == "gap" and frame["reason"] == "bus", frame
        else:
            assert frame["type"] == "message", frame
    for i in range(20):
        assert program.publish(f"ps.ok{i}", i) == 1
    assert sorted(client.next("message")["data"] for _ in range(20)) == list(range(20))


# ---- a server that cannot


@since_7
def test_loading(start: Start, connect: Connect, redis_start: RedisStart) -> None:
    """While Redis reads its file it answers LOADING: that is down, and passes."""
    server = redis_start(appendonly="no", save="3600 1")
    program = server.client()
    pipe = program.pipeline()
    for i in range(2000):
        pipe.set(f"k{i}", "x" * 100)
    pipe.xadd("st.a", {"data": 1})
    pipe.execute()
    program.save()
    server.kill()
    # Eight seconds, until it is told to hurry.
    server.options |= {"key_load_delay": 4_000, "loading_process_events_interval_bytes": 1024}
    server.start(loaded=False)
    special = start(bridged(server.url))
    client = connect(special)

    def loading() -> bool:
        try:
            return not program.ping()
        except redis.BusyLoadingError:
            return True

    assert loading(), "the test is too slow to see it"
    asked = [client.ask("publish", channel="st.a", data=i) for i in range(2, 5)]
    client.quiet()
    program.config_set("key-load-delay", 0)
    answers = [client.reply(number) for number in asked]
    for answer in answers:
        assert answer["type"] == "published" or answer["code"] == "bus_unavailable", answer
    frame = client.call("subscribe", channel="st.a", from_="earliest")
    while frame["type"] == "error":
        assert frame["code"] == "bus_unavailable", frame
        frame = client.call("subscribe", channel="st.a", from_="earliest")
    values = [1, *(i for i, a in enumerate(answers, 2) if a["type"] == "published")]
    assert data(client.messages("st.a", len(values))) == values


def test_a_replica_is_read_only(start: Start, connect: Connect, redis_start: RedisStart) -> None:
    server = redis_start(replica_serve_stale_data="yes")
    client = connect(start(bridged(server.url)))
    program = server.client()
    client.subscribe("st.a")
    client.publish("st.a", data=1)
    client.next("message")
    program.execute_command("REPLICAOF", "127.0.0.1", "1")
    answer = client.refused("bus_error", type="publish", channel="st.a", data=2)
    assert "READONLY" in answer["message"]
    program.execute_command("REPLICAOF", "NO", "ONE")
    until(lambda: client.call("publish", channel="st.a", data=3)["type"] == "published", "writable")
    values = [int(f[b"data"]) for _, f in program.xrange("st.a")]
    assert 2 not in values and data(client.messages("st.a", len(values) - 1)) == values[1:]


def test_no_memory_left(start: Start, connect: Connect, redis_start: RedisStart) -> None:
    server = redis_start(maxmemory_policy="noeviction")
    client = connect(start(bridged(server.url)))
    program = server.client()
    client.subscribe("ps.a")
    client.publish("st.a", data=1)
    program.config_set("maxmemory", "1")
    answer = client.refused("bus_error", type="publish", channel="st.a", data=2)
    assert "OOM" in answer["message"]
    # Channels need no memory that counts; Redis lets them through.
    assert program.publish("ps.a", "1") == 1
    assert client.next("message")["data"] == 1
    program.config_set("maxmemory", "0")
    client.publish("st.a", data=3)
    assert [int(f[b"data"]) for _, f in program.xrange("st.a")] == [1, 3]


def test_no_room_for_another_client(
    start: Start, connect: Connect, redis_start: RedisStart
) -> None:
    server = redis_start()
    program = server.client()
    program.config_set("maxclients", 1)
    special = start(bridged(server.url, bus_wait=500))
    client = connect(special)
    client.refused("bus_unavailable", type="subscribe", channel="ps.a")
    until(lambda: "max number of clients" in special.log(), "the log says why")
    program.config_set("maxclients", 100)
    while client.call("subscribe", channel="ps.a")["type"] == "error":
        pass
    alive(client, program, "ps.a")


@since_7
def test_a_node_of_a_cluster(start: Start, connect: Connect, redis_start: RedisStart) -> None:
    """Cluster is not supported: MOVED is an error that says so."""
    nodes = [
        redis_start(cluster_enabled="yes", cluster_node_timeout=2000, cluster_port=free_port())
        for _ in range(2)
    ]
    programs = [n.client() for n in nodes]
    programs[0].execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
    programs[1].execute_command("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
    programs[0].execute_command(
        "CLUSTER", "MEET", "127.0.0.1", nodes[1].port, nodes[1].options["cluster_port"]
    )
    until(lambda: all(b"cluster_state:ok" in cluster_state(p) for p in programs), "a cluster", 30)
    client = connect(start(bridged(nodes[0].url)))
    slots = {name: int(programs[0].execute_command("CLUSTER", "KEYSLOT", name)) for name in ("st.a", "st.b", "st.c", "st.d")}  # fmt: skip
    here = [name for name, slot in slots.items() if slot < 8192]
    there = [name for name, slot in slots.items() if slot >= 8192]
    assert here and there, slots
    for request in ({"type": "publish", "data": 1}, {"type": "subscribe"}):
        answer = client.refused("bus_error", {"channel": there[0], **request})
        assert "MOVED" in answer["message"] and "luster" in answer["message"], answer
    client.subscribe(here[0])
    client.publish(here[0], data=1)
    assert client.next("message", here[0])["data"] == 1


def cluster_state(program: redis.Redis) -> bytes:
    """redis-py would make a dictionary of it, in one of two ways."""
    return bytes(program.eval("return redis.call('CLUSTER', 'INFO')", 0))


# ---- the positions survive


def test_another_node_goes_on(start: Start, connect: Connect, redis_start: RedisStart) -> None:
    """A is killed in the middle of a stream; B takes the cursors: recovered, and no hole."""
    server = redis_start()
    a, b = (Server(f"node-{n}", bridged(server.url)) for n in "ab")
    program = server.client()
    try:
        clients = [Client(a.url) for _ in range(2)]
        kept: list[tuple[str, list[int]]] = []
        for i, client in enumerate(clients):
            frame = client.subscribe("st.a", "earliest" if i % 2 else None)
            kept.append((frame["cursor"][0], []))
        began, sent = time.monotonic(), 0

        def pump(seconds: float) -> None:
            """2 000 entries a second, in batches of 20."""
            nonlocal sent
            while time.monotonic() < began + seconds:
                due = int((time.monotonic() - began) * 2000)
                pipe = program.pipeline(transaction=False)
                while sent < due:
                    sent += 1
                    pipe.xadd("st.a", {"data": sent})
                pipe.execute()
                time.sleep(0.01)

        pump(0.5)
        a.process.kill()
        a.process.wait()
        pump(0.8)
        for i, client in enumerate(clients):
            cursor, got = kept[i]
            client.closed()
            for frame in client.kept:
                if frame["type"] == "message":
                    cursor = frame["pos"]
                    got.append(frame["data"])
                elif frame["type"] in ("live", "position"):
                    cursor = frame["cursor"][0]
            assert got, "A had delivered something"
            client = connect(b)
            frame = client.subscribe("st.a", {"after": [cursor]})
            assert frame["recovered"] is True, frame
            clients[i] = client
        pump(1.2)
        for client, (_, got) in zip(clients, kept, strict=True):
            while got[-1] != sent:
                frame = client.next()
                if frame["type"] == "message":
                    got.append(frame["data"])
                else:
                    assert frame["type"] == "live", frame
            assert got == list(range(got[0], sent + 1)) and got[0] == 1
    finally:
        a.kill()
        b.stop()


# ---- TLS


def certificate(folder: Path, name: str, subject: str) -> tuple[Path, Path]:
    """A certificate of its own making for these subjectAltNames."""
    key, cert = folder / f"{name}.key", folder / f"{name}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-keyout", str(key), "-out", str(cert), "-subj", "/CN=test", "-addext", f"subjectAltName={subject}"],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, cert


def tls_redis(
    redis_start: RedisStart, folder: Path, subject: str, **more: Any
) -> tuple[Redis, str, Path]:
    """A Redis with TLS on a port of its own, its URL, and its certificate."""
    key, cert = certificate(folder, "server", subject)
    options = {"tls_cert_file": cert, "tls_key_file": key, "tls_ca_cert_file": cert}
    port = free_port()
    options |= {"tls_auth_clients": "no", "tls_port": port, **more}
    server = redis_start(start=False, **options)
    try:
        server.start()
    except AssertionError:
        if "Bad directive" not in server.log():
            raise
        pytest.skip("this redis-server has no TLS")
    return server, f"rediss://localhost:{port}", cert


def test_tls(start: Start, connect: Connect, redis_start: RedisStart, tmp_path: Path) -> None:
    server, url, cert = tls_redis(redis_start, tmp_path, "DNS:localhost")
    client = connect(start(bridged(url, {"ca": str(cert)})))
    program = server.client()
    client.subscribe("ps.a")
    client.subscribe("st.a")
    program.publish("ps.a", "x" * 200_000)
    assert len(client.next("message", timeout=20)["text"]) == 200_000
    client.publish("st.a", text="y" * 60_000)
    assert len(client.next("message")["text"]) == 60_000
    for found in ours(program):
        program.execute_command("CLIENT", "KILL", "ID", found["id"])
    alive(client, program, "ps.a")


@pytest.mark.parametrize("case", ["name", "ca", "client certificate", "plain port"])
def test_tls_that_is_not_right(
    start: Start, connect: Connect, redis_start: RedisStart, tmp_path: Path, case: str
) -> None:
    """Never a connection, and the log says why."""
    auth = "yes" if case == "client certificate" else "no"
    subject = "DNS:elsewhere.example" if case == "name" else "DNS:localhost"
    server, url, cert = tls_redis(redis_start, tmp_path, subject, tls_auth_clients=auth)
    if case == "plain port":
        url = server.url.replace("redis:", "rediss:")
    bus = {"connect_timeout": 1000, **({} if case == "ca" else {"ca": str(cert)})}
    special = start(bridged(url, bus, bus_wait=300))
    client = connect(special)
    client.refused("bus_unavailable", type="subscribe", channel="ps.a")
    assert not ours(server.client())

    def told() -> bool:
        log = special.log().lower()
        return any(word in log for word in ("certificate", "tls", "ssl"))

    until(told, "the log says why")


def test_tls_with_a_client_certificate_and_another_name(
    start: Start, connect: Connect, redis_start: RedisStart, tmp_path: Path
) -> None:
    server, url, cert = tls_redis(
        redis_start, tmp_path, "DNS:inside.example", tls_auth_clients="yes"
    )
    own_key, own_cert = certificate(tmp_path, "own", "DNS:bridge.example")
    both = tmp_path / "both.pem"
    both.write_text(cert.read_text() + own_cert.read_text())
    server.stop()
    server.options["tls_ca_cert_file"] = both
    server.start()
    bus = {"ca": str(cert), "cert": str(own_cert), "key": str(own_key), "server_name": "inside.example"}  # fmt: skip
    client = connect(start(bridged(url, bus)))
    client.subscribe("ps.a")
    server.client().publish("ps.a", "1")
    assert client.next("message")["data"] == 1


def test_tls_unchecked_is_said_aloud(
    start: Start, connect: Connect, redis_start: RedisStart, tmp_path: Path
) -> None:
    server, url, _ = tls_redis(redis_start, tmp_path, "DNS:elsewhere.example")
    special = start(bridged(url, {"tls_verify": False}))
    client = connect(special)
    client.subscribe("ps.a")
    server.client().publish("ps.a", "1")
    assert client.next("message")["data"] == 1
    warnings = [line for line in special.log().splitlines() if "level=warn" in line]
    assert any("tls_verify" in line for line in warnings), special.log()


# ---- configuration


@pytest.mark.parametrize(
    ("bus", "says"),
    [
        ({"url": "http://h"}, "redis://"),
        ({"url": "redis://h", "timeout": 1}, "timeout"),
        ({"url": "redis://h", "tiemout": 1000}, "timeout"),
        ({"url": "rediss://h", "ca": "/nowhere/ca.pem"}, "/nowhere/ca.pem"),
        ({"url": "redis://:s3cret@h:99999"}, "port"),
    ],
)
def test_a_configuration_that_is_wrong(tmp_path: Path, bus: dict[str, Any], says: str) -> None:
    path = tmp_path / "wsbus.json"
    settings = bridge_config("")
    settings["buses"]["r"] = {"type": "redis", **bus}
    path.write_text(json.dumps(settings))
    done = run("check", "-c", str(path))
    assert done.returncode == 2, done
    assert says in done.stdout + done.stderr
    assert "s3cret" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://h:0", "port"),
        ("redis://u:s3cret@h/x", "database"),
        ("redis://s3cret@h", "password"),
        ("redis://u:s3cret/1@h", "%2F"),
        ("redis://h?no=1", '"no"'),
        ("rediss://h?ca=/nowhere", "/nowhere"),
        ("redis://h?ca=/nowhere", "rediss://"),
        ("redis+unix://h", "redis+unix:///"),
    ],
)
def test_a_url_that_is_wrong(url: str, says: str) -> None:
    """One line that says what, and nothing of the password."""
    done = run("check", url)
    assert done.returncode == 2
    assert says in done.stderr + done.stdout
    assert "s3cret" not in done.stderr + done.stdout
    assert len((done.stderr + done.stdout).splitlines()) == 1


def test_secrets_are_not_shown(start: Start, redis_start: RedisStart) -> None:
    server = redis_start(requirepass="s3cret")
    url = server.url.replace("//", "//:s3cret@")
    special = start(bridged(url, log={"level": "debug"}))
    bus_is(special, "up")
    assert "s3cret" not in special.log()
    path = special.log_path.with_suffix(".json")
    options = ["--set", "buses.redis.user=u", "--set", "buses.redis.password=s3cret"]
    for args in (["-c", str(path)], ["redis://u:s3cret@h/1"], ["redis://h", *options]):
        done = run("config", *args)
        assert done.returncode == 0 and "s3cret" not in done.stdout + done.stderr, done


def test_stops_while_redis_is_frozen(
    start: Start, connect: Connect, redis_start: RedisStart
) -> None:
    server = redis_start()

    def round_() -> None:
        special = start(bridged(server.url, drain=500))
        client = connect(special)
        client.subscribe("ps.a")
        client.subscribe("st.a")
        server.freeze()
        try:
            for i in range(20):
                client.ask("publish", channel="st.a", data=i)
            client.quiet()
            began = time.monotonic()
            special.stop()
            assert time.monotonic() - began < 8 * PATIENCE
        finally:
            server.thaw()

    steadily(round_, gap=0.5)


def test_unused_connections_are_not_made(
    start: Start, connect: Connect, redis_start: RedisStart
) -> None:
    """A bus that only publishes holds one connection."""
    server = redis_start()
    client = connect(start(bridged(server.url)))
    client.call("publish", channel="ps.a", data=1)
    program = server.client()
    assert len(ours(program)) == 1
    client.subscribe("ps.a")
    assert len(ours(program)) == 2
    assert calls(program, "subscribe") == 1
