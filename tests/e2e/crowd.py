"""Many clients that resume one topic at once, and what the daemon says of its reads when it stops."""

from __future__ import annotations

import re
from typing import Any

from client import Client, Frame
from server import Server

PAST = re.compile(r"event=bus_past bus=(\S+) reads=(\d+) pieces_own=(\d+) pieces_shared=(\d+)")


def ask_all(pages: list[Client], channels: list[str], froms: list[Any]) -> None:
    for page, channel, from_ in zip(pages, channels, froms, strict=True):
        page.send(type="subscribe", id=1, channel=channel, from_=from_)


def replayed(page: Client, channel: str) -> list[Frame]:
    """All messages up to `live`, of a subscription that lost nothing."""
    answer = page.reply(1)
    assert answer["type"] == "subscribed" and answer.get("recovered", True) is True, answer
    found: list[Frame] = []
    while True:
        frame = page.next(None, channel)
        if frame["type"] == "live":
            return found
        assert frame["type"] == "message", frame
        found.append(frame)


def reads_of(server: Server, pages: list[Client]) -> int:
    """Closes them and stops it: so many reads of the past were asked of its only bus."""
    for page in pages:
        page.close()
    server.stop()
    found = PAST.search(server.log())
    return int(found[2]) if found else 0
