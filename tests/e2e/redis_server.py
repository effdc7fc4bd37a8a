"""A real redis-server for the tests, and a proxy that makes its network bad.

Each redis-server has a folder of its own, and a free port of 127.0.0.1 or a unix socket. It can be
stopped, killed and frozen, and comes back on the same port. The tests talk to it with the `redis`
package.

WSBUS_TEST_REDIS    the executable (default: redis-server, which is Debian's)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
import redis

from ports import free_port
from server import PATIENCE, Server

T = TypeVar("T")

EXECUTABLE = os.environ.get("WSBUS_TEST_REDIS") or "redis-server"
_said = subprocess.run([EXECUTABLE, "--version"], capture_output=True, text=True, check=True).stdout
VERSION = tuple(int(n) for n in re.findall(r"v=(\d+)\.(\d+)", _said)[0])
since_7 = pytest.mark.skipif(VERSION < (7, 0), reason="needs Redis 7")


def until(check: Callable[[], T], what: str, timeout: float = 10.0) -> T:
    """Asks until the answer is true, and returns it."""
    deadline = time.monotonic() + timeout * PATIENCE
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.005)


def settings_of(options: dict[str, Any]) -> list[str]:
    """Lines of redis.conf; maxmemory_policy="noeviction" stands for maxmemory-policy."""
    lines = []
    for name, value in options.items():
        values = value if isinstance(value, list) else [value]
        lines += [f"{name.replace('_', '-')} {v}" for v in values]
    return lines


class Redis:
    """One redis-server. Options are those of redis.conf, with underscores."""

    def __init__(self, *, unix: bool = False, start: bool = True, **options: Any) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="wsbus-redis-"))
        self.port = 0 if unix else free_port()
        self.socket = str(self.folder / "redis.sock") if unix else None
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        self.clients: list[redis.Redis] = []
        if start:
            try:
                self.start()
            except BaseException:
                self.close()
                raise

    # ---- the process

    def start(self, *, loaded: bool = True) -> None:
        """Starts it, or starts it again with its data on the same address; `loaded`: waits for the data."""
        assert self.process is None
        conf = {
            "bind": "127.0.0.1",
            "port": self.port,
            "save": '""',
            "appendonly": "no",
            "logfile": '""',
            "dir": self.folder,
            **({"unixsocket": self.socket} if self.socket else {}),
            **self.options,
        }
        path = self.folder / "redis.conf"
        path.write_text("\n".join(settings_of(conf)) + "\n")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                # It must not outlive the tests, however they end.
                ["setpriv", "--pdeathsig", "KILL", EXECUTABLE, str(path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until(self._listens, "redis-server listens")
        if loaded:
            until(self._answers, "redis-server has its data")

    def _answers(self) -> bool:
        with self.client() as asking:
            try:
                return bool(asking.ping())
            except redis.BusyLoadingError:
                return False
            except redis.RedisError:
                return True  # wants a password
            finally:
                self.clients.remove(asking)

    def _listens(self) -> bool:
        assert self.process and self.process.poll() is None, self.log()
        kind = socket.AF_UNIX if self.socket else socket.AF_INET
        with socket.socket(kind) as s:
            s.settimeout(1)
            return s.connect_ex(self.socket or ("127.0.0.1", self.port)) == 0

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-3000:]

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def _end(self, sign: int) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(sign)
        try:
            self.process.wait(10 * PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        for client in self.clients:
            client.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- talking to it

    def client(self, **options: Any) -> redis.Redis:
        """Values are bytes; a command that hangs fails."""
        options.setdefault("socket_timeout", 10 * PATIENCE)
        if self.socket:
            made = redis.Redis(unix_socket_path=self.socket, **options)
        else:
            made = redis.Redis(host="127.0.0.1", port=self.port, **options)
        self.clients.append(made)
        return made

    @property
    def url(self) -> str:
        return f"unix://{self.socket}" if self.socket else f"redis://127.0.0.1:{self.port}"


def ours(client: redis.Redis, **wanted: str) -> list[dict[str, str]]:
    """The connections that bridges hold: all but this client's own kind (it gives no name)."""
    found: list[dict[str, str]] = client.client_list()
    return [c for c in found if c["name"].startswith("wsbus") and wanted.items() <= c.items()]


