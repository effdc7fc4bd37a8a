"""What the measurements share: the tools in C, the many clients, the words around a figure."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from server import Server  # noqa: E402

TOOLS = ROOT / "build" / "bench"
# The bridge's own bounds out of the way: what is measured is the path.
WIDE = {
    "limits": {"subscriptions": 2000, "ping_ms": 0, "queue_bytes": 64 << 20, "inbox_bytes": 1 << 30},
    "linger": 0,
}  # fmt: skip


def tool(name: str, *libraries: str) -> str:
    TOOLS.mkdir(parents=True, exist_ok=True)
    out = TOOLS / name
    source = ROOT / "tests" / "bench" / f"{name}.c"
    if not out.exists() or out.stat().st_mtime < source.stat().st_mtime:
        flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-o", str(out), str(source)]
        subprocess.run(["cc", *flags, *(f"-l{name}" for name in libraries)], check=True)
    return str(out)


class Sink:
    """The clients; see sink.c."""

    def __init__(self, server: Server, connections: int, each: int, frame: dict[str, Any]) -> None:
        argv = [tool("sink"), str(server.port), str(connections), str(each), json.dumps(frame)]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, line: str) -> dict[str, Any]:
        inlet, outlet = self.process.stdin, self.process.stdout
        assert inlet and outlet
        inlet.write(line + "\n")
        inlet.flush()
        answer = read_line(outlet, 60)
        if not answer:
            raise SystemExit(
                f"{line}: not in time; {self.ask('report') if line != 'report' else ''}"
            )
        return dict(json.loads(answer))

    def wait(self, type_: str, count: int) -> float:
        """Seconds from the start until so many frames of a type had come."""
        return float(self.ask(f"wait {type_} {count}")["seconds"])

    def report(self) -> dict[str, Any]:
        return self.ask("report")

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(30)


def read_line(file: IO[str], seconds: float) -> str:
    """Empty if nothing comes in time, or at the end."""
    ready, _, _ = select.select([file], [], [], seconds)
    return file.readline() if ready else ""


def load() -> str:
    return f"load average {os.getloadavg()[0]:.2f}"


def say(text: str) -> None:
    print(text, flush=True)
