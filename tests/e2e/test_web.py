"""Pages: what is embedded, the folder of the user's own, and clients that do not read."""

from __future__ import annotations

import gzip
import hashlib
import os
import resource
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from client import Client
from conftest import Start
from raw import Raw, Response, wait_for
from server import PATIENCE, ROOT, SANITIZER, Server, config, run
from steady import steadily

Connect = Callable[..., Client]

MIB = 1 << 20
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def head(server: Server, path: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", f"Host: 127.0.0.1:{server.port}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def get(server: Server, path: str, *headers: str, method: str = "GET") -> Response:
    """The answer to one request, and the end of the connection after it."""
    with Raw(server.port) as raw:
        raw.send(head(server, path, *headers, method=method))
        answer = raw.response() if method != "HEAD" else bare(raw)
        assert raw.closed() and raw.buffer == b"", raw.buffer[:200]
        return answer


def bare(raw: Raw) -> Response:
    """An answer without a body, whatever its content-length says."""
    assert raw.closed()
    first, _, rest = raw.buffer.partition(b"\r\n")
    block, end, body = rest.partition(b"\r\n\r\n")
    assert end and body == b"", raw.buffer
    raw.buffer = b""
    pairs = (line.partition(":") for line in block.decode("latin-1").split("\r\n"))
    return Response(int(first.split()[1]), {k.lower(): v.strip() for k, _, v in pairs}, b"")


def assets() -> dict[str, tuple[str, str]]:
    """path -> file, when: the list that the build embeds."""
    lines = (ROOT / "src" / "web" / "assets").read_text().splitlines()
    rows = [line.split() for line in lines if line.startswith("/")]
    return {path: (name, when) for path, name, when in rows}


def files(server: Server) -> int:
    """Open descriptors of the daemon."""
    return len(os.listdir(f"/proc/{server.pid}/fd"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of pages, beside something that is nobody's business."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "index.html").write_text("secret")
    www = tmp_path / "www"
    (www / "sub").mkdir(parents=True)
    (www / "empty").mkdir()
    (www / "a.txt").write_text("a text")
    (www / "sub" / "index.html").write_text("<p>sub")
    (www / "sub" / "ü ?.html").write_text("<p>odd")
    return www


@pytest.fixture
def site(start: Start, root: Path) -> Server:
    return start(config(web={"root": str(root)}))


# ---- what is in the binary


def test_client_is_always_served(server: Server) -> None:
    source = (ROOT / "src" / "web" / "wsbus.js").read_bytes()
    answer = get(server, "/wsbus.js")
    assert answer.status == 200 and answer.rest == source
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["content-length"] == str(len(source))
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["connection"] == "close"
    classic = get(server, "/wsbus.classic.js")
    assert classic.status == 200 and b"globalThis.Wsbus" in classic.rest
    for script in (answer, classic):
        # A page of another origin imports them: modules are fetched with CORS.
        assert script.headers["access-control-allow-origin"] == "*"
        assert script.headers["cross-origin-resource-policy"] == "cross-origin"
        assert "content-security-policy" not in script.headers


def test_query_is_passed_over(server: Server) -> None:
    assert get(server, "/wsbus.js?v=2&x=%2f").status == 200


@pytest.mark.parametrize("path", ["/chat", "/demo/page.css", "/demo/", "/wsbus.js/", "/wsbus.js&x", "/wsbus.js;x", "/WSBUS.JS"])  # fmt: skip
def test_demo_is_off_by_default(server: Server, path: str) -> None:
    assert get(server, path).status == 404


def test_greeting_without_demo_and_root(server: Server) -> None:
    answer = get(server, "/")
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/plain")
    assert "This is wsbus" in answer.text


def test_every_asset(start: Start) -> None:
    server = start(config(web={"demo": True}))
    for path, (name, when) in assets().items():
        answer = get(server, path)
        assert answer.status == 200, path
        if not name.startswith("package/"):
            assert answer.rest == (ROOT / "src" / "web" / name).read_bytes(), path
        assert answer.headers["content-type"] != "application/octet-stream", path
        assert answer.headers.get("content-security-policy") == (POLICY if when == "demo" else None)
        if when == "demo":
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert "access-control-allow-origin" not in answer.headers
        packed = get(server, path, "Accept-Encoding: gzip")
        assert gzip.decompress(packed.rest) == answer.rest, path
        assert packed.headers["etag"] != answer.headers["etag"]


def test_demo_of_the_built_in_configuration(start: Start) -> None:
    server = start(None, "--set", "listen=127.0.0.1:0")
    for path in ("/", "/chat"):
        answer = get(server, path)
        assert answer.status == 200, path
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
    off = start(None, "--set", "listen=127.0.0.1:0", "--set", "web.demo=false")
    assert get(off, "/chat").status == 404


# ---- forms


@pytest.mark.parametrize(
    ("accept", "packed"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("*", True), ("gzip;q=0", False), ("identity", False), ("*, gzip;q=0.0", False), ("x" * 600, False)],
)  # fmt: skip
def test_compression(server: Server, accept: str, packed: bool) -> None:
    source = (ROOT / "src" / "web" / "wsbus.js").read_bytes()
    answer = get(server, "/wsbus.js", f"Accept-Encoding: {accept}")
    assert answer.status == 200 and answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers.get("content-encoding") == ("gzip" if packed else None)
    assert answer.headers["content-length"] == str(len(answer.rest))
    assert (gzip.decompress(answer.rest) if packed else answer.rest) == source


def test_not_modified(server: Server) -> None:
    plain = get(server, "/wsbus.js").headers["etag"]
    packed = get(server, "/wsbus.js", "Accept-Encoding: gzip").headers["etag"]
    assert plain != packed and plain[0] == plain[-1] == '"'
    for value in (plain, f"W/{plain}", "*", f'"x", {plain}', f'"x,y",W/"z" , W/{plain}'):
        with Raw(server.port) as raw:
            raw.send(head(server, "/wsbus.js", f"If-None-Match: {value}"))
            answer = bare(raw)
        assert answer.status == 304, value
        assert answer.headers["etag"] == plain and answer.headers["vary"] == "Accept-Encoding"
        assert "content-length" not in answer.headers
    for value in (packed, '"x"', plain.strip('"'), "", "x" * 3000):
        assert get(server, "/wsbus.js", f"If-None-Match: {value}").status == 200, value
    with Raw(server.port) as raw:
        raw.send(head(server, "/wsbus.js", f"If-None-Match: {packed}", "Accept-Encoding: gzip"))
        assert bare(raw).status == 304


def test_head(site: Server) -> None:
    for path in ("/wsbus.js", "/a.txt"):
        full, answer = get(site, path), get(site, path, method="HEAD")
        assert answer.status == 200 and answer.headers == full.headers
    assert get(site, "/nope", method="HEAD").status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods(site: Server, method: str) -> None:
    for path in ("/wsbus.js", "/a.txt", "/sub/", "/sub"):
        answer = get(site, path, "Content-Length: 0", method=method)
        assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD", path
    assert get(site, "/nope", "Content-Length: 0", method=method).status == 404


# ---- the folder


def test_files(site: Server, root: Path) -> None:
    answer = get(site, "/a.txt")
    assert answer.status == 200 and answer.text == "a text"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "content-security-policy" not in answer.headers
    assert get(site, "/sub/").text == "<p>sub"
    assert get(site, "/sub/%C3%BC%20%3F.html").text == "<p>odd"
    # Ranges are not spoken: the whole.
    assert get(site, "/a.txt", "Range: bytes=1-2").text == "a text"
    (root / "nothing.html").write_bytes(b"")
    empty = get(site, "/nothing.html")
    assert empty.status == 200 and empty.headers["content-length"] == "0"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.html", "text/html; charset=utf-8"), ("a.mjs", "text/javascript; charset=utf-8"), ("a.SVG", "image/svg+xml"), ("a.woff2", "font/woff2"),
     ("a.wasm", "application/wasm"), ("a.webmanifest", "application/manifest+json"), ("a.b", "application/octet-stream"), ("a", "application/octet-stream")],
)  # fmt: skip
def test_types(site: Server, root: Path, name: str, kind: str) -> None:
    (root / name).write_text("x")
    assert get(site, f"/{name}").headers["content-type"] == kind


def test_tag_changes_with_the_file(site: Server, root: Path) -> None:
    first = get(site, "/a.txt").headers["etag"]
    assert get(site, "/a.txt").headers["etag"] == first
    with Raw(site.port) as raw:
        raw.send(head(site, "/a.txt", f"If-None-Match: {first}"))
        assert bare(raw).status == 304
    (root / "new").write_text("b text")
    (root / "new").rename(root / "a.txt")
    answer = get(site, "/a.txt", f"If-None-Match: {first}")
    assert answer.status == 200 and answer.text == "b text" and answer.headers["etag"] != first


def test_a_folder_wants_a_slash(site: Server, root: Path) -> None:
    answer = get(site, "/sub")
    assert answer.status == 308 and answer.headers["location"] == "/sub/"
    (root / "o d\u00fc%").mkdir()
    (root / "o d\u00fc%" / "index.html").write_text("x")
    odd = get(site, "/o%20d%C3%BC%25")
    assert odd.status == 308 and odd.headers["location"] == "/o%20d%C3%BC%25/"
    assert get(site, odd.headers["location"]).text == "x"
    # Never to another host.
    (root / "evil.example").mkdir()
    (root / "evil.example" / "index.html").write_text("x")
    for path in ("//evil.example", "/\\evil.example", "/%2fevil.example", "/.//evil.example", "///evil.example", "/%5cevil.example"):  # fmt: skip
        answer = get(site, path)
        assert answer.status in (308, 404), path
        assert answer.headers.get("location", "/evil.example/") == "/evil.example/", path


def test_no_list_of_a_folder(site: Server) -> None:
    for path in ("/", "/empty/", "/empty"):
        assert get(site, path).status == 404, path


@pytest.mark.parametrize(
    "path",
    ["/../secret", "/../secrets/", "/sub/../../secret", "/%2e%2e/secret", "/%2e%2e%2fsecret", "/..%2fsecret", "/sub/%2e%2e/%2e%2e/secret", "/.%2e/secret", "/%252e%252e/secret",
     "/..\\secret", "/%2e%2e%5csecret", "/..%5csecret", "/sub/..%5c..%5csecret", "/..;/secret", "/..%00/secret", "/../secret%00.txt", "/%c0%ae%c0%ae/secret", "/%c0%ae%c0%ae%c0%afsecret",
     "/....//secret", "/.../secret", "/./../secret", "//../secret", "/..", "/../", "/%2e%2e", "/%2e%2e/", "/sub/../../../../../../../../etc/passwd", "//etc/passwd", "/%2fetc/passwd",
     "/%uff0e%uff0e/secret", "/..%ff/secret", "/a.txt/../../secret", "/?/../../secret", "/..?/secret", "/%2e%2e?x", "../secret", "..", "http://127.0.0.1/../secret", "/..%0d%0a/secret"],
)  # fmt: skip
def test_nothing_outside(site: Server, path: str) -> None:
    with Raw(site.port) as raw:
        raw.send(head(site, path))
        assert raw.closed()
        status = raw.buffer.split(b" ")[1] if raw.buffer else b"closed"
        # What libwebsockets folds may be the folder's own /secret, which is not there.
        assert status in (b"400", b"403", b"404", b"closed"), raw.buffer[:300]
        assert b"secret\0" not in raw.buffer + b"\0" and b"root:" not in raw.buffer


def test_dots_nul_and_the_like(site: Server, root: Path) -> None:
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("x")
    (root / ".env").write_text("x")
    (root / ".well-known").mkdir()
    (root / ".well-known" / "security.txt").write_text("mail us")
    (root / ".well-known" / ".x").write_text("x")
    (root / "a\\b").write_text("x")
    assert get(site, "/.well-known/security.txt").text == "mail us"
    for path in ("/.git/config", "/.env", "/%2egit/config", "/%2Eenv", "/sub/../.env", "/.well-known/.x", "/a%5cb", "/a%01", "/a.txt%09", "/a.txt/", "/a.txt/x", "/sub/index.html/"):  # fmt: skip
        assert get(site, path).status == 404, path
    for path in ("/a.txt%00", "/a.txt%00.html", "/%00", "/a.txt%zz"):
        with Raw(site.port) as raw:
            raw.send(head(site, path))
            assert raw.closed()
            status = raw.buffer[:12].split(b" ")[-1]
            assert status in (b"", b"400", b"403", b"404"), (path, raw.buffer)


def test_long_paths(site: Server) -> None:
    for n in (200, 300, 1000, 1020):
        assert get(site, "/" + "x" * n).status == 404, n
        assert get(site, "/" + "sub/" * (n // 4)).status == 404, n
    for n in (1030, 5000):
        assert get(site, "/" + "x" * n).status == 400, n


def test_links(site: Server, root: Path) -> None:
    links = {"in.txt": "a.txt", "folder": "sub", "out.txt": "../secret", "out": "../secrets", "abs.txt": str(root / "a.txt"), "etc": "/etc", "magic": "/proc/self/root/etc",
             "loop": "loop", "dangling": "nope"}  # fmt: skip
    for name, target in links.items():
        (root / name).symlink_to(target)
    # As Kubernetes lays out a ConfigMap.
    (root / "..2026_11_21").mkdir()
    (root / "..2026_11_21" / "page.html").write_text("mapped")
    (root / "..data").symlink_to("..2026_11_21")
    (root / "page.html").symlink_to("..data/page.html")
    assert get(site, "/in.txt").text == "a text"
    assert get(site, "/folder/").text == "<p>sub"
    assert get(site, "/folder").headers["location"] == "/folder/"
    assert get(site, "/page.html").text == "mapped"
    for path in ("/out.txt", "/out", "/out/", "/out/index.html", "/abs.txt", "/etc/passwd", "/magic/passwd", "/loop", "/dangling", "/..data/page.html"):  # fmt: skip
        assert get(site, path).status == 404, path


def test_only_regular_files(site: Server, root: Path) -> None:
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as door:
        here = os.open(root, os.O_RDONLY)
        try:
            door.bind(f"/proc/self/fd/{here}/door")
        finally:
            os.close(here)
        for path in ("/fifo", "/door", "/fifo/", "/door/x"):
            assert get(site, path).status == 404, path


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read(site: Server, root: Path) -> None:
    (root / "a.txt").chmod(0)
    assert get(site, "/a.txt").status == 403


def test_who_comes_first(start: Start, root: Path) -> None:
    """Doors of the daemon and its client, the user's folder, the demo."""
    for name in ("ws", "livez", "readyz", "wsbus.js", "wsbus.classic.js", "index.html", "chat"):
        (root / name).write_text("mine")
    (root / "demo").mkdir()
    (root / "demo" / "page.css").write_text("mine")
    server = start(config(web={"root": str(root), "demo": True}))
    assert get(server, "/ws").status == 426
    for path in ("/livez", "/readyz", "/wsbus.js", "/wsbus.classic.js"):
        assert get(server, path).text != "mine", path
    for path in ("/", "/chat", "/demo/page.css"):
        assert get(server, path).text == "mine", path
    assert get(server, "/demo/chat.js").status == 200
    (root / "index.html").unlink()
    assert get(server, "/").headers["content-security-policy"] == POLICY


def test_upgrade_is_no_page(site: Server, connect: Connect) -> None:
    client = connect(site)
    client.subscribe("plain.a")
    client.publish("plain.a", data=1)


def test_relative_root(start: Start, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    assert get(start(config(), "--set", "web.root=www"), "/a.txt").text == "a text"


@pytest.mark.parametrize("name", ["nope", "www/a.txt", "www/sub/nope"])
def test_root_that_is_no_folder(root: Path, name: str) -> None:
    path = root.parent / name
    done = run("--set", "listen=127.0.0.1:0", "--set", f"web.root={path}")
    assert done.returncode == 1 and "web.root" in done.stderr and str(path) in done.stderr


def test_root_is_a_folder_name() -> None:
    for value in ("", "[]", "{}"):
        done = run("check", "--set", f"web.root={value}")
        assert done.returncode == 2 and "web.root" in done.stderr, value
    assert run("check", "--set", "web.root=null").returncode == 0
    assert run("check", "--set", "web.demo=perhaps").returncode == 2


# ---- large files, and clients that do not do as they should


@pytest.fixture
def large(root: Path) -> bytes:
    """The digest of a file of 20 MiB."""
    block = os.urandom(MIB)
    digest = hashlib.sha256()
    with (root / "large.bin").open("wb") as out:
        for i in range(20):
            out.write(i.to_bytes(4, "big") + block[4:])
            digest.update(i.to_bytes(4, "big") + block[4:])
    return digest.digest()


def read_all(raw: Raw) -> tuple[int, bytes]:
    """Size and digest of the body of an answer."""
    while b"\r\n\r\n" not in raw.buffer:
        raw.buffer += raw.sock.recv(4096)
    _, _, body = raw.buffer.partition(b"\r\n\r\n")
    digest, size = hashlib.sha256(body), len(body)
    while piece := raw.sock.recv(65536):
        digest.update(piece)
        size += len(piece)
    return size, digest.digest()


def test_large_file_to_slow_readers(site: Server, large: bytes, connect: Connect) -> None:
    """Ten at once; what they have not read yet is in the file, not in the daemon."""
    get(site, "/large.bin")  # the allocator's own growth
    before = site.rss()
    bound = (64 if SANITIZER else 8) * MIB  # a sanitizer keeps what was freed
    readers = [Raw(site.port, receive_buffer=16384) for _ in range(10)]
    for raw in readers:
        raw.send(head(site, "/large.bin"))
        raw.buffer = raw.sock.recv(1000)
    connect(site).quiet()
    assert site.rss() - before < bound
    assert read_all(readers[0]) == read_all(readers[9]) == (20 * MIB, large)
    for raw in readers:
        raw.sock.close()
    assert site.rss() - before < bound


def test_clients_that_vanish(site: Server, large: bytes) -> None:
    get(site, "/a.txt")
    before = files(site)
    for end in (Raw.vanish, lambda raw: raw.sock.close()):
        raw = Raw(site.port, receive_buffer=16384)
        raw.send(head(site, "/large.bin"))
        raw.sock.recv(1000)
        end(raw)
    wait_for(lambda: files(site) <= before, what="descriptors are closed")
    assert get(site, "/a.txt").status == 200


def test_client_that_stops_reading(start: Start, root: Path, large: bytes) -> None:
    server = start(config(web={"root": str(root)}, limits={"queue_ms": 500}))
    get(server, "/a.txt")
    before = files(server)
    raw = Raw(server.port, receive_buffer=16384)
    raw.send(head(server, "/large.bin"))
    raw.sock.recv(1000)
    wait_for(lambda: files(server) <= before, what="given up")
    raw.sock.close()


def test_slow_but_alive(start: Start, root: Path, large: bytes) -> None:
    """Who reads a little now and then is served to the end, however long that takes."""
    server = start(config(web={"root": str(root)}, limits={"queue_ms": int(1000 * PATIENCE)}))

    def round_() -> None:
        with Raw(server.port, receive_buffer=16384) as raw:
            raw.send(head(server, "/large.bin"))
            until = time.monotonic() + 2.5 * PATIENCE
            while time.monotonic() < until:
                raw.buffer += raw.sock.recv(65536)
                time.sleep(0.02)
            assert read_all(raw)[0] == 20 * MIB

    steadily(round_, gap=0.3)


def test_file_that_shrinks(site: Server, root: Path, large: bytes) -> None:
    with Raw(site.port, receive_buffer=16384) as raw:
        raw.send(head(site, "/large.bin"))
        raw.buffer = raw.sock.recv(1000)
        os.truncate(root / "large.bin", MIB)
        try:
            size = read_all(raw)[0]
        except ConnectionError:
            size = 0
    assert size < 20 * MIB
    assert get(site, "/a.txt").status == 200
    # One that grows is sent as long as it was.
    with Raw(site.port, receive_buffer=16384) as raw:
        raw.send(head(site, "/large.bin"))
        raw.buffer = raw.sock.recv(1000)
        with (root / "large.bin").open("ab") as more:
            more.write(b"x" * MIB)
        assert read_all(raw)[0] == MIB


def test_what_comes_during_an_answer(site: Server, large: bytes, connect: Connect) -> None:
    """More requests in the middle of an answer: no spinning, no confusion, then the end."""
    before = files(site)
    readers = [Raw(site.port, receive_buffer=16384) for _ in range(4)]
    for i, raw in enumerate(readers):
        raw.send(head(site, "/large.bin"))
        raw.buffer = raw.sock.recv(1000)
        raw.send(head(site, "/a.txt"))
        if i == 1:
            raw.sock.shutdown(socket.SHUT_WR)
    start = site.busy()
    until = time.monotonic() + 1
    other = connect(site)
    while time.monotonic() < until:
        other.quiet()
        time.sleep(0.01)
    assert site.busy() - start < 0.5 * PATIENCE
    for raw in readers:
        try:
            assert read_all(raw)[0] <= 20 * MIB
        except ConnectionError:
            pass
        raw.sock.close()
    other.close()
    wait_for(lambda: files(site) <= before, what="descriptors are closed")


def test_flood_during_an_answer(site: Server, large: bytes) -> None:
    with Raw(site.port, receive_buffer=16384) as raw:
        raw.send(head(site, "/large.bin"))
        raw.buffer = raw.sock.recv(1000)
        with pytest.raises(ConnectionError):
            for _ in range(10_000):
                raw.send(b"x" * 65536)
    assert get(site, "/a.txt").status == 200


def test_pipelined_requests(site: Server) -> None:
    """The first is answered, and says that it is the last."""
    with Raw(site.port) as raw:
        answer = raw.request(head(site, "/a.txt") + head(site, "/sub/") * 3)
        assert answer.status == 200 and answer.text == "a text"
        assert answer.headers["connection"] == "close"
        assert raw.closed() and raw.buffer == b""


@pytest.mark.parametrize("header", ["Content-Length: 5", "Transfer-Encoding: chunked", "Content-Length: -1", "Content-Length: 99999999999999999999"])  # fmt: skip
def test_body_of_a_get(site: Server, header: str) -> None:
    for path in ("/a.txt", "/wsbus.js"):
        with Raw(site.port) as raw:
            answer = raw.request(head(site, path, header) + b"abcde")
            assert answer.status == 400
            assert raw.closed()
    assert get(site, "/a.txt", "Content-Length: 0").text == "a text"


def test_http_1_0(site: Server) -> None:
    with Raw(site.port) as raw:
        answer = raw.request(head(site, "/a.txt", "Connection: keep-alive", version="1.0"))
        assert answer.text == "a text" and raw.closed()


def test_a_full_server_sends_no_pages(start: Start, root: Path, connect: Connect) -> None:
    server = start(config(web={"root": str(root)}, limits={"connections": 1}))
    connect(server)
    for path in ("/a.txt", "/wsbus.js"):
        answer = get(server, path)
        assert answer.status == 503 and answer.headers["retry-after"], path
    assert get(server, "/livez").status == 200


def test_no_descriptors_left(site: Server) -> None:
    before = resource.prlimit(site.pid, resource.RLIMIT_NOFILE)
    with Raw(site.port) as raw:
        peer = raw.sock.getsockname()[1]
        wait_for(lambda: accepted(site, peer), what="accepted")
        used = {int(name) for name in os.listdir(f"/proc/{site.pid}/fd")}
        free = next(n for n in range(len(used) + 1) if n not in used)
        resource.prlimit(site.pid, resource.RLIMIT_NOFILE, (free, before[1]))
        try:
            answer = raw.request(head(site, "/a.txt"))
        finally:
            resource.prlimit(site.pid, resource.RLIMIT_NOFILE, before)
        assert answer.status == 503 and answer.headers["retry-after"]
    assert get(site, "/a.txt").status == 200


def accepted(server: Server, peer: int) -> bool:
    """Has the daemon a descriptor of the connection from this port?"""
    ends = f"0100007F:{server.port:04X} 0100007F:{peer:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()
    inodes = [line.split()[9] for line in lines if ends in line]
    links = [f"/proc/{server.pid}/fd/{name}" for name in os.listdir(f"/proc/{server.pid}/fd")]
    return any(os.readlink(link) == f"socket:[{inode}]" for inode in inodes for link in links)


def test_too_many_answers_at_once(start: Start, root: Path, large: bytes) -> None:
    server = start(config(web={"root": str(root)}, limits={"send_buffer": 4096}))
    get(server, "/a.txt")
    before = files(server)
    readers: list[Raw] = []
    status = b""
    while status != b"503" and len(readers) < 600:
        readers.append(Raw(server.port, receive_buffer=4096))
        readers[-1].send(head(server, "/large.bin"))
        status = readers[-1].sock.recv(1000).split()[1]
    assert status == b"503" and len(readers) > 100
    assert get(server, "/livez").status == 200
    for raw in readers:
        raw.sock.close()
    wait_for(lambda: files(server) <= before, what="descriptors are closed")
    assert get(server, "/a.txt").status == 200


def test_stop_in_the_middle(start: Start, root: Path, large: bytes) -> None:
    server = start(config(web={"root": str(root)}, drain=300))
    with Raw(server.port, receive_buffer=16384) as raw:
        raw.send(head(server, "/large.bin"))
        raw.sock.recv(1000)
        server.terminate()
        assert server.wait(15) == 0
    assert "stop_deadline" not in server.log()
