"""TLS on the listening sockets: what is spoken, whose certificate, and new ones while it runs."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from client import Client
from raw import CLOSE, PING, PONG, encode, handshake, wait_for
from server import BINARY, PATIENCE, Server, config, environment
from steady import steadily
from test_metrics import scrape
from tls_aid import Pair, TlsClient, TlsRaw, connect_plain, context, livez, make_pair, tls_config

Start = Callable[..., Server]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def first(folder: Path) -> Pair:
    return make_pair(folder, "first", "a.example", "*.w.example")


@pytest.fixture(scope="module")
def second(folder: Path) -> Pair:
    return make_pair(folder, "second", "b.example", rsa=True)


def test_both_kinds(start: Start, first: Pair, channel: str) -> None:
    """https and wss on one port, http and ws on another, of one process."""
    listen = [{"address": "127.0.0.1:0", "tls": first.option}, "127.0.0.1:0"]
    server = start(config(listen=listen))
    plain = int(server.log().split("speaks=http ")[0].rpartition("address=")[2].partition(" ")[0].split(":")[1])
    trusting = context(first)
    with TlsRaw(server.port, trusting, name="localhost") as raw:
        assert raw.request(livez(server.port)).status == 200
    with TlsRaw(server.port, trusting, name="localhost") as raw:
        greeting = raw.request(f"GET / HTTP/1.1\r\nHost: localhost:{server.port}\r\n\r\n".encode())
        assert f"wss://localhost:{server.port}/ws" in greeting.text
    over_tls = TlsClient(server, trusting, "localhost")
    in_clear = Client(f"ws://127.0.0.1:{plain}/ws")
    with over_tls, in_clear:
        over_tls.subscribe(channel)
        in_clear.subscribe(channel)
        assert in_clear.call("publish", channel=channel, data=1)["type"] == "published"
        assert over_tls.call("publish", channel=channel, data=2)["type"] == "published"
        for client in over_tls, in_clear:
            assert [m["data"] for m in client.messages(channel, 2)] == [1, 2]


# ---- what is spoken


def spoken(server: Server, how: ssl.SSLContext) -> tuple[str | None, str] | None:
    """Version and suite; None: no handshake."""
    try:
        with TlsRaw(server.port, how) as raw:
            cipher = raw.tls.cipher()
            assert cipher
            return raw.tls.version(), cipher[0]
    except ssl.SSLError:
        return None


def only(version: ssl.TLSVersion, ciphers: str = "ALL:@SECLEVEL=0") -> ssl.SSLContext:
    how = context()
    how.set_ciphers(ciphers)
    how.minimum_version = how.maximum_version = version
    return how


@pytest.fixture(scope="module")
def both(first: Pair, second: Pair) -> object:
    server = Server("tls-both", tls_config(first, second))
    yield server
    server.stop()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_versions(both: Server) -> None:
    for version in ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1:
        assert spoken(both, only(version)) is None
    for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
        said = spoken(both, only(version))
        assert said and said[0] == version.name.replace("_", ".")


def test_suites(both: Server) -> None:
    """Of 1.2, forward secrecy and an AEAD or nothing."""
    good = ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"]
    for suite in good:
        assert spoken(both, only(ssl.TLSVersion.TLSv1_2, suite)) == ("TLSv1.2", suite)
    for suite in "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-CCM", "AES128-GCM-SHA256", "DHE-RSA-AES128-GCM-SHA256":
        assert spoken(both, only(ssl.TLSVersion.TLSv1_2, suite + ":@SECLEVEL=0")) is None, suite


def test_alpn(both: Server) -> None:
    def chosen(*offered: str) -> str | None:
        how = context()
        how.set_alpn_protocols(offered)
        with TlsRaw(both.port, how) as raw:
            return raw.tls.selected_alpn_protocol()

    assert chosen("http/1.1") == "http/1.1"
    assert chosen("h2", "http/1.1") == "http/1.1"
    assert chosen() is None
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        chosen("h2")


def test_no_http2(both: Server) -> None:
    """Neither by an upgrade nor by prior knowledge."""
    host = f"127.0.0.1:{both.port}"
    with TlsRaw(both.port) as raw:
        headers = {"upgrade": "h2c", "connection": "Upgrade, HTTP2-Settings", "http2-settings": "AAMAAABkAAQAAP__"}
        assert raw.request(handshake(both.port, headers=headers)).status in (403, 426)
    with TlsRaw(both.port) as raw:
        raw.send(f"PRI * HTTP/2.0\r\nHost: {host}\r\n\r\nSM\r\n\r\n".encode())
        assert raw.response().status >= 400


def test_names(both: Server, first: Pair, second: Pair) -> None:
    def certificate(name: str | None) -> bytes | None:
        with TlsRaw(both.port, name=name) as raw:
            return raw.certificate

    assert certificate(None) == first.der
    assert certificate("a.example") == first.der
    assert certificate("x.w.example") == first.der
    assert certificate("b.example") == second.der
    assert certificate("B.EXAMPLE") == second.der
    assert certificate("b.example.") == second.der
    assert certificate("elsewhere.example") == first.der


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_resumed_anywhere(start: Start, first: Pair, version: ssl.TLSVersion) -> None:
    """At whichever of three workers the client arrives. Tickets of an earlier process are no good."""
    how = only(version)
    session: ssl.SSLSession | None = None

    def visit(server: Server) -> bool | None:
        nonlocal session
        with TlsRaw(server.port, how, session=session) as raw:
            assert raw.request(livez(server.port)).status == 200
            reused = raw.tls.session_reused
            session = raw.tls.session
            assert session and session.has_ticket
            return reused

    server = start(tls_config(first, workers=3))
    assert visit(server) is False
    assert all(visit(server) for _ in range(12))
    other = start(tls_config(first, workers=3))
    assert visit(other) is False


def test_figures(start: Start, first: Pair) -> None:
    server = start(tls_config(first, admin="127.0.0.1:0", workers=3))
    how = context()
    with TlsRaw(server.port, how) as raw:
        assert raw.request(livez(server.port)).status == 200
        session = raw.tls.session
    with TlsRaw(server.port, how, session=session):
        pass
    with connect_plain(server.port) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        read_out(sock)

    def counts() -> list[float]:
        figures = scrape(server)
        outcomes = "whole", "resumed", "failed"
        return [figures["wsbus_tls_handshakes_total", f'outcome="{o}"'] for o in outcomes]

    wait_for(lambda: counts() == [1, 1, 1], what="three handshakes are counted")
    days = (scrape(server)["wsbus_tls_certificate_expiry_timestamp_seconds", ""] - time.time()) / 86400
    assert 89 < days < 91


def test_own_pages(both: Server) -> None:
    """A page that came in plain text is not one of the bridge's own."""

    def status(origin: str, host: str) -> int:
        with TlsRaw(both.port) as raw:
            return raw.request(handshake(both.port, headers={"origin": origin, "host": host})).status

    own = f"localhost:{both.port}"
    assert status(f"https://{own}", own) == 101
    assert status(f"http://{own}", own) == 403
    assert status("http://localhost", "localhost") == 403
    assert status("https://localhost", "localhost") == 101
    assert status("null", own) == 403


