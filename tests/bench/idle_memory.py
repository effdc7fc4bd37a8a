#!/usr/bin/env python3
"""What an idle subscribed connection costs: memory of the daemon and processor time while nothing happens.

    tests/bench/idle_memory.py [--bin build/wsbus] [--connections 10000] [--workers 0] [--seconds 10] [--tls]

Starts the daemon on a free port, measures it empty, opens the connections (each subscribes to one of a
hundred channels), measures again, and watches for a while. Needs nothing but Python; the limit of open
files must allow the connections here and in the daemon. With --tls it has `openssl` make a certificate.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import selectors
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BATCH = 200


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--bin", default=os.environ.get("WSBUS_BIN") or str(ROOT / "build" / "wsbus")
    )
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=0, help="0: one for each core")
    parser.add_argument("--seconds", type=float, default=10.0, help="time to watch it idle")
    parser.add_argument(
        "--ping-ms", type=int, default=None, help="limits.ping_ms (default: the daemon's)"
    )
    parser.add_argument("--tls", action="store_true", help="over TLS")
    return parser.parse_args()


def certificate(folder: str) -> list[str]:
    """Makes one, and returns the options that name it."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-subj", "/CN=localhost", "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return ["--set", f"listen.tls.cert={folder}/cert.pem", "--set", f"listen.tls.key={folder}/key.pem"]