def calls(client: redis.Redis, command: str) -> int:
    """How often the server has carried out a command."""
    stats: dict[str, Any] = client.info("commandstats")
    return int(stats.get(f"cmdstat_{command}", {}).get("calls", 0))


def numsub(client: redis.Redis, channel: str) -> int:
    return int(client.pubsub_numsub(channel)[0][1])


# ---- the network between


class Proxy:
    """Forwards TCP connections to a port, well or badly. Runs in a thread of its own.

    A connection that is cut is reset in both directions; what was under way is lost.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = free_port()
        self.delay = 0.0  # seconds each piece waits
        self.piece = 65536  # most bytes forwarded at once
        self.taken = 0  # connections so far
        self.pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self.tasks: set[asyncio.Task[Any] | None] = set()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        self._do(self._init())

    async def _init(self) -> None:
        self.server: asyncio.Server | None = None
        self.up, self.down = asyncio.Event(), asyncio.Event()
        self.up.set()
        self.down.set()
        await self._listen()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10 * PATIENCE)

    async def _listen(self) -> None:
        if self.server is None:
            self.server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken += 1
        self.tasks.add(asyncio.current_task())
        try:
            there, out = await asyncio.open_connection("127.0.0.1", self.target)
        except (OSError, asyncio.CancelledError):
            self.tasks.discard(asyncio.current_task())
            writer.transport.abort()
            return
        pair = (writer, out)
        self.pairs.add(pair)
        pumps = [
            asyncio.ensure_future(self._pump(reader, out, self.up)),
            asyncio.ensure_future(self._pump(there, writer, self.down)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.pairs.discard(pair)
            self.tasks.discard(asyncio.current_task())
            for end in pair:
                end.transport.abort()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(self.piece):
                await gate.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(piece)
                await writer.drain()

    async def _cut(self, refuse: bool) -> None:
        if refuse and self.server:
            self.server.close()
            self.server = None
        for pair in list(self.pairs):
            for end in pair:
                with contextlib.suppress(OSError):
                    sock = end.get_extra_info("socket")
                    linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                end.transport.abort()

    async def _join(self) -> None:
        # One that was accepted just before the cut may have become a pair after it.
        while self.tasks:
            tasks = [task for task in self.tasks if task]
            self.tasks.clear()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _gates(self, up: bool, down: bool) -> None:
        for gate, is_open in ((self.up, up), (self.down, down)):
            gate.set() if is_open else gate.clear()

    def cut(self, *, refuse: bool = False) -> None:
        """Resets all connections; with `refuse` there are no new ones until restore()."""
        self._do(self._cut(refuse))

    def hold(self, *, up: bool = False, down: bool = False) -> None:
        """Holds back what goes up to Redis, or what comes down from it."""
        self._do(self._gates(not up, not down))

    def restore(self) -> None:
        self.delay, self.piece = 0.0, 65536
        self._do(self._gates(True, True))
        self._do(self._listen())

    def close(self) -> None:
        self._do(self._gates(True, True))
        self._do(self._cut(True))
        self._do(self._join())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"


# ---- the daemon in front of it


def bridge_config(url: str, bus: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A daemon on one Redis: channels by the first segment of their names."""
    return {
        "listen": "127.0.0.1:0",
        "drain": 3000,
        "buses": {"r": {"type": "redis", "url": url, **(bus or {})}},
        "channels": [
            {"match": "ps.**", "bus": "r"},
            {"match": "st.**", "bus": "r", "kind": "stream"},
            {"match": "keyed.{topic}.{key}", "bus": "r", "kind": "stream", "topic": "st.{topic}", "key": "{key}"},
            {"match": "alias.{topic}", "bus": "r", "topic": "ps.{topic}"},
            {"match": "short.**", "bus": "r", "kind": "stream", "maxlen": 100},
            {"match": "body.**", "bus": "r", "kind": "stream", "payload_field": "body", "key_field": "who"},
        ],
        **changes,
    }  # fmt: skip


def paused(server: Server) -> contextlib.AbstractContextManager[None]:
    """The daemon stands still inside the block."""

    @contextlib.contextmanager
    def block() -> Any:
        server.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            server.process.send_signal(signal.SIGCONT)

    return block()