# ---- certificates of clients


@pytest.mark.parametrize("rule", ["required", "optional"])
def test_client_certificates(start: Start, first: Pair, second: Pair, folder: Path, rule: str) -> None:
    stranger = make_pair(folder, f"stranger-{rule}")
    server = start(tls_config(first, listen={"client_ca": str(second.cert), "client_cert": rule}))

    def let_in(own: Pair | None, version: ssl.TLSVersion) -> bool:
        how = context(own=own)
        how.maximum_version = version
        try:
            with TlsRaw(server.port, how) as raw:
                return raw.request(livez(server.port)).status == 200
        except (ssl.SSLError, ConnectionError):
            return False

    for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
        assert let_in(second, version)
        assert not let_in(stranger, version)
        assert let_in(None, version) == (rule == "optional")
    assert 'event=tls_handshake_failed' in server.log()


# ---- new certificates


def put(source: Pair, target: Pair) -> None:
    """As a careful program does: whole files, renamed into place."""
    for old, new in (source.cert, target.cert), (source.key, target.key):
        fresh = new.with_suffix(".new")
        fresh.write_bytes(old.read_bytes())
        fresh.rename(new)


def served(server: Server) -> bytes | None:
    with TlsRaw(server.port) as raw:
        return raw.certificate


def test_new_certificate(start: Start, first: Pair, second: Pair, tmp_path: Path, channel: str) -> None:
    """Files that change are taken over; a pair that does not fit is not; who is connected stays."""
    pair = Pair(tmp_path / "cert.pem", tmp_path / "key.pem")
    put(first, pair)
    server = start(tls_config(pair))
    with TlsClient(server) as client:
        client.subscribe(channel)
        put(second, pair)
        wait_for(lambda: served(server) == second.der, what="the new certificate")
        client.call("publish", channel=channel, data=1)

        pair.key.write_bytes(first.key.read_bytes())
        wait_for(lambda: "tls_refused" in server.log(), what="the refusal")
        assert str(pair.key) in server.log().partition("tls_refused")[2]
        assert served(server) == second.der
        os.kill(server.pid, signal.SIGHUP)
        wait_for(lambda: server.log().count("tls_refused") == 2, what="the second refusal")
        assert served(server) == second.der

        pair.cert.write_bytes(first.cert.read_bytes())
        wait_for(lambda: served(server) == first.der, what="the pair that fits again")
        client.call("publish", channel=channel, data=2)
        assert [m["data"] for m in client.messages(channel, 2)] == [1, 2]