class Daemon:
    def __init__(self, options: argparse.Namespace) -> None:
        self.log = tempfile.TemporaryFile()
        self.folder = tempfile.TemporaryDirectory()
        argv = [
            options.bin,
            "--set",
            "listen.address=127.0.0.1:0",
            "--set",
            f"workers={options.workers}",
            "--set",
            "buses.demo.quotes=0",
        ]
        if options.tls:
            argv += certificate(self.folder.name)
        if options.ping_ms is not None:
            argv += ["--set", f"limits.ping_ms={options.ping_ms}"]
        env = {k: v for k, v in os.environ.items() if not k.startswith("WSBUS_")}
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=self.log, env=env)
        self.port = self._port()

    def _port(self) -> int:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            found = re.search(rb"event=listening\b.*?\baddress=\S*:(\d+)", self._read())
            if found:
                return int(found[1])
            time.sleep(0.02)
        raise SystemExit(f"the daemon does not listen: {self._read().decode(errors='replace')}")

    def _read(self) -> bytes:
        return os.pread(self.log.fileno(), 1 << 20, 0)

    def memory(self) -> dict[str, int]:
        """VmRSS and its anonymous part, in bytes."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return {name: figure(text, name) * 1024 for name in ("VmRSS", "RssAnon")}

    def processor(self) -> float:
        """Seconds of processor time, user and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def switches(self) -> int:
        """How often its threads have gone to sleep, that is, how often they were woken."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(figure((t / "status").read_text(), "voluntary_ctxt_switches") for t in tasks)

    def stop(self) -> int:
        self.process.terminate()
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def figure(text: str, name: str) -> int:
    """The number behind a name in one of the status files of /proc."""
    found = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
    assert found, name
    return int(found[1])


def masked(text: bytes) -> bytes:
    """A text frame; the mask of zeros is as good as any here."""
    return bytes([0x81, 0x80 | len(text)]) + b"\0\0\0\0" + text if len(text) < 126 else b""


def head(port: int) -> bytes:
    text = (
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: wsbus.v1\r\n\r\n"
    )
    return text.encode()


def subscribe(channel: int) -> bytes:
    return masked(b'{"type":"subscribe","id":1,"channel":"idle.%d"}' % channel)


class Crowd:
    """Many connections, each of which sends one request and then only answers pings."""

    def __init__(self, port: int, tls: bool) -> None:
        self.port = port
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if tls else None
        if self.tls:
            self.tls.check_hostname = False
            self.tls.verify_mode = ssl.CERT_NONE
        self.selector = selectors.EpollSelector()
        self.waiting: dict[int, bytes] = {}
        self.sockets: list[socket.socket] = []
        self.closed = 0

    def add(self, count: int) -> None:
        for _ in range(count):
            sock = socket.create_connection(("127.0.0.1", self.port), timeout=20)
            if self.tls:
                sock = self.tls.wrap_socket(sock)
            sock.sendall(head(self.port))
            answer = b""
            while b"\r\n\r\n" not in answer and (piece := sock.recv(4096)):
                answer += piece
            sock.sendall(subscribe(len(self.sockets) % 100))
            sock.setblocking(False)
            self.selector.register(sock, selectors.EVENT_READ)
            self.waiting[sock.fileno()] = answer
            self.sockets.append(sock)

    def settle(self, timeout: float) -> None:
        """Until every connection has its `subscribed`."""
        deadline = time.monotonic() + timeout
        while self.waiting:
            if time.monotonic() > deadline:
                raise SystemExit(
                    f"{len(self.waiting)} connections are not subscribed: {next(iter(self.waiting.values()))!r}"
                )
            self.serve(0.2)

    def serve(self, timeout: float) -> None:
        for key, _ in self.selector.select(timeout):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            try:
                data = sock.recv(65536)
            except ssl.SSLWantReadError:
                continue
            if not data:
                self.closed += 1
                self.selector.unregister(sock)
            elif key.fd in self.waiting:
                self.waiting[key.fd] += data
                if b'"type":"subscribed"' in self.waiting[key.fd]:
                    del self.waiting[key.fd]
            elif data[0] == 0x89:  # a ping: a pong with its payload
                sock.send(bytes([0x8A, 0x80 | data[1]]) + b"\0\0\0\0" + data[2 : 2 + data[1]])

    def idle(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.serve(left)

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()


def main() -> int:
    options = arguments()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    daemon = Daemon(options)
    try:
        crowd = Crowd(daemon.port, options.tls)
        # One connection first: what is made once for the first of all is no cost of the others.
        crowd.add(1)
        crowd.settle(20)
        time.sleep(0.5)
        empty = daemon.memory()
        began = time.monotonic()
        while len(crowd.sockets) < options.connections:
            crowd.add(min(BATCH, options.connections - len(crowd.sockets)))
            crowd.settle(60)
        opening = time.monotonic() - began
        crowd.idle(2)
        full = daemon.memory()
        busy, woken = daemon.processor(), daemon.switches()
        crowd.idle(options.seconds)
        busy, woken = daemon.processor() - busy, daemon.switches() - woken
        after = daemon.memory()
        closed = crowd.closed
        crowd.close()
        time.sleep(2)
        gone = daemon.memory()
    finally:
        code = daemon.stop()

    count = options.connections - 1
    rows = [
        ("connections", f"{options.connections}, {closed} closed by the daemon"),
        ("opened in", f"{opening:.1f} s"),
        ("RSS empty", f"{empty['VmRSS'] / 1024:.0f} KiB (anonymous {empty['RssAnon'] / 1024:.0f})"),
        (
            "RSS with all",
            f"{full['VmRSS'] / 1024:.0f} KiB (anonymous {full['RssAnon'] / 1024:.0f})",
        ),
        (
            "RSS after idling",
            f"{after['VmRSS'] / 1024:.0f} KiB (anonymous {after['RssAnon'] / 1024:.0f})",
        ),
        ("RSS when all have gone", f"{gone['VmRSS'] / 1024:.0f} KiB"),
        ("a connection", f"{(full['VmRSS'] - empty['VmRSS']) / count:.0f} bytes"),
        (f"processor in {options.seconds:.0f} s idle", f"{busy:.2f} s, {woken} wake-ups"),
        ("exit code", str(code)),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
    return 0 if code == 0 and not closed else 1


if __name__ == "__main__":
    sys.exit(main())
