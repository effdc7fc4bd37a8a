"""What happens before the upgrade, and the plain HTTP paths."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from client import Client
from conftest import Start
from raw import Raw, Response, handshake, wait_for
from server import PATIENCE, Server, config
from steady import steadily

Connect = Callable[..., Client]


def ask(server: Server, request: bytes) -> Response:
    with Raw(server.port) as raw:
        return raw.request(request)


def get(
    server: Server, path: str, method: str = "GET", version: str = "1.1", *headers: str
) -> Response:
    lines = [f"{method} {path} HTTP/{version}", f"Host: 127.0.0.1:{server.port}", *headers, "", ""]
    return ask(server, "\r\n".join(lines).encode())


def upgrade(server: Server, path: str = "/ws", **headers: str) -> Response:
    """An upgrade request with these headers, `_` standing for `-`."""
    changed = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(server, handshake(server.port, path=path, headers=changed))


# ---- upgrade


def test_upgrade(server: Server) -> None:
    answer = upgrade(server)
    assert answer.status == 101
    assert answer.headers["upgrade"].lower() == "websocket"
    assert answer.headers["connection"].lower() == "upgrade"
    assert answer.headers["sec-websocket-accept"] == "BACScCJPNqyz+UBoqMH89VmURoA="
    assert "sec-websocket-protocol" not in answer.headers
    assert "sec-websocket-extensions" not in answer.headers


def test_tokens_are_compared_without_case(server: Server) -> None:
    assert upgrade(server, upgrade="WebSocket", connection="keep-alive, upgrade").status == 101


def test_query_is_fine(server: Server) -> None:
    assert upgrade(server, path="/ws?a=b&token=%20").status == 101


LONG = "t" * 500
SPELLINGS: dict[str, tuple[str, dict[str, str]]] = {
    "white space": ("/ws", {"upgrade": " \twebsocket \t", "connection": "Upgrade\t ", "sec-websocket-version": " 13 ", "host": " 127.0.0.1:{port} "}),
    "nothing in a list": ("/ws", {"connection": ", ,Upgrade ,"}),
    "a header of nothing": ("/ws", {"connection": "\r\nConnection: Upgrade"}),
    "two headers": ("/ws", {"connection": "keep-alive\r\nconnection: x, UPGRADE\r\nConnection: te"}),
    "a long list": ("/ws", {"connection": f"{LONG}, Upgrade, {LONG}"}),
    "long subprotocols": ("/ws", {"sec-websocket-protocol": f"wsbus.v1, {LONG}\r\nSec-WebSocket-Protocol: {LONG}"}),
    "subprotocols in two": ("/ws", {"sec-websocket-protocol": f"{LONG}\r\nSec-WebSocket-Protocol: , wsbus.v1 "}),
    "absolute form": ("http://127.0.0.1:{port}/ws?a", {}),
    "absolute form of a name": ("HTTP://LocalHost:{port}/ws", {"host": "localhost:{port}"}),
    "percent": ("/%77s", {}),
    "expectation": ("/ws", {"expect": "100-continue"}),
    "IPv6": ("/ws", {"host": "[::1]:{port}", "origin": "http://[::1]:{port}"}),
}  # fmt: skip


@pytest.mark.parametrize(("path", "headers"), SPELLINGS.values(), ids=SPELLINGS.keys())
def test_other_spellings(server: Server, path: str, headers: dict[str, str]) -> None:
    """Unusual, and as RFC 6455 and RFC 9110 allow it; libwebsockets by itself hangs up at most."""
    port = str(server.port)
    given = {name: text.replace("{port}", port) for name, text in headers.items()}
    with Raw(server.port) as raw:
        request = handshake(server.port, path=path.replace("{port}", port), headers=given)
        answer = raw.request(request)
        assert answer.status == 101, answer
        chosen = answer.headers.get("sec-websocket-protocol")
        assert chosen == ("wsbus.v1" if "sec-websocket-protocol" in given else None)
        assert raw.json()["type"] == "welcome"


@pytest.mark.parametrize(
    ("line", "host", "status"),
    [
        ("GET /livez", "a b", 400),
        ("GET /livez", "a/b", 400),
        ("GET /livez", "user@a", 400),
        ("GET /livez", "\xe9", 400),
        ("GET http://a/livez", "a", 200),
        ("GET http://a", "a", 200),
        ("GET http://a/livez", "b", 400),
        ("GET http:///livez", "", 400),
        ("OPTIONS *", "a", 405),
        ("GET *", "a", 400),
    ],
)
def test_targets_and_hosts(server: Server, line: str, host: str, status: int) -> None:
    answer = ask(server, f"{line} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1"))
    assert answer.status == status, answer


def test_no_upgrade(server: Server) -> None:
    answer = get(server, "/ws")
    assert answer.status == 426 and answer.headers["sec-websocket-version"] == "13"


@pytest.mark.parametrize("version", ["8", "12", "14", "0", "x"])
def test_other_version(server: Server, version: str) -> None:
    answer = upgrade(server, sec_websocket_version=version)
    assert answer.status == 426 and answer.headers["sec-websocket-version"] == "13"


def test_other_upgrade(server: Server) -> None:
    assert upgrade(server, upgrade="h2c").status == 426
    assert upgrade(server, upgrade="foo").status == 426


@pytest.mark.parametrize(
    "key",
    [
        "",
        "x",
        "MDEyMzQ1Njc4OWFiY2Q=",
        "MDEyMzQ1Njc4OWFiY2RlZg",
        "MDEyMzQ1Njc4OWFiY2RlZmc=",
        "!!!!MzQ1Njc4OWFiY2RlZg==",
        "A" * 200,
    ],
)
def test_bad_key(server: Server, key: str) -> None:
    assert upgrade(server, sec_websocket_key=key).status == 400


def test_no_key(server: Server) -> None:
    assert ask(server, handshake(server.port, drop=("sec-websocket-key",))).status == 400


def test_no_host(server: Server) -> None:
    assert ask(server, handshake(server.port, drop=("host",))).status == 400


def test_only_other_subprotocols(server: Server) -> None:
    for offer in ("chat", "wsbus.v2", "WSBUS.V1", "chat, graphql-ws"):
        assert upgrade(server, sec_websocket_protocol=offer).status == 400, offer


def test_our_subprotocol(server: Server) -> None:
    for offer in ("wsbus.v1", "chat, wsbus.v1", "wsbus.v1,chat", " wsbus.v1 "):
        answer = upgrade(server, sec_websocket_protocol=offer)
        assert answer.status == 101 and answer.headers["sec-websocket-protocol"] == "wsbus.v1", (
            offer
        )


def test_header_block_of_15_kb(server: Server) -> None:
    assert upgrade(server, cookie="a=" + "x" * 15_000).status == 101
    assert upgrade(server, **{f"x-{i}": "y" * 100 for i in range(60)}).status == 101


def test_header_block_of_16_kb(server: Server) -> None:
    """To the byte, and as one header that is read or as many that are not."""
    for size, status in (16_384, 101), (16_385, 431):
        for name in "cookie", "x":
            head = handshake(server.port, headers={name: ""})
            assert upgrade(server, **{name: "y" * (size - len(head))}).status == status


def test_header_block_without_end(server: Server, connect: Connect) -> None:
    with Raw(server.port) as raw:
        try:
            raw.send(b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            for i in range(10_000):
                raw.send(b"X-%d: " % i + b"y" * 100 + b"\r\n")
        except OSError:
            pass
        assert raw.response().status == 431
    connect().quiet()


# ---- methods and paths


@pytest.mark.parametrize("name", ["X", "Acc", "Hos", "X-Forwarded", "Content", "TE", "Via"])
def test_a_header_behind_one_of_any_name_counts(start: Start, name: str) -> None:
    """libwebsockets takes the header behind one of some names (the beginnings of those that it knows)
    for a part of it, and waits for ever where there is none."""
    server = start(config(trusted_proxies=["127.0.0.1"], log={"level": "debug"}))
    before = f"GET /ws HTTP/1.1\r\n{name}: x\r\n".encode()
    head = handshake(server.port).partition(b"\r\n")[2][:-2]
    last = f"{name}: x\r\n".encode()
    assert ask(server, before + b"Origin: http://evil.example\r\n" + head + b"\r\n").status == 403
    assert ask(server, before + head + last + b"\r\n").status == 101
    with Raw(server.port) as raw:
        assert raw.request(before + b"X-Forwarded-For: 192.0.2.7\r\n" + head + b"\r\n").status == 101
        wait_for(lambda: "event=session_open peer=192.0.2.7" in server.log())


def test_many_headers_and_parameters(server: Server) -> None:
    """More than libwebsockets has room for, which it would not answer."""
    for name in "Accept", "Cookie", "User-Agent", "X", "X-Custom":
        lines = f"{name}: x\r\n".encode() * 120
        assert ask(server, handshake(server.port)[:-2] + lines + b"\r\n").status == 101
    lines = b"X-Forwarded-For: 192.0.2.7\r\n" * 120
    assert ask(server, handshake(server.port)[:-2] + lines + b"\r\n").status == 431
    for count, status in (50, 101), (200, 400), (2000, 400):
        assert upgrade(server, "/ws?" + "a=1&" * count).status == status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_method_not_allowed(server: Server, method: str) -> None:
    answer = get(server, "/ws", method, "1.1", "Content-Length: 0")
    assert answer.status == 405


@pytest.mark.parametrize(
    "path", ["/nope", "/ws/", "/ws/x", "/wsx", "/WS", "/livez/x", "/sse", "/poll", "/ticket", "/sse?channel=plain.a", "/../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd"]
)  # fmt: skip
def test_not_found(server: Server, path: str) -> None:
    assert get(server, path).status in (
        (404,) if ".." not in path and "%" not in path else (400, 403, 404)
    )


def test_not_found_with_a_body(server: Server) -> None:
    for path in ("/publish", "/ticket"):
        body = b'{"channel":"plain.a","data":1}'
        request = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        assert ask(server, request.encode() + body).status == 404


def test_upgrade_elsewhere(server: Server) -> None:
    for path in ("/nope", "/sse"):
        assert upgrade(server, path=path).status == 404
    assert upgrade(server, path="/livez").status == 404


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/livez?verbose=1"])
def test_health(server: Server, path: str, version: str) -> None:
    assert get(server, path, "GET", version).status == 200


def test_connection_is_kept_for_a_second_request(server: Server) -> None:
    with Raw(server.port) as raw:
        request = f"GET /livez HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()
        first = raw.request(request)
        assert first.status == 200
        if first.headers.get("connection", "").lower() != "close":
            assert raw.request(request).status == 200


# ---- other ways of HTTP


def test_http_1_0_cannot_upgrade(server: Server) -> None:
    request = handshake(server.port).replace(b"HTTP/1.1", b"HTTP/1.0")
    assert ask(server, request).status == 400


def test_h2c_is_refused(server: Server, connect: Connect) -> None:
    with Raw(server.port) as raw:
        raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        assert raw.response().status == 400
        assert b"\0\0\0\4\1" not in raw.buffer, "SETTINGS acknowledged"
    answer = get(
        server,
        "/livez",
        "GET",
        "1.1",
        "Upgrade: h2c",
        "Connection: Upgrade, HTTP2-Settings",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
    )
    assert answer.status == 426
    connect().quiet()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET /ws\r\n\r\n", 400),
        (b"x" * 5000 + b"\r\n\r\n", 400),
        (b"x / HTTP/1.1\r\n\r\n", 405),
        (b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: a\r\n\r\n\x81\x80\0\0\0\0", 405),
        (b"GET /ws HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET /ws HTTP/1.1\nHost: a\n\n", 400),
        (b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /ws HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"\0" * 100, 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" + b"x" * 100, 400),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET /ws HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET /ws HTTP/9.9\r\nHost: a\r\n\r\n", 400),
    ],
    ids=range(15),
)
@pytest.mark.parametrize("half_close", [False, True])
def test_what_is_no_http(server: Server, request_: bytes, status: int, half_close: bool) -> None:
    """An answer with one line of text, then the end; not a silent one."""
    with Raw(server.port) as raw:
        raw.send(request_)
        if half_close:
            raw.sock.shutdown(1)
        answer = raw.response()
        assert answer.status == status
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.text.endswith(".\n") and answer.text.count("\n") == 1
        assert raw.closed()


def test_a_head_byte_by_byte(server: Server) -> None:
    with Raw(server.port) as raw:
        for octet in handshake(server.port):
            raw.send(bytes([octet]))
        assert raw.response().status == 101
        assert raw.json()["type"] == "welcome"


def test_a_head_that_does_not_come_to_its_end(start: Start) -> None:
    special = start(config(limits={"handshake_ms": 200}))

    def round_() -> None:
        with Raw(special.port) as begun, Raw(special.port) as silent:
            begun.send(b"GET /ws HTTP/1.1\r\nHost: a\r\n")
            answer = begun.response()
            assert answer.status == 408 and "limits.handshake_ms" in answer.text
            assert begun.closed() and silent.closed()

    steadily(round_, gap=0.05)  # so long at most until it has begun


def test_a_server_that_stood_still(start: Start) -> None:
    """The rest of a request that came meanwhile is read before the deadline counts."""
    limit = PATIENCE
    still = start(config(workers=1, limits={"handshake_ms": int(1000 * limit)}))

    def stood_still() -> bool:
        began = time.monotonic()
        request = handshake(still.port)
        with Raw(still.port) as raw:
            raw.send(request[:30])
            get(still, "/livez")  # what came before that has been taken in
            still.process.send_signal(signal.SIGSTOP)
            try:
                wait_for(still.stopped)
                if time.monotonic() > began + 0.9 * limit:
                    return False  # too late for that: the machine is busy
                raw.send(request[30:])
                time.sleep(limit)  # what counts is that it passes
            finally:
                still.process.send_signal(signal.SIGCONT)
            assert raw.response().status == 101
            return True

    wait_for(stood_still, 60)


# ---- who may


def origin(server: Server, value: str | None, host: str | None = None) -> int:
    """The status of a handshake from a page of this origin."""
    headers = {"origin": value, "host": host}
    given = {name: text for name, text in headers.items() if text is not None}
    return ask(server, handshake(server.port, headers=given)).status


def test_same_origin(server: Server) -> None:
    port = server.port
    assert origin(server, None) == 101
    assert origin(server, f"http://127.0.0.1:{port}") == 101
    assert origin(server, f"http://localhost:{port}", f"localhost:{port}") == 101
    assert origin(server, f"http://LOCALHOST:{port}", f"localhost:{port}") == 101
    assert origin(server, f"http://app.localhost:{port}", f"app.localhost:{port}") == 101
    assert origin(server, f"http://[::1]:{port}", f"[::1]:{port}") == 101


@pytest.mark.parametrize(
    "value",
    ["", "null", "http://evil.example", "http://127.0.0.1", "https://127.0.0.1", "http://127.0.0.1:1", "http://localhost:{port}", "127.0.0.1:{port}",
     "http://127.0.0.1:{port}.evil.example", "http://127.0.0.1:{port}@evil.example", "http://evil.example/127.0.0.1:{port}", "x", "file://",
     "http://127.0.0.1:{port}, http://evil.example", "http://127.0.0.1:{port}x"],
)  # fmt: skip
def test_foreign_origin(server: Server, value: str) -> None:
    assert origin(server, value.replace("{port}", str(server.port))) == 403


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "localhost.evil.example:{port}",
        "10.0.0.1:{port}",
        "notlocalhost:{port}",
    ],
)
def test_dns_rebinding(server: Server, host: str) -> None:
    host = host.replace("{port}", str(server.port))
    assert origin(server, None, host) == 403
    assert origin(server, f"http://{host}", host) == 403


def test_configured_origins(start: Start, connect: Connect) -> None:
    access = {
        "origins": ["https://app.example.com", "http://other.example:8080"],
        "anonymous": {"subscribe": ["**"]},
    }
    special = start(config(access=access))
    for value in (
        None,
        "https://app.example.com",
        "HTTPS://App.Example.COM",
        "https://app.example.com:443",
        "http://other.example:8080",
    ):
        assert origin(special, value) == 101, value
    for value in (
        "null", "http://app.example.com", "https://app.example.com:444", "https://example.com", "https://x.app.example.com", "http://other.example",
        "https://app.example.com.evil.example", f"http://127.0.0.1:{special.port}",
    ):  # fmt: skip
        assert origin(special, value) == 403, value
    client = connect(special, origin="https://app.example.com")
    client.subscribe("plain.a")
