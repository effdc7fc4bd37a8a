"""Bad input: the error or close code of the contract, and nobody else notices."""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest

from client import Client
from conftest import Start
from raw import BINARY, CLOSE, CONT, PING, PONG, TEXT, Raw, encode, handshake
from server import FULL, SANITIZER, Server, config
from steady import steadily

Connect = Callable[..., Client]


@pytest.fixture
def raw(server: Server, connect: Connect, channel: str) -> Iterator[Raw]:
    """A connection to misuse. Another client, connected meanwhile, must stay unharmed."""
    other = connect()
    other.subscribe(channel + ".other")
    with Raw(server.port) as connection:
        yield connection.upgrade()
    other.publish(channel + ".other", data=1)
    assert other.next("message")["data"] == 1
    other.quiet()


def pong(raw: Raw) -> None:
    """The connection lives."""
    raw.text('{"type":"ping","id":"alive"}')
    assert raw.json() == {"type": "pong", "id": "alive"}


def error(raw: Raw, code: str) -> None:
    frame = raw.json()
    assert frame["type"] == "error" and frame["code"] == code, frame


# ---- frames of the protocol


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "{",
        "\0",
        "null",
        "[]",
        "1",
        '"x"',
        "[" * 10_000,
        '{"a":' * 10_000,
        "[" * 10_000 + "]" * 10_000,
        '{"type":"ping","x":' + "[" * 10_000 + "]" * 10_000 + "}",
    ],
    ids=range(12),
)
def test_no_object(raw: Raw, text: str) -> None:
    raw.text(text)
    error(raw, "bad_request")
    pong(raw)


@pytest.mark.parametrize(
    "frame",
    [
        {"type": 1}, {"type": []}, {"type": {}}, {"type": "subscribe"}, {"type": "subscribe", "channel": 1}, {"type": "subscribe", "channel": ""},
        {"type": "subscribe", "channel": ["a"]}, {"type": "publish", "channel": "plain.a"}, {"type": "publish", "channel": "plain.a", "text": []},
        {"type": "history", "id": 1, "channel": "plain.a", "limit": "x"}, {"type": "ping", "id": []},
    ],
)  # fmt: skip
def test_wrong_types(raw: Raw, frame: dict[str, object]) -> None:
    raw.text(json.dumps(frame))
    error(raw, "bad_request")
    pong(raw)


def test_unknown_type_and_channel(raw: Raw) -> None:
    raw.text('{"type":"nonsense"}')
    error(raw, "unknown_type")
    raw.text('{"type":"subscribe","channel":"no.rule.matches"}')
    error(raw, "unknown_channel")
    pong(raw)


def test_1_mib_of_text(raw: Raw) -> None:
    """The frame is over its limit as soon as its length is known: it need not come whole."""
    raw.send(encode(TEXT, b"x", length=1 << 20))
    assert raw.close_code() == 1009


def test_1_mib_of_text_that_comes(raw: Raw) -> None:
    try:
        raw.text('{"type":"publish","channel":"plain.a","text":"' + "x" * (1 << 20) + '"}')
    except OSError:
        pass
    assert raw.close_code() == 1009


def test_fragments_over_the_limit(raw: Raw) -> None:
    try:
        raw.frame(TEXT, b'{"type":"ping","x":"', fin=False)
        for _ in range(300):
            raw.frame(CONT, b"x" * 1000, fin=False)
    except OSError:
        pass
    assert raw.close_code() == 1009


def test_length_of_63_bits(raw: Raw) -> None:
    raw.send(encode(TEXT, b"x", length=2**63 - 1))
    assert raw.close_code() == 1009


def test_length_of_64_bits(raw: Raw) -> None:
    raw.send(encode(TEXT, b"x", length=2**64 - 1))
    assert raw.close_code() == 1002


# ---- UTF-8

BROKEN = [
    b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80", b"\xc3", b"\xe2\x82", b'{"type":"ping","id":"\xff"}',
    b'{"type":"publish","channel":"plain.a","text":"\xed\xa0\x80"}',
]  # fmt: skip


@pytest.mark.parametrize("payload", BROKEN, ids=range(len(BROKEN)))
def test_invalid_utf8(raw: Raw, payload: bytes) -> None:
    raw.text(payload)
    assert raw.close_code() == 1007


