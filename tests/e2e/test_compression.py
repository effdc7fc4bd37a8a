"""permessage-deflate (RFC 7692): who gets compressed messages, and what may come in as one."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory as Deflate
from websockets.sync.client import connect as dial

from client import Client
from conftest import Start
from raw import BINARY, CLOSE, CONT, PING, PONG, TEXT, Raw, encode, handshake
from server import Server, config
from test_metrics import value
from tls_aid import context, make_pair, tls_config
from tls_socket import share

ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
MIB = 1 << 20
RSV1 = 4


def pack(data: bytes) -> bytes:
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (engine.compress(data) + engine.flush(zlib.Z_SYNC_FLUSH))[:-4]


def unpack(data: bytes) -> bytes:
    return zlib.decompressobj(-15).decompress(data + b"\0\0\xff\xff")


class Packed(Raw):
    """A connection on which compressed messages have been agreed on."""

    extension = True
    seen = 0  # compressed messages of the server

    def open(self, path: str = "/ws") -> Packed:
        headers = {"sec-websocket-extensions": "permessage-deflate"}
        answer = self.request(handshake(self.port, path=path, headers=headers))
        assert answer.status == 101 and answer.headers["sec-websocket-extensions"] == ANSWER, answer
        if path == "/ws":
            assert self.json()["type"] == "welcome"
        return self

    def read_frame(self) -> tuple[int, bytes]:
        opcode, payload = super().read_frame()
        if self.rsv == 0:
            return opcode, payload
        assert self.rsv == RSV1 and opcode in (TEXT, BINARY)
        self.seen += 1
        return opcode, unpack(payload)

    def ends(self) -> tuple[int, str]:
        """The close frame: code and reason."""
        while True:
            opcode, payload = self.read_frame()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big"), payload[2:].decode()


def packed(data: bytes, opcode: int = TEXT) -> bytes:
    return encode(opcode, pack(data), rsv=RSV1)


Connect = Callable[..., Client]


@pytest.fixture(scope="module")
def special() -> Iterator[Server]:
    """For those tests that need nothing of their own."""
    limits = {"message_bytes": 4 * MIB, "queue_bytes": 64 * MIB}
    started = Server(
        "compression",
        config(limits=limits, compression={"enabled": True}, admin="127.0.0.1:0"),
    )
    yield started
    started.stop()


@pytest.fixture
def raw(special: Server) -> Iterator[Packed]:
    with Packed(special.port) as connection:
        yield connection.open()


def sample(size: int) -> str:
    """Text that looks like JSON, another one for each size."""
    numbers = random.Random(size)
    words = ["bid", "ask", "symbol", "EURUSD", "GBPUSD", "time", "é"]
    text = ""
    while len(text) < size:
        text += f"{numbers.choice(words)} {numbers.randrange(100000)}, "
    return text[:size]


# ---- the handshake ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate; client_max_window_bits", ANSWER),
        ("permessage-deflate; server_max_window_bits=9", f"{ANSWER}; server_max_window_bits=9"),
        ("permessage-deflate; server_max_window_bits=7", None),
        ("permessage-deflate; x=1, permessage-deflate", ANSWER),
        ("x-webkit-deflate-frame", None),
    ],
)
def test_offers(special: Server, offer: str, answer: str | None) -> None:
    for path in ("/ws", "/raw?publish=plain.a"):
        with Raw(special.port) as raw:
            headers = {"sec-websocket-extensions": offer}
            got = raw.request(handshake(special.port, path=path, headers=headers))
            assert got.status == 101
            assert got.headers.get("sec-websocket-extensions") == answer


def test_offers_in_two_headers(special: Server) -> None:
    with Raw(special.port) as raw:
        lines = b"Sec-WebSocket-Extensions: x\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
        request = handshake(special.port)[:-2] + lines + b"\r\n"
        assert raw.request(request).headers["sec-websocket-extensions"] == ANSWER


def test_malformed_offers(special: Server) -> None:
    for offer in ("permessage-deflate;", "permessage-deflate; server_max_window_bits=", "a b"):
        with Raw(special.port) as raw:
            headers = {"sec-websocket-extensions": offer}
            got = raw.request(handshake(special.port, headers=headers))
            assert got.status == 400 and "Sec-WebSocket-Extensions" in got.text


def test_long_lists(special: Server, server: Server) -> None:
    """libwebsockets would hang up on 255 bytes: it never sees them."""
    for to in (special, server):
        for size in (255, 1000, 10_000):
            with Raw(to.port) as raw:
                headers = {"sec-websocket-extensions": "x" * size + ", permessage-deflate"}
                got = raw.request(handshake(to.port, headers=headers))
                assert got.status == 101, (size, got)
                answer = got.headers.get("sec-websocket-extensions")
                assert answer == (ANSWER if to is special else None)


def test_off_unless_configured(server: Server) -> None:
    with Raw(server.port) as raw:
        headers = {"sec-websocket-extensions": "permessage-deflate"}
        got = raw.request(handshake(server.port, headers=headers))
        assert got.status == 101 and "sec-websocket-extensions" not in got.headers
        assert raw.json()["type"] == "welcome"
        raw.frame(TEXT, pack(b"{}"), rsv=RSV1)
        assert raw.close_code() == 1002


# ---- with a library -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"server_no_context_takeover": True, "client_no_context_takeover": True},
        {"client_max_window_bits": 9},
        {"server_max_window_bits": 15},
        {"server_max_window_bits": 10, "client_max_window_bits": 12},
    ],
    ids=str,
)
def test_round_trips(special: Server, connect: Connect, options: dict[str, Any]) -> None:
    client = connect(special, extensions=[Deflate(**options)])
    plain = connect(special)
    channel = "plain.trip" + "".join(f".{name}" for name in options)
    client.subscribe(channel)
    plain.subscribe(channel)
    for size in (0, 1, 100, 255, 1000, 4000, 70_000, 1_000_000):
        text = sample(size)
        client.publish(channel, text=text)
        one, other = client.messages(channel, 1), plain.messages(channel, 1)
        assert one[0].raw == other[0].raw and one[0].payload == text.encode()
    client.quiet()


def test_what_is_compressed(raw: Packed, special: Server, connect: Connect) -> None:
    """From compression.min_bytes on, and what becomes smaller."""
    writer = connect(special)
    subscribe(raw, "plain.w")
    before = counts(special, "out")
    writer.publish("plain.w", text="x" * 50)
    assert raw.json()["text"] == "x" * 50 and raw.seen == 0
    writer.publish("plain.w", text="x" * 300)
    assert raw.json()["text"] == "x" * 300 and raw.seen == 1
    frames, wire, plain = (b - a for a, b in zip(before, counts(special, "out"), strict=True))
    assert frames == 1 and 300 < plain < 500 and 20 < wire < plain / 2


def test_raw(special: Server) -> None:
    url = f"ws://127.0.0.1:{special.port}/raw?subscribe=plain.raw&publish=plain.raw"
    payloads = [sample(2000), "", random.Random(3).randbytes(5000), b"\xff" * 5000, sample(300)]
    one = dial(url, compression="deflate", max_size=None)
    two = dial(url + "&from=earliest", compression=None)  # or it might begin behind the first one
    with one, two:
        before = counts(special, "out")
        for payload in payloads:
            one.send(payload)
            assert one.recv(10) == payload and two.recv(10) == payload
        assert counts(special, "out")[0] - before[0] == 3  # neither the empty one nor the noise
        assert counts(special, "in")[0] > 0


def test_under_tls(start: Start, tmp_path: Path) -> None:
    pair = make_pair(tmp_path, "a")
    limits = {"message_bytes": MIB}
    secure = start(tls_config(pair, compression={"enabled": True}, limits=limits))
    url = f"wss://localhost:{secure.port}/ws"
    with Client(url, compression="deflate", ssl=share(context(pair))) as client:
        client.subscribe("plain.tls")
        for size in (10, 1000, 100_000, 900_000):
            client.publish("plain.tls", text=sample(size))
            assert client.messages("plain.tls", 1)[0].payload == sample(size).encode()


def test_the_past(special: Server, connect: Connect) -> None:
    """A replay sends many messages in one go, each compressed by itself; a page is one message."""
    writer = connect(special)
    texts = [sample(size) for size in (20, 300, 5000, 1, 100_000)] * 20
    for text in texts:
        writer.publish("plain.past", text=text)
    client = connect(special, compression="deflate")
    client.subscribe("plain.past", "earliest")
    before = counts(special, "out")
    got = client.messages("plain.past", len(texts))
    assert [m.payload for m in got] == [text.encode() for text in texts]
    assert client.next("live")
    page = client.history("plain.past", {"last": 10})
    assert [m["text"] for m in page["messages"]] == texts[-10:]
    assert counts(special, "out")[0] > before[0]


def test_slow_client_loses_the_oldest(start: Start, connect: Connect) -> None:
    """What is dropped is known by its place, also where it would have been compressed."""
    limits = {"queue_bytes": 65536, "send_buffer": 16384}
    tight = start(config(limits=limits, compression={"enabled": True}))
    writer = connect(tight)
    noise = random.Random(5)
    with Packed(tight.port, receive_buffer=4096) as slow:
        slow.open()
        subscribe(slow, "plain.a", policy="drop")
        for i in range(200):
            writer.publish("plain.a", text=f"{i:04} " + noise.randbytes(2500).hex())
        slow.send(packed(b'{"type":"ping","id":"end"}'))
        got, lost, page = [], 0, []
        while (frame := slow.json()).get("id") != "end":
            if frame["type"] == "message":
                got.append(int(str(frame["text"])[:4]))
                continue
            assert frame["type"] == "gap" and frame["reason"] == "slow"
            lost += int(str(frame["lost"]))
            page = writer.history("plain.a", {"after": frame["after"]}, until=frame["until"])[
                "messages"
            ]
            assert int(page[0]["text"][:4]) == got[-1] + 1
        assert got[0] == 0 and got[-1] == 199 and lost > 0 and len(got) + lost == 200
        assert slow.seen >= len(got)


# ---- frames -------------------------------------------------------------------------------------


def subscribe(raw: Raw, channel: str, **more: Any) -> None:
    raw.text(json.dumps({"type": "subscribe", "id": 1, "channel": channel, **more}))
    assert raw.json()["type"] == "subscribed"


def ping(number: int) -> bytes:
    return b'{"type":"ping","id":%d}' % number


def counts(server: Server, way: str) -> tuple[float, float, float]:
    """Compressed messages, their bytes, and what these stand for."""
    return (
        value(server, f"compressed_frames_{way}_total"),
        value(server, f"compressed_bytes_{way}_total", 'form="wire"'),
        value(server, f"compressed_bytes_{way}_total", 'form="plain"'),
    )


def fragments(data: bytes, pieces: int, opcode: int = TEXT) -> list[bytes]:
    """A compressed message in so many frames: only the first one says that it is."""
    whole = pack(data)
    size = len(whole) // pieces + 1
    parts = [whole[i * size : (i + 1) * size] for i in range(pieces)]
    return [
        encode(CONT if i else opcode, p, fin=i == pieces - 1, rsv=0 if i else RSV1)
        for i, p in enumerate(parts)
    ]


def test_compressed_and_not_in_any_pieces(raw: Packed) -> None:
    """Each message chooses, and frames come in whatever pieces TCP makes of them."""
    numbers = random.Random(11)
    stream, expected = b"", []
    for i in range(300):
        kind = numbers.randrange(4)
        if kind == 0:
            stream += encode(TEXT, ping(i))
        elif kind == 1:
            stream += packed(ping(i))
        else:
            many = fragments(ping(i) + b" " * numbers.randrange(5000), numbers.randrange(2, 9))
            stream += encode(PING, b"between").join(many)
        expected.append(i)
    while stream:
        size = numbers.choice((1, 2, 7, 100, 3000, 50_000))
        raw.send(stream[:size])
        stream = stream[size:]
    got = []
    while len(got) < len(expected):
        opcode, payload = raw.read_frame()
        if opcode == PONG:
            assert payload == b"between"
        elif opcode == TEXT:
            got.append(json.loads(payload)["id"])
    assert got == expected


@pytest.mark.parametrize(
    "sent",
    [
        encode(PING, b"x", rsv=RSV1),
        encode(CLOSE, b"\x03\xe8", rsv=RSV1),
        encode(TEXT, b"x", fin=False, rsv=RSV1) + encode(CONT, b"x", rsv=RSV1),
        encode(TEXT, b"x", fin=False) + encode(CONT, b"x", rsv=RSV1),
        encode(TEXT, pack(b"x"), rsv=RSV1 | 2),
        encode(TEXT, pack(b"x"), rsv=2),
        encode(3, b"x", rsv=RSV1),
    ],
    ids=["ping", "close", "fragment", "last", "RSV2 too", "RSV2", "opcode"],
)
def test_marks_in_wrong_places(raw: Packed, sent: bytes) -> None:
    raw.send(packed(ping(1)) + sent + packed(ping(2)))
    assert raw.json()["id"] == 1
    assert raw.ends()[0] == 1002


def bomb(size: int) -> bytes:
    return packed(b" " * size)


@pytest.mark.parametrize(
    ("sent", "code", "reason"),
    [
        (bomb(64 * MIB), 4502, "limits.inflate_ratio"),
        (b"".join(fragments(b" " * 64 * MIB, 7)), 4502, "limits.inflate_ratio"),
        (packed(sample(100_000).encode() * 100), 1009, "too big"),
        (encode(TEXT, b"\x06", rsv=RSV1), 1007, "compressed message"),
        (encode(TEXT, pack(b"x" * 100)[:-3], rsv=RSV1), 1007, "compressed message"),
        (packed(b'{"type":"ping","id":"\xff"}'), 1007, "UTF-8"),
        (packed(b"x", BINARY), 1003, ""),
    ],
    ids=["ratio", "ratio in fragments", "size", "broken", "cut", "not UTF-8", "binary"],
)
def test_bad_messages(raw: Packed, special: Server, sent: bytes, code: int, reason: str) -> None:
    """What was asked before is answered; what a bomb would become is never there."""
    before = special.rss()
    hits = value(special, "limit_hits_total", 'limit="limits.inflate_ratio"')
    raw.send(packed(ping(1)) + sent + packed(ping(2)))
    assert raw.json()["id"] == 1
    ended = raw.ends()
    assert ended[0] == code and reason in ended[1], ended
    assert special.rss() - before < 40 * MIB
    hits = value(special, "limit_hits_total", 'limit="limits.inflate_ratio"') - hits
    assert hits == (code == 4502)


def test_bombs_in_raw(special: Server) -> None:
    """The same on /raw, where limits.message_bytes is the bound."""
    for sent, code in ((bomb(16 * MIB), 4502), (packed(sample(50_000).encode() * 100), 1009)):
        with Packed(special.port) as raw:
            raw.open("/raw?publish=plain.bomb").send(sent)
            assert raw.ends()[0] == code


def test_many_small_bombs(start: Start, connect: Connect) -> None:
    """Within the limits of one message, a rate bounds what they become together."""
    limits = {"bytes_per_second": 1 * MIB}
    special = start(config(compression={"enabled": True}, limits=limits))
    with Packed(special.port) as raw:
        raw.open()
        one = packed(b'{"type":"ping"}' + b" " * 16_000)
        raw.send(one * 20_000)
        assert raw.ends() == (4502, "limits.bytes_per_second")
    connect(special).quiet()
