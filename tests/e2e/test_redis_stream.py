"""Redis Streams: entries and frames, publish, shared readers, what was trimmed or deleted."""

from __future__ import annotations

import base64
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from client import Client, Frame, cursor_of, data
from conftest import Start
from redis_server import Proxy, Redis, bridge_config, calls, ours, since_7, until
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
    return f"st.{topic}"


def add(program: redis.Redis, stream: str, value: Any, id: str = "*", **fields: Any) -> str:
    """XADD of an entry with `data`; its position."""
    return "0/" + program.xadd(stream, {"data": value, **fields}, id=id).decode()


def ms_of(pos: str) -> int:
    return int(pos.removeprefix("0/").partition("-")[0])


def fields_of(program: redis.Redis, stream: str) -> list[list[bytes]]:
    """The fields and values of all entries as a flat list, which xrange() makes a dictionary of."""
    entries = program.eval("return redis.call('XRANGE', KEYS[1], '-', '+')", 1, stream)
    return [entry[1] for entry in entries]


# ---- an entry and its frame


def test_an_entry_is_a_message(client: Client, program: redis.Redis, channel: str) -> None:
    frame = client.subscribe(channel)
    assert frame["cursor"] == ["0/0-0"], "a stream that does not exist yet"
    program.xadd(
        channel, {"trace": "t1", "data": '{"bid": 1}', "key": "EURUSD", "": "empty"}, id="1700000000000-7"
    )  # fmt: skip
    frame = client.next("message")
    assert list(frame) == ["type", "channel", "pos", "ts", "key", "headers", "data"]
    assert frame["pos"] == "0/1700000000000-7" and frame["ts"] == 1700000000000
    assert frame["key"] == "EURUSD" and frame["headers"] == {"trace": "t1", "": "empty"}
    assert frame.payload == b'{"bid": 1}'
    add(program, channel, "1")
    assert list(client.next("message")) == ["type", "channel", "pos", "ts", "data"]


def test_entries_that_are_not_text(client: Client, program: redis.Redis, channel: str) -> None:
    client.subscribe(channel)
    program.xadd(channel, {"data": b"\x00\xff", "key": b"\xfe", "h": b"\xfd", "t": "t"})
    frame = client.next("message")
    assert frame.payload == b"\x00\xff" and "key" not in frame
    assert base64.b64decode(frame["key_binary"]) == b"\xfe"
    assert frame["headers"]["t"] == "t"
    assert base64.b64decode(frame["headers"]["h"]["binary"]) == b"\xfd"
    for payload in (
        b"",
        b"hello",
        b"a\r\nb",
        b"9007199254740993",
        b'{"a":1,"a":2}',
        b"x" * 300_000,
    ):
        program.xadd(channel, {"data": payload})
        assert client.next("message").payload == payload


def test_an_entry_without_data_is_an_object(
    client: Client, program: redis.Redis, channel: str
) -> None:
    client.subscribe(channel)
    program.xadd(
        channel, {"sensor": 'a"\\\n', "temp": "21.5", "raw": b"\xff", "\u00e4": "", "key": "k"}
    )
    frame = client.next("message")
    assert frame["data"] == {
        "sensor": "a\"\\\n", "temp": "21.5", "raw": {"binary": "/w=="}, "\u00e4": "", "key": "k",
    }  # fmt: skip
    assert frame["key"] == "k" and "headers" not in frame


def test_other_names_for_the_fields(client: Client, program: redis.Redis, topic: str) -> None:
    channel = f"body.{topic}"
    client.subscribe(channel)
    program.xadd(channel, {"body": "1", "who": "ann", "data": "2", "key": "3"})
    frame = client.next("message")
    assert frame["data"] == 1 and frame["key"] == "ann"
    assert frame["headers"] == {"data": "2", "key": "3"}
    client.publish(channel, data=4, key="bob", headers={"data": "5"})
    assert fields_of(program, channel)[-1] == [b"body", b"4", b"who", b"bob", b"data", b"5"]


