#!/usr/bin/env python3
"""Which folder of src/ may include which, and who may use which library.

A file includes headers of its own room or of lower ones. A library stands behind the rooms that
wrap it and is invisible elsewhere. Prints file:line for each breach; exit code 1 if there is one.
"""

import re
import sys
from fnmatch import fnmatch
from pathlib import Path

# Low to high.
ROOMS = ["base", "web", "protocol", "config", "access", "bus", "hub", "session", "edge"]

# Header (pattern) -> the files (patterns) that may include it.
LIBRARIES = {
    "libwebsockets*": ["src/edge/*"],
    "uv.h": ["src/edge/*", "src/bus/thread.c"],
    "cjson/*": ["src/config/*", "src/access/*", "src/protocol/*"],
    "cJSON*": ["src/config/*", "src/access/*", "src/protocol/*"],
    "librdkafka/*": ["src/bus/kafka*"],
    "rdkafka*": ["src/bus/kafka*"],
    "hiredis*": ["src/bus/redis*"],
    "zlib.h": ["src/base/packer.c", "src/base/inflater.c"],
    "openssl/*": ["src/base/tls_error.c", "src/bus/redis_tls.c", "src/edge/tap.c", "src/edge/tls_*"],
}

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')
TOP = Path(__file__).resolve().parents[2]


def level(room: str) -> int:
    return ROOMS.index(room)


def breach_of_library(name: str, header: str) -> str | None:
    for pattern, users in LIBRARIES.items():
        if fnmatch(header, pattern) and not any(fnmatch(name, user) for user in users):
            return f"<{header}> belongs to {', '.join(users)}"
    return None


def breach_of_room(name: str, header: str) -> str | None:
    """`header` as written between quotes, relative to src/."""
    if not (TOP / "src" / header).is_file():
        return f'"{header}" is no file under src/ (headers are named from there: "room/noun.h")'
    there = Path(header).parts[0]
    here = Path(name).parts[1]
    if there not in ROOMS:
        return f"{there}/ is no room (tests/lint/layers.py has the list)"
    if here == "main.c" or level(there) <= level(here):
        return None
    return f"{here}/ is below {there}/ and must not include \"{header}\""


def check(path: Path) -> list[str]:
    name = path.relative_to(TOP).as_posix()
    parts = Path(name).parts
    if parts[0] == "src" and len(parts) > 2 and parts[1] not in ROOMS:
        return [f"{name}:1: {parts[1]}/ is no room (tests/lint/layers.py has the list)"]
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        quoted, angled = match.groups()
        breach = breach_of_library(name, quoted or angled)
        if breach is None and quoted:
            if parts[0] == "include":
                breach = f'"{quoted}": a public header includes public headers only'
            else:
                breach = breach_of_room(name, quoted)
        if breach:
            found.append(f"{name}:{number}: {breach}")
    return found


def main() -> int:
    files = [p for top in ("src", "include") for p in sorted((TOP / top).rglob("*.[ch]"))]
    found = [line for path in files for line in check(path)]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
