"""Whether a daemon lives while one of its buses has trouble: another bus is used all the time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from client import Client
from server import PATIENCE, WORKERS, Server

# 99 of 100 answers (of few, all but three) take at most so long on a machine that is very busy, the last
# one PATIENT; what blocks takes seconds, and again and again.
PROMPT = 1.0
STALLS = 3
PATIENT = 8.0
PAUSE = 0.02
CLIENTS = 4  # so that it is likely that all workers have one


def beside_memory(bus: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A configuration with this bus and one in memory, which has the channels local.**."""
    return {
        "listen": "127.0.0.1:0",
        "workers": WORKERS,
        "drain": 2000,
        "linger": 0,
        "limits": {"queue_bytes": 1 << 26},  # a busy machine is not a slow client
        "buses": {"k": bus, "m": {"type": "memory"}},
        "channels": [{"match": "local.**", "bus": "m"}, {"match": "**", "bus": "k"}],
        **more,
    }


class Pulse:
    """As long as it is open, a thread pings and publishes on local.pulse, one after the other."""

    def __init__(self, server: Server) -> None:
        self.clients = [Client(server.url) for _ in range(CLIENTS)]
        self.took: list[float] = []
        self.trouble: list[str] = []
        self.enough = threading.Event()
        self.thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Pulse:
        self.thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.enough.set()
        self.thread.join()
        for client in self.clients:
            client.close()
        if not error:
            self.check()

    def _beat(self) -> None:
        try:
            while not self.enough.wait(PAUSE):
                for client in self.clients:
                    for request in ({"type": "ping"}, {"type": "publish", "data": 1}):
                        more = {"channel": "local.pulse"} if "data" in request else {}
                        began = time.monotonic()
                        answer = client.call(**{"type_": request.pop("type")}, **request, **more)
                        self.took.append(time.monotonic() - began)
                        assert answer["type"] in ("pong", "published"), answer
        except Exception as error:
            self.trouble.append(repr(error))

    def check(self) -> None:
        assert not self.trouble, self.trouble
        took = sorted(self.took)
        assert took[min(len(took) * 99 // 100, max(len(took) - 1 - STALLS, 0))] < PROMPT * PATIENCE, self.figures()
        assert took[-1] < PATIENT * PATIENCE, self.figures()

    def figures(self) -> str:
        took = sorted(self.took)
        return (
            f"{len(took)} answers of the other bus: median {1000 * took[len(took) // 2]:.1f} ms,"
            f" 99 of 100 {1000 * took[len(took) * 99 // 100]:.1f} ms, longest {1000 * took[-1]:.1f} ms"
        )


def complaints(server: Server) -> list[str]:
    """What the daemon's log says of its buses with level warn and above."""
    return [
        line
        for line in server.log().splitlines()
        if (" level=warn " in line or " level=error " in line) and " bus=" in line
    ]


def await_words(server: Server, words: str | Iterable[str]) -> None:
    """Until each of them is in the log."""
    wanted = [words] if isinstance(words, str) else list(words)
    deadline = time.monotonic() + 30 * PATIENCE
    while not all(word in server.log() for word in wanted):
        assert time.monotonic() < deadline, server.log()
        time.sleep(0.02)
