"""Sentences about the process that no other test shows: addresses, signals, the log, the doors."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.sync.client import unix_connect

from client import Client
from conftest import Start
from raw import Raw, handshake, wait_for
from server import BINARY, LOGS, PATIENCE, Server, config, environment, run

Connect = Callable[..., Client]


def addresses(server: Server, count: int) -> list[str]:
    """What the `listening` lines name."""
    found: list[str] = []

    def complete() -> bool:
        found[:] = re.findall(r'event=listening address="?([^\s"]+)', server.log())
        return len(found) >= count

    wait_for(complete, what="all addresses are announced")
    return found


# ---- addresses


def test_ipv6(start: Start) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    special = start(config(listen=["127.0.0.1:0", "[::1]:0"]))
    for address in addresses(special, 2):
        with Client(f"ws://{address}/ws") as client:
            client.publish("plain.a", data=1)
            client.quiet()
        with Client(f"ws://{address}/ws", origin=f"http://{address}") as client:
            client.quiet()


def test_one_bus_behind_all_addresses(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "s"
    special = start(config(listen=["127.0.0.1:0", {"address": "localhost:0"}, f"unix:{path}"]))
    found = addresses(special, 3)
    assert f"unix:{path}" in found
    with unix_connect(
        str(path), "ws://localhost/ws", subprotocols=["wsbus.v1"], compression=None
    ) as inside:
        assert json.loads(inside.recv(10))["type"] == "welcome"
        inside.send('{"type":"subscribe","id":1,"channel":"plain.a"}')
        assert json.loads(inside.recv(10))["type"] == "subscribed"
        for i, address in enumerate(a for a in found if not a.startswith("unix")):
            with Client(f"ws://{address}/ws") as client:
                client.publish("plain.a", data=i)
            assert json.loads(inside.recv(10))["data"] == i


def test_all_addresses_with_access(start: Start) -> None:
    """0.0.0.0 with access: only listed pages, rights of anonymous, any name of the host."""
    access = {"origins": ["https://app.example.com"], "anonymous": {"subscribe": ["plain.open.**"]}}
    special = start(config(listen="0.0.0.0:0", access=access))
    port = special.port

    def status(**headers: str) -> int:
        with Raw(port) as raw:
            return raw.request(handshake(port, headers=headers)).status

    assert status() == 101
    assert status(host="public.example") == 101, "no loopback name is needed here"
    assert status(origin="https://app.example.com", host="public.example") == 101
    assert status(origin="https://public.example", host="public.example") == 403
    assert status(origin="null") == 403
    with Client(special.url) as client:
        client.subscribe("plain.open.a")
        client.refused("forbidden", type="subscribe", channel="plain.a")
        client.refused("forbidden", type="publish", channel="plain.open.a", data=1)


def test_all_addresses_without_origins(start: Start) -> None:
    """access without origins: pages of the bridge's own host and port."""
    special = start(config(listen="0.0.0.0:0", access={"anonymous": {"subscribe": ["**"]}}))
    port = special.port

    def status(host: str, origin: str | None) -> int:
        headers = {"host": host} | ({"origin": origin} if origin else {})
        with Raw(port) as raw:
            return raw.request(handshake(port, headers=headers)).status

    assert status("public.example", None) == 101
    assert status("public.example", "http://public.example") == 101
    assert status(f"public.example:{port}", f"http://public.example:{port}") == 101
    assert status("public.example", f"http://public.example:{port}") == 403
    assert status("public.example", "http://evil.example") == 403


@pytest.mark.parametrize("setting", ["listen=0.0.0.0:0", 'listen=["127.0.0.1:0","[::]:0"]'])
def test_an_open_address_says_what_to_write(setting: str) -> None:
    done = run("memory:", "--set", setting)
    assert done.returncode == 2 and '"access": {' in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_taken_unix_socket_and_taken_port_say_so(start: Start, tmp_path: Path) -> None:
    """One line, exit code 1; also where only the second address is taken."""
    path = tmp_path / "s"
    first = start(config(listen=["127.0.0.1:0", f"unix:{path}"]))
    for taken in (first.address, f"unix:{path}"):
        done = run("--set", f'listen=["127.0.0.1:0","{taken}"]')
        assert done.returncode == 1, done.stderr
        lines = [line for line in done.stderr.splitlines() if "cannot_run" in line]
        assert len(lines) == 1 and taken.removeprefix("unix:") in lines[0], done.stderr
    with Client(first.url) as client:
        client.quiet()


# ---- signals, log


def test_sighup_reads_the_file_again(start: Start, connect: Connect) -> None:
    special = start(config())
    client = connect(special)
    client.subscribe("plain.a")
    path = LOGS / f"{special.name}.json"

    def hup(text: str, event: str) -> str:
        before = len(special.log())
        path.write_text(text)
        special.process.send_signal(signal.SIGHUP)
        wait_for(lambda: event in special.log()[before:], what=event)
        return special.log()[before:]

    assert '"level":"info"' in hup(json.dumps(config(log={"format": "json"})), '"reloaded"')
    said = hup(json.dumps(config(log={"format": "json"}, drain=2999)), '"reloaded"')
    assert "reload_incomplete" in said, "what cannot change is told"
    said = hup('{"log": {"format": "yaml"}}', "reload_failed")
    assert "log.format" in said and "reloaded" not in said
    # The old configuration stays, and so do the connections.
    assert [json.loads(line) for line in said.splitlines()]
    client.publish("plain.a", data=1)
    assert client.next("message")["data"] == 1
    said = hup(json.dumps(config(log={"level": "warn"}, drain=2999)), "reload_incomplete")
    client.quiet()


