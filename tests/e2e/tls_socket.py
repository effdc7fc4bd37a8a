"""A TLS socket that one thread may read while another writes.

The client of `websockets` does so, and OpenSSL allows one call at a time for each connection: with a
socket of Python 3.11's `ssl` a request is lost now and then, or the interpreter dies (CPython's issues
143756 and 151508). Here each call has the connection to itself and never waits inside; what it would
wait for is awaited outside."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from typing import Any


class SharedTls(ssl.SSLSocket):
    turn: threading.Lock | None = None  # once the handshake is over
    patience: float | None = None

    def do_handshake(self, block: bool = False) -> None:
        super().do_handshake(block)
        self.patience = self.gettimeout()
        super().settimeout(0)
        self.turn = threading.Lock()

    def settimeout(self, value: float | None) -> None:
        if self.turn:
            self.patience = value
        else:
            super().settimeout(value)

    def _when_ready(self, call: Any, *args: Any) -> Any:
        assert self.turn
        end = None if self.patience is None else time.monotonic() + self.patience
        while True:
            with self.turn:
                try:
                    return call(*args)
                except (ssl.SSLWantReadError, BlockingIOError):
                    wanted = select.POLLIN
                except ssl.SSLWantWriteError:
                    wanted = select.POLLOUT
            waiting = select.poll()
            waiting.register(self.fileno(), wanted)
            left = None if end is None else max(0.0, end - time.monotonic()) * 1000
            if not waiting.poll(left):
                raise TimeoutError("timed out")

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        return self._when_ready(super().recv, buflen, flags)

    def send(self, data: Any, flags: int = 0) -> int:
        return self._when_ready(super().send, data, flags)

    def shutdown(self, how: int) -> None:
        """Python's own forgets TLS here, and would go on without it."""
        socket.socket.shutdown(self, how)


def share(context: ssl.SSLContext) -> ssl.SSLContext:
    """Its sockets will be such."""
    context.sslsocket_class = SharedTls
    return context
