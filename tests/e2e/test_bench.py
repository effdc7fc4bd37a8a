"""`make bench` measures what it says: all that was sent is counted, what is missing is seen."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from server import ROOT

sys.path.insert(0, str(ROOT / "tests" / "bench"))

import fanout  # noqa: E402
import report  # noqa: E402
from servers import Setup  # noqa: E402
from workloads import Options, Shape, Station, in_turns  # noqa: E402

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
SHAPE = Shape(sockets=20, each=3, channels=30, rate=1000)


@pytest.fixture(scope="module")
def programs() -> None:
    fanout.build()


@pytest.mark.usefixtures("programs")
def test_all_that_was_sent_is_counted() -> None:
    found = {}
    in_turns(
        "A",
        ["floor-ws", "wsbus-memory"],
        Options(rounds=1, seconds=0.3),
        lambda workload, server, record: found.update({server: record}),
        SHAPE,
        Setup(),
    )
    for record in found.values():
        assert record["messages"] == 300 * 2
        assert record["lost"] == record["again"] == record["closed"] == 0
        assert record["cpu_us"] > 0


@pytest.mark.usefixtures("programs")
def test_what_is_missing_at_the_end_is_lost() -> None:
    station = Station("floor-ws", Setup(), SHAPE)
    try:
        assert station.load
        result = station.load.ask("end 300")
    finally:
        station.close()
    assert (result["messages"], result["lost"], result["told"]) == (0, 600, 0)


def test_results_add_up_and_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for cpu in (4.0, 5.0):
        results = fanout.Results(tmp_path / "results.json", fresh=False)
        results.begin({})
        for server, factor in (("floor-ws", 1.0), ("wsbus-memory", 1.1)):
            record = {"round": 0, "cpu_us": cpu * factor, "p50": 1, "p99": 2, "messages": 9, "busy": 0.5}
            results.add("A", server, record)
    data = json.loads((tmp_path / "results.json").read_text())
    assert report.ratios(data, "A", "wsbus-memory", "floor-ws") == pytest.approx([1.1, 1.1])
    report.show(data, "A")
    assert "1.10 (1.10 to 1.10)" in capsys.readouterr().out
    page = report.write_page(data, tmp_path).read_text()
    assert "wsbus (memory)" in page and "/* RESULTS */" not in page


def test_the_document_has_a_place_for_each_workload() -> None:
    text = report.DOCUMENT.read_text()
    for name in ("machine", "targets", *report.WORKLOADS):
        assert f"<!-- {name} -->\n" in text and f"<!-- end of {name} -->" in text