def test_a_field_given_twice(client: Client, program: redis.Redis, channel: str) -> None:
    """Redis allows it; of a repeated header the last counts."""
    client.subscribe(channel)
    program.execute_command("XADD", channel, "*", "h", "1", "data", "1", "h", "2")
    frame = client.next("message")
    assert frame["data"] == 1 and frame["headers"] == {"h": "2"}


@pytest.mark.parametrize("id", ["5-0", "5-1", "9007199254740993-18446744073709551615", "18446744073709551614-3"])  # fmt: skip
def test_any_id(client: Client, program: redis.Redis, channel: str, id: str) -> None:
    client.subscribe(channel)
    assert add(program, channel, "1", id=id) == client.next("message")["pos"]
    page = client.history(channel)
    assert [m["pos"] for m in page["messages"]] == [f"0/{id}"] and page["cursor"] == [f"0/{id}"]
    frame = client.history(channel, {"after": [f"0/{id}"]})
    assert frame["recovered"] is True and frame["messages"] == []


@pytest.mark.parametrize(
    "pos", ["0/", "0/5", "0/5-", "0/-5", "0/5-0-0", "0/05-0", "0/5-00", "0/+5-0", "0/ 5-0", "1/5-0x", "0/18446744073709551616-0", "0/a-0", "0/-1"]
)  # fmt: skip
def test_what_is_no_position(client: Client, channel: str, pos: str) -> None:
    client.refused(
        "bad_request", {"type": "subscribe", "channel": channel, "from": {"after": [pos]}}
    )


# ---- publish


def test_publish_is_xadd(client: Client, program: redis.Redis, channel: str) -> None:
    client.subscribe(channel)
    frame = client.call(
        "publish", channel=channel, data={"a": 1}, key="k", headers={"x": "1", "y": "\u00e4"}
    )
    assert set(frame) == {"type", "id", "pos"}, frame
    entry, fields = program.xrange(channel)[0]
    assert frame["pos"] == f"0/{entry.decode()}"
    assert fields == {b"data": b'{"a": 1}', b"key": b"k", b"x": b"1", b"y": "\u00e4".encode()}
    assert client.next("message") == {
        "type": "message", "channel": channel, "pos": frame["pos"], "ts": int(entry.split(b"-")[0]), "key": "k",
        "headers": {"x": "1", "y": "\u00e4"}, "data": {"a": 1},
    }  # fmt: skip
    client.publish(channel, binary="AP8=")
    assert fields_of(program, channel)[-1] == [b"data", b"\x00\xff"]


def test_what_a_stream_cannot_store(client: Client, channel: str) -> None:
    client.refused("unsupported", type="publish", channel=channel, key="k", tombstone=True)
    for name in ("data", "key"):
        answer = client.refused("bad_request", type="publish", channel=channel, data=1, headers={name: "x"})  # fmt: skip
        assert name in answer["message"]
    assert client.history(channel)["messages"] == []


def test_publish_trims_by_the_rule(client: Client, program: redis.Redis, topic: str) -> None:
    client.publish_many(f"short.{topic}", 1000)
    assert 100 <= program.xlen(f"short.{topic}") < 300, "MAXLEN ~ keeps whole nodes"
    client.publish_many(f"st.{topic}", 1000)
    assert program.xlen(f"st.{topic}") == 1000


def test_publishes_keep_their_order(client: Client, channel: str) -> None:
    client.subscribe(channel)
    positions = client.publish_many(channel, 2000)
    frames = [f for f in client.kept if f["type"] == "message"]
    client.kept.clear()
    frames += client.messages(channel, 2000 - len(frames))
    assert [f["pos"] for f in frames] == positions and data(frames) == list(range(1, 2001))
    client.quiet()


