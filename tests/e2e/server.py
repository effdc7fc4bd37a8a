"""Starts and stops the daemon under test.

WSBUS_BIN           the executable (default: build/wsbus of this checkout)
WSBUS_TEST_WORKERS  its workers (default: 1)
WSBUS_TEST_SAN      `address` or `thread` where it was built with a sanitizer
WSBUS_TEST_FULL     1: the long tests too
"""

from __future__ import annotations

import copy
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("WSBUS_BIN") or ROOT / "build" / "wsbus")
WORKERS = int(os.environ.get("WSBUS_TEST_WORKERS") or 1)
SANITIZER = os.environ.get("WSBUS_TEST_SAN", "")
FULL = os.environ.get("WSBUS_TEST_FULL") == "1"
LOGS = ROOT / "build" / "e2e" / f"workers-{WORKERS}"

# Everything is slower under a sanitizer.
PATIENCE = {"": 1.0, "address": 3.0, "thread": 6.0}.get(SANITIZER, 3.0)

REPORT = re.compile(
    r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|SUMMARY: \w+Sanitizer|runtime error:"
)
LISTENING = re.compile(r"event=listening\b.*?\baddress=\"?([^\s\"]+)")


CONFIG: dict[str, Any] = {
    "listen": "127.0.0.1:0",
    "workers": WORKERS,
    "drain": 3000,
    "buses": {"m": {"type": "memory", "history": 10000}},
    "channels": [
        {"match": "plain.**", "bus": "m"},
        # Three views of one topic.
        {"match": "keyed.{topic}.{key}", "bus": "m", "topic": "t-{topic}", "key": "{key}"},
        {"match": "whole.{topic}", "bus": "m", "topic": "t-{topic}"},
        {"match": "alias.{topic}", "bus": "m", "topic": "t-{topic}"},
        {"match": "readonly.{topic}", "bus": "m", "topic": "t-{topic}", "publish": False},
        {"match": "fleeting.{topic}", "bus": "m", "topic": "t-{topic}", "history": False},
    ],
}


def config(**changes: Any) -> dict[str, Any]:
    """The usual configuration with other values at the top."""
    return {**copy.deepcopy(CONFIG), **changes}


def environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """Ours, without any option of the daemon."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("WSBUS_")}
    env.update(extra or {})
    return env


def run(
    *args: str, env: dict[str, str] | None = None, timeout: float = 20
) -> subprocess.CompletedProcess[str]:
    """Runs the daemon's command line to its end."""
    return subprocess.run(
        [str(BINARY), *args],
        env=environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout * PATIENCE,
        check=False,
    )


class Server:
    """One running daemon. Its stderr is a file under build/e2e/."""

    def __init__(
        self,
        name: str,
        config: dict[str, Any] | None,
        *args: str,
        env: dict[str, str] | None = None,
    ) -> None:
        LOGS.mkdir(parents=True, exist_ok=True)
        self.name = re.sub(r"[^\w.-]+", "_", name)
        self.log_path = LOGS / f"{self.name}.log"
        argv = [str(BINARY)]
        if config is not None:
            path = LOGS / f"{self.name}.json"
            path.write_text(json.dumps(config, indent=1))
            argv += ["-c", str(path)]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*argv, *args],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=environment(env),
            )
        try:
            self.address = self._await_address()
        except BaseException:
            self.kill()
            raise

    def _await_address(self) -> str:
        deadline = time.monotonic() + 10 * PATIENCE
        while time.monotonic() < deadline:
            found = LISTENING.search(self.log())
            if found:
                return found[1]
            if self.process.poll() is not None:
                raise RuntimeError(f"wsbus ended with {self.process.returncode}: {self.log()}")
            time.sleep(0.01)
        raise RuntimeError(f"wsbus did not listen in time: {self.log()}")

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    def rss(self) -> int:
        """Resident memory in bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no VmRSS")

    def busy(self) -> float:
        """Seconds of processor time so far, of all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stopped(self) -> bool:
        """By SIGSTOP, all of its threads."""
        stats = [path.read_text() for path in Path(f"/proc/{self.pid}/task").glob("*/stat")]
        return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout: float) -> int:
        return self.process.wait(timeout * PATIENCE)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def check_log(self) -> None:
        text = self.log()
        report = REPORT.search(text)
        assert not report, f"sanitizer report in {self.log_path}:\n{text[report.start() :][:4000]}"

    def stop(self) -> None:
        """In order: exit code 0, and nothing for a sanitizer to complain about."""
        if self.process.poll() is None:
            self.terminate()
            try:
                self.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(
                    f"{self.name} did not stop on SIGTERM: {self.log()[-2000:]}"
                ) from None
        assert self.process.returncode == 0, (
            f"{self.name} ended with {self.process.returncode}: {self.log()[-4000:]}"
        )
        self.check_log()
