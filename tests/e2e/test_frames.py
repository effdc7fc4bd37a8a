"""What RFC 6455 forbids a client to send is closed with the code that it names, always.

test_bad_input.py has more of the kind, and looks at what becomes of the process."""

from __future__ import annotations

import signal
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from client import Client
from conftest import Start
from raw import BINARY, CLOSE, CONT, PING, PONG, TEXT, Raw, encode, handshake, wait_for
from server import PATIENCE, Server, config
from steady import steadily
from tls_aid import TlsRaw, make_pair, tls_config

Connect = Callable[..., Client]
MASK = b"\0\0\0\0"
PLAIN = b'{"type":"ping"}'  # without an id: no answer


@pytest.fixture
def raw(server: Server) -> Iterator[Raw]:
    with Raw(server.port) as connection:
        yield connection.upgrade()


def pong_id(raw: Raw) -> object:
    frame = raw.json()
    assert frame["type"] == "pong", frame
    return frame["id"]


def ask(number: int) -> bytes:
    return encode(TEXT, b'{"type":"ping","id":%d}' % number)


BROKEN: dict[str, bytes] = {
    "unmasked text": encode(TEXT, b"x", masked=False),
    "unmasked and empty": encode(TEXT, b"", masked=False),
    "unmasked ping": encode(PING, b"x", masked=False),
    "unmasked close": encode(CLOSE, b"\x03\xe8", masked=False),
    "unmasked, 16 bits": encode(TEXT, b"x" * 200, masked=False),
    "RSV1": encode(TEXT, b"x", rsv=4),
    "RSV2": encode(TEXT, b"x", rsv=2),
    "RSV3": encode(TEXT, b"x", rsv=1),
    "RSV1 of a ping": encode(PING, b"x", rsv=4),
    "opcode 3": encode(3, b"x"),
    "opcode 11": encode(11, b"x"),
    "16 bits for 125": b"\x81\xfe\x00\x7d" + MASK + b"x" * 125,
    "16 bits for 0": b"\x81\xfe\x00\x00" + MASK,
    "64 bits for 5": b"\x81\xff" + b"\0" * 7 + b"\x05" + MASK + b"xxxxx",
    "64 bits for 65535": b"\x82\xff" + struct.pack("!Q", 65535) + MASK,
    "the 64th bit": b"\x81\xff\x80" + b"\0" * 7 + MASK,
    "all 64 bits": b"\x81\xff" + b"\xff" * 8 + MASK,
    "ping of 126": encode(PING, b"x" * 126),
    "ping of 65536": encode(PING, b"x" * 65536),
    "close of 126": encode(CLOSE, b"\x03\xe8" + b"x" * 124),
    "ping in fragments": encode(PING, b"x", fin=False),
    "close in fragments": encode(CLOSE, b"", fin=False),
    "fragment of nothing": encode(CONT, b"x"),
    "fragment of nothing, more to come": encode(CONT, b"x", fin=False),
    "text within a message": encode(TEXT, b"x", fin=False) + encode(TEXT, b"x"),
    "binary within a message": encode(TEXT, b"x", fin=False) + encode(BINARY, b"x"),
    "a fragment too many": encode(TEXT, PLAIN, fin=False) + encode(CONT) + encode(CONT),
}


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN.keys())
def test_broken_frames(raw: Raw, sent: bytes) -> None:
    """What was asked before is answered first, and nothing behind is read."""
    raw.send(ask(1) + sent + ask(2))
    assert pong_id(raw) == 1
    assert raw.close_code() == 1002
    assert raw.closed()


def test_in_single_bytes(raw: Raw) -> None:
    for i in range(len(sent := ask(1) + encode(PING, b"abc") + ask(2) + BROKEN["RSV2"])):
        raw.send(sent[i : i + 1])
    frames = sorted(raw.read_frame() for _ in range(3))
    pongs = [(TEXT, b'{"type":"pong","id":%d}' % i) for i in (1, 2)]
    assert frames == [*pongs, (PONG, b"abc")]
    assert raw.close_code() == 1002


def test_too_big_is_known_by_its_length(raw: Raw) -> None:
    """No payload is awaited: the header says it."""
    raw.send(ask(1) + encode(TEXT, b"", length=132_097)[:14])
    assert pong_id(raw) == 1
    assert raw.close_code() == 1009


def test_too_big_over_fragments(raw: Raw) -> None:
    for _ in range(2):
        raw.frame(TEXT, b" " * 66_000, fin=False)
        raw.frame(CONT, b'{"type":"ping","id":1}')
        assert pong_id(raw) == 1
    raw.frame(TEXT, b" " * 66_000, fin=False)
    raw.frame(PING, b"")
    assert raw.read_frame() == (PONG, b"")
    raw.send(encode(CONT, b"", fin=False, length=66_097)[:14])
    assert raw.close_code() == 1009