def test_new_certificate_behind_links(start: Start, first: Pair, second: Pair, tmp_path: Path) -> None:
    """A mounted secret of Kubernetes: the link to the folder is exchanged."""
    for name, pair in ("one", first), ("two", second):
        (tmp_path / name).mkdir()
        put(pair, Pair(tmp_path / name / "tls.crt", tmp_path / name / "tls.key"))
    (tmp_path / "..data").symlink_to("one")
    for name in "tls.crt", "tls.key":
        (tmp_path / name).symlink_to(f"..data/{name}")
    server = start(tls_config(Pair(tmp_path / "tls.crt", tmp_path / "tls.key")))
    assert served(server) == first.der
    (tmp_path / "..data_tmp").symlink_to("two")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    wait_for(lambda: served(server) == second.der, what="the new certificate")


def test_hangup_under_load(start: Start, first: Pair, channel: str) -> None:
    """Reloads while clients come and go: nobody is turned away."""
    server = start(tls_config(first))
    with TlsClient(server) as client:
        client.subscribe(channel)
        for round_ in range(20):
            os.kill(server.pid, signal.SIGHUP)
            with TlsClient(server) as other:
                assert other.call("publish", channel=channel, data=round_)["type"] == "published"
        assert [m["data"] for m in client.messages(channel, 20)] == list(range(20))
    wait_for(lambda: "tls_reloaded" in server.log(), what="a reload")
    assert "refused" not in server.log()


def test_unreadable(first: Pair, second: Pair) -> None:
    """Exit code 1, and a line that says what and where."""
    for pair, words in (
        (Pair(Path("/nowhere/c.pem"), first.key), "no certificate can be read from /nowhere/c.pem"),
        (Pair(first.cert, second.key), f"no private key for the certificate can be read from {second.key}"),
    ):
        listen = '{"address":"127.0.0.1:0","tls":{"cert":"%s","key":"%s"}}' % (pair.cert, pair.key)
        done = subprocess.run([str(BINARY), "--set", f"listen={listen}"], env=environment(),
                              capture_output=True, text=True, timeout=20 * PATIENCE, check=False)  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1 and words in done.stderr, done.stderr


# ---- what is bent


