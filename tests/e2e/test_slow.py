"""Clients that are too slow: what they lose, what they are told, and what they cost."""

from __future__ import annotations

import json
import resource
import socket
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from client import Client, split
from conftest import Start
from raw import Raw, stalled_reader
from server import SANITIZER, Server, config
from steady import steadily
from tools import Tool

Connect = Callable[..., Client]

TIGHT = {"queue_bytes": 65536, "send_buffer": 16384}


def subscribed(raw: Raw, channel: str, **more: Any) -> dict[str, Any]:
    raw.text(json.dumps({"type": "subscribe", "id": 1, "channel": channel, **more}))
    frame = raw.json()
    assert frame["type"] == "subscribed", frame
    return frame


def until_pong(raw: Raw) -> list[dict[str, Any]]:
    """All that is on its way."""
    raw.text('{"type":"ping","id":"end"}')
    frames = []
    while (frame := raw.json()).get("id") != "end":
        frames.append(frame)
    return frames


def values(frames: list[dict[str, Any]]) -> list[int]:
    return [int(f["text"][:4]) for f in frames if f["type"] == "message"]


def fetched(client: Client, gap: dict[str, Any]) -> list[int]:
    """What lies between the places of a gap."""
    found: list[int] = []
    page = {"cursor": gap["after"], "more": True}
    while page["more"]:
        page = client.history(gap["channel"], {"after": page["cursor"]}, until=gap["until"])
        assert page["recovered"], page
        found += values(page["messages"])
    return found


def test_drop_loses_the_oldest_and_says_so(start: Start, connect: Connect) -> None:
    special = start(config(limits=TIGHT))
    writer = connect(special)
    with Raw(special.port, receive_buffer=4096) as slow:
        slow.upgrade()
        subscribed(slow, "plain.a", policy="drop")
        for i in range(200):
            writer.publish("plain.a", text=f"{i:04}" + "x" * 5000)
        frames = until_pong(slow)
        got = values(frames)
        assert got == sorted(set(got)) and got[0] == 0 and got[-1] == 199
        missing = []
        for i, frame in enumerate(frames):
            if frame["type"] == "message":
                continue
            assert frame["type"] == "gap" and frame["reason"] == "slow", frame
            lost = fetched(writer, frame)
            assert frame["lost"] == len(lost), frame
            # Told in its place: between the last message before it and the next one.
            assert lost[0] == values([frames[i - 1]])[0] + 1
            assert lost[-1] == values([frames[i + 1]])[0] - 1
            missing += lost
        assert missing and sorted(got + missing) == list(range(200))
        writer.publish("plain.a", text="0200")
        assert values(until_pong(slow)) == [200]
    writer.quiet()


def test_drop_by_age(start: Start, connect: Connect) -> None:
    special = start(config(limits={**TIGHT, "queue_bytes": 16 << 20, "queue_ms": 300}))
    writer = connect(special)

    def round_() -> None:
        with Raw(special.port, receive_buffer=4096) as slow:
            slow.upgrade()
            subscribed(slow, "plain.a", policy="drop")
            sent = 0
            for _ in range(4):
                for _ in range(20):
                    writer.publish("plain.a", text=f"{sent:04}" + "x" * 20_000)
                    sent += 1
                time.sleep(0.2)  # age is what this is about
            frames = until_pong(slow)
            gaps = [f for f in frames if f["type"] == "gap"]
            got = values(frames)
            assert gaps and got[-1] == sent - 1
            assert len(got) + sum(g["lost"] for g in gaps) == sent

    steadily(round_, special.port, gap=0.05)  # the last of them are read while they are young
    writer.quiet()


def test_each_subscription_has_its_own_policy(start: Start, connect: Connect) -> None:
    """What may be dropped goes first; without it there would be room for the others no longer."""
    special = start(config(limits=TIGHT))
    writer = connect(special)
    with Raw(special.port, receive_buffer=4096) as slow:
        slow.upgrade()
        subscribed(slow, "plain.a", policy="drop")
        subscribed(slow, "plain.b")
        for i in range(100):
            writer.publish("plain.a", text=f"{i:04}" + "x" * 5000)
        for i in range(5):
            writer.publish("plain.b", text=f"{i:04}" + "x" * 5000)
        frames = until_pong(slow)
        assert values([f for f in frames if f["channel"] == "plain.b"]) == list(range(5))
        of_a = [f for f in frames if f["channel"] == "plain.a"]
        assert any(f["type"] == "gap" for f in of_a)
        assert len(values(of_a)) + sum(f.get("lost", 0) for f in of_a) == 100
        # Now too much of what may not be lost.
        for i in range(200):
            writer.publish("plain.b", text=f"{i:04}" + "x" * 5000)
        assert slow.close_code() == 4000
    writer.quiet()


def test_gap_without_history(start: Start, connect: Connect) -> None:
    """A rule that hides the past hides the places too."""
    special = start(config(limits=TIGHT))
    writer = connect(special)
    with Raw(special.port, receive_buffer=4096) as slow:
        slow.upgrade()
        subscribed(slow, "fleeting.a", policy="drop")
        for i in range(100):
            writer.call("publish", channel="fleeting.a", text=f"{i:04}" + "x" * 5000)
        gaps = [f for f in until_pong(slow) if f["type"] == "gap"]
        assert gaps and all(set(g) == {"type", "channel", "reason", "lost"} for g in gaps)
    writer.quiet()