def test_keyed_channels(client: Client, program: redis.Redis, topic: str) -> None:
    client.subscribe(f"keyed.{topic}.a")
    client.publish(f"keyed.{topic}.b", data=1)
    client.publish(f"keyed.{topic}.a", data=2)
    add(program, f"st.{topic}", "3", key="a")
    add(program, f"st.{topic}", "4")
    assert data(client.messages(f"keyed.{topic}.a", 2)) == [2, 3]
    client.quiet()
    assert data(client.history(f"keyed.{topic}.a")["messages"]) == [2, 3]
    client.subscribe(f"keyed.{topic}.b", {"last": 1})
    assert data(client.messages(f"keyed.{topic}.b", 1)) == [1]
    client.next("live", f"keyed.{topic}.b")
    client.quiet()


# ---- from


def test_every_from(connect: Connect, bridge: Server, program: redis.Redis, channel: str) -> None:
    for i in range(1, 11):
        add(program, channel, i, id=f"{i * 1000}-0")
    cases: list[tuple[Any, list[int]]] = [
        ("earliest", list(range(1, 11))),
        ({"after": ["0/4000-0"]}, [5, 6, 7, 8, 9, 10]),
        ({"after": ["0/4000-5"]}, [5, 6, 7, 8, 9, 10]),
        ({"after": ["0/3999-18446744073709551615"]}, [4, 5, 6, 7, 8, 9, 10]),
        ({"after": ["0/0-0"]}, list(range(1, 11))),
        ({"after": []}, list(range(1, 11))),
        ({"after": ["0/10000-0"]}, []),
        ({"time": 4000}, [4, 5, 6, 7, 8, 9, 10]),
        ({"time": 4001}, [5, 6, 7, 8, 9, 10]),
        ({"time": 0}, list(range(1, 11))),
        ({"time": 2**53 - 1}, []),
        ({"ago": 0}, []),
        ({"ago": 2**53 - 1}, list(range(1, 11))),
        ({"last": 3}, [8, 9, 10]),
        ({"last": 0}, []),
        ({"last": 100}, list(range(1, 11))),
    ]
    clients = []
    for from_, want in cases:
        client = connect(bridge)
        clients.append(client)
        frame = client.subscribe(channel, from_)
        assert frame.get("recovered") == (True if "after" in from_ else None), (from_, frame)
        assert data(client.messages(channel, len(want))) == want, from_
        assert client.next("live")["cursor"] == ["0/10000-0"], from_
    late = connect(bridge)
    assert late.subscribe(channel, "now")["cursor"] == ["0/10000-0"]
    add(program, channel, 11, id="11000-0")
    for client in [*clients, late]:
        assert data(client.messages(channel, 1)) == [11]
        client.quiet()
    # From the recent past by the server's clock.
    now = add(program, channel, 12)
    late.unsubscribe(channel)
    late.subscribe(channel, {"ago": 60_000})
    assert late.next("message")["pos"] == now


def test_history_pages_both_ways(client: Client, program: redis.Redis, channel: str) -> None:
    pipe = program.pipeline()
    for i in range(1, 251):
        pipe.xadd(channel, {"data": i}, id=f"{1000 + i // 10}-{i % 10}")
    pipe.execute()
    found, page = [], client.history(channel, limit=60)
    found += data(page["messages"])
    pages = 1
    while page["more"]:
        page = client.history(channel, {"after": page["cursor"]}, limit=60)
        assert page["recovered"] is True
        found += data(page["messages"])
        pages += 1
    assert found == list(range(1, 251)) and 5 <= pages <= 6
    joined = client.subscribe(channel, {"after": page["cursor"]})
    assert joined["recovered"] is True and client.next("live")["cursor"] == page["cursor"]

    page = client.history(channel, {"last": 60})
    back = data(page["messages"])
    while back[0] != 1:
        page = client.history(channel, {"last": 60}, until=page["before"])
        assert page["messages"], page
        back = data(page["messages"]) + back
    assert back == list(range(1, 251))


def test_pages_end_at_256_kib(client: Client, program: redis.Redis, channel: str) -> None:
    for i in range(30):
        program.xadd(channel, {"data": b"x" * 50_000, "n": i})
    page = client.history(channel, limit=1000)
    assert page["more"] is True and 3 <= len(page["messages"]) <= 12
    count = len(page["messages"])
    while page["more"]:
        page = client.history(channel, {"after": page["cursor"]}, limit=1000)
        count += len(page["messages"])
    assert count == 30


