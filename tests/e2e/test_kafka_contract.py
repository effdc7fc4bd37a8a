"""The suite of the backend contract, on the broker of the other tests: it starts none of its own."""

from __future__ import annotations

import os
import subprocess

import pytest

from kafka_server import KafkaServer
from server import BINARY

PROGRAM = BINARY.parent / "tests" / "test_contract_kafka"


@pytest.mark.timeout(300)
def test_contract(kafka: KafkaServer) -> None:
    result = subprocess.run(
        [PROGRAM],
        env={**os.environ, "WSBUS_TEST_KAFKA": kafka.address},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
        check=False,
    )
    assert result.returncode == 0, result.stdout
