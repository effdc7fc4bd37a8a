"""Sentences about frames that no other test shows: one for each test."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from client import Client, Frame, at, cursor_of, data, ordinal
from conftest import Start
from raw import CLOSE, CONT, PING, PONG, TEXT, Raw, encode
from server import Server, config

Connect = Callable[..., Client]


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


# ---- ids, null, twice, depth


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (r"\u00e9" * 32, True),
        (r"\u00e9" * 33, False),
        (r"\ud83d\ude00" * 16, True),
        (r"\ud83d\ude00" * 16 + "x", False),
        (r"\/" * 64, True),
        (r"\n" * 65, False),
    ],
)
def test_an_id_is_measured_unescaped(client: Client, text: str, good: bool) -> None:
    frame = f'{{"type":"ping","id":"{text}"}}'
    if good:
        client.send(frame)
        assert client.reply(json.loads(f'"{text}"'))["type"] == "pong"
    else:
        answer = client.refused("bad_request", frame)
        assert "id" not in answer
    client.quiet()


@pytest.mark.parametrize(
    "member",
    [
        '"last":1,"last":1',
        '"last":1,"la\\u0073t":2',
        '"after":[],"after":null',
        '"time":1,"ago":1',
        '"after":[],"last":1',
        "",
        '"other":1',
        '"last":null',
    ],
)
@pytest.mark.parametrize("type_", ["subscribe", "history"])
def test_from_has_one_member(client: Client, channel: str, type_: str, member: str) -> None:
    client.send(f'{{"type":"{type_}","id":1,"channel":"{channel}","from":{{{member}}}}}')
    assert client.reply(1)["code"] == "bad_request"
    client.quiet()


def test_null_in_from_and_elsewhere_counts_as_absent(client: Client, channel: str) -> None:
    client.send(
        f'{{"type":"subscribe","id":1,"channel":"{channel}","filter":null,"policy":null,'
        '"interval":null,"from":{"after":null,"last":0,"time":null}}'
    )
    assert client.reply(1)["type"] == "subscribed"
    client.next("live")
    client.send(
        f'{{"type":"publish","id":2,"channel":"{channel}","key":null,"headers":null,'
        '"partition":null,"text":null,"binary":null,"tombstone":null,"data":null}'
    )
    assert client.reply(2)["type"] == "published"
    frame = client.next("message")
    assert frame.raw_data() == "null" and "tombstone" not in frame and "key" not in frame
    client.send(f'{{"type":"history","id":3,"channel":"{channel}","until":null,"limit":null}}')
    assert len(client.reply(3)["messages"]) == 1


@pytest.mark.parametrize(
    "text",
    [
        '"channel":"{c}","data":1,"channel":null',
        '"channel":"{c}","data":1,"dat\\u0061":1',
        '"channel":"{c}","data":1,"key":"a","key":"a"',
        '"channel":"{c}","data":1,"headers":{{}},"headers":{{}}',
        '"channel":"{c}","data":1,"partition":0,"partition":0',
        '"channel":"{c}","data":1,"tombstone":false,"tombstone":false',
        '"channel":"{c}","data":1,"until":[],"until":[]',
    ],
)
def test_any_field_of_the_protocol_twice(client: Client, channel: str, text: str) -> None:
    """Also one that is null, and one that this frame does not use."""
    client.subscribe(channel)
    client.send('{"type":"publish","id":1,' + text.format(c=channel) + "}")
    assert client.reply(1)["code"] == "bad_request"
    client.quiet()


def test_depth_of_512_and_513(client: Client) -> None:
    client.send(f'{{"type":"ping","id":1,"x":{nested(511)}}}')
    assert client.reply(1)["type"] == "pong"
    client.refused("bad_request", f'{{"type":"ping","id":1,"x":{nested(512)}}}')
    client.quiet()


def test_text_with_a_byte_order_mark_is_text(client: Client, channel: str) -> None:
    client.subscribe(channel)
    client.publish(channel, text='\ufeff{"a":1}')
    frame = client.next("message")
    assert frame.form == "text" and frame["text"] == '\ufeff{"a":1}'
    client.publish(channel, binary="77u/MQ==")  # the same before a number
    assert client.next("message")["text"] == "\ufeff1"


# ---- errors


def test_every_error_without_id_names_its_channel(client: Client, channel: str) -> None:
    frames: list[tuple[str, dict[str, Any]]] = [
        ("not_subscribed", {"type": "unsubscribe"}),
        ("bad_request", {"type": "subscribe", "from": "never"}),
        ("bad_request", {"type": "publish"}),
        ("bad_request", {"type": "publish", "data": 1, "partition": 7}),
        ("bad_request", {"type": "history"}),
        ("unsupported", {"type": "subscribe", "filter": {"key": "x"}}),
        ("unsupported", {"type": "subscribe", "from": "snapshot"}),
        ("too_large", {"type": "publish", "text": "x" * 65537}),
        ("unknown_type", {"type": "publsih"}),
        ("bad_request", {"type": "publish", "data": 1, "id": []}),
    ]
    for code, fields in frames:
        client.send({**fields, "channel": channel})
        frame = client.next("error", channel)
        assert (frame["code"], frame["retry"], "id" in frame) == (code, False, False), frame
    client.send(type="subscribe", channel="nowhere")
    assert client.next("error", "nowhere")["code"] == "unknown_channel"
    client.quiet()


def test_error_limit_names_the_option(start: Start, connect: Connect) -> None:
    client = connect(start(config(limits={"subscriptions": 1})))
    client.subscribe("plain.a")
    frame = client.refused("limit", type="subscribe", channel="plain.b")
    assert frame["limit"] == "limits.subscriptions" and frame["retry"] is False
    client.unsubscribe("plain.a")
    client.subscribe("plain.b")


def test_a_refusal_of_the_bus_without_id_names_its_channel(start: Start, connect: Connect) -> None:
    client = connect(start(config(buses={"m": {"type": "memory", "topics": 1}})))
    client.subscribe("plain.a")
    for fields in ({"type": "subscribe"}, {"type": "publish", "data": 1}):
        client.send({**fields, "channel": "plain.b"})
        frame = client.next("error", "plain.b")
        assert frame["code"] == "busy" and frame["retry"] is True and "id" not in frame
    client.quiet()


def test_busy_may_be_asked_again(start: Start, connect: Connect) -> None:
    """A memory bus whose topics all have subscribers has no room for another."""
    special = start(config(buses={"m": {"type": "memory", "topics": 2}}, linger=0))
    client = connect(special)
    client.subscribe("plain.a")
    client.subscribe("plain.b")
    asks: list[dict[str, Any]] = [
        {"type": "subscribe"},
        {"type": "history"},
        {"type": "publish", "data": 1},
    ]
    for fields in asks:
        assert client.refused("busy", channel="plain.c", **fields)["retry"] is True
    client.unsubscribe("plain.a")
    deadline = time.monotonic() + 10
    while client.call("publish", channel="plain.c", data=1)["type"] != "published":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len(client.history("plain.c")["messages"]) == 1


def read_close(raw: Raw) -> tuple[int, str]:
    while True:
        opcode, payload = raw.read_frame()
        if opcode == CLOSE:
            return int.from_bytes(payload[:2], "big"), payload[2:].decode()


@pytest.mark.parametrize(
    ("sent", "want"),
    [
        (encode(2, b"x"), (1003, "unsupported data")),
        (encode(TEXT, b"x", length=1 << 30), (1009, "message too big")),
        (encode(TEXT, b'"\xc3"'), (1007, "text is not UTF-8")),
        (encode(CLOSE, b"\x03\xe8\xff"), (1007, "text is not UTF-8")),
        (encode(TEXT, b"?") * 100, (4501, "too many errors")),
    ],
    ids=["1003", "1009", "1007", "1007-reason", "4501"],
)
def test_a_close_says_why(server: Server, sent: bytes, want: tuple[int, str]) -> None:
    with Raw(server.port) as raw:
        raw.upgrade()
        raw.send(sent)
        assert read_close(raw) == want


@pytest.mark.parametrize(
    ("last", "code"),
    [
        (encode(2, b"x"), 1003),
        (encode(TEXT, b"x", length=1 << 30), 1009),
        (encode(TEXT, b"\xff"), 1007),
    ],
    ids=["1003", "1009", "1007"],
)
def test_open_requests_are_answered_before_a_close(
    server: Server, topic: str, last: bytes, code: int
) -> None:
    """Each id has its one reply, also when the connection is about to close."""
    with Raw(server.port) as raw:
        raw.upgrade()
        frames: list[dict[str, Any]] = []
        name = f"plain.{topic}"
        for i in range(20):
            frames.append({"type": "publish", "id": f"p{i}", "channel": name, "data": i})
            frames.append({"type": "subscribe", "id": f"s{i}", "channel": f"{name}.{i}"})
            frames.append({"type": "history", "id": f"h{i}", "channel": name})
            frames.append({"type": "unsubscribe", "id": f"u{i}", "channel": f"{name}.{i}"})
        raw.send(b"".join(encode(TEXT, json.dumps(f).encode()) for f in frames) + last)
        got = []
        while True:
            opcode, payload = raw.read_frame()
            if opcode == CLOSE:
                break
            got.append(json.loads(payload).get("id"))
        assert int.from_bytes(payload[:2], "big") == code
        assert sorted(got) == sorted(f["id"] for f in frames)


# ---- fragments


def test_a_publish_in_fragments_with_a_ping_between(server: Server, channel: str) -> None:
    with Raw(server.port) as raw:
        raw.upgrade()
        text = json.dumps(
            {"type": "publish", "id": "é", "channel": channel, "text": "ü" * 5000},
            ensure_ascii=False,
        ).encode()
        cuts = [0, 1, 7, 40, 41, 3001, len(text) - 1, len(text)]
        for i in range(len(cuts) - 1):
            last = i == len(cuts) - 2
            raw.frame(CONT if i else TEXT, text[cuts[i] : cuts[i + 1]], fin=last)
            if not last:
                raw.frame(PING, b"between")
        opcode, payload = raw.read_frame()
        pongs = 0
        while opcode == PONG:  # one for several pings is enough
            assert payload == b"between"
            pongs += 1
            opcode, payload = raw.read_frame()
        reply = json.loads(payload)
        assert (pongs > 0, reply["type"], reply["id"]) == (True, "published", "é")


# ---- positions and cursors


def test_a_cursor_of_a_partition_that_is_not_there(client: Client, channel: str) -> None:
    """It is of another log; the partition that is there goes on from its own position."""
    positions = client.publish_many(channel, 5)
    cursor = [positions[2], "1" + positions[4][1:]]
    page = client.history(channel, {"after": cursor})
    assert page["recovered"] is False and page["reason"] == "epoch"
    assert data(page["messages"]) == [4, 5] and page["before"] == [positions[2]]
    frame = client.subscribe(channel, {"after": cursor})
    assert frame["recovered"] is False and frame["reason"] == "epoch"
    assert cursor_of(frame) == positions[2]
    assert data(client.messages(channel, 2)) == [4, 5]
    assert client.next("live")["cursor"] == [positions[4]]


def test_a_position_need_not_name_a_message_that_exists(client: Client, topic: str) -> None:
    """A position of another key of the topic is as good as any."""
    client.publish(f"keyed.{topic}.a", data=1)
    other = client.publish(f"keyed.{topic}.b", data=2)
    client.publish(f"keyed.{topic}.a", data=3)
    frame = client.subscribe(f"keyed.{topic}.a", {"after": [other]})
    assert frame["recovered"] is True and cursor_of(frame) == other
    assert client.next("message")["data"] == 3
    client.next("live")


@pytest.mark.parametrize("count", [1024, 1025])
def test_number_of_positions(client: Client, channel: str, count: int) -> None:
    pos = client.publish(channel, data=1)
    cursor = [f"{i}{pos[1:]}" for i in range(count)]
    answer = client.call("history", channel=channel, from_={"after": cursor})
    if count <= 1024:
        assert answer["type"] == "history" and answer["recovered"] is False
    else:
        assert answer["type"] == "error" and answer["code"] == "bad_request"


@pytest.mark.parametrize(
    "pos",
    [
        "", "/", "0", "0/", "/x-1", "x/a-1", "-1/a-1", "01/a-1", "+0/a-1", " 0/a-1", "0/a", "0/a-", "0/-1", "0/A-1", "0/a-01", "0/a--1",
        "0/a-1 ", "0/a-1/", "0/a-18446744073709551616", "4294967296/a-1", "0/0-1", "0/" + "a" * 100 + "-1", "0/a-1\0",
    ],
)  # fmt: skip
def test_broken_positions(client: Client, channel: str, pos: str) -> None:
    client.refused("bad_request", type="subscribe", channel=channel, **{"from": {"after": [pos]}})
    client.refused("bad_request", type="history", channel=channel, until=[pos])


def test_cursor_of_an_empty_log(client: Client, channel: str) -> None:
    """It names the partition, and is enough to resume."""
    frame = client.subscribe(channel)
    start = cursor_of(frame)
    assert ordinal(start) == 0
    client.unsubscribe(channel)
    client.publish_many(channel, 3)
    frame = client.subscribe(channel, {"after": [start]})
    assert frame["recovered"] is True and cursor_of(frame) == start
    assert data(client.messages(channel, 3)) == [1, 2, 3]
    client.next("live")


def test_time_is_only_where_a_replay_begins(client: Client, channel: str) -> None:
    """In the future: at the end; what comes then is delivered all the same."""
    last = client.publish_many(channel, 3)[-1]
    later = int(time.time() * 1000) + 3_600_000
    frame = client.subscribe(channel, {"time": later})
    assert cursor_of(frame) == last and "recovered" not in frame
    assert client.next("live")["cursor"] == [last]
    client.publish(channel, data=4)
    assert client.next("message")["data"] == 4
    page = client.history(channel, {"time": later})
    assert page["messages"] == [] and page["more"] is False and page["cursor"] == page["before"]


def test_last_0_is_now_with_live(client: Client, channel: str) -> None:
    last = client.publish_many(channel, 3)[-1]
    frame = client.subscribe(channel, {"last": 0})
    assert cursor_of(frame) == last
    assert client.next("live")["cursor"] == [last]
    client.quiet()


# ---- history at its edges


def test_history_at_its_edges(client: Client, channel: str) -> None:
    positions = client.publish_many(channel, 10)
    edges: list[tuple[Any, Any, list[int], int, int]] = [
        # from, until, messages, before, cursor
        ({"after": [positions[5]]}, positions[2], [], 6, 6),
        ({"after": [positions[9]]}, None, [], 10, 10),
        ({"after": [positions[2]]}, positions[2], [], 3, 3),
        ({"after": [positions[2]]}, positions[3], [4], 3, 4),
        ({"last": 0}, positions[2], [], 3, 3),
        ({"last": 3}, positions[2], [1, 2, 3], 0, 3),
        ({"last": 2}, positions[2], [2, 3], 1, 3),
        ({"last": 3}, at(positions[0], 99), [8, 9, 10], 7, 10),
        ({"last": 3}, at(positions[0], 0), [], 0, 0),
        ({"last": 99}, None, list(range(1, 11)), 0, 10),
        ("now", None, [], 10, 10),
        ("earliest", at(positions[0], 0), [], 0, 0),
    ]
    for from_, until, want, before, cursor in edges:
        more = {} if until is None else {"until": [until]}
        page = client.history(channel, from_, **more)
        assert data(page["messages"]) == want, (from_, until)
        assert ordinal(page["before"][0]) == before, (from_, until, page)
        assert ordinal(cursor_of(page)) == cursor, (from_, until, page)
        assert page["more"] is False, (from_, until)
        assert ("recovered" in page) is (isinstance(from_, dict) and "after" in from_)


def test_the_gap_of_a_replay_is_fetched_by_history(start: Start, connect: Connect) -> None:
    """Both cursors of a gap mean what they mean in history; on a keyed channel too."""
    client = connect(start(config(replay={"max_messages": 10})))
    for i in range(60):
        client.publish("whole.t", data=i, key="ab"[i % 2])
    for channel, total in (("whole.t", range(60)), ("keyed.t.a", range(0, 60, 2))):
        frame = client.subscribe(channel, "earliest")
        gap = client.next("gap", channel)
        assert gap["reason"] == "limit" and gap["until"] == frame["cursor"]
        got = []
        cursor = gap["after"]
        while True:
            page = client.history(channel, {"after": cursor}, until=gap["until"])
            got += data(page["messages"])
            cursor = page["cursor"]
            if not page["more"]:
                break
        replay = [f for f in client.kept if f["type"] == "message"]
        client.kept.clear()
        while len(replay) < 10:
            replay.append(client.next("message", channel))
        client.kept = [f for f in client.kept if f["type"] != "live"]
        assert got + data(replay) == list(total)
        client.unsubscribe(channel)
        client.kept.clear()


def test_history_of_one_large_message(start: Start, connect: Connect) -> None:
    """More than 256 KiB in one message: a page holds at least one."""
    client = connect(start(config(limits={"message_bytes": 1 << 20})))
    for i in range(3):
        client.publish("plain.a", text=f"{i}" + "x" * 400_000)
    cursor: list[str] = []
    for i in range(3):
        page = client.history("plain.a", {"after": cursor})
        assert [m["text"][0] for m in page["messages"]] == [str(i)]
        assert page["more"] is (i < 2)
        cursor = page["cursor"]


# ---- rules


def test_a_rule_without_history_has_no_places(client: Client, topic: str) -> None:
    frame = client.subscribe(f"fleeting.{topic}", "now")
    assert frame["cursor"] is None
    pos = client.publish(f"whole.{topic}", data=1)
    client.next("message", f"fleeting.{topic}")
    froms: list[Any] = [
        "earliest", {"last": 0}, {"last": 1}, {"time": 0}, {"ago": 1}, {"after": []}, {"after": [pos]},
    ]  # fmt: skip
    client.unsubscribe(f"fleeting.{topic}")
    for from_ in froms:
        client.refused(
            "forbidden", type="subscribe", channel=f"fleeting.{topic}", **{"from": from_}
        )
    client.refused("forbidden", type="history", channel=f"fleeting.{topic}", **{"from": "now"})


def test_login_is_unsupported_where_none_is_configured(client: Client) -> None:
    assert client.welcome["auth"] == "anonymous"
    client.refused("unsupported", type="auth", token="x")
    client.quiet()


# ---- position


@pytest.mark.long
@pytest.mark.timeout(200)
def test_position_is_for_those_who_heard_nothing(start: Start, connect: Connect) -> None:
    """Once within 60 s; not where messages came, nothing moved or the rule hides places."""
    # No pings: the library answers none while something waits to be read.
    special = start(config(workers=3, limits={"ping_ms": 0}))
    writer = connect(special)
    quiet = [connect(special) for _ in range(6)]
    for i, client in enumerate(quiet):
        client.subscribe("keyed.t.a", "earliest" if i % 2 else "now")
    names = ("whole.t", "fleeting.t", "keyed.u.a", "keyed.t.b")
    others = {name: connect(special) for name in names}
    for name, client in others.items():
        client.subscribe(name)
    last = writer.publish_many("keyed.t.b", 50)[-1]
    for client in quiet:
        while (frame := client.next(timeout=65))["type"] == "live":
            pass
        assert frame["type"] == "position" and frame["cursor"] == [last], frame
    for client in (*quiet, *others.values()):
        client.kept += drain(client)
        assert "position" not in [frame["type"] for frame in client.kept]
    client = quiet[0]
    client.unsubscribe("keyed.t.a")
    writer.publish("keyed.t.a", data="next")
    assert client.subscribe("keyed.t.a", {"after": [last]})["recovered"] is True
    assert client.next("message")["data"] == "next"


def drain(client: Client) -> list[Frame]:
    """What has come so far."""
    asked = client.ask("ping")
    client.reply(asked)
    found, client.kept = client.kept, []
    return found
