#!/usr/bin/env python3
"""Clients that mean harm, one attack each, for the tests here and for tests/bench/attacks.py.

    tests/e2e/attackers.py ATTACK PORT SECONDS ADDRESS

PORT is of a listener with proxy_protocol that trusts 127.0.0.1: the attacker says that it is ADDRESS
(IPv4), or with some attacks somebody else each time, and does what it does for so long, coming back
whenever it is thrown out. Prints how often it came, and ends.
"""

from __future__ import annotations

import contextlib
import json
import itertools
import os
import random
import selectors
import socket
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator

TEXT, CONT, PING = 1, 0, 9
MASK = b"\0\0\0\0"  # a mask of zeros leaves the payload as it is
BUSY = {"refused": 0, "came": 0, "deaf": 0, "many": 0, "packs": 0}
OFFER = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, length: int | None = None) -> bytes:
    size = len(payload) if length is None else length
    head = bytes([(0x80 if fin else 0) | opcode])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65536:
        head += b"\xfe" + struct.pack("!H", size)
    else:
        head += b"\xff" + struct.pack("!Q", size)
    return head + MASK + payload


def text(**fields: object) -> bytes:
    return frame(TEXT, json.dumps(fields).encode())


def connect(port: int) -> socket.socket:
    BUSY["came"] += 1
    sock = socket.socket()
    sock.settimeout(5)
    if BUSY["deaf"]:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", port))
    address = sys.argv[4]
    if BUSY["many"]:
        address = ".".join(str(random.randrange(1, 255)) for _ in range(4))
        address = "100." + address.partition(".")[2]
    sock.sendall(f"PROXY TCP4 {address} 192.0.2.1 1 80\r\n".encode())
    return sock


def upgrade(port: int) -> socket.socket | None:
    """A WebSocket, or None: refused."""
    sock = connect(port)
    try:
        sock.sendall(
            b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
            b"Sec-WebSocket-Version: 13\r\n%b\r\n" % (port, OFFER if BUSY["packs"] else b"")
        )
        if sock.recv(12) == b"HTTP/1.1 101":
            return sock
    except OSError:
        pass
    BUSY["refused"] += 1
    sock.close()
    time.sleep(0.01)  # an attacker that is refused loses nothing by waiting
    return None


# ---- connections that are held


def hold(port: int, end: float, count: int, first: bytes, drip: bytes, ws: bool) -> None:
    """`count` connections, each of which sends `first` and then `drip` again and again."""
    socks: list[socket.socket] = []
    while time.monotonic() < end:
        if len(socks) < count:
            with contextlib.suppress(OSError):
                sock = upgrade(port) if ws else connect(port)
                if sock:
                    sock.sendall(first)
                    sock.setblocking(False)
                    socks.append(sock)
        if len(socks) < count and time.monotonic() % 0.2 > 0.02:
            continue
        alive = []
        for sock in socks:
            try:
                if drip:
                    sock.send(drip)
                alive.append(sock)
            except BlockingIOError:
                alive.append(sock)
            except OSError:
                sock.close()
        socks = alive
        time.sleep(0.02)
    for sock in socks:
        sock.close()


def header_drip(port: int, end: float) -> None:
    hold(port, end, 500, b"GET /ws HTTP/1.1\r\nHost: x\r\n", b"X: y\r\n", False)


def frame_drip(port: int, end: float) -> None:
    hold(port, end, 500, frame(TEXT, b" " * 60000, length=130000), b" ", True)


def body_drip(port: int, end: float) -> None:
    first = b"POST /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    hold(port, end, 500, first, b"x", False)


def silence(port: int, end: float) -> None:
    """Connections that say nothing."""
    hold(port, end, 2000, b"", b"", False)


def no_reading_page(port: int, end: float) -> None:
    BUSY["deaf"] = 1
    request = b"GET /wsbus.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    hold(port, end, 500, request, b"", False)


def no_reading_stream(port: int, end: float) -> None:
    """Follows what everybody follows, asks for the past again and again, and reads nothing."""
    BUSY["deaf"] = 1
    first = text(type="subscribe", channel="plain.healthy")
    again = text(type="history", id=1, channel="plain.big", limit=1000)
    hold(port, end, 200, first, again, True)


def gone(port: int, end: float) -> None:
    """WebSockets of somebody who has left without a word."""
    hold(port, end, 50, b"", b"", True)


def silence_of_many(port: int, end: float) -> None:
    """Connections that say nothing, each from another address."""
    BUSY["many"] = 1
    hold(port, end, 2000, b"", b"", False)


def crowd(port: int, end: float) -> None:
    """WebSockets, each from another address."""
    BUSY["many"] = 1
    hold(port, end, 2000, b"", b"", True)


# ---- connections that come and go


