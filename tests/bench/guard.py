#!/usr/bin/env python3
"""Has the bridge become dearer? Counts the instructions of fixed pieces of work and compares them.

    tests/bench/guard.py PROGRAM --compiler CC --flags FLAGS [--record]      `make bench-guard` does it

PROGRAM is guard.c; valgrind's callgrind counts, and only what the scenario is about (guard.c's run_…()).
An instruction count is the same in each run and on each machine, however busy it is: one thread, no
socket, no clock, no chance, no address layout, fixed environment, and the C library's functions in
their variants for any x86-64 (the newer ones are chosen by the processor).

What is compared with is guard.json: counts for each compiler (version and flags) and C library. More
than 5 % above fails, with a line for each; more than 5 % below is told, so that it is recorded and stays.
For a compiler that is not there nothing is compared. `--record` writes what was counted.

Each time, one scenario is counted once more with a tenth more work, which has to be found.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "tests" / "bench" / "guard.json"
OUT = ROOT / "build" / "bench" / "counts"
MOST = 0.05
PROBE = "deliver/one-channel"

# By what the processor can do, the C library chooses among its variants: none but the oldest.
NEWER = "AVX AVX2 AVX512F AVX512BW AVX512VL AVX_Fast_Unaligned_Load BMI1 BMI2 ERMS FMA FSRM LZCNT MOVBE"
NEWER += " POPCNT RTM SSE3 SSE4_1 SSE4_2 SSSE3 XSAVE XSAVEC"
TUNABLES = ":".join(
    [
        "glibc.cpu.hwcaps=" + ",".join("-" + name for name in NEWER.split()),
        "glibc.cpu.x86_data_cache_size=32768",
        "glibc.cpu.x86_shared_cache_size=1048576",
        "glibc.cpu.x86_non_temporal_threshold=786432",
        "glibc.cpu.x86_rep_movsb_threshold=786432",
        "glibc.cpu.x86_rep_stosb_threshold=786432",
    ]
)
VARIANT = re.compile(r"^fn=\(\d+\) (\w+_(?:avx|evex|ssse3|sse4)\w*)", re.M)


class Scenario(NamedTuple):
    name: str
    units: int
    unit: str


def scenarios(program: str) -> list[Scenario]:
    lines = subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()
    return [Scenario(name, int(units), unit) for name, units, unit in (line.split() for line in lines)]


def fixed_layout() -> list[str]:
    """Where it is not allowed (some containers), callgrind's own layout has to do."""
    argv = ["setarch", platform.machine(), "-R"]
    works = shutil.which("setarch") and subprocess.run([*argv, "true"], capture_output=True).returncode == 0
    return argv if works else []


