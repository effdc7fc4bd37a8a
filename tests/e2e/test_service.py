"""Under a service manager: what it is told, and deploy/wsbus.service."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Start
from server import BINARY, PATIENCE, ROOT, config

UNIT = ROOT / "deploy/wsbus.service"
analyze = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket that a service manager listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(20 * PATIENCE)
        yield sock


def told(manager: socket.socket) -> dict[str, str]:
    lines = manager.recv(4096).decode().split("\n")
    return dict(line.split("=", 1) for line in lines)


def test_the_manager_is_told(start: Start, manager: socket.socket) -> None:
    settings = config(drain=3000)
    server = start(settings, env={"NOTIFY_SOCKET": manager.getsockname()})
    assert told(manager) == {"READY": "1"}
    socket.create_connection(("127.0.0.1", server.port), 10 * PATIENCE).close()
    before = time.monotonic()
    server.process.send_signal(signal.SIGHUP)
    reloading = told(manager)
    assert reloading.pop("RELOADING") == "1"
    assert before - 1 < int(reloading.pop("MONOTONIC_USEC")) / 1e6 <= time.monotonic()
    assert not reloading
    assert told(manager) == {"READY": "1"}
    server.terminate()
    stopping = told(manager)
    assert stopping.pop("STOPPING") == "1"
    assert int(stopping.pop("EXTEND_TIMEOUT_USEC")) >= 3_000_000
    assert not stopping
    assert server.wait(20) == 0


def test_a_manager_that_is_gone_does_no_harm(start: Start, tmp_path: Path) -> None:
    server = start(config(), env={"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    assert "event=notify_failed" in server.log()


@analyze
def test_the_unit_is_closed_up() -> None:
    """At most 2.0 of 10 by systemd's own measure."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=20", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-400:] + done.stderr


@analyze
def test_the_unit_has_no_mistake(tmp_path: Path) -> None:
    unit = tmp_path / "wsbus.service"
    unit.write_text(UNIT.read_text().replace("/usr/local/bin/wsbus", str(BINARY)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if "wsbus.service" in line]
    assert not said, said