def test_invalid_utf8_over_fragments(raw: Raw) -> None:
    raw.frame(TEXT, b'{"type":"ping","id":"\xe2\x82', fin=False)
    raw.frame(CONT, b'a"}')
    assert raw.close_code() == 1007


def test_utf8_split_over_fragments(raw: Raw) -> None:
    text = '{"type":"ping","id":"€😀é"}'.encode()
    for cut in range(1, len(text)):
        raw.frame(TEXT, text[:cut], fin=False)
        raw.frame(CONT, text[cut:])
        assert raw.json()["id"] == "€😀é"


# ---- WebSocket


def test_binary_frame(raw: Raw) -> None:
    raw.frame(BINARY, b'{"type":"ping","id":1}')
    assert raw.close_code() == 1003


def test_empty_binary_frame(raw: Raw) -> None:
    raw.frame(BINARY)
    assert raw.close_code() == 1003


@pytest.mark.parametrize("rsv", [1, 2, 4, 7])
def test_reserved_bits(raw: Raw, rsv: int) -> None:
    raw.frame(TEXT, b"{}", rsv=rsv)
    assert raw.close_code() == 1002


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_reserved_opcodes(raw: Raw, opcode: int) -> None:
    raw.frame(opcode, b"")
    assert raw.close_code() == 1002


def test_continuation_of_nothing(raw: Raw) -> None:
    raw.frame(CONT, b"{}")
    assert raw.close_code() == 1002


def test_text_within_fragments(raw: Raw) -> None:
    raw.frame(TEXT, b"{", fin=False)
    raw.frame(TEXT, b"}")
    assert raw.close_code() == 1002


def test_fragmented_ping(raw: Raw) -> None:
    raw.frame(PING, b"a", fin=False)
    assert raw.close_code() == 1002


def test_long_ping(raw: Raw) -> None:
    raw.frame(PING, b"a" * 126)
    assert raw.close_code() == 1002


def test_ping_is_answered(raw: Raw) -> None:
    for payload in (b"", b"a", b"\xff" * 125):
        raw.frame(PING, payload)
        assert raw.read_frame() == (PONG, payload)
    raw.frame(PONG, b"unasked")
    pong(raw)


def test_ping_within_fragments(raw: Raw) -> None:
    raw.frame(TEXT, b'{"type":"ping",', fin=False)
    raw.frame(PING, b"x")
    raw.frame(CONT, b'"id":1}')
    answers = [raw.read_frame(), raw.read_frame()]
    assert sorted(answers) == [(TEXT, b'{"type":"pong","id":1}'), (PONG, b"x")]


def test_fragments_of_one_octet(raw: Raw) -> None:
    text = b'{"type":"ping","id":"' + b"x" * 60 + b'"}'
    for packed in (False, True):
        frames = [
            encode(TEXT if i == 0 else CONT, text[i : i + 1], fin=i == len(text) - 1)
            for i in range(len(text))
        ]
        for piece in [b"".join(frames)] if packed else frames:
            raw.send(piece)
        assert raw.json()["id"] == "x" * 60


def test_octets_one_by_one(raw: Raw) -> None:
    for octet in encode(TEXT, b'{"type":"ping","id":"slow"}'):
        raw.send(bytes([octet]))
        time.sleep(0.001)
    assert raw.json()["id"] == "slow"


def test_empty_fragments(raw: Raw) -> None:
    raw.frame(TEXT, b"", fin=False)
    for _ in range(1000):
        raw.frame(CONT, b"", fin=False)
    raw.frame(CONT, b'{"type":"ping","id":1}')
    assert raw.json() == {"type": "pong", "id": 1}


def test_handshake_and_first_frames_in_one_segment(server: Server) -> None:
    with Raw(server.port) as raw:
        raw.send(
            handshake(server.port)
            + encode(TEXT, b'{"type":"ping","id":1}')
            + encode(TEXT, b'{"type":"ping","id":2}')
        )
        assert raw.response().status == 101
        assert raw.json()["type"] == "welcome"
        assert [raw.json()["id"], raw.json()["id"]] == [1, 2]


