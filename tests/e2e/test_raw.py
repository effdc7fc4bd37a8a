"""/raw: a WebSocket without an envelope (section 6 of docs/protocol.md)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as dial

from client import Client
from conftest import Start
from raw import BINARY, PING, TEXT, Raw, Response, handshake, wait_for
from server import PATIENCE, Server, config
from steady import steadily

Connect = Callable[..., Client]
Door = Callable[..., ClientConnection]


def query(**parameters: str) -> str:
    return "/raw?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())


@pytest.fixture
def door(server: Server) -> Iterator[Door]:
    """door(subscribe=…, publish=…, start=…): a /raw, closed after the test."""
    open_: list[ClientConnection] = []

    def factory(to: Server | None = None, **parameters: str) -> ClientConnection:
        if "start" in parameters:
            parameters["from"] = parameters.pop("start")
        url = f"ws://127.0.0.1:{(to or server).port}{query(**parameters)}"
        open_.append(dial(url, max_size=None, compression=None))
        return open_[-1]

    yield factory
    for one in open_:
        one.close_timeout = 0.1
        one.close()


# A subscription comes into force just after the 101: who listens to what another connection publishes
# begins with the first message, or it may miss it.
FIRST = "earliest"


def take(door: ClientConnection) -> str | bytes:
    return door.recv(timeout=10 * PATIENCE)


def end(door: ClientConnection) -> tuple[int, str]:
    """Code and reason of the close that must come now."""
    with pytest.raises(ConnectionClosed) as info:
        take(door)
    assert info.value.rcvd
    return info.value.rcvd.code, info.value.rcvd.reason


def refusal(server: Server, path: str) -> Response:
    with Raw(server.port) as raw:
        return raw.request(handshake(server.port, path=path))


# ---- payloads


PAYLOADS: list[str | bytes] = [
    '{"a":1}',
    " [1, 2] \n",
    "",
    "plain \U0001f600 \t\"quotes\" \\ \u0000\u007f",
    "null",
    'null,"tombstone":true',
    "9007199254740993.10",
    '{"type":"gap","reason":"bus"}',
    "\ufeff1",
    b"\xff\x00\xfe",
    b"\x80",
    "x" * 60_000,
]


def test_echo(door: Door, channel: str) -> None:
    """What goes in comes out, byte for byte; its form is decided by the bytes alone."""
    echo = door(subscribe=channel, publish=channel)
    for payload in [*PAYLOADS, b"text in a binary message"]:
        echo.send(payload)
        data = payload.encode() if isinstance(payload, str) else payload
        got = take(echo)
        try:
            assert got == data.decode()
        except UnicodeDecodeError:
            assert got == data


def test_it_is_the_same_channel_as_on_ws(door: Door, connect: Connect, channel: str) -> None:
    client = connect()
    client.subscribe(channel)
    out, in_ = door(subscribe=channel, start=FIRST), door(publish=channel)
    in_.send('{"n":1}')
    assert client.next("message")["data"] == {"n": 1}
    assert take(out) == '{"n":1}'
    client.publish(channel, text="two")
    assert take(out) == "two"
    in_.send(b"\xff")
    assert client.next("message")["text"] == "two"
    assert client.next("message").payload == b"\xff"
    assert take(out) == b"\xff"


def test_what_a_query_may_hold(server: Server, connect: Connect) -> None:
    """A semicolon is a part of the name, as in any query."""
    name = "plain.a;b=c?d/e,f"
    client = connect()
    client.subscribe(name)
    with Raw(server.port) as raw:
        path = f"/raw?other;x&publish={name}&&subscribe=plain.%41;&"
        assert raw.request(handshake(server.port, path=path)).status == 101
        raw.frame(TEXT, b"1")
        assert client.next("message")["channel"] == name
        client.publish("plain.A;", data=2)
        assert raw.read_frame() == (TEXT, b"2")


def test_tombstones_are_left_out(door: Door, connect: Connect, topic: str) -> None:
    client, out = connect(), door(subscribe=f"keyed.{topic}.k", start=FIRST)
    client.publish(f"keyed.{topic}.k", tombstone=True)
    client.publish(f"keyed.{topic}.k", data=None)
    client.publish(f"keyed.{topic}.other", data=3)
    client.publish(f"keyed.{topic}.k", text="end", headers={"data": "x"})
    assert [take(out), take(out)] == ["null", "end"]
    past = door(subscribe=f"whole.{topic}", start="earliest")
    assert [take(past) for _ in range(3)] == ["null", "3", "end"]


def test_publishing_sets_the_key_of_the_channel(door: Door, connect: Connect, topic: str) -> None:
    client = connect()
    client.subscribe(f"whole.{topic}")
    door(publish=f"keyed.{topic}.k").send("1")
    assert client.next("message")["key"] == "k"


def test_fragments_are_one_message(server: Server, door: Door, channel: str) -> None:
    out = door(subscribe=channel, start=FIRST)
    with Raw(server.port) as raw:
        path = f"/raw?publish={channel}"
        assert raw.request(handshake(server.port, path=path)).status == 101
        raw.frame(TEXT, b'"\xf0\x9f', fin=False)
        raw.frame(PING, b"?")
        raw.frame(0, b'\x98\x80"')
        assert take(out) == '"\U0001f600"'
        raw.frame(BINARY, b"\xff", fin=False)
        raw.frame(0, b"", fin=True)
        assert take(out) == b"\xff"


def test_all_in_binary(door: Door, channel: str) -> None:
    plain = door(subscribe=channel, start=FIRST)
    binary = door(subscribe=channel, start=FIRST, form="binary")
    sender = door(publish=channel)
    for payload in PAYLOADS:
        sender.send(payload)
        data = payload.encode() if isinstance(payload, str) else payload
        assert take(binary) == data
        got = take(plain)
        assert (got.encode() if isinstance(got, str) else got) == data


# ---- from


def test_from(door: Door, client: Client, channel: str) -> None:
    for i in range(5):
        pos = client.publish(channel, data=i)
        if i == 2:
            cursor = json.dumps({"after": [pos]})
    asks = {"earliest": 0, '{"last":2}': 3, cursor: 3, '{"ago":3600000}': 0, '"earliest"': 0}
    for start, first in asks.items():
        out = door(subscribe=channel, start=start)
        assert [take(out) for _ in range(first, 5)] == [str(i) for i in range(first, 5)], start
    last = door(subscribe=channel, publish=channel, start="now")
    last.send("end")
    assert take(last) == "end"
    assert take(out) == "end"


def test_what_is_lost_ends_it(start: Start, door: Door, connect: Connect) -> None:
    special = start(
        config(
            buses={"m": {"type": "memory", "history": 5}},
            replay={"max_messages": 3, "ring_messages": 5},
        )
    )
    client = connect(special)
    first = client.publish("plain.a", data=0)
    for i in range(1, 8):
        client.publish("plain.a", data=i)
    code, reason = end(door(special, subscribe="plain.a", start=json.dumps({"after": [first]})))
    assert code == 1011 and "trimmed" in reason
    epoch = door(special, subscribe="plain.a", start='{"after":["0/zzz-3"]}')
    assert end(epoch)[0] == 1011
    code, reason = end(door(special, subscribe="plain.a", start="earliest"))
    assert code == 1011 and "replay.max_messages" in reason
    few = door(special, subscribe="plain.a", start='{"last":3}')
    assert [take(few) for _ in range(3)] == ["5", "6", "7"]


# ---- refusals before the upgrade


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/raw", 400, "bad_request"),
        ("/raw?", 400, "bad_request"),
        ("/raw?from=earliest", 400, "bad_request"),
        ("/raw?publish=plain.a&from=earliest", 400, "bad_request"),
        ("/raw?subscribe=", 400, "bad_request"),
        ("/raw?subscribe=a..b", 400, "bad_request"),
        ("/raw?subscribe=plain.%2A", 400, "bad_request"),
        ("/raw?subscribe=plain.a+b", 400, "bad_request"),
        ("/raw?subscribe=plain.%FF", 400, "bad_request"),
        ("/raw?subscribe=plain.a&subscribe=plain.a", 400, "bad_request"),
        ("/raw?subscribe=plain.a&publish=plain.a&publish=plain.b", 400, "bad_request"),
        ("/raw?subscribe=plain.a&from=never", 400, "bad_request"),
        ("/raw?subscribe=plain.a&form=text", 400, "bad_request"),
        ("/raw?publish=plain.a&form=binary", 400, "bad_request"),
        ("/raw?subscribe=plain.a&from=%7B%22last%22%3A-1%7D", 400, "bad_request"),
        ("/raw?subscribe=plain.a&from=now%2C%22id%22%3A1", 400, "bad_request"),
        ("/raw?subscribe=plain.a&from=1,%22id%22:1", 400, "bad_request"),
        ("/raw?subscribe=plain.a&from=%7B%22after%22%3A%5B%22x%22%5D%7D", 400, "bad_request"),
        ("/raw?subscribe=plain.a&from=snapshot", 501, "unsupported"),
        ("/raw?subscribe=nowhere", 404, "unknown_channel"),
        ("/raw?publish=nowhere", 404, "unknown_channel"),
        ("/raw?subscribe=plain.a&publish=nowhere", 404, "unknown_channel"),
        ("/raw?publish=readonly.a", 403, "forbidden"),
        ("/raw?subscribe=fleeting.a&from=earliest", 403, "forbidden"),
    ],
)
def test_refusals(server: Server, path: str, status: int, code: str) -> None:
    answer = refusal(server, path)
    body = json.loads(answer.text)
    assert (answer.status, body["type"], body["code"]) == (status, "error", code), answer
    assert answer.headers["content-type"] == "application/json"
    assert body["message"].endswith(".") and body["retry"] is False and "id" not in body


def test_rights(start: Start) -> None:
    access = {"anonymous": {"subscribe": ["plain.r"], "publish": ["plain.w"]}}
    special = start(config(access=access))
    assert refusal(special, "/raw?subscribe=plain.r&publish=plain.w").status == 101
    for path in ("/raw?subscribe=plain.w", "/raw?publish=plain.r"):
        assert refusal(special, path).status == 403


def test_the_rest_of_the_handshake_is_that_of_ws(server: Server) -> None:
    good = "/raw?subscribe=plain.a"
    changes: list[tuple[dict[str, str], int]] = [
        ({"origin": "http://evil.example"}, 403),
        ({"sec-websocket-version": "12"}, 426),
        ({"sec-websocket-protocol": "wsbus.v1"}, 400),
    ]
    for headers, status in changes:
        with Raw(server.port) as raw:
            answer = raw.request(handshake(server.port, path=good, headers=headers))
            assert answer.status == status
    with Raw(server.port) as raw:
        request = f"GET {good} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n"
        assert raw.request(request.encode()).status == 426
    assert refusal(server, good + "&ticket=x&other=%20").status == 101
    assert refusal(server, "/raw?subscribe=plain.%C3%A9%2B&publish=plain.a%26b").status == 101


# ---- ends


def test_a_message_to_one_that_only_reads(door: Door, channel: str) -> None:
    out = door(subscribe=channel)
    out.send("x")
    assert end(out)[0] == 1003


@pytest.mark.parametrize("size", [65_537, 200_000])
def test_a_message_that_is_too_large(door: Door, channel: str, size: int) -> None:
    big = door(publish=channel)
    big.send("x" * 65_536)
    big.send(b"x" * size)
    assert end(big)[0] == 1009


def test_text_that_is_not_utf8(server: Server) -> None:
    with Raw(server.port) as raw:
        assert raw.request(handshake(server.port, path="/raw?publish=plain.a")).status == 101
        raw.frame(TEXT, b"a\xff")
        assert raw.close_code() == 1007


def test_what_the_bus_refuses(start: Start, door: Door, connect: Connect) -> None:
    """A memory bus whose topics all have subscribers has no room for another."""
    special = start(config(buses={"m": {"type": "memory", "topics": 1}}, linger=0))
    connect(special).subscribe("plain.a")
    code, reason = end(door(special, subscribe="plain.b"))
    assert code == 1011 and reason
    full = door(special, publish="plain.b")
    full.send("1")
    assert end(full)[0] == 1011


def test_a_slow_reader(start: Start) -> None:
    limits = {"queue_bytes": 65_536, "send_buffer": 16_384}
    special = start(config(limits=limits), "--set", "log.level=debug")
    fast = dial(f"ws://127.0.0.1:{special.port}/raw?publish=plain.a", compression=None)
    with Raw(special.port, receive_buffer=4096) as raw:
        path = "/raw?subscribe=plain.a"
        assert raw.request(handshake(special.port, path=path)).status == 101

        def is_given_up() -> bool:
            fast.send("x" * 60_000)
            return "code=4000" in special.log()

        wait_for(is_given_up, what="it is too slow")
        assert raw.close_code() == 4000
    fast.send("still here")
    fast.close()
    assert fast.protocol.close_code == 1000


def test_draining(start: Start) -> None:
    special = start(config(drain=500))
    url = f"ws://127.0.0.1:{special.port}/raw?subscribe=plain.a&publish=plain.a"
    with dial(url, compression=None) as one:
        one.send("1")
        assert take(one) == "1"
        special.terminate()
        assert end(one)[0] == 1012
    assert special.wait(10) == 0


def test_server_pings(start: Start, door: Door) -> None:
    special = start(config(limits={"ping_ms": 200, "pong_ms": 1000}))
    with Raw(special.port) as raw:
        path = "/raw?subscribe=plain.a"
        assert raw.request(handshake(special.port, path=path)).status == 101
        assert raw.read_frame()[0] == PING
        assert raw.close_code() == 4001

    def life() -> None:
        good: Any = door(special, subscribe="plain.a", publish="plain.a")
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            good.send("1")
            assert take(good) == "1"
        good.close()

    steadily(life, special.port, gap=0.3)
