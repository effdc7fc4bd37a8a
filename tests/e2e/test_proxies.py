"""Whose word about a client's address is believed, and limits of one address."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from raw import Raw, Response, handshake, wait_for
from server import Server, config, run
from test_metrics import scrape

Start = Callable[..., Server]
LOCAL = ["127.0.0.1"]


def v2(client: str, port: int = 999, *, local: bool = False, more: bytes = b"") -> bytes:
    family = socket.AF_INET6 if ":" in client else socket.AF_INET
    ip = socket.inet_pton(family, client)
    body = ip + ip + struct.pack("!HH", port, 80) + more
    kind = 0x21 if family == socket.AF_INET6 else 0x11
    head = b"\r\n\r\n\0\r\nQUIT\n" + bytes([0x20 if local else 0x21, kind])
    return head + struct.pack("!H", len(body)) + body


def v1(client: str, port: int = 999) -> bytes:
    kind = "TCP6" if ":" in client else "TCP4"
    return f"PROXY {kind} {client} {client} {port} 80\r\n".encode()


def proxied(*, trusted: list[str] | None = None, **changes: Any) -> dict[str, Any]:
    listen = {"address": "127.0.0.1:0", "proxy_protocol": True}
    trusted = LOCAL if trusted is None else trusted
    return config(listen=[listen], trusted_proxies=trusted, log={"level": "debug"}, **changes)


def peer(server: Server) -> str:
    """Of the newest session, as the log has it."""
    wait_for(lambda: "event=session_open" in server.log())
    found = re.findall(r'event=session_open peer="?([^ "]+)', server.log())
    return str(found[-1])


def forwarded(server: Server, value: str) -> Response:
    with Raw(server.port) as raw:
        return raw.request(handshake(server.port, headers={"x-forwarded-for": value}))


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("1.1.1.1, 192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, 127.0.0.1", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
    ],
)
def test_forwarded_for(start: Start, value: str, want: str) -> None:
    server = start(config(trusted_proxies=LOCAL, log={"level": "debug"}))
    assert forwarded(server, value).status == 101
    assert peer(server) == want


def test_forwarded_for_twice(start: Start) -> None:
    """Two headers are one list."""
    server = start(config(trusted_proxies=LOCAL, log={"level": "debug"}))
    with Raw(server.port) as raw:
        head = handshake(server.port)[:-2]
        raw.send(head + b"X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n")
        assert raw.response().status == 101
    assert peer(server) == "192.0.2.7"


def test_forwarded_for_of_a_stranger(start: Start) -> None:
    server = start(config(trusted_proxies=["10.0.0.0/8"], log={"level": "debug"}))
    assert forwarded(server, "192.0.2.7").status == 101
    assert peer(server).startswith("127.0.0.1:")


def test_forwarded_for_too_long(start: Start) -> None:
    """It cannot be read to its end, which is what counts: neither is it ignored."""
    server = start(config(trusted_proxies=LOCAL))
    assert forwarded(server, "1.1.1.1, " * 300 + "192.0.2.7").status == 400


@pytest.mark.parametrize(
    ("header", "want"),
    [
        (v1("192.0.2.7"), "192.0.2.7:999"),
        (v1("2001:db8::7"), "[2001:db8::7]:999"),
        (v2("192.0.2.7"), "192.0.2.7:999"),
        (v2("2001:db8::7", more=b"\x04\x00\x01x"), "[2001:db8::7]:999"),
        (v2("192.0.2.7", local=True), "127.0.0.1:"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1:"),
    ],
    ids=["v1-4", "v1-6", "v2-4", "v2-6", "v2-local", "v1-unknown"],
)
@pytest.mark.parametrize("split", [False, True], ids=["whole", "bytes"])
def test_proxy_header(start: Start, header: bytes, want: str, split: bool) -> None:
    server = start(proxied())
    with Raw(server.port) as raw:
        for part in [header[i : i + 1] for i in range(len(header))] if split else [header]:
            raw.send(part)
        raw.upgrade()
        assert peer(server).startswith(want)


def test_proxy_header_and_request_in_one(start: Start) -> None:
    server = start(proxied())
    with Raw(server.port) as raw:
        request = handshake(server.port, headers={"x-forwarded-for": "198.51.100.1"})
        assert raw.request(v1("192.0.2.7") + request).status == 101
    # 192.0.2.7 is no proxy: what it says about others does not count.
    assert peer(server) == "192.0.2.7:999"


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", "sent no PROXY header"),
        (b"PROXY TCP4 nonsense\r\n", "broken"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.7 1", "in time"),
        (b"PROXY TCP4" + b"x" * 200, "broken"),
    ],
    ids=["none", "broken", "slow", "endless"],
)
def test_proxy_header_missing(start: Start, sent: bytes, words: str) -> None:
    server = start(proxied(admin="127.0.0.1:0"), "--set", "limits.handshake_ms=200")
    with Raw(server.port) as raw:
        raw.send(sent)
        assert raw.closed() and not raw.buffer
    late = scrape(server)["wsbus_limit_hits_total", 'limit="limits.handshake_ms"']
    assert late == (words == "in time")
    line = next(x for x in server.log().splitlines() if "event=proxy_refused" in x)
    assert words in line and "peer=127.0.0.1" in line, line


@pytest.mark.parametrize("header", [v1("192.0.2.7"), v2("192.0.2.7")], ids=["v1", "v2"])
def test_proxy_header_where_none_is_taken(server: Server, header: bytes) -> None:
    """Not on this listener: it is no request, and no client's address."""
    with Raw(server.port) as raw:
        raw.send(header)
        answer = raw.response()
        assert answer.status == 400 and "proxy_protocol is off" in answer.text
        assert raw.closed()
    assert "192.0.2.7" not in server.log()


