"""The configurations of deploy/ for HAProxy and nginx, with a real one of each before real daemons."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from client import Client
from conftest import Start
from ports import free_port
from front import KINDS, NAME, Front, until
from raw import PING, handshake
from server import FULL, PATIENCE, Server, config
from steady import steadily

ORIGIN = f"https://{NAME}"
NOBODY = 1  # a port that nobody listens on

Through = Callable[[Front], Client]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def front(kind: str) -> Iterator[Callable[..., Front]]:
    """front(*nodes, silence=ms): the proxy before these daemons."""
    running: list[Front] = []

    def factory(*nodes: Server, **more: Any) -> Front:
        first, second, *_ = [node.port for node in nodes] + [NOBODY]
        running.append(Front(kind, (first, second), **more))
        return running[-1]

    yield factory
    for one in running:
        one.stop()


@pytest.fixture
def through() -> Iterator[Through]:
    """through(front): a client that is closed after the test."""
    clients: list[Client] = []

    def factory(to: Front) -> Client:
        clients.append(to.client())
        return clients[-1]

    yield factory
    for client in clients:
        client.ws.close_timeout = 0.1
        client.close()


def behind(**changes: Any) -> dict[str, Any]:
    """What docs/deployment.md says that the bridge needs."""
    rights = {"subscribe": ["**"], "publish": ["**"]}
    return config(access={"origins": [ORIGIN], "anonymous": rights}, **changes)


def test_websocket_and_tls(
    start: Start, front: Callable[..., Front], through: Through, channel: str
) -> None:
    proxy = front(start(behind(web={"demo": True})))
    page, other = through(proxy), through(proxy)
    page.subscribe(channel)
    for size in (1, 125, 126, 60_000):
        other.publish(channel, text="x" * size)
        assert page.next("message", channel).payload == b"x" * size
    assert page.call("ping")["type"] == "pong"
    with proxy.tls() as plain:
        plain.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
        assert plain.recv(12) == b"HTTP/1.1 200"
    with socket.create_connection(("127.0.0.1", proxy.plain), 10) as plain:
        plain.sendall(f"GET /chat HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
        answer = plain.recv(4096).decode()
        assert answer.startswith("HTTP/1.1 301") and f": https://{NAME}/chat\r\n" in answer


class Listener:
    """A node that answers nothing but remembers the head of each request."""

    def __init__(self) -> None:
        self.port = free_port()
        self.heads: list[str] = []
        self.sock = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            with conn:
                conn.settimeout(10 * PATIENCE)
                head = b""
                while b"\r\n\r\n" not in head and (more := conn.recv(65536)):
                    head += more
                self.heads.append(head.decode())
                conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def test_the_address_of_the_client(kind: str) -> None:
    """It arrives, and what a client claims about it does not."""
    node = Listener()
    proxy = Front(kind, (node.port, NOBODY))
    lies = {"x-forwarded-for": "6.6.6.6", "origin": ORIGIN, "host": f"{NAME}:8443"}
    try:
        with proxy.tls() as client:
            client.sendall(handshake(proxy.port, headers=lies))
            assert client.recv(12) == b"HTTP/1.1 200"
    finally:
        proxy.stop()
        node.sock.close()
    upgrades = [head for head in node.heads if head.startswith("GET /ws ")]
    assert len(upgrades) == 1, node.heads
    fields = [line.lower().split(": ", 1) for line in upgrades[0].split("\r\n")[1:] if line]
    assert [v for k, v in fields if k == "x-forwarded-for"] == ["127.0.0.1"]
    assert [v for k, v in fields if k == "x-forwarded-proto"] == ["https"]
    assert [v for k, v in fields if k == "host"] == [f"{NAME}:8443"]
    assert [v for k, v in fields if k == "origin"] == [ORIGIN]
    assert [v for k, v in fields if k == "connection"] == ["upgrade"]


def peer_behind(proxy: Front, server: Server) -> str:
    """Of a client with another address than the proxy's, as the bridge's log has it."""
    lies = {"x-forwarded-for": "6.6.6.6", "origin": ORIGIN, "host": NAME}
    with proxy.tls("127.0.0.2") as client:
        client.sendall(handshake(proxy.port, headers=lies))
        assert client.recv(12) == b"HTTP/1.1 101"
        until(lambda: "event=session_open" in server.log(), "the session is in the log")
    return str(re.findall(r'event=session_open peer="?([^ "]+)', server.log())[-1])


def test_the_bridge_believes_it(start: Start, front: Callable[..., Front]) -> None:
    trust = {"trusted_proxies": ["127.0.0.1"], "log": {"level": "debug"}}
    server = start(behind(**trust))
    assert peer_behind(front(server), server) == "127.0.0.2"


def test_proxy_protocol(start: Start) -> None:
    """HAProxy's checks begin with the header too, or the node would be down."""
    listen = {"address": "127.0.0.1:0", "proxy_protocol": True}
    trust = {"trusted_proxies": ["127.0.0.1"], "log": {"level": "debug"}}
    server = start(behind(listen=[listen], **trust))
    more = {"default-server check": "default-server send-proxy-v2 check", "    option forwardfor\n": ""}
    proxy = Front("haproxy", (server.port, NOBODY), more=more)
    try:
        until(lambda: "wsbus/two is DOWN" in proxy.said(), "the nodes were checked")
        assert peer_behind(proxy, server).startswith("127.0.0.2:")
        assert "wsbus/one is DOWN" not in proxy.said()
    finally:
        proxy.stop()
    assert "event=proxy_refused" not in server.log()