def test_more_than_a_replay_may_send(
    start: Start, connect: Connect, redis_server: Redis, program: redis.Redis, channel: str
) -> None:
    special = start(
        bridge_config(
            redis_server.url, workers=WORKERS, replay={"max_messages": 50, "ring_messages": 10}
        )
    )
    client = connect(special)
    for i in range(1, 201):
        add(program, channel, i, id=f"{i}-1")
    for from_ in ("earliest", {"last": 100}, {"time": 0}):
        frame = client.subscribe(channel, from_)
        gap = client.next("gap", channel)
        assert gap["reason"] == "limit" and gap["until"] == frame["cursor"]
        assert data(client.messages(channel, 50)) == list(range(151, 201)), from_
        client.next("live")
        client.unsubscribe(channel)
    frame = client.subscribe(channel, {"after": ["0/10-1"]})
    assert frame["recovered"] is False and frame["reason"] == "limit"
    assert data(client.messages(channel, 50)) == list(range(151, 201))
    client.next("live")
    client.unsubscribe(channel)
    frame = client.subscribe(channel, {"after": ["0/150-1"]})
    assert frame["recovered"] is True
    assert data(client.messages(channel, 50)) == list(range(151, 201))


# ---- replay and live


class Pump(threading.Thread):
    """Some other program: adds 1, 2, 3, … to a stream, 2 000 a second in uneven batches."""

    def __init__(self, program: redis.Redis, stream: str) -> None:
        super().__init__(daemon=True)
        self.program = program
        self.stream = stream
        self.sent = 0
        self.ending = threading.Event()

    def run(self) -> None:
        chance = random.Random(1)
        while not self.ending.is_set():
            pipe = self.program.pipeline(transaction=False)
            count = chance.choice([1, 5, 50])
            for i in range(self.sent + 1, self.sent + count + 1):
                pipe.xadd(self.stream, {"data": i})
            pipe.execute()
            self.sent += count
            time.sleep(count / 2000)

    def __enter__(self) -> Pump:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self.join()


def a_from(chance: random.Random, known: dict[int, str]) -> tuple[Any, int | None]:
    """One to ask for, and the number that must come first, if that is known."""
    kind = chance.choice(["now", "earliest", "after", "after", "last", "time"])
    if kind == "after" and known:
        number = chance.choice(sorted(known))
        return {"after": [known[number]]}, number + 1
    if kind == "last":
        return {"last": chance.choice([0, 1, 10, 500])}, None
    if kind == "time" and known:
        return {"time": ms_of(known[max(known)])}, None
    return (kind, 1) if kind == "earliest" else ("now", None)


@pytest.mark.parametrize("ring", [0, 100, 10_000])
def test_replay_joins_live_exactly(
    start: Start, connect: Connect, redis_start: Any, ring: int
) -> None:
    """Whatever is asked for while the stream runs: from the first message on, every number once."""
    server: Redis = redis_start()
    special = start(
        bridge_config(server.url, workers=WORKERS, replay={"ring_messages": ring}, linger=50)
    )
    chance = random.Random(ring)
    known: dict[int, str] = {}
    clients = [connect(special) for _ in range(4)]
    with Pump(server.client(), "st.a") as pump:
        until(lambda: pump.sent > 100, "the stream runs")
        for _ in range(12):
            for client in clients:
                from_, first = a_from(chance, known)
                frame = client.subscribe("st.a", from_)
                assert frame.get("recovered", True) is True, frame
                live, numbers = from_ == "now", []
                while not live or len(numbers) < 20:
                    frame = client.next(channel="st.a")
                    if frame["type"] == "live":
                        assert not live
                        live = True
                    else:
                        assert frame["type"] == "message", frame
                        numbers.append(frame["data"])
                        known[frame["data"]] = frame["pos"]
                client.unsubscribe("st.a")
                numbers += [f["data"] for f in client.kept if f["type"] == "message"]
                client.kept.clear()
                assert first in (None, numbers[0]), (from_, first, numbers[0])
                assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), from_


