"""Limits: each says which one it was, and holds for who goes beyond it alone."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Callable

import pytest

from client import Client
from raw import CLOSE, CONT, PING, PONG, TEXT, Raw, encode, wait_for
from server import PATIENCE, Server, config
from steady import steadily

Start = Callable[..., Server]


def publish(number: int, channel: str = "plain.x") -> str:
    return json.dumps({"type": "publish", "id": number, "channel": channel, "data": number})


def close_of(raw: Raw) -> tuple[int, str]:
    while True:
        opcode, payload = raw.read_frame()
        if opcode == CLOSE:
            return int.from_bytes(payload[:2], "big"), payload[2:].decode()


def test_publishes(start: Start) -> None:
    server = start(config(), "--set", "limits.publishes_per_second=2")
    with Client(server.url) as c, Client(server.url) as other:
        # In one piece: whatever stands still, no time goes by between them.
        asked = range(14)
        c.ws.socket.sendall(b"".join(encode(TEXT, publish(i).encode()) for i in asked))
        replies = [c.reply(i) for i in asked]
        good = [r for r in replies if r["type"] == "published"]
        bad = [r for r in replies if r["type"] == "error"]
        assert 10 <= len(good) < 14 and good == replies[: len(good)]
        for frame in bad:
            assert frame["code"] == "rate_limited" and frame["retry"] is True
            assert frame["limit"] == "limits.publishes_per_second"
            assert 1 <= frame["retry_after"] <= 1000
        assert other.call("publish", channel="plain.x", data=1)["type"] == "published"
        wait_for(lambda: c.call("publish", channel="plain.x", data=1)["type"] == "published")
        c.subscribe("plain.x")  # other things have budgets of their own


def test_subscribes(start: Start) -> None:
    server = start(config(), "--set", "limits.subscribes_per_second=1")
    with Client(server.url) as c:
        asks = [("subscribe", f"plain.{i}") for i in range(4)]
        asks += [(kind, channel) for channel in ("plain.x", "plain.more") for kind in ("history", "subscribe")]
        frames = [{"type": kind, "id": i, "channel": channel} for i, (kind, channel) in enumerate(asks)]
        c.ws.socket.sendall(b"".join(encode(TEXT, json.dumps(f).encode()) for f in frames))
        answers = [c.reply(i) for i in range(len(asks))]
        assert [a["type"] for a in answers] == ["subscribed"] * 4 + ["history"] + ["error"] * 3
        for frame, (_, channel) in zip(answers[5:], asks[5:], strict=True):
            assert frame["code"] == "rate_limited" and frame["retry"] is True
            assert frame["limit"] == "limits.subscribes_per_second"
            assert frame["channel"] == channel
        c.unsubscribe("plain.0")  # always possible
        assert c.call("publish", channel="plain.x", data=1)["type"] == "published"


@pytest.mark.parametrize(
    ("option", "count", "size"),
    [("frames_per_second", 80, 1), ("bytes_per_second", 80, 8000)],
)
def test_frames_and_bytes(start: Start, option: str, count: int, size: int) -> None:
    limit = 10 if option == "frames_per_second" else 10000
    server = start(config(), "--set", f"limits.{option}={limit}")
    with Raw(server.port) as raw:
        raw.upgrade()
        text = json.dumps({"type": "ping", "pad": "x" * size}).encode()
        raw.send(encode(TEXT, text) * count)
        assert close_of(raw) == (4502, f"limits.{option}")
    with Client(server.url) as c:
        c.quiet()


def test_fragments(start: Start) -> None:
    server = start(config(), "--set", "limits.fragments=4")
    whole = b'{"type":"ping","id":1}'
    with Raw(server.port) as raw:
        raw.upgrade()
        for _ in range(2):  # the count begins anew with each message
            raw.frame(TEXT, whole[:5], fin=False)
            raw.frame(CONT, whole[5:9], fin=False)
            raw.frame(CONT, whole[9:12], fin=False)
            raw.frame(CONT, whole[12:])
            assert raw.json() == {"type": "pong", "id": 1}
        raw.frame(TEXT, whole[:5], fin=False)
        for at in range(5, 8):
            raw.frame(CONT, whole[at : at + 1], fin=False)
        assert close_of(raw) == (4502, "limits.fragments")


def test_large_frame_is_one_fragment(start: Start) -> None:
    """libwebsockets hands it over in many pieces."""
    server = start(config(), "--set", "limits.fragments=2")
    with Raw(server.port) as raw:
        raw.upgrade()
        text = json.dumps({"type": "ping", "id": 7, "pad": "x" * 60000}).encode()
        raw.frame(TEXT, text[:50000], fin=False)
        raw.frame(CONT, text[50000:])
        assert raw.json() == {"type": "pong", "id": 7}


def test_channel_bytes(start: Start) -> None:
    server = start(config(), "--set", "limits.channel_bytes=10")
    with Client(server.url) as c:
        c.subscribe("plain.1234")
        for kind in ("subscribe", "publish", "history"):
            frame = c.refused("limit", type=kind, channel="plain.12345", data=1)
            assert frame["limit"] == "limits.channel_bytes"


def test_header_bytes(start: Start) -> None:
    server = start(config(), "--set", "limits.header_bytes=2048")
    head = f"GET /livez HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
    with Raw(server.port) as raw:
        assert raw.request((head + "Cookie: " + "y" * 1000 + "\r\n\r\n").encode()).status == 200
    with Raw(server.port) as raw:
        raw.send((head + "Cookie: " + "y" * 4000 + "\r\n\r\n").encode())
        assert raw.response().status == 431


def test_half_open(start: Start) -> None:
    """The oldest loses, and who has finished is not one of them."""
    server = start(config(), "--set", "limits.half_open=3", "--set", "workers=1")
    with Raw(server.port) as done, Raw(server.port) as silent, Raw(server.port) as begun:
        done.upgrade()
        begun.send(b"GET /ws HTTP/1.1\r\n")
        for _ in range(3):  # what came before has been read when these are answered
            done.frame(TEXT, b'{"type":"ping","id":1}')
            assert done.json()["type"] == "pong"
        with Raw(server.port) as third, Raw(server.port) as fourth:
            assert silent.closed()
            with Raw(server.port) as fifth:
                assert begun.response().status == 503
                for raw in (third, fourth, fifth):
                    raw.upgrade()
        done.frame(TEXT, b'{"type":"ping","id":1}')
        assert done.json()["type"] == "pong"


def test_not_ready_when_full(start: Start) -> None:
    server = start(config(), "--set", "limits.connections=2")
    ask = f"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()
    with Raw(server.port) as one:
        one.upgrade()
        with Raw(server.port) as two:
            two.upgrade()
            with Raw(server.port) as probe:
                answer = probe.request(ask)
                assert answer.status == 503 and int(answer.headers["retry-after"]) > 0


def test_pings_count_as_frames(start: Start) -> None:
    server = start(config(), "--set", "limits.frames_per_second=10")
    for opcode in (PING, PONG):
        with Raw(server.port) as raw:
            raw.upgrade()
            for _ in range(200):
                raw.frame(opcode, b"x")
            assert close_of(raw) == (4502, "limits.frames_per_second")


def test_message_ms(start: Start) -> None:
    """Bytes that drip are no sign of life for ever, however often they come."""
    server = start(config(), "--set", f"limits.message_ms={1000 * PATIENCE:.0f}")
    with Raw(server.port) as raw, Raw(server.port) as other:
        raw.upgrade()
        other.upgrade()
        raw.send(b"\x81\xfe\x03\xe8" + b"\0\0\0\0x")  # 1000 bytes, a mask of zeros
        raw.sock.settimeout(0.02)
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                raw.send(b"y")
                try:
                    raw._more()
                    break
                except TimeoutError:
                    continue
        raw.sock.settimeout(10 * PATIENCE)
        assert close_of(raw) == (4502, "limits.message_ms")
        other.text('{"type":"ping","id":2}')
        assert other.json() == {"type": "pong", "id": 2}

    def in_time() -> None:
        with Raw(server.port) as raw:
            raw.upgrade()
            for _ in range(3):
                raw.frame(TEXT, b'{"type":"ping",', fin=False)
                raw.frame(CONT, b'"id":1}')
                assert raw.json()["type"] == "pong"

    steadily(in_time, server.port, gap=0.3)


def test_what_came_in_time_counts(start: Start) -> None:
    """A daemon that stood still reads what is there before it says that something did not come."""
    limit = 0.5 * PATIENCE
    server = start(config(), "--set", f"limits.message_ms={1000 * limit:.0f}")

    def came_late() -> bool:
        """The first half is read in time, and the rest is sent while the daemon stands still."""
        with Raw(server.port) as raw:
            raw.upgrade()
            began = time.monotonic()
            raw.frame(TEXT, b'{"type":"ping",', fin=False)
            raw.frame(PING)
            try:
                if raw.read_frame()[0] != PONG:
                    return False
                server.process.send_signal(signal.SIGSTOP)
                wait_for(server.stopped)
                if time.monotonic() > began + 0.9 * limit:
                    return False  # too late for that: the machine is busy
                raw.frame(CONT, b'"id":1}')
                time.sleep(limit)  # what counts is that it passes
            finally:
                server.process.send_signal(signal.SIGCONT)
            assert raw.json() == {"type": "pong", "id": 1}
            return True

    wait_for(came_late, 60)