def test_proxy_header_of_a_stranger(start: Start) -> None:
    server = start(proxied(trusted=["10.0.0.0/8"]))
    with Raw(server.port) as raw:
        raw.send(v1("192.0.2.7") + handshake(server.port))
        assert raw.closed() and not raw.buffer
    assert "event=proxy_refused" in server.log() and "not one of trusted_proxies" in server.log()
    with Raw(server.port) as raw:
        raw.upgrade()  # without one it is a client like any other
    with Raw(server.port) as raw:  # what may become a header, and does not
        raw.send(b"P")
        raw.send(b"O")
        assert raw.request(b"ST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").status == 405
    assert peer(server).startswith("127.0.0.1:")


def test_connections_at_the_gate_end_with_the_server(start: Start) -> None:
    server = start(proxied())
    with Raw(server.port) as raw:
        raw.send(b"PROXY ")
        server.stop()
        assert raw.closed()


def test_silence_at_the_gate_is_half_open(start: Start) -> None:
    """Who sends nothing has no place for long where others need it, and fills no disk."""
    server = start(proxied(workers=1, limits={"half_open": 8}))
    held = [Raw(server.port) for _ in range(60)]
    assert all(raw.closed() for raw in held[:-8])
    with Raw(server.port) as raw:
        raw.send(v1("192.0.2.7"))
        raw.upgrade()
    held[-1].send(v1("192.0.2.7"))
    held[-1].upgrade()
    for raw in held:
        raw.sock.close()
    told = [line for line in server.log().splitlines() if "event=proxy_refused" in line]
    assert sum("level=warn" in line for line in told) == 1 and "limits.half_open" in told[0]


def test_mistakes() -> None:
    listen = '[{"address":"127.0.0.1:0","proxy_protocol":true}]'
    answer = run("check", env={"WSBUS_LISTEN": listen})
    assert answer.returncode == 2
    answer = run("check", "--set", "trusted_proxies=10.0.0.1/8")
    assert answer.returncode == 2 and "10.0.0.1/8" in answer.stderr


# ---- limits of one address