def test_every_line_of_the_json_log_is_an_object(start: Start) -> None:
    process = subprocess.Popen(
        [
            str(BINARY),
            "memory:",
            "--set",
            "listen=127.0.0.1:0",
            "--set",
            "log.format=json",
            "--set",
            "log.level=debug",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    lines: list[dict[str, object]] = []
    assert process.stderr is not None
    try:
        while not lines or lines[-1]["event"] != "listening":
            lines.append(json.loads(process.stderr.readline()))
        port = int(str(lines[-1]["address"]).rpartition(":")[2])
        with Raw(port) as raw:
            raw.request(b'GET /"\x01 HTTP/1.1\r\nHost: localhost\r\n\r\n')
        with Client(f"ws://127.0.0.1:{port}/ws") as client:
            client.quiet()
    finally:
        process.terminate()
        rest = process.communicate(timeout=20 * PATIENCE)[1]
    lines += [json.loads(line) for line in rest.splitlines()]
    assert process.returncode == 0
    assert all({"time", "level", "event"} <= set(line) for line in lines), lines
    assert lines[-1]["event"] == "stopped"


# ---- draining


def test_doors_while_draining(start: Start, connect: Connect) -> None:
    """As long as somebody is connected: alive, not ready, no newcomers."""
    special = start(config(drain=20_000))
    clients = [connect(special) for _ in range(10)]
    special.terminate()
    for client in clients:
        client.next("goaway")
    port = special.port

    def ask(request: bytes) -> tuple[int, str | None]:
        with Raw(port) as raw:
            answer = raw.request(request)
            return answer.status, answer.headers.get("retry-after")

    status, after = ask(handshake(port))
    assert status == 503 and after is not None and int(after) > 0
    head = f" HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    assert ask(b"GET /livez" + head)[0] == 200
    status, after = ask(b"GET /readyz" + head)
    assert status == 503 and after is not None and int(after) > 0
    for client in clients:
        client.close()
    assert special.wait(10) == 0


# ---- the forms of the command line


def test_memory_url(start: Start, connect: Connect) -> None:
    special = start(None, "memory:", "--set", "listen=127.0.0.1:0")
    client = connect(special)
    client.subscribe("any.name/at-all", "earliest")
    client.next("live")
    client.publish("any.name/at-all", data=1)
    assert client.next("message")["data"] == 1
    for name in ("__hidden", "__a.b"):
        client.refused("unknown_channel", type="subscribe", channel=name)
        client.refused("unknown_channel", type="publish", channel=name, data=1)
        client.refused("unknown_channel", type="history", channel=name)
    client.publish("a.__b", data=1)
    assert client.history("quotes.EURUSD")["messages"] == [], "no generator here"


def test_two_memory_urls(start: Start, connect: Connect) -> None:
    special = start(None, "memory:", "memory:", "--set", "listen=127.0.0.1:0")
    client = connect(special)
    client.subscribe("memory/a")
    client.subscribe("memory2/a")
    client.publish("memory2/a", data=2)
    assert client.next("message")["channel"] == "memory2/a"
    for name in ("a", "memory/", "memory/__a", "memory"):
        client.send(type="subscribe", id="x", channel=name)
        assert client.reply("x")["code"] in ("unknown_channel", "bad_request"), name
    client.quiet()


def test_variables_and_settings_reach_buses_and_rules(start: Start, connect: Connect) -> None:
    special = start(
        config(),
        "--set",
        "buses.m.history=2",
        "--set",
        "channels.0.publish=false",
        env={"WSBUS_BUSES__M__HISTORY": "1", "WSBUS_LISTEN": "127.0.0.1:0"},
    )
    client = connect(special)
    client.refused("forbidden", type="publish", channel="plain.a", data=1)
    for i in range(5):
        client.publish("whole.a", data=i)
    assert len(client.history("whole.a")["messages"]) == 2


def test_options_of_later_versions_may_be_off() -> None:
    off = ["admin=null", 'access={"jwt":null}']
    sets = [word for setting in off for word in ("--set", setting)]
    assert run("check", *sets).returncode == 0
    done = run("check", "--set", 'access={"jwt":{}}')
    assert done.returncode == 2 and "not supported" in done.stderr, done.stderr


def test_a_configuration_of_the_contract(tmp_path: Path) -> None:
    """The example of the documentation, as far as this version goes."""
    path = tmp_path / "wsbus.jsonc"
    path.write_text(
        """{
  "listen": "127.0.0.1:8080",            // or a list
  "admin": null,
  "workers": 0,                          // one for each core
  "buses": { "demo": { "type": "memory", "history": 10000 }, },
  "channels": [                          // first match wins
    { "match": "chat.**",         "bus": "demo" },
    { "match": "quotes.{symbol}", "bus": "demo", "topic": "quotes", "key": "{symbol}" },
    { "match": "raw.{name}", "bus": "demo", "topic": "{name}", "publish": false, "history": false },
  ],
  "access": { "origins": ["https://app.example.com"], "anonymous": { "subscribe": ["quotes.**"] } },
  "limits": { "message_bytes": 65536, "frame_bytes": 132096, "connections": 100000,
              "subscriptions": 256, "queue_bytes": 1048576, "memory_bytes": 0 /* none */ },
  "replay": { "ring_messages": 1000, "ring_bytes": 4194304, "readers": 4, "max_messages": 100000 },
  "web": { "demo": false }
}"""
    )
    done = run("check", "-c", str(path))
    assert done.returncode == 0, done.stderr


def test_the_longest_name_of_a_channel(start: Start, connect: Connect) -> None:
    """It is a topic's name too; one byte more is no channel."""
    client = connect(start(config()))
    name = "plain." + "x" * 249
    client.subscribe(name)
    client.publish(name, data=1)
    assert client.next("message", name)["data"] == 1
    client.refused("bad_request", type="subscribe", channel=name + "x")
