"""Command line and configuration."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client import Client
from conftest import Start
from server import BINARY, PATIENCE, Server, config, environment, run
from steady import steadily

Connect = Callable[..., Client]
Write = Callable[[Any], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a configuration, text or object, and returns its path."""

    def factory(settings: Any) -> str:
        path = tmp_path / "wsbus.jsonc"
        path.write_text(settings if isinstance(settings, str) else json.dumps(settings, indent=2))
        return str(path)

    return factory


def said(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout + done.stderr


def effective(*args: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    done = run("config", *args, env=env)
    assert done.returncode == 0, said(done)
    return dict(json.loads(done.stdout))


# ---- commands


def test_version() -> None:
    done = run("--version")
    assert done.returncode == 0 and re.match(r"wsbus \d+\.\d+\.\d+", done.stdout), said(done)


def test_help() -> None:
    done = run("--help")
    assert done.returncode == 0
    for word in ("check", "config", "schema", "--set", "-c", "limits.message_bytes"):
        assert word in done.stdout, word


def test_schema() -> None:
    done = run("schema")
    assert done.returncode == 0
    schema = json.loads(done.stdout)
    assert "json-schema.org" in schema["$schema"]
    for name in ("listen", "workers", "buses", "channels", "access", "limits", "replay"):
        assert name in schema["properties"], name
    assert schema["properties"]["limits"]["properties"]["message_bytes"]["default"] == 65536


def test_check_of_a_good_file(write: Write) -> None:
    done = run("check", "-c", write(config()))
    assert done.returncode == 0, said(done)


def test_comments_and_trailing_commas(write: Write) -> None:
    text = """// first
    {
      "listen": "127.0.0.1:0", // "listen": "no",
      "buses": { "m": { "type": "memory", }, },
      "channels": [ { "match": "a//b.**", "bus": "m", }, ], // last
    }
    """
    path = write(text)
    assert run("check", "-c", path).returncode == 0
    assert effective("-c", path)["channels"][0]["match"] == "a//b.**"


@pytest.mark.parametrize(
    "args",
    [
        ["--nonsense"],
        ["nonsense"],
        ["-c"],
        ["check", "-c"],
        ["--set"],
        ["--set", "x"],
        ["ftp://host"],
        ["-x", "y"],
    ],
)
def test_wrong_use(args: list[str]) -> None:
    done = run(*args)
    assert done.returncode == 2, said(done)
    assert done.stderr.strip()


def test_file_that_is_not_there() -> None:
    for command in ([], ["check"], ["config"]):
        done = run(*command, "-c", "/nonexistent/wsbus.jsonc")
        assert done.returncode in (1, 2) and "/nonexistent/wsbus.jsonc" in done.stderr, said(done)


# ---- mistakes


def test_ten_mistakes_in_one_run(write: Write) -> None:
    text = """{
  "listen": "127.0.0.1:99999",
  "workers": -1,
  "wrokers": 2,
  "buses": {
    "m": { "type": "memory", "histroy": 10 },
    "n": { "type": "memroy" }
  },
  "channels": [
    { "match": "a..b", "bus": "m" },
    { "match": "c.{x}", "bus": "m", "topic": "{y}" },
    { "match": "d.*", "bus": "mm" },
    { "macth": "e.*", "bus": "m" },
    { "match": "f.**.g", "bus": "m" }
  ],
  "limits": { "message_bytes": "many", "mesage_bytes": 1 },
  "replay": { "readers": 1.5 }
}
"""
    path = write(text)
    done = run("check", "-c", path)
    assert done.returncode == 2, said(done)
    places = [
        (int(line), int(column))
        for line, column in re.findall(re.escape(path) + r":(\d+):(\d+)", said(done))
    ]
    lines = {line for line, _ in places}
    wanted = {2, 3, 4, 6, 7, 10, 11, 12, 13, 14, 16, 17}
    assert wanted <= lines, f"lines without a word: {wanted - lines}\n{said(done)}"
    rows = text.splitlines()
    assert all(1 <= column <= len(rows[line - 1]) + 1 for line, column in places), places
    for hint in ("workers", "history", "memory", "message_bytes"):
        assert re.search(rf"mean[^\n]*{hint}", said(done)), f"no hint at {hint}:\n{said(done)}"
    # The daemon itself refuses too, with the same words.
    assert run("-c", path).returncode == 2


@pytest.mark.parametrize(
    ("text", "line"),
    [("", 1), ("{", 1), ("[]", 1), ("1", 1), ('{\n "listen" 1\n}', 2), ('{\n\n "workers": 01\n}', 3), ('{\n "workers": 1,\n "workers": 2\n}', 3), ('{"a":"\x01"}', 1), ("{} x", 1)],
)  # fmt: skip
def test_files_that_are_no_json(write: Write, text: str, line: int) -> None:
    path = write(text)
    done = run("check", "-c", path)
    assert done.returncode == 2, said(done)
    assert f"{path}:" in said(done)
    assert f"{path}:{line}:" in said(done) or text in ("", "{", "{} x"), said(done)


def test_jwt_is_an_error(write: Write) -> None:
    done = run("check", "-c", write(config(access={"jwt": {"secret": "x"}})))
    assert done.returncode == 2 and "jwt" in said(done)


def test_did_you_mean() -> None:
    for args, env in [
        (("--set", "limits.mesage_bytes=1"), {}),
        ((), {"WSBUS_LIMITS__MESAGE_BYTES": "1"}),
    ]:
        done = run("config", *args, env=env)
        assert done.returncode == 2, said(done)
        assert "message_bytes" in said(done).lower(), said(done)


@pytest.mark.parametrize(
    "setting",
    [
        "workers=x",
        "workers=",
        "workers=1.5",
        "workers=-1",
        "workers=99999999999999999999",
        "limits.message_bytes=0x10",
        "channels.0.publish=maybe",
        "listen=",
        "listen=nonsense",
        "listen=127.0.0.1:65536",
        "buses.m.type=nope",
    ],
)
def test_wrong_values(setting: str) -> None:
    done = run("config", "--set", setting)
    assert done.returncode == 2, said(done)
    assert setting.partition("=")[0].rpartition(".")[2] in said(done)


# ---- layers


def test_later_layers_win(write: Write) -> None:
    path = write(config(limits={"message_bytes": 1000, "subscriptions": 7, "history": 500}))
    found = effective(
        "-c",
        path,
        "--set",
        "limits.message_bytes=3000",
        env={"WSBUS_LIMITS__MESSAGE_BYTES": "2000", "WSBUS_LIMITS__SUBSCRIPTIONS": "8"},
    )
    assert (
        found["limits"]["message_bytes"],
        found["limits"]["subscriptions"],
        found["limits"]["history"],
    ) == (3000, 8, 500)


def test_frame_bytes_follow_message_bytes() -> None:
    assert effective("--set", "limits.message_bytes=1000")["limits"]["frame_bytes"] == 3024
    assert (
        effective("--set", "limits.message_bytes=1000", "--set", "limits.frame_bytes=5000")[
            "limits"
        ]["frame_bytes"]
        == 5000
    )


def test_effective_configuration_is_a_configuration(write: Write) -> None:
    first = run(
        "config",
        "-c",
        write(
            config(access={"origins": ["https://a.example"], "anonymous": {"subscribe": ["**"]}})
        ),
    )
    assert first.returncode == 0, said(first)
    second = run("config", "-c", write(first.stdout))
    assert second.returncode == 0 and second.stdout == first.stdout, said(second)


def test_settings_reach_the_daemon(start: Start, connect: Connect) -> None:
    special = start(
        config(), "--set", "limits.subscriptions=5", env={"WSBUS_LIMITS__MESSAGE_BYTES": "100"}
    )
    limits = connect(special).welcome["limits"]
    assert (
        limits["subscriptions"] == 5
        and limits["message_bytes"] == 100
        and limits["frame_bytes"] == 1224
    )


# ---- addresses


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"])
def test_other_addresses_need_access(address: str) -> None:
    done = run("--set", f"listen={address}")
    assert done.returncode == 2, said(done)
    assert "access" in done.stderr


def test_taken_port() -> None:
    for reuse in (False, True):
        with socket.socket() as taken:
            if reuse:
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            done = run("--set", f"listen=127.0.0.1:{port}")
            assert done.returncode == 1, said(done)
            assert f"127.0.0.1:{port}" in done.stderr


def test_two_daemons_on_one_port(start: Start) -> None:
    first = start(config())
    done = run("--set", f"listen={first.address}", timeout=10)
    assert done.returncode == 1 and first.address in done.stderr, said(done)


def test_unix_socket(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "wsbus.sock"
    process = subprocess.Popen(
        [str(BINARY), "--set", f"listen=unix:{path}"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    try:
        deadline = time.monotonic() + 10 * PATIENCE
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            while True:
                try:
                    sock.connect(str(path))
                    break
                except OSError:
                    assert time.monotonic() < deadline and process.poll() is None
                    time.sleep(0.02)
            sock.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert sock.recv(1000).startswith(b"HTTP/1.1 200")
    finally:
        process.terminate()
        assert process.wait(20 * PATIENCE) == 0
    assert not path.exists()


def test_several_listeners(start: Start, connect: Connect) -> None:
    special = start(config(listen=["127.0.0.1:0", "127.0.0.2:0"]))
    connect(special).quiet()
    found: list[str] = []
    deadline = time.monotonic() + 10 * PATIENCE
    while len(found) < 2 and time.monotonic() < deadline:
        found = re.findall(r"address=\"?(127\.0\.0\.\d:\d+)", special.log())
        time.sleep(0.01)
    assert {a.partition(":")[0] for a in found} == {"127.0.0.1", "127.0.0.2"}
    other = next(a for a in found if a.startswith("127.0.0.2"))
    client = Client(f"ws://{other}/ws")
    client.quiet()
    client.close()


# ---- the embedded default


@pytest.fixture
def quotes(start: Start) -> Server:
    return start(None, "--set", "listen=127.0.0.1:0")


def test_embedded_default_streams_quotes(quotes: Server, connect: Connect) -> None:
    client = connect(quotes)
    client.subscribe("quotes.EURUSD", {"last": 1})
    frame = client.next("message", "quotes.EURUSD")
    assert {"bid", "ask", "last", "time"} <= set(frame["data"])
    assert frame["key"] == "EURUSD" and frame["data"]["bid"] <= frame["data"]["ask"]
    seen = {"live": False, "next": False}
    while not all(seen.values()):
        later = client.next(channel="quotes.EURUSD", timeout=20)
        seen["live" if later["type"] == "live" else "next"] = True


def test_embedded_default_is_quick_for_a_newcomer(quotes: Server, connect: Connect) -> None:
    """A price is there from the start: {"last":1} does not wait for the next update."""
    client = connect(quotes)
    client.subscribe("quotes.EURUSD", {"last": 1})
    assert client.next()["type"] == "message"


SYMBOLS = (
    "EURUSD GBPUSD USDJPY USDCHF AUDUSD USDCAD NZDUSD EURGBP EURJPY EURCHF "
    "XAUUSD XAGUSD BTCUSD ETHUSD AAPL MSFT NVDA AMZN SAP ASML"
).split()


def test_embedded_default_has_twenty_symbols(quotes: Server, connect: Connect) -> None:
    client = connect(quotes)
    for symbol in SYMBOLS:
        client.subscribe(f"quotes.{symbol}", {"last": 1})
        assert client.next("message", f"quotes.{symbol}")["data"]["bid"] > 0
        while client.next(channel=f"quotes.{symbol}")["type"] != "live":
            pass
        client.unsubscribe(f"quotes.{symbol}")
        client.kept.clear()


@pytest.mark.parametrize(("rate", "least", "most"), [(None, 10, 100), (0, 0, 0), (400, 300, 500)])
def test_rate_of_quotes(
    start: Start, connect: Connect, rate: int | None, least: float, most: float
) -> None:
    settings = [] if rate is None else ["--set", f"buses.demo.quotes={rate}"]
    client = connect(start(None, "--set", "listen=127.0.0.1:0", *settings))
    page = client.call("history", channel="quotes.EURUSD", **{"from": {"last": 1}})
    assert page["type"] == "history"

    def rate_is_kept() -> None:
        began, first = time.monotonic(), ends(client, "quotes")
        time.sleep(2)
        found = (ends(client, "quotes") - first) / (time.monotonic() - began)
        assert least <= found <= most, found

    port = int(client.ws.remote_address[1])
    steadily(rate_is_kept, port, gap=0.1)


def ends(client: Client, topic: str) -> int:
    """How many messages the topic has had, by the place where its log ends."""
    (pos,) = client.history(f"{topic}.EURUSD", "now")["cursor"]
    return int(str(pos).rpartition("-")[2])