def churn(port: int, end: float) -> None:
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            connect(port).close()


def handshakes(port: int, end: float) -> None:
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            sock = upgrade(port)
            if sock:
                sock.close()


def handshakes_of_many(port: int, end: float) -> None:
    """Upgrades and leaves, each time from another address."""
    BUSY["many"] = 1
    handshakes(port, end)


def large_heads(port: int, end: float) -> None:
    """Heads of 60 KB."""
    head = b"GET /ws HTTP/1.1\r\nHost: x\r\n" + (b"X: " + b"y" * 995 + b"\r\n") * 60
    while time.monotonic() < end:
        with contextlib.suppress(OSError), connect(port) as sock:
            sock.sendall(head)
            sock.recv(12)
            time.sleep(0.005)


# ---- floods


def flood(port: int, end: float, batches: Iterator[bytes], first: bytes = b"") -> None:
    """Sends as fast as it is taken and throws away what comes back."""
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            sock = upgrade(port)
            if not sock:
                continue
            sock.setblocking(False)
            with sock, selectors.DefaultSelector() as ready:
                ready.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
                left = first or next(batches)
                while time.monotonic() < end:
                    for _, events in ready.select(0.1):
                        if events & selectors.EVENT_READ and not sock.recv(1 << 20):
                            raise ConnectionError
                        if events & selectors.EVENT_WRITE:
                            left = left[sock.send(left) :] or next(batches)


def repeat(batch: bytes) -> Iterator[bytes]:
    while True:
        yield batch


def subscribe_churn(port: int, end: float) -> None:
    pair = text(type="subscribe", channel="plain.churn") + text(
        type="unsubscribe", channel="plain.churn"
    )
    flood(port, end, repeat(pair * 100))


def many_subscriptions(port: int, end: float) -> None:
    """Ever more channels, some with long names."""

    def batches() -> Iterator[bytes]:
        for n in itertools.count():
            for i in range(10):
                yield text(type="subscribe", id=1, channel=f"plain.s{n}.{i}")
            yield text(type="subscribe", id=1, channel=f"plain.s{n}." + "x" * 230)

    flood(port, end, batches())


def ping_flood(port: int, end: float) -> None:
    flood(port, end, repeat(frame(PING, b"x" * 125) * 200))


def request_flood(port: int, end: float) -> None:
    flood(port, end, repeat(text(type="ping", id=1) * 500))


def publish_flood(port: int, end: float) -> None:
    flood(port, end, repeat(text(type="publish", channel="plain.flood", data="x") * 200))


def large_publishes(port: int, end: float) -> None:
    one = text(type="publish", channel="plain.flood", data="x" * 60000)
    flood(port, end, repeat(one * 4))


def too_large_publishes(port: int, end: float) -> None:
    one = text(type="publish", id=1, channel="plain.flood", data="x" * 70000)
    flood(port, end, repeat(one * 4))


def bombs(port: int, end: float) -> None:
    """Messages of 1 MB in 1 KB."""
    BUSY["packs"] = 1
    packer = zlib.compressobj(9, wbits=-15)
    packed = packer.compress(b" " * (1 << 20)) + packer.flush(zlib.Z_SYNC_FLUSH)
    one = bytearray(frame(TEXT, packed[:-4]))
    one[0] |= 0x40
    flood(port, end, repeat(bytes(one) * 20))


def tiny_fragments(port: int, end: float) -> None:
    flood(port, end, repeat(frame(CONT, b" ", fin=False) * 500), frame(TEXT, b" ", fin=False))


def huge_messages(port: int, end: float) -> None:
    head = frame(TEXT, length=1 << 40)
    flood(port, end, repeat(b" " * 65536), head)


def errors(port: int, end: float) -> None:
    flood(port, end, repeat(text(type="nonsense", id=1) * 500))


def deep_json(port: int, end: float) -> None:
    flood(port, end, repeat(frame(TEXT, b"[" * 60000) * 4))


ATTACKS: dict[str, Callable[[int, float], None]] = {
    function.__name__: function
    for function in (
        header_drip,
        frame_drip,
        body_drip,
        silence,
        no_reading_page,
        no_reading_stream,
        gone,
        large_heads,
        churn,
        handshakes,
        subscribe_churn,
        many_subscriptions,
        ping_flood,
        request_flood,
        publish_flood,
        large_publishes,
        too_large_publishes,
        bombs,
        tiny_fragments,
        huge_messages,
        errors,
        deep_json,
        silence_of_many,
        crowd,
        handshakes_of_many,
    )
}


if __name__ == "__main__":
    os.nice(5)  # it is the daemon's answer that is looked at, not who gets the processor
    ATTACKS[sys.argv[1]](int(sys.argv[2]), time.monotonic() + float(sys.argv[3]))
    print(json.dumps(BUSY))