def count(program: str, name: str, waste: int = 0) -> int:
    """Instructions of a scenario; `waste`: so many more for each write to a socket."""
    file = OUT / (name.replace("/", "-") + ("-waste" if waste else "") + ".out")
    argv = ["valgrind", "--tool=callgrind", "--toggle-collect=run_*", f"--callgrind-out-file={file}"]
    argv += [program, name] + ([str(waste)] if waste else [])
    # No longer or shorter than on another machine: it stands on the stack.
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "GLIBC_TUNABLES": TUNABLES}
    done = subprocess.run(
        fixed_layout() + argv, cwd=ROOT, env=environment, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise SystemExit(f"bench-guard: {name} does not run:\n{done.stderr[-2000:]}")
    text = file.read_text()
    if newer := VARIANT.search(text):
        raise SystemExit(f"bench-guard: {name}: {newer[1]} depends on the processor (see TUNABLES)")
    total = re.search(r"^(?:totals|summary): (\d+)", text, re.M)
    if not total:
        raise SystemExit(f"bench-guard: {name}: nothing was counted")
    return int(total[1])


def compiler(command: str, flags: str) -> str:
    first = subprocess.run(
        [*command.split(), "--version"], check=True, capture_output=True, text=True
    ).stdout.splitlines()[0]
    version = re.findall(r"\d+\.\d+[.\d]*", first)
    kind = "clang" if "clang" in first else "gcc"
    libc = " ".join(platform.libc_ver())
    return f"{kind} {version[-1] if version else first} {flags}; {libc}; {platform.machine()}"


def grouped(n: float) -> str:
    return f"{n:,.0f}".replace(",", " ")


def compare(is_: dict[str, int], was: dict[str, int], listed: list[Scenario]) -> tuple[list[str], list[str]]:
    """What has become dearer, and what cheaper, in words."""
    dearer, cheaper = [], []
    for s in listed:
        if s.name not in was or s.name not in is_:
            continue
        change = is_[s.name] / was[s.name] - 1
        line = (
            f"{s.name}: was {grouped(was[s.name])}, is {grouped(is_[s.name])} instructions ({change:+.1%});"
            f" for each {s.unit} {grouped(was[s.name] / s.units)} -> {grouped(is_[s.name] / s.units)}"
        )
        if change > MOST:
            dearer.append(line)
        elif change < -MOST:
            cheaper.append(line)
    return dearer, cheaper


def probe(program: str, is_: dict[str, int], listed: list[Scenario]) -> None:
    """With a tenth more work in one scenario: does the comparison find that one, and no other?"""
    scenario = next(s for s in listed if s.name == PROBE)
    waste = is_[PROBE] // scenario.units // 10
    dearer, _ = compare({**is_, PROBE: count(program, PROBE, waste)}, is_, listed)
    if len(dearer) != 1 or not dearer[0].startswith(PROBE):
        raise SystemExit(f"bench-guard: a tenth more work in {PROBE} goes unnoticed: {dearer}")


def table(is_: dict[str, int], was: dict[str, int], listed: list[Scenario]) -> None:
    for s in listed:
        beside = f"{is_[s.name] / was[s.name] - 1:+8.2%}" if s.name in was else "     new"
        print(f"  {s.name:<28}{beside}  {grouped(is_[s.name] / s.units):>9} instructions a {s.unit}")


def verdict(is_: dict[str, int], was: dict[str, int], listed: list[Scenario]) -> int:
    dearer, cheaper = compare(is_, was, listed)
    for line in dearer:
        print(f"bench-guard FAILED: {line}")
    for line in cheaper:
        print(f"bench-guard: cheaper: {line}")
    unknown = [s.name for s in listed if s.name not in was]
    if unknown:
        print(f"bench-guard: not recorded yet: {', '.join(unknown)}")
    if dearer:
        print(f"What the instructions are spent on: callgrind_annotate {OUT.relative_to(ROOT)}/NAME.out")
        print("If it has to be: make bench-guard RECORD=1")
    elif cheaper or unknown:
        print("To have this compared from now on: make bench-guard RECORD=1")
    return 1 if dearer else 0


def main() -> int:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--flags", default="")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    if not shutil.which("valgrind"):
        raise SystemExit("bench-guard: valgrind is missing (make packages installs it)")
    OUT.mkdir(parents=True, exist_ok=True)
    listed = scenarios(options.program)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = pool.map(lambda s: count(options.program, s.name), listed)
        is_ = {s.name: n for s, n in zip(listed, counts)}
    probe(options.program, is_, listed)
    records = json.loads(RECORDS.read_text()) if RECORDS.exists() else {}
    name = compiler(options.compiler, options.flags)
    was = records.get(name, {})
    print(f"Instructions, {name}")
    table(is_, was, listed)
    if options.record:
        records[name] = is_
        RECORDS.write_text(json.dumps(records, indent=1, sort_keys=True) + "\n")
        print(f"recorded in {RECORDS.relative_to(ROOT)}")
        return 0
    if not was:
        print("bench-guard: nothing is recorded for this compiler; nothing was compared.")
        print("To have it compared from now on: make bench-guard RECORD=1")
        return 0
    return verdict(is_, was, listed)


if __name__ == "__main__":
    sys.exit(main())
