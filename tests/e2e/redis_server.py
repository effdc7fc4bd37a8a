"""A real redis-server for tests, on a unix socket in a folder of its own, and a client of it."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, BinaryIO

from server import PATIENCE

WAIT = 10.0


class RedisError(Exception):
    pass


class RedisClient:
    """Commands with their replies, as RESP2 has them; strings are bytes."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(WAIT * PATIENCE)
        self.socket.connect(path)
        self.file: BinaryIO = self.socket.makefile("rb")

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def send(self, *words: str | bytes) -> None:
        raw = [w.encode() if isinstance(w, str) else w for w in words]
        self.socket.sendall(
            b"*%d\r\n" % len(raw) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in raw)
        )

    def receive(self) -> Any:
        line = self.file.readline()
        if not line:
            raise ConnectionError("redis-server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RedisError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            n = int(rest)
            return None if n < 0 else self.file.read(n + 2)[:-2]
        if kind == b"*":
            return [self.receive() for _ in range(int(rest))]
        return rest

    def call(self, *words: str | bytes) -> Any:
        self.send(*words)
        return self.receive()


class RedisServer:
    """Down at first. `url` is good over starts and kills."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="wsbus-redis-")
        self.path = str(Path(self.folder) / "socket")
        self.url = f"redis+unix://{self.path}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        self.process = subprocess.Popen(
            # It must not outlive the tests, however they end.
            ["setpriv", "--pdeathsig", "KILL", "redis-server", "--port", "0"]
            + ["--unixsocket", self.path, "--dir", self.folder, "--save", "", *options],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + WAIT * PATIENCE
        while True:
            try:
                RedisClient(self.path).close()
                return
            except OSError:
                assert self.process.poll() is None, "redis-server does not start"
                assert time.monotonic() < deadline, "redis-server does not answer"
                time.sleep(0.01)

    def kill(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
        self.process = None

    def freeze(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def call(self, *words: str | bytes) -> Any:
        client = RedisClient(self.path)
        try:
            return client.call(*words)
        finally:
            client.close()

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self.folder)