def pings(conn: socket.socket, count: int) -> None:
    """Reads so many pings of the daemon, answers none."""
    conn.sendall(handshake(0, headers={"host": NAME, "origin": ORIGIN}))
    data, seen = b"", 0
    while b"\r\n\r\n" not in data:
        data += conn.recv(65536)
    data = data.partition(b"\r\n\r\n")[2]
    while seen < count:
        while len(data) >= 2 and len(data) >= (size := frame_size(data)):
            seen += data[0] & 15 == PING
            data = data[size:]
        more = conn.recv(65536) if seen < count else b""
        assert more or seen >= count, f"closed after {seen} pings"
        data += more


def frame_size(data: bytes) -> int:
    """Of a frame of the server, at least its head."""
    if data[1] < 126:
        return 2 + data[1]
    return 4 + int.from_bytes(data[2:4]) if len(data) >= 4 else 4


def test_quiet_connections_stay(start: Start, front: Callable[..., Front]) -> None:
    """By the server's pings alone, as many as in an hour where there is time for that. Without them the
    proxy cuts: that is what they are for."""
    silence, pause = int(1200 * PATIENCE), int(120 * PATIENCE)
    count = 144 if FULL else 24
    limits = {"ping_ms": pause, "pong_ms": 600_000}
    speaks, mute = start(behind(limits=limits)), start(behind(limits={**limits, "ping_ms": 0}))
    live, dead = front(speaks, silence=silence), front(mute, silence=silence)

    def round_() -> None:
        with live.tls() as stays, dead.tls() as falls:
            begun = time.monotonic()
            falls.settimeout(20 * PATIENCE)
            with pytest.raises(AssertionError, match="closed after 0 pings"):
                pings(falls, 1)
            assert time.monotonic() - begun > 0.9 * silence / 1000
            stays.settimeout(20 * PATIENCE)
            pings(stays, count)
            assert time.monotonic() - begun > 2 * silence / 1000

    steadily(round_, speaks.port, mute.port, gap=0.3)


def test_reload(start: Start, front: Callable[..., Front], through: Through, channel: str) -> None:
    """Of the proxy: who is connected stays, nobody who comes is refused."""
    proxy = front(start(behind()))
    before = through(proxy)
    before.subscribe(channel)
    old = proxy.children()
    stop, refused = threading.Event(), []

    def come() -> None:
        while not stop.is_set():
            try:
                with proxy.client() as client:
                    client.call("ping")
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
                refused.append(error)

    coming = threading.Thread(target=come)
    coming.start()
    try:
        for _ in range(3):
            proxy.reload()
    finally:
        stop.set()
        coming.join()
    assert not refused, refused
    after = through(proxy)
    after.subscribe(channel)
    after.publish(channel, data=1)
    for client in (before, after):
        assert client.next("message", channel)["data"] == 1
    assert old & proxy.children(), "the connection is still with who took it"


def test_a_node_leaves(
    start: Start, front: Callable[..., Front], through: Through, channel: str
) -> None:
    """Who was there hears it and has its own code, who comes is taken by the other node."""
    nodes = [start(behind(drain=3000)) for _ in range(2)]
    proxy = front(*nodes)
    clients = [through(proxy) for _ in range(8)]
    for client in clients:
        client.subscribe(channel)
    nodes[0].terminate()
    left: list[Client] = []
    deadline = time.monotonic() + 20 * PATIENCE
    while len(left) < 4:  # they were spread evenly
        assert time.monotonic() < deadline, "half of them hear it"
        left += [client for client in clients if client not in left and hears_goaway(client)]
    for client in left:
        with pytest.raises(ConnectionClosed) as closed:
            client.ws.recv(timeout=20 * PATIENCE)
        assert closed.value.rcvd and closed.value.rcvd.code == 1012
    came = [through(proxy) for _ in range(8)]
    for client in came:
        client.subscribe(channel)
        client.quiet()
    assert nodes[0].wait(20) == 0
    until(lambda: through(proxy).call("ping")["type"] == "pong", "the other node")
    for client in clients:
        if client not in left:
            client.quiet()


def hears_goaway(client: Client) -> bool:
    """Now, or not yet."""
    try:
        frame = str(client.ws.recv(timeout=0.01))
    except TimeoutError:
        return False
    assert '"goaway"' in frame
    return True
