"""The examples do what they say, also when the daemon is killed and started again."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from client import Client
from server import LOGS, PATIENCE, ROOT, Server, environment

EXAMPLES = ROOT / "examples"

CONFIG = {
    "buses": {"m": {"type": "memory", "quotes": 400}},
    "channels": [
        {"match": "quotes.{symbol}", "bus": "m", "topic": "quotes", "key": "{symbol}", "publish": False},
        {"match": "**", "bus": "m"},
    ],
    "drain": 2000,
}


class Node:
    """A daemon that comes back at the same address."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.server = Server(name, {**CONFIG, "listen": "127.0.0.1:0"})
        self.listen = self.server.address
        self.url = self.server.url

    def again(self, **changes: object) -> None:
        self.server = Server(self.name, {**CONFIG, "listen": self.listen, **changes})


@pytest.fixture
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    node = Node(re.sub(r"\W+", "-", request.node.name))
    yield node
    node.server.kill()
    node.server.check_log()


class Program:
    """A running example; what it says is read from files."""

    def __init__(self, name: str, *args: str) -> None:
        self.files = [LOGS / f"{name}.{stream}" for stream in ("out", "err")]
        out, err = (path.open("wb") for path in self.files)
        with out, err:
            self.process = subprocess.Popen(
                [sys.executable, *args],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment(),
                # Whoever starts the tests in the background may have SIGINT ignored.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def out(self) -> list[str]:
        """The lines that are complete."""
        return self.files[0].read_text().split("\n")[:-1]

    def err(self) -> str:
        return self.files[1].read_text()

    def wait(self, holds: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + 30 * PATIENCE
        while not holds():
            assert self.process.poll() is None, f"{what}: it ended: {self.err()}"
            assert time.monotonic() < deadline, f"{what}, in vain: {self.out()[-3:]} {self.err()}"
            time.sleep(0.01)

    def more(self, n: int = 3) -> None:
        wanted = len(self.out()) + n
        self.wait(lambda: len(self.out()) >= wanted, f"{n} lines more")

    def ended(self) -> int:
        return self.process.wait(20 * PATIENCE)


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Iterator[Callable[..., Program]]:
    programs: list[Program] = []
    name = re.sub(r"\W+", "-", request.node.name)

    def factory(example: str, *args: str) -> Program:
        program = Program(f"{name}-{len(programs)}", str(EXAMPLES / example), *args)
        programs.append(program)
        return program

    yield factory
    for program in programs:
        program.process.kill()
        program.process.wait()


Run = Callable[..., Program]


def test_python_quotes_goes_on_after_a_kill(node: Node, run: Run) -> None:
    program = run("python_quotes.py", node.url, "AAPL")
    program.more()
    assert program.out()[0].split()[0] == "AAPL"
    node.server.kill()
    program.wait(lambda: "no connection" in program.err(), "it notices")
    node.again()
    program.more()
    assert "some quotes are gone: epoch" in program.err(), "a new log"
    program.process.send_signal(signal.SIGINT)
    assert program.ended() == 0


def test_python_quotes_heeds_goaway(node: Node, run: Run) -> None:
    program = run("python_quotes.py", node.url)
    program.more()
    node.server.terminate()
    assert node.server.wait(20) == 0
    program.wait(lambda: "1012" in program.err(), "it was sent away in order")
    node.again()
    program.more()


def test_python_quotes_ends_where_it_is_of_no_use(node: Node, run: Run) -> None:
    node.server.kill()
    node.again(channels=[{"match": "chat.**", "bus": "m"}])
    program = run("python_quotes.py", node.url)
    assert program.ended() == 1
    assert "unknown_channel" in program.err()


def published(url: str, channel: str) -> list[str]:
    """The ids of the prices in the log."""
    with Client(url) as client:
        page = client.call("history", channel=channel, limit=1000)
    return [message["data"]["id"] for message in page["messages"]]


def test_python_publish_goes_on_after_a_kill(node: Node, run: Run) -> None:
    program = run("python_publish.py", node.url, "prices.ACME")
    program.more()
    said = len(program.out())
    ids = published(node.url, "prices.ACME")
    assert len(ids) == len(set(ids)) and len(ids) >= said
    assert re.fullmatch(r"prices\.ACME +\d+\.\d\d \S+", program.out()[0])
    node.server.kill()
    program.wait(lambda: "no connection" in program.err(), "it notices")
    node.again()
    program.more()
    ids = published(node.url, "prices.ACME")
    assert len(ids) == len(set(ids)) >= 2
    program.process.send_signal(signal.SIGINT)
    assert program.ended() == 0


def test_python_publish_ends_where_it_is_of_no_use(node: Node, run: Run) -> None:
    program = run("python_publish.py", node.url, "quotes.EURUSD")
    assert program.ended() == 1
    assert "refused: forbidden" in program.err()


def blocks(name: str) -> list[str]:
    """What stands between ``` in a page."""
    return re.findall(r"^```\w*\n(.*?)^```$", (EXAMPLES / name).read_text(), re.S | re.M)


def typed_lines() -> list[str]:
    return [line for block in blocks("websocat.md") for line in block.splitlines() if line[0] == "{"]


def test_each_line_for_websocat_is_answered(node: Node) -> None:
    lines = typed_lines()
    assert len(lines) >= 6
    with Client(node.url) as client:
        for line in lines:
            client.send(line)
            reply = client.reply(json.loads(line)["id"])
            assert reply["type"] != "error", reply


@pytest.mark.skipif(not shutil.which("websocat"), reason="websocat is not installed")
def test_websocat_itself(node: Node) -> None:
    lines = typed_lines()
    commands = [b for b in blocks("websocat.md") if "websocat" in b]
    assert len(commands) >= 3
    url = node.url
    for command in commands:
        command = command.replace("ws://127.0.0.1:8080/ws", url)
        command = command.replace("https://app.example.com", f"http://{node.listen}")
        if command.startswith("websocat"):
            command = f"(printf '%s\\n' '{lines[0]}'; sleep 2) | {command}"
        done = subprocess.run(
            ["timeout", "3", "sh", "-c", command.replace("jq -c", "jq --unbuffered -c")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert '"bid":' in done.stdout, (command, done.stdout, done.stderr)