# ---- shared readers


def test_many_sockets_are_one_reader(
    connect: Connect, bridge: Server, program: redis.Redis, channel: str
) -> None:
    clients = [connect(bridge) for _ in range(30)]
    asked = [c.ask("subscribe", channel=channel, from_="earliest") for c in clients]
    assert {c.reply(n)["type"] for c, n in zip(clients, asked, strict=True)} == {"subscribed"}
    for c in clients:
        c.next("live", channel)
    before = calls(program, "xread")
    for i in range(50):
        add(program, channel, i)
        assert clients[0].next("message")["data"] == i
    # One XREAD for each wake-up, and not for each socket; other streams of other tests may linger.
    assert calls(program, "xread") - before < 120
    for c in clients[1:]:
        assert data(c.messages(channel, 50)) == list(range(50))


def test_streams_share_connections(start: Start, connect: Connect, redis_start: Any) -> None:
    """At most 256 streams a connection, and no more connections than that takes."""
    server: Redis = redis_start()
    program = server.client()
    client = connect(
        start(bridge_config(server.url, workers=WORKERS, limits={"subscriptions": 1000}))
    )
    names = [f"st.{i}" for i in range(600)]
    asked = [client.ask("subscribe", channel=name) for name in names]
    assert {client.reply(n)["type"] for n in asked} == {"subscribed"}
    pipe = program.pipeline()
    for i, name in enumerate(names):
        pipe.xadd(name, {"data": i})
    pipe.execute()
    got = {f["channel"]: f["data"] for f in (client.next("message") for _ in names)}
    assert got == {name: i for i, name in enumerate(names)}
    until(lambda: len(ours(program, cmd="xread")) >= 3, "blocked readers")
    assert len(ours(program, cmd="xread")) <= 5 and len(ours(program)) <= 9, ours(program)
    client.quiet()


def test_a_new_stream_wakes_the_reader(client: Client, program: redis.Redis, topic: str) -> None:
    """The XREAD that blocks for the others does not keep the newcomer waiting."""
    client.subscribe(f"st.{topic}.0")
    took = []
    for i in range(1, 30):
        began = time.monotonic()
        client.subscribe(f"st.{topic}.{i}")
        add(program, f"st.{topic}.{i}", i)
        assert data(client.messages(f"st.{topic}.{i}", 1)) == [i]
        took.append(time.monotonic() - began)
    assert sorted(took)[-5] < 1.0, took  # four on a machine that stands still
    add(program, f"st.{topic}.0", 0)
    assert data(client.messages(f"st.{topic}.0", 1)) == [0]


def test_a_stream_that_was_left_is_not_read_any_more(
    start: Start, connect: Connect, redis_start: Any
) -> None:
    server: Redis = redis_start()
    program = server.client()
    client = connect(start(bridge_config(server.url, workers=WORKERS, linger=0)))
    client.subscribe("st.a")
    client.subscribe("st.b")
    client.unsubscribe("st.b")
    add(program, "st.a", 1)
    client.next("message")

    def unread() -> bool:
        """Nobody is woken by st.b."""
        before = calls(program, "xread")
        add(program, "st.b", 1)
        add(program, "st.a", 2)
        client.next("message", "st.a")
        return calls(program, "xread") - before <= 2

    until(unread, "st.b is not read any more")


def test_an_entry_larger_than_a_chunk(client: Client, program: redis.Redis, channel: str) -> None:
    for i in range(5):
        program.xadd(channel, {"data": b"x" * 2_000_000, "n": i})
    client.subscribe(channel, "earliest")
    for _ in range(5):
        assert len(client.next("message", timeout=30)["text"]) == 2_000_000
    client.next("live")


# ---- trimmed, deleted, created anew


