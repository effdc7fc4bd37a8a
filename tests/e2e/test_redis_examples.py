"""The programs under examples/ that speak to Redis, as they stand."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from client import Client
from conftest import Start
from redis_server import Redis
from server import ROOT, Server

Connect = Callable[..., Client]


@pytest.fixture
def example() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """example(name, *args): runs a program of examples/, ended after the test."""
    running: list[subprocess.Popen[str]] = []

    def factory(name: str, *args: str) -> subprocess.Popen[str]:
        running.append(
            subprocess.Popen(
                [sys.executable, str(ROOT / "examples" / name), *args],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
        return running[-1]

    yield factory
    for program in running:
        program.kill()
        program.communicate()


def as_the_manual_says(start: Start, server: Redis) -> Server:
    url = f"{server.url}?kind=stream"
    return start(None, url, "--set", "web.demo=true", "--set", "listen=127.0.0.1:0")


def page(server: Server, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=10) as answer:
        return str(answer.read().decode())


def test_quotes(
    start: Start, connect: Connect, redis_start: Callable[..., Redis], example: Any
) -> None:
    server = redis_start()
    special = as_the_manual_says(start, server)
    assert 'id="quotes"' in page(special, "/")
    client = connect(special)
    client.subscribe("quotes.EURUSD", {"last": 1})
    example("redis_quotes.py", server.url)
    seen = []
    while len(seen) < 3:
        frame = client.next(timeout=30)
        if frame["type"] == "message":
            seen.append(frame)
    for frame in seen:
        quote = frame["data"]
        assert quote["symbol"] == "EURUSD" and 0 < quote["bid"] <= quote["last"] <= quote["ask"]
        assert len(frame.raw_data().split('"bid":')[1].split(",")[0].partition(".")[2]) == 5
        assert abs(quote["time"] - frame["ts"]) < 5000
    # A page that comes later has the newest price at once, and the chart its past.
    newest = client.history("quotes.EURUSD", {"last": 1})["messages"]
    assert len(newest) == 1
    assert len(client.history("quotes.EURUSD", {"ago": 600_000})["messages"]) >= 3


def test_chat(
    start: Start, connect: Connect, redis_start: Callable[..., Redis], example: Any
) -> None:
    server = redis_start()
    special = as_the_manual_says(start, server)
    assert 'id="messages"' in page(special, "/chat")
    client = connect(special)
    client.subscribe("chat.lobby", {"last": 50})
    client.next("live")
    client.publish("chat.lobby", data={"id": "1", "name": "page", "text": "before"})
    client.next("message")
    terminal = example("redis_chat.py", server.url, "ann", "lobby")
    assert terminal.stdout.readline() == "page: before\n"
    terminal.stdin.write("hello, page \u00e4\n")
    terminal.stdin.flush()
    said = client.next("message", "chat.lobby")["data"]
    assert said["name"] == "ann" and said["text"] == "hello, page \u00e4" and said["id"]
    client.publish("chat.lobby", data={"id": "2", "name": "page", "text": "hello, ann"})
    client.publish("chat.lobby", data=["something", "else"])
    client.publish("chat.lobby", data={"id": "3", "name": "page", "text": "bye"})
    assert [terminal.stdout.readline() for _ in range(2)] == ["page: hello, ann\n", "page: bye\n"]
    entry = server.client().xrange("chat.lobby")[1]
    assert json.loads(entry[1][b"data"])["name"] == "ann"
    assert terminal.poll() is None, "it goes on"
