"""`make bench` measures what it says: all that was sent is counted, what is missing is seen."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from server import ROOT

sys.path.insert(0, str(ROOT / "tests" / "bench"))

import fanout  # noqa: E402
import report  # noqa: E402
import servers  # noqa: E402
import workloads  # noqa: E402
from servers import Setup  # noqa: E402
from workloads import Options, Patience, Shape, Station, in_turns  # noqa: E402

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


def write(path: Path, build: str, server: str, records: list[dict[str, float]]) -> dict[str, object]:
    results = fanout.Results(path, fresh=False)
    results.begin({"build": build})
    for number, record in enumerate(records):
        results.add("A", server, {"round": number, "p50": 1, "p99": 2, "messages": 9, "busy": 0.5, **record})
    return report.current(json.loads(path.read_text()))


def test_what_the_host_has_disturbed_does_not_count(tmp_path: Path) -> None:
    records = [{"cpu_us": 5.0, "stolen": 0.0}, {"cpu_us": 9.0, "stolen": 0.2, "lost": 1, "told": 0}]
    data = write(tmp_path / "results.json", "one", "wsbus-memory", records)
    assert report.values(data, "A", "wsbus-memory", "cpu_us") == [5.0]
    assert "During 1 of 2 measurements" in report.machine_words(data)
    # What was lost was lost.
    assert [met for what, _, _, met in report.verdicts(data) if "silence" in what] == [False]
    # Better than nothing, and said.
    again = [{**records[1], "round": 0}, {**records[1], "round": 0, "cpu_us": 8.0}]
    data = write(tmp_path / "other.json", "one", "wsbus-memory", again)
    assert report.ratios(data, "A", "wsbus-memory", "wsbus-memory") == [1.0]
    assert report.values(data, "A", "wsbus-memory", "cpu_us") == [9.0, 8.0]
    assert "the host took processor time each time" in report.rows(data, "A")[1][-1]


def test_what_an_earlier_build_has_done_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    for build, server, cpu in (
        ("one", "wsbus-memory", 5.0),
        ("one", "wsbus-redis", 6.0),
        ("one", "floor-redis", 3.0),
        ("two", "wsbus-memory", 4.0),
        ("two", "wsbus-memory", 4.5),
    ):
        data = write(path, build, server, [{"cpu_us": cpu}])
    assert report.values(data, "A", "wsbus-memory", "cpu_us") == [4.0, 4.5]
    assert [row[0] for row in report.rows(data, "A")[1:]] == [
        "wsbus (memory)",
        "floor, fed by Redis",
        "wsbus (Redis), earlier build",
    ]


def test_what_is_measured_again_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = iter([0.3, 0.0, 0.3, 0.3, 0.3, 0.3])
    monkeypatch.setattr(workloads, "stolen_since", lambda *_: next(shares))
    patience = Patience(3)
    assert len(list(patience.records(dict))) == 2  # disturbed once
    assert len(list(patience.records(dict))) == 3  # twice in a row and no more
    assert len(list(patience.records(dict))) == 1  # and not more often in all


@pytest.fixture
def centrifugo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "CENTRIFUGO", str(ROOT / "tests" / "e2e" / "centrifugo.py"))


@pytest.mark.usefixtures("programs", "centrifugo")
def test_centrifugo_is_spoken_to_in_its_own_words() -> None:
    found: list[dict[str, float]] = []
    options = Options(rounds=1, seconds=0.3, patience=0)
    in_turns("A", ["centrifugo"], options, lambda _, __, record: found.append(record), SHAPE, Setup())
    (record,) = found
    assert record["messages"] == 300 * 2
    assert record["lost"] == record["again"] == record["closed"] == 0


@pytest.mark.usefixtures("programs", "centrifugo")
def test_centrifugo_acknowledges_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workloads, "J", Shape(sockets=10, each=1, channels=10, rate=500))
    record = workloads.publish_once("centrifugo", 0.3)
    assert record["published"] == record["acknowledged"] == 150
    assert record["refused"] == 0


def test_the_document_has_a_place_for_each_workload() -> None:
    text = report.DOCUMENT.read_text()
    for name in ("machine", "targets", *report.WORKLOADS):
        assert f"<!-- {name} -->\n" in text and f"<!-- end of {name} -->" in text


@pytest.mark.usefixtures("programs")
def test_a_stream_with_a_loss_ends_although_pings_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "BOUNDS", {**servers.BOUNDS, "ping_ms": 200})
    station = Station("wsbus-memory", Setup(), SHAPE)
    try:
        assert station.load
        assert station.load.ask("end 300", 10)["lost"] == 600
    finally:
        station.close()


@pytest.mark.usefixtures("programs")
def test_pings_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or all sockets would be closed in the middle of a long run."""
    monkeypatch.setattr(servers, "BOUNDS", {**servers.BOUNDS, "ping_ms": 300, "pong_ms": 1000})
    found: list[dict[str, float]] = []
    options = Options(rounds=1, seconds=2, patience=0)
    in_turns("A", ["wsbus-memory"], options, lambda _, __, record: found.append(record), SHAPE, Setup())
    (record,) = found
    assert record["lost"] == record["closed"] == 0


@pytest.mark.usefixtures("programs")
def test_a_socket_that_is_closed_as_too_slow_is_not_lost_in_silence() -> None:
    """The server says why in a close frame; with that the connection has ended."""
    shape = Shape(sockets=4, each=1, channels=1, rate=4000, size=5000)
    station = Station("wsbus-memory", Setup(), shape)
    try:
        assert station.load
        feeding = [*station.server.feeding, "channels=1", "rate=4000", "seconds=1", "size=5000"]
        station.load.process.send_signal(signal.SIGSTOP)
        feed = workloads.spawn("feed", *feeding)
        try:
            assert workloads.read_line(feed, 30, "feed")["messages"] == 4000
            assert workloads.read_line(feed, 30, "feed")["refused"] == 0
        finally:
            feed.kill()
            feed.wait()
            station.load.process.send_signal(signal.SIGCONT)
        result = station.load.ask("end 4000", 30)
        assert result["closed"] == 4
        assert result["silent"] == result["lost"] == 0
        assert result["messages"] < 4 * 4000
    finally:
        station.close()
