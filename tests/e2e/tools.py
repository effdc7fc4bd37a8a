"""The C programs of tests/bench, for tests with more clients than Python can serve."""

from __future__ import annotations

import json
import os
import select
import subprocess
from typing import Any

from server import PATIENCE, ROOT

FOLDER = ROOT / "build" / "bench"


def tool(name: str) -> str:
    """Compiles it where it is older than its source. Others may do so at the same time."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    out, source = FOLDER / name, ROOT / "tests" / "bench" / f"{name}.c"
    if not out.exists() or out.stat().st_mtime < source.stat().st_mtime:
        new = out.with_name(f"{name}.{os.getpid()}")
        flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-o", str(new), str(source)]
        subprocess.run(["cc", *flags], check=True)
        new.replace(out)
    return str(out)


class Tool:
    """One that reads lines and answers each with a line of JSON."""

    def __init__(self, name: str, *args: Any) -> None:
        self.process = subprocess.Popen(
            [tool(name), *map(str, args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def ask(self, line: str, timeout: float = 30) -> dict[str, Any]:
        inlet, outlet = self.process.stdin, self.process.stdout
        assert inlet and outlet
        inlet.write(line + "\n")
        ready, _, _ = select.select([outlet], [], [], timeout * PATIENCE)
        assert ready, f"{line}: not in time"
        return dict(json.loads(outlet.readline()))

    def close(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
