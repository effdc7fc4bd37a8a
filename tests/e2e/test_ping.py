"""The server's pings: who answers stays, who does not is closed with 4001."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from websockets.exceptions import ConnectionClosed

from client import Client
from conftest import Start
from server import PATIENCE, config
from steady import steadily

Connect = Callable[..., Client]


def test_a_quiet_client_that_answers_pings_stays(start: Start, connect: Connect) -> None:
    """It sends nothing but pongs for five times as long as silence is allowed."""
    allowed = 0.6 * PATIENCE
    pause = int(allowed * 500)
    server = start(config(limits={"ping_ms": pause, "pong_ms": pause}))

    def stays() -> None:
        client = connect(server)
        assert client.welcome["ping"] == pause
        with pytest.raises(TimeoutError):
            client.ws.recv(timeout=5 * allowed)
        assert client.call("ping")["type"] == "pong"

    steadily(stays, server.port, gap=0.15)


def test_pings_can_be_off(start: Start, connect: Connect) -> None:
    server = start(config(limits={"ping_ms": 0, "pong_ms": 100}))
    client = connect(server)
    assert client.welcome["ping"] == 0
    try:
        client.ws.recv(timeout=0.5)
    except TimeoutError:
        pass
    except ConnectionClosed as error:
        pytest.fail(f"closed: {error}")
    client.quiet()
