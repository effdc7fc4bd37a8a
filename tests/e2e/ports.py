"""Ports for servers that tests start, and that may be away for a while in the middle of a test."""

from __future__ import annotations

import contextlib
import random
import socket

# Below the ports that the kernel gives to clients, and to who asks for any port.
FIRST, LAST = 20_000, 31_999

# Held until this process ends: abstract Unix sockets, which tell the tests of other processes.
_leases: list[socket.socket] = []
_choice = random.SystemRandom()


def _lease(port: int) -> socket.socket | None:
    """None if it is taken, by a server or by a lease."""
    mark = socket.socket(socket.AF_UNIX)
    with contextlib.suppress(OSError), socket.socket() as probe:
        mark.bind(f"\0wsbus-test-port-{port}")
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return mark
    mark.close()
    return None


def free_port(run: int = 1) -> int:
    """The first of `run` ports in a row that belong to this process until it ends.

    A port that is merely free may be somebody else's in the next moment, and a test whose server is
    down would speak to a stranger.
    """
    while True:
        port = _choice.randrange(FIRST, LAST - run)
        found = [_lease(port + i) for i in range(run)]
        marks = [mark for mark in found if mark]
        if len(marks) == run:
            _leases.extend(marks)
            return port
        for mark in marks:
            mark.close()
