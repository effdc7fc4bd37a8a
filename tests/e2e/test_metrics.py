"""/metrics on the admin listener."""

from __future__ import annotations

import contextlib
import http.client
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest
from websockets.exceptions import ConnectionClosed

from client import Client
from raw import Raw, handshake, wait_for
from server import ROOT, Server, config, run
from tls_aid import make_pair, tls_config

Start = Callable[..., Server]
ADMIN = re.compile(r"event=admin_listening address=\"?([^\s\"]+)")
SAMPLE = re.compile(r"^(wsbus_\w+)(?:\{(.*)\})? (-?[0-9.]+)$")
Samples = dict[tuple[str, str], float]


def admin_port(server: Server) -> int:
    wait_for(lambda: ADMIN.search(server.log()))
    found = ADMIN.search(server.log())
    assert found
    return int(found[1].rpartition(":")[2])


def get(
    port: int, path: str = "/metrics", method: str = "GET", **headers: str
) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, answer.getheader("content-type") or "", body


def scrape(server: Server) -> Samples:
    status, _, body = get(admin_port(server))
    assert status == 200
    samples: Samples = {}
    for line in body.splitlines():
        if line.startswith("#"):
            continue
        found = SAMPLE.match(line)
        assert found, line
        key = (found[1], found[2] or "")
        assert key not in samples, line
        samples[key] = float(found[3])
    return samples


def value(server: Server, name: str, labels: str = "") -> float:
    return scrape(server)[f"wsbus_{name}", labels]


@pytest.fixture
def watched(start: Start) -> Server:
    return start(config(admin="127.0.0.1:0"))


def test_counts(watched: Server) -> None:
    before = scrape(watched)
    with Client(watched.url) as a, Client(watched.url) as b:
        for client in (a, b):
            client.subscribe("plain.x")
        a.subscribe("keyed.t.k")
        a.publish("plain.x", data="y" * 1000)
        for client in (a, b):
            client.messages("plain.x", 1)
        b.unsubscribe("plain.x")
        b.refused("unknown_channel", type="subscribe", channel="nowhere")

        def seen(name: str, labels: str = "") -> float:
            key = (f"wsbus_{name}", labels)
            return scrape(watched)[key] - before[key]

        wait_for(lambda: seen("frames_out_total") >= 9)
        assert seen("sessions") == 2 and seen("connections") >= 2
        assert seen("subscriptions") == 2
        assert seen("handshakes_total") == 2
        assert seen("messages_in_total") == 1
        assert seen("messages_out_total") == 2
        assert seen("frames_in_total") == 6
        assert 1000 < seen("bytes_in_total") < 2000
        assert 2000 < seen("bytes_out_total") < 4000
        assert seen("bus_messages_total") == 1
        assert seen("errors_total") == 1
        assert seen("queue_bytes") == 0
        wait_for(lambda: seen("bus_followers") == 2)
        assert seen("memory_topics", 'bus="m"') == 2
        assert value(watched, "bus_up", 'bus="m"') == 1
    wait_for(lambda: value(watched, "sessions") == 0)
    assert value(watched, "subscriptions") == 0


def test_limits_are_counted(start: Start) -> None:
    limits = {"subscriptions": 1, "message_bytes": 100, "publishes_per_second": 1, "errors": 30}
    server = start(config(admin="127.0.0.1:0", limits=limits))
    with Client(server.url) as c:
        c.subscribe("plain.1")
        c.refused("limit", type="subscribe", channel="plain.2")
        c.refused("too_large", type="publish", channel="plain.1", data="x" * 200)
        while c.call("publish", channel="plain.1", data=1)["type"] == "published":
            pass
        with contextlib.suppress(ConnectionClosed):  # which may come before the last
            for _ in range(30):
                c.send(type="what")
        assert c.closed() == 4501
    samples = scrape(server)
    for name in ("subscriptions", "message_bytes", "publishes_per_second", "errors"):
        assert samples["wsbus_limit_hits_total", f'limit="limits.{name}"'] == 1, name