def test_connections_of_an_address(start: Start) -> None:
    settings = proxied(limits={"address_connections": 3})
    server = start(settings)
    held = [Raw(server.port) for _ in range(3)]
    for raw in held:
        raw.send(v1("192.0.2.7"))
        raw.upgrade()
    with Raw(server.port) as raw:
        answer = raw.request(v1("192.0.2.7") + handshake(server.port))
        assert answer.status == 429 and int(answer.headers["retry-after"]) > 0
        assert "limits.address_connections" in answer.text
    with Raw(server.port) as raw:  # health is told to everybody
        get = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        assert raw.request(v1("192.0.2.7") + get).status == 200
    with Raw(server.port) as raw:
        raw.send(v1("192.0.2.8"))
        raw.upgrade()

    def again() -> bool:
        with Raw(server.port) as raw:
            return raw.request(v1("192.0.2.7") + handshake(server.port)).status == 101

    held.pop().sock.close()
    wait_for(again)
    for raw in held:
        raw.sock.close()


def test_connections_of_a_forwarded_network(start: Start) -> None:
    settings = config(trusted_proxies=LOCAL, limits={"address_connections": 2})
    server = start(settings)
    held = []
    for last in (1, 2):
        raw = Raw(server.port)
        held.append(raw)
        headers = {"x-forwarded-for": f"2001:db8::{last}"}
        assert raw.request(handshake(server.port, headers=headers)).status == 101
    assert forwarded(server, "2001:db8::3").status == 429
    assert forwarded(server, "2001:db8:0:1::3").status == 101
    # The proxy itself and this machine are not counted.
    more = [Raw(server.port).upgrade() for _ in range(5)]
    for raw in held + more:
        raw.sock.close()


def test_rate_of_an_address(start: Start) -> None:
    server = start(proxied(limits={"address_handshakes_per_second": 1}))
    statuses = []
    for _ in range(7):
        with Raw(server.port) as raw:
            statuses.append(raw.request(v2("192.0.2.7") + handshake(server.port)).status)
    assert statuses[:5] == [101] * 5 and 429 in statuses[5:]
    with Raw(server.port) as raw:
        assert raw.request(v2("192.0.2.8") + handshake(server.port)).status == 101


def test_rate_of_the_process(start: Start) -> None:
    server = start(config(), "--set", "limits.handshakes_per_second=1")
    answers = []
    for _ in range(7):
        with Raw(server.port) as raw:
            answers.append(raw.request(handshake(server.port)))
    statuses = [a.status for a in answers]
    assert statuses[:5] == [101] * 5 and 503 in statuses[5:]
    refused = next(a for a in answers if a.status == 503)
    assert "limits.handshakes_per_second" in refused.text and refused.headers["retry-after"]


def test_one_address_uses_up_its_own_rate_only(start: Start) -> None:
    """What is refused to it is not taken from what the process has for all."""
    server = start(proxied(limits={"handshakes_per_second": 10, "address_handshakes_per_second": 1}))
    statuses = []
    for _ in range(80):
        with Raw(server.port) as raw, contextlib.suppress(ConnectionError):
            statuses.append(raw.request(v2("192.0.2.7") + handshake(server.port)).status)
    assert 503 not in statuses and 429 in statuses
    with Raw(server.port) as raw:
        assert raw.request(v2("192.0.2.8") + handshake(server.port)).status == 101


def test_those_who_are_told_no_are_bounded(start: Start) -> None:
    """Beyond the limit of an address a few may wait for their answer; the rest is closed."""
    server = start(proxied(limits={"address_connections": 1, "handshake_ms": 60000}))
    held = []
    for _ in range(120):
        raw = Raw(server.port)
        raw.send(v1("192.0.2.7"))
        held.append(raw)

    def dropped() -> bool:
        count = 0
        for raw in held:
            raw.sock.settimeout(0)
            try:
                count += raw.sock.recv(1, socket.MSG_PEEK) == b""
            except BlockingIOError:
                pass
            except ConnectionError:
                count += 1
        return count == 120 - 1 - 64

    wait_for(dropped, what="dropped connections")
    with Raw(server.port) as raw:
        raw.send(v1("192.0.2.8"))
        raw.upgrade()
        raw.text(json.dumps({"type": "ping", "id": 1}))
        assert raw.json()["type"] == "pong"
    for raw in held:
        raw.sock.close()