def recovered(client: Client, channel: str, pos: str) -> tuple[bool, str | None, list[int]]:
    page = client.history(channel, {"after": [pos]}, limit=1000)
    frame = client.subscribe(channel, {"after": [pos]})
    client.unsubscribe(channel)
    client.kept = [f for f in client.kept if f.get("channel") != channel]
    assert (frame["recovered"], frame.get("reason")) == (page["recovered"], page.get("reason"))
    return page["recovered"], page.get("reason"), data(page["messages"])


@since_7
def test_what_was_removed(client: Client, program: redis.Redis, channel: str) -> None:
    for i in range(1, 11):
        add(program, channel, i, id=f"{i}-0")
    whole = list(range(1, 11))
    assert recovered(client, channel, "0/0-0") == (True, None, whole)
    assert recovered(client, channel, "0/10-0") == (True, None, [])
    assert recovered(client, channel, "0/10-1") == (False, "epoch", whole), "beyond the end"
    program.xtrim(channel, maxlen=6, approximate=False)
    rest = list(range(5, 11))
    assert recovered(client, channel, "0/5-0") == (True, None, rest[1:])
    assert recovered(client, channel, "0/4-18446744073709551615") == (True, None, rest)
    # Whether there was an entry between 4-0 and 5-0 Redis cannot tell.
    assert recovered(client, channel, "0/4-0") == (False, "expired", rest)
    assert recovered(client, channel, "0/2-0") == (False, "expired", rest)
    assert recovered(client, channel, "0/0-0") == (False, "expired", rest)
    program.xdel(channel, "7-0")
    rest.remove(7)
    deleted = recovered(client, channel, "0/6-0")
    assert deleted == (False, None, [8, 9, 10]), "goes on, so that paging comes to an end"
    assert recovered(client, channel, "0/7-0") == (True, None, [8, 9, 10])
    program.xtrim(channel, maxlen=0, approximate=False)
    assert recovered(client, channel, "0/10-0") == (True, None, [])
    assert recovered(client, channel, "0/9-0") == (False, "expired", [])
    program.delete(channel)
    answer = recovered(client, channel, "0/9-0")
    assert answer == (False, "epoch", [])
    add(program, channel, 1, id="3-0")
    assert recovered(client, channel, "0/9-0") == (False, "epoch", [1])
    assert recovered(client, channel, "0/2-0") == (False, "epoch", [1]), "never a place of this one"
    assert recovered(client, channel, "0/0-0") == (True, None, [1])


def test_a_wrong_kind_of_key(client: Client, program: redis.Redis, topic: str) -> None:
    program.set(f"st.{topic}.bad", "a string")
    client.subscribe(f"st.{topic}.good")
    for from_ in ("now", "earliest", {"last": 1}):
        answer = client.refused("bus_error", {"type": "subscribe", "channel": f"st.{topic}.bad", "from": from_})  # fmt: skip
        assert "WRONGTYPE" in answer["message"]
    client.refused("bus_error", type="history", channel=f"st.{topic}.bad")
    answer = client.refused("bus_error", type="publish", channel=f"st.{topic}.bad", data=1)
    assert "WRONGTYPE" in answer["message"]
    add(program, f"st.{topic}.good", 1)
    assert client.next("message", f"st.{topic}.good")["data"] == 1
    client.quiet()


def test_a_stream_that_becomes_something_else(
    client: Client, program: redis.Redis, topic: str
) -> None:
    """Its subscribers are told; the streams beside it on the same connection go on."""
    names = [f"st.{topic}.{i}" for i in range(3)]
    for name in names:
        client.subscribe(name)
        add(program, name, 0)
        client.next("message", name)
    pipe = program.pipeline()
    pipe.delete(names[1])
    pipe.set(names[1], "a string")
    pipe.execute()
    for i in range(1, 6):
        for name in (names[0], names[2]):
            add(program, name, i)
    seen: dict[str, list[Any]] = {name: [] for name in names}
    while not seen[names[1]] or len(seen[names[0]]) + len(seen[names[2]]) < 10:
        frame = client.next(timeout=20)
        seen[frame["channel"]].append(frame.get("data", frame))
    assert seen[names[0]] == seen[names[2]] == [1, 2, 3, 4, 5]
    end = seen[names[1]][0]
    assert end["type"] == "unsubscribed" and "WRONGTYPE" in end["reason"], end
    client.refused("bus_error", type="subscribe", channel=names[1])