def test_gaps_are_counted(start: Start) -> None:
    server = start(config(admin="127.0.0.1:0", replay={"max_messages": 5}))
    with Client(server.url) as c:
        c.publish_many("plain.g", 20)
        c.subscribe("plain.g", "earliest")
        while c.next()["type"] != "live":
            pass
    assert value(server, "gaps_total", 'reason="limit"') == 1


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """All that has figures of its own: TLS, and a bus of each kind, though nobody is there."""
    pair = make_pair(tmp_path_factory.mktemp("metrics"), "pair")
    buses = {
        "m": {"type": "memory"},
        "r": {"type": "redis", "url": "redis://127.0.0.1:1"},
        "k": {"type": "kafka", "url": "kafka://127.0.0.1:1"},
    }
    server = Server("metrics-full", tls_config(pair, admin="127.0.0.1:0", buses=buses))
    yield server
    server.stop()


def test_format(full: Server) -> None:
    wait_for(lambda: "wsbus_kafka_feeds" in get(admin_port(full))[2])
    status, kind, body = get(admin_port(full))
    assert status == 200 and kind == "text/plain; version=0.0.4; charset=utf-8"
    promtool = shutil.which("promtool")
    assert promtool, "promtool is not installed (deploy/packages)"
    done = subprocess.run(
        [promtool, "check", "metrics"], input=body, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr


def test_names_are_documented(full: Server) -> None:
    manual = (ROOT / "docs" / "metrics.md").read_text()
    wait_for(lambda: ("wsbus_kafka_feeds", 'bus="k"') in scrape(full))
    for name, labels in scrape(full):
        assert f"`{name}`" in manual, name
        for part in re.findall(r'limit="[^"]*"|reason="[^"]*"', labels):
            assert part in manual, part
            if part.startswith("limit"):
                option = part[len('limit="limits.') : -1]
                assert f"`{option}`" in (ROOT / "docs" / "configuration.md").read_text()


def test_what_else_is_there(watched: Server) -> None:
    port = admin_port(watched)
    assert get(port, "/livez")[0] == 200 and get(port, "/readyz")[0] == 200
    assert get(port, "/")[0] == 404 and get(port, "/wsbus.js")[0] == 404
    assert get(port, method="HEAD") == (200, "text/plain; version=0.0.4; charset=utf-8", "")
    assert get(port, method="POST")[0] == 405
    assert get(port, Host="evil.example")[0] == 403
    assert get(watched.port)[0] == 404
    with Raw(port) as raw:
        assert raw.request(handshake(port)).status == 404


def test_a_reader_that_leaves(watched: Server) -> None:
    port = admin_port(watched)
    request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for _ in range(20):
        with Raw(port) as raw:
            raw.send(request)
            raw.vanish()
    wait_for(lambda: value(watched, "worker_connections", 'worker="0"') == 1)
    held = [Raw(port) for _ in range(20)]
    for raw in held:
        raw.send(request + request)
    for raw in held:
        assert raw.response().status == 200
        raw.sock.close()
    assert get(port)[0] == 200


def test_scrapes_at_the_end(watched: Server) -> None:
    port = admin_port(watched)
    held = [Raw(port) for _ in range(10)]
    for raw in held:
        raw.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    watched.stop()
    for raw in held:
        assert raw.closed()


def test_busy_port() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("--set", f"admin=127.0.0.1:{port}", "--set", "listen=127.0.0.1:0")
    assert done.returncode == 1 and str(port) in done.stderr


def test_not_full_when_the_server_is(start: Start) -> None:
    server = start(config(admin="127.0.0.1:0", limits={"connections": 2}))
    held = [Raw(server.port) for _ in range(2 + 64)]
    wait_for(lambda: value(server, "connections") == 66)
    assert value(server, "limit_hits_total", 'limit="limits.connections"') == 64
    assert value(server, "connections_limit") == 2
    for raw in held:
        raw.sock.close()


@pytest.mark.parametrize("address", ["0.0.0.0:0", "nowhere:1", "127.0.0.1"])
def test_mistakes(address: str) -> None:
    done = run("check", "--set", f"admin={address}")
    assert done.returncode == 2 and "admin" in done.stderr and address in done.stderr