@pytest.mark.parametrize(
    "pieces",
    [
        [b'"\xed', b"\xa0"],
        [b'"\xf4', b"\x90"],
        [b'"\xe2\x82', b"x"],
        [b"\xc0"],
        [b'"' + b"x" * 5000 + b"\xff"],
    ],
    ids=range(5),
)
def test_text_is_refused_with_its_first_wrong_byte(raw: Raw, pieces: list[bytes]) -> None:
    """The message is not awaited to its end."""
    raw.send(ask(1))
    raw.frame(TEXT, pieces[0], fin=False)
    for piece in pieces[1:]:
        raw.frame(CONT, piece, fin=False)
    assert pong_id(raw) == 1
    assert raw.close_code() == 1007


# ---- pings


def test_each_ping_has_its_pong(raw: Raw) -> None:
    raw.send(b"".join(encode(PING, b"%d" % i) for i in range(20)) + encode(PING) + ask(1))
    got = [raw.read_frame() for _ in range(22)]
    assert [p for op, p in got if op == PONG] == [b"%d" % i for i in range(20)] + [b""]
    assert (TEXT, b'{"type":"pong","id":1}') in got


def test_pings_are_a_sign_of_life(start: Start) -> None:
    special = start(config(limits={"ping_ms": 300, "pong_ms": 1700}))

    def round_() -> None:
        with Raw(special.port) as good, Raw(special.port) as silent:
            good.upgrade()
            silent.upgrade()
            for _ in range(8):
                assert good.read_frame()[0] == PING  # answered by a ping of its own
                good.frame(PING, b"me")
                assert good.read_frame() == (PONG, b"me")
            assert silent.close_code() == 4001

    steadily(round_, special.port, gap=0.1)


def test_a_flood_of_pings(server: Server, connect: Connect) -> None:
    """Who does not read the pongs is too slow, as with everything else."""
    with Raw(server.port, receive_buffer=4096) as raw:
        raw.upgrade()
        flood = encode(PING, b"x" * 125) * 1000
        try:
            for _ in range(200):
                raw.send(flood)
        except OSError:
            pass
        connect().quiet()


# ---- TLS


def test_the_same_under_tls(start: Start, tmp_path: Path) -> None:
    """Where what is checked is what has been decrypted; the end is announced (close_notify)."""
    special = start(tls_config(make_pair(tmp_path, "a")))
    cases = [
        (encode(TEXT, b"x", masked=False), 1002),
        (BROKEN["16 bits for 125"], 1002),
        (BROKEN["the 64th bit"], 1002),
        (encode(TEXT, b"", length=132_097)[:14], 1009),
        (encode(CLOSE, b"\x03\xe8"), 1000),
        (encode(CLOSE, b"\x03"), 1002),
    ]
    for sent, code in cases:
        with TlsRaw(special.port) as raw:
            raw.upgrade()
            raw.send(encode(PING, b"1") + ask(1) + encode(PING, b"2"))
            got = sorted(raw.read_frame() for _ in range(3))
            assert got == [(TEXT, b'{"type":"pong","id":1}'), (PONG, b"1"), (PONG, b"2")]
            raw.send(sent)
            assert raw.close_code() == code
            assert raw.closed()
    requests = {b"GET /%00 HTTP/1.1\r\n\r\n": 400, b"x / HTTP/1.1\r\n\r\n": 405}
    early = handshake(special.port) + encode(PING)
    for request, status in {**requests, early: 400}.items():
        with TlsRaw(special.port) as raw:
            assert raw.request(request).status == status
            assert raw.closed()
    with TlsRaw(special.port) as raw:
        for octet in handshake(special.port):
            raw.send(bytes([octet]))
        assert raw.response().status == 101


# ---- closing


def test_many_pings_at_once_under_tls(start: Start, tmp_path: Path) -> None:
    """Each in a TLS record of its own, so that one look at the socket is not enough for all: what
    comes behind them is not lost."""
    server = start(tls_config(make_pair(tmp_path, "own")))
    for count in 63, 64, 65, 100, 300:
        with TlsRaw(server.port) as raw:
            raw.upgrade()
            server.process.send_signal(signal.SIGSTOP)
            for i in range(count):
                raw.frame(PING, b"%d" % i)
            raw.send(ask(count))
            server.process.send_signal(signal.SIGCONT)
            assert [raw.read_frame() for _ in range(count)] == [(PONG, b"%d" % i) for i in range(count)]
            assert pong_id(raw) == count


