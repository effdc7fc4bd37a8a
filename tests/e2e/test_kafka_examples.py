"""The example under examples/ that speaks to Kafka, as it stands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from client import Client
from conftest import Start
from kafka_server import KafkaServer
from server import PATIENCE, ROOT, Server

Connect = Callable[..., Client]


@pytest.fixture(scope="module")
def quotes_on(kafka: KafkaServer) -> Iterator[None]:
    """examples/kafka_quotes.py feeds the topic `quotes` of the broker."""
    program = [sys.executable, str(ROOT / "examples/kafka_quotes.py"), kafka.address, "quotes"]
    running = subprocess.Popen(program)
    yield
    assert running.poll() is None, "it goes on"
    running.kill()
    running.wait()


@pytest.fixture
def special(start: Start, kafka: KafkaServer, quotes_on: None) -> Server:
    file = str(ROOT / "examples/kafka_quotes.jsonc")
    kafka.wait(lambda: kafka.has("quotes", 3))
    url, listen = f"buses.log.url={kafka.url}", "listen=127.0.0.1:0"
    return start(None, "-c", file, "--set", url, "--set", listen)


def test_quotes(special: Server, connect: Connect, kafka: KafkaServer) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{special.port}/", timeout=10) as answer:
        assert 'id="quotes"' in answer.read().decode()
    page = connect(special)
    page.subscribe("quotes.EURUSD", {"last": 1})
    seen: list[Any] = []
    while len(seen) < 3:
        frame = page.next(timeout=30)
        if frame["type"] == "message":
            seen.append(frame)
    for frame in seen:
        quote = frame["data"]
        assert frame["key"] == quote["symbol"] == "EURUSD"
        assert 0 < quote["bid"] <= quote["last"] <= quote["ask"]
        assert len(frame.raw_data().split('"bid":')[1].split(",")[0].partition(".")[2]) == 5
        assert abs(quote["time"] - frame["ts"]) < 5000
    # A page that comes later has the newest price at once, and the chart its past.
    newest = page.history("quotes.EURUSD", {"last": 1})["messages"]  # and what came meanwhile
    assert newest and newest[0]["ts"] > seen[0]["ts"]
    assert len(page.history("quotes.EURUSD", {"ago": 600_000})["messages"]) >= 3
    page.refused("forbidden", type="publish", channel="quotes.EURUSD", data=1)


def test_one_quote_from_a_terminal(special: Server, connect: Connect, kafka: KafkaServer) -> None:
    """The line with kcat that examples/README.md has."""
    text = (ROOT / "examples/README.md").read_text()
    found = re.search(r"^echo '(.*)' \|\n    (kcat .*)$", text, re.MULTILINE)
    assert found, "the line is not there"
    page = connect(special)
    page.subscribe("quotes.SAP")
    words = [w.replace("localhost:9092", kafka.address) for w in shlex.split(found[2])]
    subprocess.run(words, input=found[1] + "\n", text=True, check=True, timeout=30 * PATIENCE)
    frame = page.next("message", "quotes.SAP")
    assert frame["key"] == frame["data"]["symbol"] == "SAP"
    assert frame["data"]["bid"] < frame["data"]["ask"]
