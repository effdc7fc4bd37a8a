"""What the measurements share: the tools in C, the many clients, the words around a figure.

Processor time is shared with what is measured, so clients may be told apart. Those whose clock is read
(Sink(..., prompt=True), and what publishes, by be_prompt()) run before everything else where that is
allowed: a message waits for the bridge, never for them. Crowds (back=True) have what others leave: real
ones have machines of their own. On a machine that others use too, `--first` lets the bridge and the bus
run before them as well.
"""

from __future__ import annotations

import bisect
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

T = TypeVar("T")

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
        new = out.with_name(f"{name}.{os.getpid()}")  # others may do so at the same time
        flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-o", str(new), str(source)]
        subprocess.run(["cc", *flags, *(f"-l{library}" for library in libraries)], check=True)
        new.replace(out)
    return str(out)


def be_prompt(*pids: int, rank: int = 2) -> None:
    """This process, or those with all their threads, run as soon as they can, if that is allowed."""
    for pid in pids or (os.getpid(),):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(PermissionError):
                os.sched_setscheduler(int(task.name), os.SCHED_RR, os.sched_param(rank))


class Sink:
    """The clients; see sink.c."""

    def __init__(
        self, server: Server, connections: int, each: int, frame: dict[str, Any],
        hold: bool = False, prompt: bool = False, back: bool = False,
    ) -> None:
        argv = [tool("sink"), str(server.port), str(connections), str(each), json.dumps(frame)]
        self.process = subprocess.Popen(
            argv + ["hold"] * hold, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if prompt:
            be_prompt(self.process.pid)
        if back:
            os.setpriority(os.PRIO_PROCESS, self.process.pid, 10)
        if hold:
            self.ask("into 0")  # answered when all are connected

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

    def report(self, set_: int = 0) -> dict[str, Any]:
        return self.ask(f"report {set_}")

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(30)


def read_line(file: IO[str], seconds: float) -> str:
    """Empty if nothing comes in time, or at the end."""
    ready, _, _ = select.select([file], [], [], seconds)
    return file.readline() if ready else ""


def stamped(size: int = 100, number: int | None = None) -> bytes:
    numbered = b"" if number is None else b',"n":%d' % number
    head = b'{"t":%d%s,"x":"' % (time.monotonic_ns(), numbered)
    return head + b"x" * (size - len(head) - 2) + b'"}'


def load() -> str:
    return f"load average {os.getloadavg()[0]:.2f}"


def say(text: str) -> None:
    print(text, flush=True)


CALM = 2.5  # seconds between two crowds; what the bridge keeps of the past for others it keeps for 2
PATIENCE = 3  # times as many seconds as are to count
STOLEN = 0.01  # of the processors' time: more, taken by the host, and a round is no measure of anything


def stolen(*cores: str) -> tuple[int, int]:
    """Processor time that a virtual machine did not get from its host, and all of it, since the boot: of
    these cores, or of all."""
    names = {f"cpu{core}" for core in cores} or {"cpu"}
    lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
    found = [[int(word) for word in words[1:9]] for words in lines if words and words[0] in names]
    return sum(values[7] for values in found), sum(map(sum, found))


def stolen_since(then: tuple[int, int], *cores: str) -> float:
    now = stolen(*cores)
    return (now[0] - then[0]) / max(1, now[1] - then[1])


def seconds_left(sink: Sink, into: int, count: int, every: bool = False) -> int:
    """Measures for a second again and again until so many count: those that the host left to the machine,
    or `every` one. Their ages are added to set 0 (through 2) or 1 (through 3). Returns how many did; it
    may be fewer, for there is an end to it."""
    kept = 0
    for _ in range(PATIENCE * count):
        then = stolen()
        sink.ask(f"into {2 + into}")
        time.sleep(1)
        sink.ask("into -1")
        calm = every or stolen_since(then) < STOLEN
        sink.ask("keep" if calm else "drop")
        kept += calm
        if kept == count:
            break
    return kept


class Round(NamedTuple):
    """A crowd: how long it took, whether the host left the machine alone, and when (monotonic ns) the
    time without it began, when it began, and when all of it was live."""

    took: float
    counts: bool
    times: tuple[int, int, int]


def one_crowd(server: Server, live: Sink, past: dict[str, Any], size: tuple[int, int]) -> Round:
    """Its ages go to sets 2 and 3."""
    clients, messages = size
    crowd = Sink(server, clients, 1, past, hold=True, back=True)
    try:
        before = stolen()
        live.ask("into 2")
        calm = time.monotonic_ns()
        time.sleep(CALM)
        live.ask("into 3")
        busy = time.monotonic_ns()
        crowd.ask("go")
        took = crowd.wait("live", clients)
        end = time.monotonic_ns()
        live.ask("into -1")
        got = crowd.report()
        assert got["message"] == clients * messages, got
        if os.environ.get("DEBUG"):
            print(f"{took:.2f} s", f"stolen {stolen_since(before):.3f}", live.report(2), live.report(3), flush=True)
        return Round(took, stolen_since(before) < STOLEN, (calm, busy, end))
    finally:
        crowd.close()


class Steal:
    """A thread that looks every tenth of a second whether the host took processor time."""

    STEP = 100_000_000

    def __init__(self) -> None:
        self.rows: list[tuple[int, int]] = []  # when, and what was taken so far
        self.enough = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self.enough.wait(self.STEP / 1e9):
            self.rows.append((time.monotonic_ns(), stolen()[0]))

    def stop(self) -> None:
        self.enough.set()
        self.thread.join()

    def taken(self, begin: int, end: int) -> bool:
        """About this time, or it is not known."""
        first = bisect.bisect_left(self.rows, (begin - self.STEP,)) - 1
        last = bisect.bisect_left(self.rows, (end + self.STEP,))
        return first < 0 or last >= len(self.rows) or self.rows[first][1] != self.rows[last][1]

    def sides(self, rounds: list[Round], found: list[tuple[int, int, T]]) -> tuple[list[T], list[T], int]:
        """What began in between crowds, what did while one resumed, and how many are left out because
        the host took processor time about then. Of each: when it began, when it ended, and what it is."""
        calm: list[T] = []
        busy: list[T] = []
        left_out = 0
        for began, end, what in found:
            for r in rounds:
                if r.times[0] <= began < r.times[2]:
                    if self.taken(began, end):
                        left_out += 1
                    else:
                        (calm if began < r.times[1] else busy).append(what)
        return calm, busy, left_out


def share(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]