@pytest.mark.parametrize(
    ("payload", "codes"),
    [
        (b"", (1000, 1005)), (struct.pack("!H", 1000), (1000,)), (struct.pack("!H", 1001) + b"bye", (1001, 1000)), (struct.pack("!H", 3000), (3000, 1000)),
        (struct.pack("!H", 4999), (4999, 1000)), (b"\x03", (1002,)), (struct.pack("!H", 0), (1002,)), (struct.pack("!H", 1005), (1002,)),
        (struct.pack("!H", 1006), (1002,)), (struct.pack("!H", 2999), (1002,)), (struct.pack("!H", 1000) + b"\xff", (1007, 1002)),
    ],
    ids=range(11),
)  # fmt: skip
def test_close(raw: Raw, payload: bytes, codes: tuple[int, ...]) -> None:
    raw.frame(CLOSE, payload)
    assert raw.close_code() in codes
    assert raw.closed()


def test_nothing_is_taken_after_close(raw: Raw, connect: Connect, channel: str) -> None:
    publish = json.dumps({"type": "publish", "channel": channel, "data": 1}).encode()
    raw.send(encode(TEXT, publish) + encode(CLOSE, struct.pack("!H", 1000)) + encode(TEXT, publish))
    raw.closed()
    assert len(connect().history(channel)["messages"]) == 1


# ---- clients that go


CUTS = [0, 1, 2, 5, 6, 7, 20, 30]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("reset", [False, True])
def test_vanishing_in_mid_frame(raw: Raw, cut: int, reset: bool) -> None:
    raw.send(encode(TEXT, b'{"type":"subscribe","id":1,"channel":"plain.vanish"}')[:cut])
    if reset:
        raw.vanish()
    else:
        raw.sock.close()


@pytest.mark.parametrize("cut", [1, 10, 40, 100])
def test_vanishing_in_the_handshake(server: Server, connect: Connect, cut: int) -> None:
    for reset in (False, True):
        raw = Raw(server.port)
        raw.send(handshake(server.port)[:cut])
        raw.vanish() if reset else raw.sock.close()
    connect().quiet()


def test_vanishing_during_subscribe(server: Server, connect: Connect, channel: str) -> None:
    writer = connect()
    writer.publish_many(channel, 500)
    for i in range(200):
        raw = Raw(server.port)
        raw.upgrade()
        name = channel if i % 2 else f"{channel}.{i}"
        raw.send(
            b"".join(
                encode(
                    TEXT,
                    json.dumps(
                        {
                            "type": "subscribe",
                            "id": j,
                            "channel": f"{name}" if j == 0 else f"{name}.{j}",
                            "from": "earliest",
                        }
                    ).encode(),
                )
                for j in range(3)
            )
        )
        if i % 4 < 2:
            raw.vanish()
        else:
            raw.sock.close()
    writer.publish_many(channel, 10)
    reader = connect()
    reader.subscribe(channel, {"last": 10})
    assert [m["data"] for m in reader.messages(channel, 10)] == list(range(1, 11))


def test_half_closed(server: Server, connect: Connect) -> None:
    """A peer that shuts its side down has gone; the connection ends."""
    with Raw(server.port) as raw:
        raw.upgrade()
        raw.sock.shutdown(socket.SHUT_WR)
        assert raw.closed()
    connect().quiet()


def test_handshake_that_never_ends(start: Start, connect: Connect) -> None:
    special = start(config(limits={"handshake_ms": 500}))
    with Raw(special.port, timeout=10) as silent, Raw(special.port, timeout=10) as slow:
        slow.send(b"GET /ws HTTP/1.1\r\n")
        assert silent.closed() and slow.closed()
    client = steadily(lambda: connect(special), gap=0.2)
    time.sleep(0.7)
    client.quiet()


def test_no_pong(start: Start, connect: Connect) -> None:
    """A peer that gives no sign of life is closed; the library answers pings by itself."""
    special = start(config(limits={"ping_ms": 300, "pong_ms": 300}))
    with Raw(special.port, timeout=10) as raw:
        raw.upgrade()
        assert raw.read_frame()[0] == PING
        assert raw.close_code() == 4001

    def life() -> None:
        client = connect(special)
        assert client.welcome["ping"] == 300
        with Raw(special.port, timeout=10) as raw:
            raw.upgrade()
            for i in range(10):
                time.sleep(0.15)
                raw.text(json.dumps({"type": "ping", "id": i}))
                assert raw.json() == {"type": "pong", "id": i}, "any frame counts as life"
        client.quiet()

    steadily(life, special.port, gap=0.15)


