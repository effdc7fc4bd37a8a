"""The results of fanout.py as tables, as a page with charts, and as the tables of docs/performance.md."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rig import STOLEN
from servers import HERE, ROOT, SERVERS, TOOLS
from workloads import WORKLOADS

Data = dict[str, Any]
Row = dict[str, Any]
DOCUMENT = ROOT / "docs" / "performance.md"
CHARTS = TOOLS / "node" / "node_modules" / "chart.js" / "dist" / "chart.umd.min.js"


# ---- which records count


def calm(records: list[Row]) -> list[Row]:
    """Those about which the host left the machine alone; if there is none, all."""
    return [r for r in records if r.get("stolen", 0) < STOLEN] or records


def newest(data: Data, records: list[Row]) -> list[Row]:
    """Those of the last build of wsbus among them."""
    builds = [data["runs"][r["run"]].get("build") for r in records]
    return [r for r, build in zip(records, builds, strict=True) if build == builds[-1]]


def current(data: Data) -> Data:
    """The same without what an earlier build of wsbus has done: of a workload, what was measured with the
    last one that it was measured with. Servers that were not measured beside that one keep what they have,
    and those that are wsbus are called an earlier build. A server that is not of wsbus is the same in each."""
    found: dict[str, dict[str, list[Row]]] = {}
    for workload, by_server in data["records"].items():
        runs = [r["run"] for records in by_server.values() for r in records]
        last = data["runs"][max(runs)].get("build")
        for server, records in by_server.items():
            kept = newest(data, records)
            stale = data["runs"][kept[-1]["run"]].get("build") != last
            name = f"{server}, earlier build" if stale and server.startswith("wsbus") else server
            found.setdefault(workload, {})[name] = kept
    return {**data, "records": found}


def label(server: str) -> str:
    name, _, rest = server.partition(", ")
    text = SERVERS[name].label if name in SERVERS else name
    return f"{text}, {rest}" if rest else text


def number(value: float, digits: int) -> str:
    text = f"{value:,.{digits}f}".replace(",", " ")
    return text


def spread(values: list[float], digits: int = 2) -> str:
    if not values:
        return "–"
    middle = number(statistics.median(values), digits)
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values), digits)} to {number(max(values), digits)})"


def ratios(data: Data, workload: str, server: str, other: str, field: str = "cpu_us") -> list[float]:
    """Of the two in the same round of the same run; what was measured again stands for what it was before."""
    records = data["records"].get(workload, {})
    of, by = (
        {(r["run"], r["round"]): r[field] for r in calm(records.get(name, [])) if r.get(field, 0) > 0}
        for name in (server, other)
    )
    return [value / by[where] for where, value in of.items() if where in by]


def values(data: Data, workload: str, server: str, field: str) -> list[float]:
    records = data["records"].get(workload, {}).get(server, [])
    return [float(r[field]) for r in calm(records) if field in r]


def median(data: Data, workload: str, server: str, field: str) -> float | None:
    found = values(data, workload, server, field)
    return statistics.median(found) if found else None


def remarks(records: list[Row]) -> str:
    """What is wrong with some of the records, in words."""
    words = []
    lost = sum(r.get("lost", 0) for r in records)
    told = sum(r.get("told", 0) for r in records)
    again = sum(r.get("again", 0) for r in records)
    closed = sum(r.get("closed", 0) for r in records)
    if lost > told:
        words.append(f"{number(lost - told, 0)} lost in silence")
    if told:
        words.append(f"{number(told, 0)} lost and told")
    if again:
        words.append(f"{number(again, 0)} out of order")
    if any(r.get("refused") for r in records):
        words.append(f"{sum(r.get('refused', 0) for r in records)} publishes refused")
    if closed:
        words.append(f"{number(closed, 0)} connections closed")
    if max(r.get("late", 0) for r in calm(records)) > 100:
        words.append("the publisher was held up")
    if max(r.get("generator", 0) for r in calm(records)) > 0.97:
        words.append("the generator was at its limit")
    if min(r.get("stolen", 0) for r in records) >= STOLEN:
        words.append("the host took processor time each time")
    return ", ".join(words)


def floor_of(server: str) -> str:
    name = server.partition(", ")[0]
    return SERVERS[name].floor if name in SERVERS else ""


# ---- one table for each kind of workload: (head, digits or text of a row)

Column = tuple[str, Callable[[Data, str, str, list[Row]], str]]


def field(name: str, digits: int, scale: float = 1) -> Callable[[Data, str, str, list[Row]], str]:
    return lambda data, w, s, records: spread([r[name] * scale for r in calm(records) if name in r], digits)


def of_floor(data: Data, workload: str, server: str, _: list[Row]) -> str:
    return spread(ratios(data, workload, server, floor_of(server)))


def noted(data: Data, workload: str, server: str, records: list[Row]) -> str:
    return remarks(records)


def beyond(data: Data, workload: str, server: str, records: list[Row]) -> str:
    found = [r["beyond"][0] for r in records if r.get("beyond")]
    if not found:
        return "not reached"
    last = found[-1]
    what = remarks([last]) or "all arrived, too late"
    return f"{number(last['rate'], 0)}/s: {what}; p99 {number(last['p99'], 0)} ms"


FAN_OUT: list[Column] = [
    ("CPU of a delivery, us", field("cpu_us", 2)),
    ("of its floor", of_floor),
    ("p50, ms", field("p50", 2)),
    ("p99, ms", field("p99", 2)),
    ("core in use, %", field("busy", 0, 100)),
    ("", noted),
]
COLUMNS: dict[str, list[Column]] = {
    "A-max": [
        ("messages/s", field("rate", 0)),
        ("deliveries/s", field("deliveries", 0)),
        ("CPU of a delivery, us", field("cpu_us", 3)),
        ("p99, ms", field("p99", 1)),
        ("generator's core, %", field("generator", 0, 100)),
        ("beyond", beyond),
    ],
    "E": [
        ("bytes of a socket", field("bytes", 0)),
        ("process without sockets, MiB", field("empty", 1, 1 / 2**20)),
        ("core in use, %", field("busy", 2, 100)),
        ("without sockets, %", field("alone", 2, 100)),
    ],
    "F": [
        ("until the last is subscribed, s", field("seconds", 2)),
        ("connections/s", field("a_second", 0)),
        ("CPU of each, us", field("cpu_us", 0)),
        ("p99 of one, ms", field("p99", 0)),
        ("core in use, %", field("busy", 0, 100)),
        ("generator's core, %", field("generator", 0, 100)),
    ],
    "I": [
        ("until all have all, s", field("seconds", 2)),
        ("messages/s", field("a_second", 0)),
        ("CPU of a message, us", field("cpu_us", 2)),
        ("live p99 before, ms", field("calm_p99", 1)),
        ("live p99 meanwhile, ms", field("p99", 1)),
        ("", noted),
    ],
    "J": [
        ("CPU of a publish, us", field("cpu_us", 2)),
        ("p50, ms", field("p50", 2)),
        ("p99, ms", field("p99", 2)),
        ("not acknowledged", field("missing", 0)),
        ("core in use, %", field("busy", 0, 100)),
    ],
}
COLUMNS["workers"] = [c for c in FAN_OUT if c[0] != "of its floor"]
COLUMNS["flush"] = list(COLUMNS["workers"])
COLUMNS["workers"].insert(-1, ("generator's core, %", field("generator", 0, 100)))
COLUMNS["G-idle"] = COLUMNS["E-own"] = COLUMNS["E"]


def rows(data: Data, workload: str) -> list[list[str]]:
    """A head and a row for each server."""
    columns = COLUMNS.get(workload, FAN_OUT)
    records = data["records"].get(workload, {})
    known = [s for s in SERVERS if s in records] + [s for s in records if s not in SERVERS]
    table = [["server", *(head for head, _ in columns)]]
    for server in known:
        cells = [cell(data, workload, server, records[server]) for _, cell in columns]
        table.append([label(server), *cells])
    return table


def show(data: Data, workload: str) -> None:
    table = [row for row in rows(data, workload)]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    print(f"\n{workload}: {WORKLOADS[workload].title}")
    for row in table:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


# ---- targets

Verdict = tuple[str, str, str, bool | None]  # what, wanted, measured, met


def ratio_target(data: Data, what: str, workload: str, pair: tuple[str, str], most: float) -> Verdict:
    found = ratios(data, workload, *pair)
    wanted = f"at most {most:g}"
    if not found:
        return what, wanted, "not measured", None
    return what, wanted, spread(found), statistics.median(found) <= most


def value_target(what: str, wanted: str, value: float | None, digits: int, met: bool) -> Verdict:
    if value is None:
        return what, wanted, "not measured", None
    return what, wanted, number(value, digits), met


def untold(data: Data) -> Verdict:
    """Over every record of wsbus, also those beyond the highest rate."""
    seen: list[Row] = []
    for by_server in data["records"].values():
        for server, records in by_server.items():
            if server.startswith("wsbus"):
                more = [r.get("beyond", []) + r.get("disturbed", []) for r in records]
                seen += records + [over for those in more for over in those]
    silent = sum(
        max(0, r.get("lost", 0) - r.get("told", 0)) + r.get("again", 0) + r.get("silent", 0) for r in seen
    )
    total = sum(r.get("messages", 0) for r in seen)
    what = "wsbus: nothing lost in silence, at any rate"
    return what, "none", f"{number(silent, 0)} of {number(total, 0)}", silent == 0 if total else None


def verdicts(data: Data) -> list[Verdict]:
    found: list[Verdict] = []
    for workload, most in {"A": 1.2, "B": 1.2, "C": 1.25, "D": 1.1}.items():
        for server in ("wsbus-redis", "wsbus-memory"):
            what = f"{workload}: CPU of a delivery, {label(server)} against its floor"
            found.append(ratio_target(data, what, workload, (server, floor_of(server)), most))
    for workload, most in {"A": 0.85, "C": 0.6}.items():
        what = f"{workload}: CPU of a delivery, wsbus (memory) against nchan"
        found.append(ratio_target(data, what, workload, ("wsbus-memory", "nchan"), most))
    for workload, most in {"A": 0.7, "C": 0.5}.items():
        what = f"{workload}: CPU of a delivery, wsbus (Redis) against Centrifugo"
        found.append(ratio_target(data, what, workload, ("wsbus-redis", "centrifugo"), most))
    best = max(
        (median(data, "A-max", s, "deliveries") or 0 for s in ("wsbus-memory", "wsbus-redis")), default=0
    )
    found.append(
        value_target("A-max: deliveries/s of one worker", "8 000 000", best or None, 0, best >= 8e6)
    )
    for peer in ("nchan", "centrifugo"):
        rate = median(data, "A-max", peer, "deliveries")
        times = best / rate if rate else None
        what = f"A-max: highest rate against {label(peer)}"
        found.append(value_target(what, "10 times", times, 1, (times or 0) >= 10))
    found.append(untold(data))
    idle = median(data, "E", "wsbus-memory", "bytes")
    found.append(value_target("E: bytes of an idle socket", "4 096", idle, 0, (idle or 0) <= 4096))
    tls = median(data, "G-idle", "wsbus-memory", "bytes")
    found.append(value_target("with TLS: bytes of an idle socket", "20 480", tls, 0, (tls or 0) <= 20480))
    cpu = median(data, "E", "wsbus-memory", "alone")
    percent = None if cpu is None else cpu * 100
    what = "E: % of a core in use without sockets"
    found.append(value_target(what, "0.1", percent, 2, (percent or 0) <= 0.1))
    cost = median(data, "F", "wsbus-memory", "cpu_us")
    each = 1e6 / cost if cost else None
    what = "F: connections/s that one core's time is enough for"
    found.append(value_target(what, "5 000", each, 0, (each or 0) >= 5000))
    packed, plain = (median(data, w, "wsbus-memory", "cpu_us") for w in ("H", "H-plain"))
    times = packed / plain if packed and plain else None
    what = "H: CPU against the same without deflate"
    found.append(value_target(what, "1.3", times, 2, (times or 9) <= 1.3))
    return found


def verdict_word(met: bool | None) -> str:
    return "–" if met is None else "met" if met else "missed"


def targets(data: Data) -> None:
    print("\nTargets")
    for what, wanted, measured, met in verdicts(data):
        print(f"  {verdict_word(met):<7} {what:<62} {wanted:<14} {measured}")


# ---- page and document

def machine_words(data: Data) -> str:
    """Where, when, with what, and what does not count."""
    records = [r for by_server in data["records"].values() for some in by_server.values() for r in some]
    runs = [data["runs"][n] for n in sorted({r["run"] for r in records})] or data["runs"][-1:]
    m = runs[-1]["machine"]
    begin, end = runs[0]["when"], runs[-1].get("until", runs[-1]["when"])
    if end[:10] == begin[:10]:
        end = end[11:]
    trees = list(dict.fromkeys(run["tree"] for run in runs if run.get("tree")))
    disturbed = sum(r.get("stolen", 0) >= STOLEN for r in records)
    return (
        f"{m['processor']}, {m['cores']} cores, {m['memory_gib']} GiB, {m['system']}, Linux {m['kernel']};"
        f" {begin} to {end}{'; wsbus ' if trees else ''}{', '.join(trees)}."
        f" During {disturbed} of {len(records)} measurements the host of the machine took more than a hundredth"
        " of the processor time; medians and ratios are without them."
    )


def chart(data: Data, workload: str, name: str, title: str, scale: float = 1) -> Row | None:
    """A bar for each server: median, least and greatest."""
    bars = []
    for server in data["records"].get(workload, {}):
        found = [v * scale for v in values(data, workload, server, name)]
        if found:
            kind = "wsbus" if server.startswith("wsbus") else floor_of(server) == server and "floor" or "peer"
            bars.append(
                {"label": label(server), "kind": kind, "value": statistics.median(found),
                 "low": min(found), "high": max(found)}
            )  # fmt: skip
    return {"title": title, "bars": bars} if bars else None


CHARTED: dict[str, list[tuple[str, str, float]]] = {
    "A-max": [("deliveries", "million deliveries a second (more is better)", 1e-6)],
    "E": [("bytes", "KiB of a socket", 1 / 1024)],
    "E-own": [("bytes", "KiB of a socket", 1 / 1024)],
    "G-idle": [("bytes", "KiB of a socket", 1 / 1024)],
    "F": [("cpu_us", "CPU of a connection, us", 1), ("seconds", "until the last is subscribed, s", 1)],
    "I": [("p99", "p99 of the live stream meanwhile, ms", 1), ("seconds", "until all have all, s", 1)],
    "J": [("cpu_us", "CPU of a publish, us", 1), ("p99", "p99 of the acknowledgement, ms", 1)],
}
USUAL = [("cpu_us", "CPU of a delivery, us", 1.0), ("p99", "p99 of a message's age, ms", 1.0)]


def write_page(data: Data, folder: Path) -> Path:
    sections = []
    for name, workload in WORKLOADS.items():
        if name not in data["records"]:
            continue
        charts = [chart(data, name, *charted) for charted in CHARTED.get(name, USUAL)]
        sections.append(
            {"name": name, "title": workload.title, "charts": [c for c in charts if c],
             "rows": rows(data, name)}
        )  # fmt: skip
    results = {
        "machine": machine_words(data),
        "sections": sections,
        "targets": [[w, g, m, verdict_word(met)] for w, g, m, met in verdicts(data)],
    }
    text = (HERE / "page.html").read_text()
    library = CHARTS.read_text() if CHARTS.exists() else ""
    text = text.replace("/* CHARTS */", library.replace("</script", "<\\/script"))
    text = text.replace("/* RESULTS */ null", json.dumps(results).replace("</", "<\\/"))
    page = folder / "index.html"
    page.write_text(text)
    return page


def markdown(table: list[list[str]]) -> str:
    lines = ["| " + " | ".join(table[0]) + " |", "|" + " --- |" * len(table[0])]
    lines += ["| " + " | ".join(row) + " |" for row in table[1:]]
    return "\n".join(lines)


def write_document(data: Data) -> None:
    """Replaces what stands between the markers of each part."""
    parts = {
        "machine": machine_words(data),
        "targets": markdown(
            [["target", "wanted", "measured", ""]]
            + [[w, g, m, verdict_word(met)] for w, g, m, met in verdicts(data)]
        ),
    }
    for name in WORKLOADS:
        if name in data["records"]:
            parts[name] = markdown(rows(data, name))
    text = DOCUMENT.read_text()
    for name, part in parts.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        if begin not in text or end not in text:
            raise SystemExit(f"{DOCUMENT}: no place for {name}: it needs {begin.strip()} and {end}")
        head, _, rest = text.partition(begin)
        text = head + begin + part + "\n" + end + rest.partition(end)[2]
    DOCUMENT.write_text(text)
    print(f"written: {DOCUMENT.relative_to(ROOT)}")
