"""Several buses behind one socket: what is published on one never shows up on another."""

from __future__ import annotations

from collections.abc import Callable

from client import Client, data
from conftest import Start

Connect = Callable[..., Client]

BUSES = {
    "buses": {"one": {"type": "memory"}, "two": {"type": "memory"}, "three": {"type": "memory"}},
    "channels": [
        {"match": "one.**", "bus": "one", "topic": "t"},
        {"match": "two.**", "bus": "two", "topic": "t"},
        {"match": "three.**", "bus": "three", "topic": "t"},
    ],
}


def test_channels_of_different_buses_are_apart(start: Start, connect: Connect) -> None:
    """Each bus numbers its channels by itself; the workers hold the channels of all of them."""
    server = start({"listen": "127.0.0.1:0", **BUSES})
    with connect(server) as reader, connect(server) as writer:
        for bus in ("one", "two", "three"):
            reader.subscribe(f"{bus}.a")
            reader.subscribe(f"{bus}.b")
        for i, bus in enumerate(("one", "two", "three")):
            writer.publish(f"{bus}.a", data=i)
        for i, bus in enumerate(("one", "two", "three")):
            assert data(reader.messages(f"{bus}.a", 1)) == [i]
            assert data(reader.messages(f"{bus}.b", 1)) == [i]
        reader.quiet()