# ---- random and many


def test_random_frames(server: Server, connect: Connect) -> None:
    """Random frames after a good handshake: whatever they are, others go on."""
    seed = random.SystemRandom().getrandbits(32)
    chance = random.Random(seed)
    other = connect()
    pieces = [
        b'{"type":"ping","id":1}',
        b'{"type":"subscribe","id":2,"channel":"plain.f"}',
        b'{"type":"publish","id":3,"channel":"plain.f","data":{"a":1}}',
        b'{"type":"history","id":4,"channel":"plain.f","from":{"last":3}}',
    ]
    for _ in range(2000 if FULL else 300):
        raw = Raw(server.port)
        raw.upgrade()
        out = b""
        for _ in range(chance.randrange(1, 8)):
            payload = bytearray(chance.choice(pieces))
            for _ in range(chance.choice([0, 0, 1, 3])):
                payload[chance.randrange(len(payload))] = chance.randrange(256)
            piece = bytearray(
                encode(
                    chance.choice([TEXT, TEXT, TEXT, TEXT, CONT, PING, BINARY, CLOSE]),
                    bytes(payload),
                    fin=chance.random() < 0.9,
                )
            )
            if chance.random() < 0.2:
                piece[chance.randrange(len(piece))] ^= 1 << chance.randrange(8)
            out += piece[: chance.randrange(len(piece))] if chance.random() < 0.1 else piece
        try:
            raw.send(out)
            if chance.random() < 0.3:
                raw.sock.settimeout(0.05)
                raw.closed()
        except OSError:
            pass
        raw.vanish() if chance.random() < 0.5 else raw.sock.close()
    assert server.process.poll() is None, f"seed {seed}"
    other.quiet()


def bad_connections(port: int, count: int, chance: random.Random) -> None:
    frames = [
        encode(TEXT, b"not json"), encode(TEXT, b"[]"), encode(TEXT, b"[" * 10_000), encode(TEXT, b"\xff"), encode(BINARY, b"x"), encode(TEXT, b"", length=1 << 20),
        encode(TEXT, b'{"type":"ping","id":' + b"9" * 100 + b"}"), encode(TEXT, b'{"type":"subscribe","id":1,"channel":""}'),
        encode(TEXT, b'{"type":"subscribe","id":1,"channel":"plain.memory","from":"earliest"}'), encode(TEXT, b'{"type":"subscribe","channel":"nowhere"}'),
        encode(TEXT, b"x" * 60_000), encode(TEXT, b"{", fin=False), encode(TEXT, b"abc")[:4],
        encode(TEXT, b'{"type":"history","id":1,"channel":"plain.memory","limit":1000}'),
    ]  # fmt: skip
    for _ in range(count):
        raw = Raw(port)
        try:
            raw.send(handshake(port) + b"".join(chance.choices(frames, k=3)))
            if chance.random() < 0.7:
                raw.response()
        except OSError:
            pass
        raw.vanish() if chance.random() < 0.5 else raw.sock.close()


@pytest.mark.timeout(300)
def test_memory_after_many_bad_connections(start: Start, connect: Connect) -> None:
    special = start(config())
    client = connect(special)
    client.publish_many("plain.memory", 500)
    chance = random.Random(1)
    rounds = 1000 if SANITIZER else 2000
    bad_connections(special.port, rounds, chance)
    client.quiet()
    before = special.rss()
    figures = [before]
    for _ in range(3):
        bad_connections(special.port, rounds, chance)
        client.quiet()
        time.sleep(0.2)
        figures.append(special.rss())
    print("RSS in KiB after each round:", [figure // 1024 for figure in figures])
    descriptors = len(os.listdir(f"/proc/{special.pid}/fd"))
    assert descriptors < 100, f"{descriptors} descriptors are open"
    if not SANITIZER:
        # A leak of 100 bytes a connection would show.
        assert figures[-1] - figures[1] < 2 * rounds * 100 + 256 * 1024, figures