def after_a_gap(client: Client, channel: str) -> Frame:
    """The next message; what was in a stream that was deleted, and not read yet, may be told as lost."""
    frame = client.next(channel=channel)
    if frame["type"] == "gap":
        assert frame["reason"] == "expired", frame
        frame = client.next("message", channel)
    return frame


def test_deleted_under_a_reader(client: Client, program: redis.Redis, channel: str) -> None:
    """Ids go on by the clock: what is added after DEL is simply the next."""
    client.subscribe(channel)
    first = add(program, channel, 1)
    assert client.next("message")["data"] == 1
    program.delete(channel)
    until(lambda: program.time()[0] * 1000 + program.time()[1] // 1000 > ms_of(first), "a later id")
    add(program, channel, 2)
    assert after_a_gap(client, channel)["data"] == 2
    client.quiet()


def test_created_anew_with_older_ids(start: Start, connect: Connect, redis_start: Any) -> None:
    """Nothing of the new stream would ever come: the subscription ends, and says why."""
    server: Redis = redis_start()
    bus = {"timeout": 2500}  # of which a part goes by until it is looked at
    client = connect(start(bridge_config(server.url, bus, workers=WORKERS)))
    program = server.client()
    for name in ("st.a", "st.b"):
        client.subscribe(name)
        add(program, name, 1, id="9000-0")
        client.next("message", name)
    program.flushall()
    add(program, "st.a", 1, id="5-0")
    frame = client.next("unsubscribed", "st.a", timeout=20)
    assert "anew" in frame["reason"], frame
    frame = client.subscribe("st.a", {"after": ["0/9000-0"]})
    assert frame["recovered"] is False and frame["reason"] == "epoch"
    assert data(client.messages("st.a", 1)) == [1]
    client.next("live", "st.a")
    add(program, "st.b", 2, id="9001-0")
    assert after_a_gap(client, "st.b")["data"] == 2


def test_trimmed_while_the_bridge_was_away(
    start: Start, connect: Connect, redis_server: Redis, proxy_to: Any, topic: str
) -> None:
    proxy: Proxy = proxy_to(redis_server)
    client = connect(start(bridge_config(proxy.url, workers=WORKERS)))
    program = redis_server.client()
    whole, lost = f"st.{topic}.whole", f"st.{topic}.lost"
    for name in (whole, lost):
        client.subscribe(name)
        last = add(program, name, 0)
        client.next("message", name)
    proxy.cut(refuse=True)
    for i in range(1, 21):
        for name in (whole, lost):
            add(program, name, i)
    program.xtrim(lost, maxlen=5, approximate=False)
    proxy.restore()
    seen: dict[str, list[Any]] = {whole: [], lost: []}
    while len(seen[whole]) < 20 or len(seen[lost]) < 6:
        frame = client.next()
        seen[frame["channel"]].append(frame.get("data", frame))
    assert seen[whole] == list(range(1, 21)), "with a log it catches up in silence"
    gap = seen[lost][0]
    assert gap["type"] == "gap" and gap["reason"] == "expired" and gap["after"] == [last], gap
    assert seen[lost][1:] == [16, 17, 18, 19, 20]
    assert client.history(lost, {"after": gap["until"]})["messages"][0]["data"] == 16
    client.quiet()


def test_a_cursor_of_the_gap_frame_is_a_place(client: Client, channel: str) -> None:
    frame = client.subscribe(channel, "earliest")
    assert cursor_of(frame) == "0/0-0"
    assert client.next("live")["cursor"] == ["0/0-0"]