@pytest.mark.parametrize("path", ["/ws", "/raw?subscribe=plain.a&publish=plain.a"])
@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", 1005),
        (b"\x03\xe8", 1000),
        (b"\x03\xe9bye \xc3\xa9", 1001),
        (struct.pack("!H", 1012), 1012),
        (struct.pack("!H", 3000), 3000),
        (struct.pack("!H", 4999) + b"x" * 123, 4999),
        (b"\x03", 1002),
        *((struct.pack("!H", code), 1002) for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000)),
        (b"\x03\xe8\xff", 1007),
        (b"\x03\xe8\xe2\x82", 1007),
    ],
    ids=range(17),
)
def test_the_answer_to_a_close(server: Server, path: str, payload: bytes, code: int) -> None:
    """The close frame, then the end of the connection, at once."""

    def round_() -> None:
        with Raw(server.port) as raw:
            assert raw.request(handshake(server.port, path=path)).status == 101
            began = time.monotonic()
            raw.frame(CLOSE, payload)
            assert raw.close_code() == code
            assert raw.closed()
            assert time.monotonic() - began < 3 * PATIENCE

    steadily(round_, server.port, gap=0.5)


def test_the_end_after_our_close(server: Server) -> None:
    def round_() -> None:
        with Raw(server.port) as raw:
            raw.upgrade()
            raw.frame(BINARY, b"x")
            began = time.monotonic()
            assert raw.close_code() == 1003
            raw.frame(CLOSE, b"\x03\xeb")
            assert raw.closed()
            assert time.monotonic() - began < 3 * PATIENCE

    steadily(round_, server.port, gap=0.5)


def test_what_stands_before_a_close_is_done(raw: Raw, connect: Connect, channel: str) -> None:
    client = connect()
    client.subscribe(channel)
    publish = b'{"type":"publish","channel":"%s","data":%d}'
    frames = [encode(TEXT, publish % (channel.encode(), i)) for i in range(3)]
    raw.send(frames[0] + frames[1] + encode(CLOSE, b"\x03\xe8") + frames[2])
    assert raw.close_code() == 1000
    assert [client.next("message")["data"] for _ in range(2)] == [0, 1]
    client.quiet()


def test_raw_closes_when_its_publishes_are_answered(server: Server, channel: str) -> None:
    """And what came of them has arrived before."""
    with Raw(server.port) as raw:
        path = f"/raw?subscribe={channel}&publish={channel}"
        assert raw.request(handshake(server.port, path=path)).status == 101
        frames = [encode(BINARY, b"\xff%d" % i) for i in range(50)]
        raw.send(b"".join(frames) + encode(CLOSE, b"\x0f\xa1"))
        assert [raw.read_frame() for _ in range(50)] == [(BINARY, b"\xff%d" % i) for i in range(50)]
        assert raw.close_code() == 4001
        assert raw.closed()


def test_a_close_in_pieces_behind_an_early_frame(server: Server) -> None:
    """Frames that come with the handshake are taken as frames."""
    with Raw(server.port) as raw:
        close = encode(CLOSE, b"\x03\xe8")
        begin, rest = close[:3], close[3:]
        raw.send(handshake(server.port) + ask(1) + encode(PING, b"p") + begin)
        assert raw.response().status == 101
        assert raw.json()["type"] == "welcome"
        assert {raw.read_frame(), raw.read_frame()} == {
            (TEXT, b'{"type":"pong","id":1}'),
            (PONG, b"p"),
        }
        raw.send(rest)
        assert raw.close_code() == 1000
        assert raw.closed()


@pytest.mark.long
def test_a_reader_that_stands_still_when_it_is_closed(start: Start) -> None:
    """The close frame cannot reach it; the connection ends all the same."""
    limits = {"queue_bytes": 65_536, "send_buffer": 16_384}
    special = start(config(limits=limits), "--set", "log.level=debug")
    with Raw(special.port) as sender:
        assert sender.request(handshake(special.port, path="/raw?publish=plain.a")).status == 101
        before = descriptors(special)
        with Raw(special.port, receive_buffer=4096) as stuck:
            path = "/raw?subscribe=plain.a"
            assert stuck.request(handshake(special.port, path=path)).status == 101
            assert descriptors(special) > before

            def is_given_up() -> bool:
                sender.frame(BINARY, b"x" * 60_000)
                return "code=4000" in special.log()

            wait_for(is_given_up, what="it is too slow")
            wait_for(lambda: descriptors(special) == before, 15, "it is closed")


def descriptors(server: Server) -> int:
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
