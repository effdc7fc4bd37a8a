#!/usr/bin/env python3
"""Fan-out to many sockets: wsbus beside a server that does nothing else, and beside what people use.

    tests/bench/fanout.py [--only A,C] [--servers wsbus,floor] [--rounds 9] [--seconds 0.7] [--full]
                          [--patience 0.5] [--fresh] [--out FOLDER] [--report]

Runs workloads (workloads.py; --full: those as well that `make bench` leaves out) on servers (servers.py;
a name stands for all that begin with it), prints what came out, and adds it to FOLDER/results.json, from
which FOLDER/index.html is made: so parts can be run one by one. --fresh begins a new file. --report runs nothing:
it makes the page anew and writes the tables of docs/performance.md. What was measured with an earlier build of
wsbus is left out as soon as there is something of a newer one for the same workload and server.

On a virtual machine the host takes processor time in bursts. A stream about which it took more than a hundredth
of that of the two cores does not count, and is measured again: at once, twice at most, and in all as often as
--patience times what was planned. How many were left out is told.

The server has one core for itself. The other one has the publisher (feed.c), the sockets (load.c) and the
bus. Each number of each channel is checked. An age counts from when a message was due, so a server that
falls behind cannot hide it. "CPU us" is processor time of the server, user and system, all threads, for one
message at one socket; ratios are those of two streams of the same round.

Needs root for nothing; loopback only; ends by itself and stops what it starts. What is not installed is
left out and named. CENTRIFUGO=/path/to/centrifugo measures that too, WSBUS_BIN another build of wsbus.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import report
from servers import BINARY, HERE, LIST, ROOT, SERVERS, TOOLS, Setup, shared
from workloads import WORKLOADS, Options, Record

PROGRAMS = {
    "floor": (["floor", "floor_redis", "floor_kafka", "link", "wire"], ["ssl", "crypto", "rdkafka"]),
    "load": (["load", "tally", "unpack", "link", "wire"], ["ssl", "crypto", "z"]),
    "feed": (["feed", "feed_kafka", "text", "wire"], ["rdkafka"]),
    "publish": (["publish", "tally", "text", "link", "wire"], ["ssl", "crypto"]),
}


def build() -> None:
    TOOLS.mkdir(parents=True, exist_ok=True)
    newest = max(path.stat().st_mtime for path in HERE.glob("*.[ch]"))
    for name, (files, libraries) in PROGRAMS.items():
        out = TOOLS / name
        if out.exists() and out.stat().st_mtime > newest:
            continue
        new = out.with_suffix(f".{os.getpid()}")
        argv = ["cc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-o", str(new)]
        argv += [str(HERE / f"{file}.c") for file in files] + [f"-l{lib}" for lib in libraries]
        subprocess.run(argv, check=True)
        new.replace(out)


def machine() -> dict[str, Any]:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30),
        "system": system,
        "kernel": platform.release(),
    }


def build_of_wsbus() -> dict[str, str]:
    """What tells one build from another, and what it was made of."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    digest = hashlib.sha256(Path(BINARY).read_bytes()).hexdigest()[:16]
    return {"build": digest, "tree": told.stdout.strip()}


class Results:
    """What has been measured, in a file that is whole after every single record."""

    def __init__(self, path: Path, fresh: bool) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.data: dict[str, Any] = {"runs": [], "records": {}}
        if path.exists() and not fresh:
            self.data = json.loads(path.read_text())
        self.run = len(self.data["runs"])

    def begin(self, options: dict[str, Any]) -> None:
        when = time.strftime("%Y-%m-%d %H:%M")
        run = {"when": when, "machine": machine(), "load": os.getloadavg()[0], **build_of_wsbus(), **options}
        self.data["runs"].append(run)

    def add(self, workload: str, server: str, record: Record) -> None:
        records = self.data["records"].setdefault(workload, {}).setdefault(server, [])
        records.append({"run": self.run, **record})
        self.data["runs"][self.run]["until"] = time.strftime("%Y-%m-%d %H:%M")
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.data, indent=1))
        new.replace(self.path)


def choose(names: list[str], wanted: str, setup: Setup, told: set[str]) -> list[str]:
    prefixes = wanted.split(",") if wanted else [""]
    chosen = []
    for kind in LIST:
        if kind.name not in names or not kind.name.startswith(tuple(prefixes)):
            continue
        why = kind.missing(setup)
        if not why:
            chosen.append(kind.name)
        elif f"{kind.name}: {why}" not in told:
            told.add(f"{kind.name}: {why}")
            print(f"left out: {kind.label}: {why}")
    return chosen


def arguments() -> argparse.Namespace:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=Options.rounds)
    parser.add_argument("--seconds", type=float, default=Options.seconds)
    parser.add_argument("--patience", type=float, default=Options.patience)
    parser.add_argument("--only", default="")
    parser.add_argument("--servers", default="")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--out", type=Path, default=TOOLS)
    return parser.parse_args()


def measure(options: argparse.Namespace, results: Results, wanted: list[str]) -> None:
    idle, steps = (10, 3) if options.full else (5, 2)
    how = Options(options.rounds, options.seconds, idle, steps, options.patience)
    told: set[str] = set()
    for name in wanted:
        workload = WORKLOADS[name]
        names = [*workload.servers, *(workload.more if options.full else ())]
        chosen = choose(names, options.servers, workload.setup, told)
        if not chosen:
            continue
        began = time.monotonic()
        workload.run(name, chosen, how, results.add)
        print(f"\r{' ' * 50}\r{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        report.show(report.current(results.data), name)


def main() -> int:
    options = arguments()
    unknown = [name for name in options.only.split(",") if name and name not in WORKLOADS]
    if unknown:
        raise SystemExit(f"no such workload: {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    if options.servers and not any(s.startswith(tuple(options.servers.split(","))) for s in SERVERS):
        raise SystemExit(f"no such server; there are {', '.join(SERVERS)}")
    results = Results(options.out / "results.json", options.fresh)
    if options.report:
        data = report.current(results.data)
        report.write_page(data, options.out)
        report.write_document(data)
        return 0
    if (os.cpu_count() or 1) < 2:
        raise SystemExit("needs two cores: one for the server, one for the sockets")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < 20000:
        raise SystemExit("needs 20 000 files for a process: ulimit -Hn 20000, or LimitNOFILE of the session")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    build()
    default = [name for name, workload in WORKLOADS.items() if options.full or not workload.full]
    wanted = options.only.split(",") if options.only else default
    results.begin({"rounds": options.rounds, "seconds": options.seconds})
    try:
        measure(options, results, wanted)
    except KeyboardInterrupt:
        print("\nstopped; what was measured so far is kept", file=sys.stderr)
        return 130
    finally:
        shared.stop()
    data = report.current(results.data)
    report.targets(data)
    page = report.write_page(data, options.out)
    print(f"\nCharts: {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