def test_plain_http(both: Server) -> None:
    for request in b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n", b"POST / HTTP/1.1\r\nHost: a\r\n\r\n" + b"x" * 9000:
        with connect_plain(both.port) as sock:
            sock.sendall(request)
            said = b""
            while piece := sock.recv(4096):
                said += piece
            head, _, body = said.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 400 ") and b"TLS" in body
            assert f"content-length: {len(body)}".encode() in head.lower()


def test_garbage(start: Start, first: Pair) -> None:
    """No crash, no answer worth the name, and not a line of log for each."""
    server = start(tls_config(first, workers=1))
    begun = time.monotonic()
    pieces = [b"\x00" * 100, b"\x16\x03\x01\xff\xff" + b"\xff" * 300, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
              b"\x80\x2e\x01\x00\x02", b"\x15\x03\x01\x00\x02\x02\x28", b"\r\n" * 50, b"SSH-2.0-x\r\n"]  # fmt: skip
    for _ in range(10):
        for piece in pieces:
            with connect_plain(server.port) as sock:
                sock.sendall(piece)
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_WR)
                read_out(sock)
    assert served(server) == first.der
    assert server.log().count("tls_handshake_failed") <= 2 + time.monotonic() - begun
    with TlsRaw(server.port) as raw:
        raw.send(b"what is this\r\n\r\n")
        assert raw.response().status == 400


class NewKeys:
    """A client of openssl's own, which asks for new keys when it is told to."""

    def __init__(self, port: int) -> None:
        argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3", "-crlf"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT)
        self.seen = b""
        assert self.until(b"Verify return code")

    def until(self, words: bytes) -> bool:
        """False: it has ended."""
        assert self.process.stdout
        while words not in self.seen:
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more:
                return False
            self.seen += more
        self.seen = self.seen.partition(words)[2]
        return True

    def say(self, line: bytes) -> None:
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line + b"\n")
            self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


def test_new_keys(start: Start, first: Pair) -> None:
    """A client may ask for new keys now and then, not without end; and that is no handshake."""
    server = start(tls_config(first, admin="127.0.0.1:0"))
    client = NewKeys(server.port)
    for _ in range(3):
        client.say(b"K")
        assert client.until(b"KEYUPDATE")
    client.say(f"GET /livez HTTP/1.1\nHost: 127.0.0.1:{server.port}\n".encode())
    assert client.until(b"200 OK")
    client.end()
    assert scrape(server)["wsbus_tls_handshakes_total", 'outcome="whole"'] == 1
    client = NewKeys(server.port)
    count = 0
    while count < 1000:
        client.say(b"K")
        if not client.until(b"KEYUPDATE"):
            break
        count += 1
    client.end()
    assert 3 < count < 100
    assert scrape(server)["wsbus_tls_handshakes_total", 'outcome="whole"'] == 2
    wait_for(lambda: "new keys again and again" in server.log())
    with TlsRaw(server.port) as raw:
        assert raw.request(livez(server.port)).status == 200


def read_out(sock: socket.socket) -> None:
    """Until the other side has closed, or its patience is at an end."""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while sock.recv(4096):
            pass