def test_resume_after_slow(start: Start, connect: Connect) -> None:
    """4000 loses nothing: what the cursor does not cover comes again."""
    special = start(config(limits=TIGHT))
    writer = connect(special)
    with Raw(special.port, receive_buffer=4096) as slow:
        slow.upgrade()
        cursor = subscribed(slow, "plain.a", policy="disconnect")["cursor"]
        for i in range(100):
            writer.publish("plain.a", text=f"{i:04}" + "x" * 5000)
        got: list[int] = []
        while (opcode_payload := slow.read_frame())[0] != 8:
            frame = json.loads(opcode_payload[1])
            got += values([frame])
            cursor = [frame["pos"]]
        assert int.from_bytes(opcode_payload[1][:2], "big") == 4000
    again = connect(special)
    assert again.subscribe("plain.a", {"after": cursor})["recovered"]
    while len(got) < 100:
        got += values([again.next("message")])
    assert got == list(range(100)) and split(cursor[0])
    writer.quiet()


# ---- the memory of the process


@pytest.mark.skipif(bool(SANITIZER), reason="a sanitizer's memory is not the daemon's")
def test_memory_ceiling(start: Start, connect: Connect) -> None:
    """Those go first who are the most behind; the others lose nothing."""
    ceiling = 48 << 20
    special = start(
        config(
            buses={"m": {"type": "memory", "history": 10}},
            replay={"ring_messages": 10},
            limits={"memory_bytes": ceiling, "queue_bytes": 1 << 30, "send_buffer": 16384},
        )
    )
    writer, healthy = connect(special), connect(special)
    healthy.subscribe("plain.a")
    drops, goes, stays = stalled = [
        Raw(special.port, receive_buffer=4096).upgrade() for _ in range(3)
    ]
    try:
        subscribed(drops, "plain.a", policy="drop")
        subscribed(goes, "plain.a")
        subscribed(stays, "plain.b")
        for i in range(8):
            writer.publish("plain.b", text=f"{i:04}" + "x" * 10_000)
        sent, code = 800, 0
        for i in range(sent):
            writer.publish("plain.a", text=f"{i:04}" + "x" * 60_000)
            assert healthy.next("message")["text"][:4] == f"{i:04}"
            if i % 20 == 0:
                assert special.rss() < ceiling * 1.1
            if not code and "event=memory_ceiling" in special.log():
                code = goes.close_code()
        assert code == 4000
        frames = until_pong(drops)
        got = values(frames)
        lost = sum(f["lost"] for f in frames if f["type"] == "gap")
        assert got == sorted(set(got)) and got[-1] == sent - 1 and len(got) + lost == sent
        assert values(until_pong(stays)) == list(range(8))
        healthy.quiet()
        connect(special).quiet()  # newcomers are welcome
    finally:
        for raw in stalled:
            raw.sock.close()


READERS = 10_000


class Stream(threading.Thread):
    """A hundred messages a second to each of ten channels, dated, and a hundred who read the first."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        frame = {"type": "subscribe", "id": 1, "channel": "plain.0"}
        self.readers = Tool("sink", server.port, 100, 1, json.dumps(frame))
        self.readers.ask("wait subscribed 100")
        self.client = Client(server.url)
        self.over = threading.Event()
        self.sent = 0

    def run(self) -> None:
        pad, began = "y" * 200, time.monotonic()
        while not self.over.wait(max(0.0, began + self.sent / 100 - time.monotonic())):
            for i in range(10):
                load = f'{{"t":{time.monotonic_ns()},"x":"{pad}"}}'
                self.client.send(f'{{"type":"publish","channel":"plain.{i}","data":{load}}}')
            self.sent += 1

    def p99(self, seconds: float) -> float:
        """In ms, of the next so many seconds."""
        self.readers.ask("clear")
        time.sleep(seconds)
        return float(self.readers.ask("report")["p99"])

    def close(self) -> None:
        self.over.set()
        self.join()
        self.readers.close()
        self.client.close()


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.skipif(bool(SANITIZER), reason="a sanitizer's memory is not the daemon's")
def test_memory_ceiling_with_many_stalled_readers(start: Start) -> None:
    """The memory holds, and a hundred healthy clients lose nothing. How old the messages are that they get
    is printed beside the same of another daemon for which nobody stalls: on a busy machine that says more
    of the machine than of the daemon."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < READERS + 2000:
        pytest.skip(f"no more than {hard} files may be open")
    # So many connections need about 50 MiB; what waits for those who stall is 30 MiB more in a minute.
    ceiling = 72 << 20
    limits = {"ping_ms": 0, "connections": READERS + 500}
    limits |= {"queue_bytes": 16 << 20, "queue_ms": 300_000}
    forgetful = {
        "workers": 1,
        "buses": {"m": {"type": "memory", "history": 10}},
        "replay": {"ring_messages": 10},
    }
    stalled: list[socket.socket] = []
    streams: list[Stream] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        special = start(config(**forgetful, limits={**limits, "memory_bytes": ceiling}))
        quiet = start(config(**forgetful, limits=limits))
        for server in (special, quiet):
            streams.append(Stream(server))
            streams[-1].start()
        for i in range(READERS):
            policy = "drop" if i % 2 else "disconnect"
            stalled.append(stalled_reader(special.port, f"plain.{i % 10}", policy))
        rows = []
        began = time.monotonic()
        while time.monotonic() - began < 60:
            with ThreadPoolExecutor() as pool:
                rows.append(tuple(pool.map(lambda s: s.p99(5), streams)))
            assert special.rss() < ceiling * 1.1
        ratio = statistics.median(a / b for a, b in rows)
        print(f"resident {special.rss() >> 20} MiB, p99 ms {rows}, median ratio {ratio:.2f}")
        assert "event=memory_ceiling" in special.log()
        for stream in streams:
            stream.over.set()
            stream.join()
            stream.readers.ask(f"wait message {stream.sent * 100}")
            report = stream.readers.ask("report")
            assert report["message"] == stream.sent * 100 and report["gap"] == 0, report
    finally:
        for stream in streams:
            stream.close()
        for sock in stalled:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
