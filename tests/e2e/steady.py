"""Rounds of a test in which somebody has to do something in time, or something must not take long.

A machine that stands still for a second turns such a round from good to bad. So a round that failed is
repeated, if something stood still meanwhile; one that failed undisturbed is the verdict.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

import pytest

from raw import Raw
from server import PATIENCE

T = TypeVar("T")
PAUSE = 0.01


class Watch:
    """The longest time that this process, or the daemons on these ports, did not get on."""

    def __init__(self, *ports: int) -> None:
        self.ports = ports
        self.longest = 0.0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self.thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.over.set()
        self.thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        raws: list[Raw] = []
        try:
            for port in self.ports:
                raws.append(Raw(port).upgrade())
            while not self.over.is_set():
                self.longest = max(self.longest, time.monotonic() - began)
                began = time.monotonic()
                time.sleep(PAUSE)
                for raw in raws:
                    raw.text('{"type":"ping","id":1}')
                    assert raw.json()["type"] == "pong"
            self.longest = max(self.longest, time.monotonic() - began)
        except (AssertionError, OSError):
            self.longest = float("inf")
        finally:
            for raw in raws:
                raw.sock.close()


def steadily(attempt: Callable[[], T], *ports: int, gap: float, within: float = 60) -> T:
    """attempt(), again while it fails and one of these stood still for longer than `gap` seconds."""
    deadline = time.monotonic() + within * PATIENCE
    while True:
        with Watch(*ports) as watch:
            try:
                return attempt()
            except (Exception, pytest.fail.Exception) as error:
                failed = error
        if watch.longest < gap * PATIENCE or time.monotonic() > deadline:
            raise failed
        print(f"once more: something stood still for {watch.longest:.1f} s: {failed!r}")