def hello() -> bytes:
    """The first flight of a client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    half = context().wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        half.do_handshake()
    return outgoing.read()


def test_handshake_without_end(start: Start, first: Pair) -> None:
    """Whatever part of the handshake does not come, or comes a byte at a time."""
    server = start(tls_config(first, limits={"handshake_ms": int(1500 * PATIENCE)}))
    whole = hello()

    def round_() -> None:
        waiting = []
        for piece in b"", whole[:1], whole[:-1], whole:
            sock = connect_plain(server.port)
            sock.sendall(piece)
            waiting.append(sock)
        done = TlsRaw(server.port)  # the handshake of TLS alone is not enough
        slow = connect_plain(server.port)
        slow.settimeout(0.03)
        begun = time.monotonic()
        with done, slow:
            with pytest.raises(ConnectionError):
                for byte in whole:
                    slow.sendall(bytes([byte]))
                    try:
                        if not slow.recv(4096):
                            raise ConnectionError
                    except TimeoutError:
                        pass
            assert time.monotonic() - begun < 8 * PATIENCE
            for sock in (*waiting, done.tls):
                with sock:
                    read_out(sock)
        assert served(server) == first.der

    steadily(round_, gap=0.3)


# ---- long and slow


def test_slow_reader(start: Start, first: Pair, channel: str) -> None:
    """More than the socket takes: what waits is whole, and in order, when it comes."""
    limits = {"queue_bytes": 64 << 20, "queue_ms": 600_000, "send_buffer": 16384}
    server = start(tls_config(first, limits=limits))
    count, size = 150, 60_000
    with TlsRaw(server.port, receive_buffer=8192) as raw, TlsClient(server) as client:
        assert raw.request(handshake(server.port)).status == 101
        raw.json()
        raw.send(encode(1, b'{"type":"subscribe","id":1,"channel":"%s"}' % channel.encode()))
        assert raw.json()["type"] == "subscribed"
        asked = [
            client.ask("publish", channel=channel, text=f"{n:06}" + "x" * size)
            for n in range(count)
        ]
        for number in asked:
            assert client.reply(number)["type"] == "published"
        for n in range(count):
            assert raw.json()["text"] == f"{n:06}" + "x" * size
        raw.send(encode(PING, b"still"))
        while (frame := raw.read_frame())[0] != PONG:
            assert frame[0] == PING
        assert frame[1] == b"still"


def test_large_file(start: Start, first: Pair, tmp_path: Path) -> None:
    """To slow readers: all of it, and a goodbye. One sends more requests meanwhile."""
    content = os.urandom(1 << 20) * 4
    (tmp_path / "large.bin").write_bytes(content)
    server = start(tls_config(first, web={"root": str(tmp_path)}, limits={"send_buffer": 16384}))
    request = f"GET /large.bin HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()
    for chatty in False, False, False, True:
        with TlsRaw(server.port, receive_buffer=16384) as raw:
            raw.send(request)
            raw.buffer = raw.tls.recv(1000)
            if chatty:
                raw.send(request)
            # libwebsockets 4.3 may close in the middle of an answer, on who does that.
            with contextlib.suppress(*((ssl.SSLError, ConnectionError) if chatty else ())):
                while piece := raw.tls.recv(65536):
                    raw.buffer += piece
        head, _, body = raw.buffer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert content.startswith(body)
        assert chatty or len(body) == len(content)
    assert served(server) == first.der


def test_proxy_header_before_tls(start: Start, first: Pair) -> None:
    listen = {"proxy_protocol": True}
    more = {"trusted_proxies": ["127.0.0.1"], "log": {"level": "debug"}}
    server = start(tls_config(first, listen=listen, **more))
    before = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n"
    with TlsRaw(server.port, before=before) as raw:
        assert raw.request(handshake(server.port)).status == 101
        wait_for(lambda: "event=session_open" in server.log(), what="the session")
    assert "event=session_open peer=192.0.2.7:4711 " in server.log()


def test_large_request(start: Start, first: Pair, channel: str) -> None:
    """A message in many TLS records, and many messages in one."""
    server = start(tls_config(first, limits={"message_bytes": 4 << 20}))
    with TlsClient(server) as client:
        client.subscribe(channel)
        text = "0123456789abcdef" * (200 * 1024)
        client.call("publish", channel=channel, text=text)
        assert client.messages(channel, 1)[0]["text"] == text
    with TlsRaw(server.port) as raw:
        raw.request(handshake(server.port))
        raw.json()
        raw.send(b"".join(encode(1, b'{"type":"ping","id":%d}' % n) for n in range(500)))
        assert [raw.json()["id"] for _ in range(500)] == list(range(500))
        raw.send(encode(CLOSE, b"\x03\xe8"))
        assert raw.close_code() == 1000
        assert raw.tls.recv(1) == b""  # and TLS says goodbye as well


def test_stop(start: Start, first: Pair) -> None:
    server = start(tls_config(first, drain=500))
    with TlsClient(server) as client:
        server.terminate()
        assert client.next()["type"] == "goaway"
        assert client.closed() == 1012
    assert server.wait(10) == 0
