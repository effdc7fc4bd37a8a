"""Attacks, a short time each: others are served meanwhile, the memory stays, and the limit that
ended it is counted. tests/bench/attacks.py measures the same for longer."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from attackers import ATTACKS
from client import Client
from raw import Raw, handshake, wait_for
from server import PATIENCE, SANITIZER, Server, config
from test_metrics import scrape

HERE = Path(__file__).parent
# So tight that a second is enough to run into them; what holds for those who do no harm too has
# room for a machine that is busy.
LIMITS = {
    "address_connections": 50,
    "address_handshakes_per_second": 20,
    "handshake_ms": int(3000 * PATIENCE),
    "message_ms": 300,
    "queue_bytes": 65536,
    "queue_ms": 10000,
    "send_buffer": 8192,
    "frames_per_second": 200,
    "bytes_per_second": 400000,
    "publishes_per_second": 40,
    "subscribes_per_second": 20,
    "fragments": 64,
    "errors": 100,
    "connections": 500,
    "handshakes_per_second": 200,
    "half_open": 400,  # more than are at the gate at any time while somebody churns
    "subscriptions": 64,
    "channel_bytes": 200,
    "ping_ms": 200,
    "pong_ms": int(2000 * PATIENCE),
}
WANTED = {
    "header_drip": ("handshake_ms", "address_connections"),
    "frame_drip": ("message_ms", "address_connections"),
    "body_drip": (),  # refused by the head of the request
    "silence": ("handshake_ms", "address_connections"),
    "no_reading_page": (),  # it fits into the kernel's buffers
    "no_reading_stream": ("queue_bytes",),
    "gone": ("pong_ms",),
    "large_heads": ("header_bytes",),
    "churn": ("address_handshakes_per_second",),
    "handshakes": ("address_handshakes_per_second",),
    "subscribe_churn": ("subscribes_per_second", "errors"),
    "many_subscriptions": ("subscriptions", "channel_bytes"),
    "ping_flood": ("frames_per_second",),
    "request_flood": ("frames_per_second",),
    "publish_flood": ("publishes_per_second",),
    "large_publishes": ("bytes_per_second",),
    "too_large_publishes": ("message_bytes",),
    "bombs": ("inflate_ratio",),
    "tiny_fragments": ("fragments",),
    "huge_messages": ("frame_bytes",),
    "errors": ("errors",),
    "deep_json": ("bytes_per_second",),
    "silence_of_many": ("half_open",),
    "crowd": ("connections",),
    "handshakes_of_many": ("handshakes_per_second",),
}


@pytest.fixture(scope="module")
def target() -> Iterator[Server]:
    settings = config(
        listen=["127.0.0.1:0", {"address": "127.0.0.1:0", "proxy_protocol": True}],
        trusted_proxies=["127.0.0.1"],
        admin="127.0.0.1:0",
        compression={"enabled": True},
        limits=LIMITS,
    )
    started = Server("attacks", settings)
    yield started
    started.stop()


def attacked_port(server: Server) -> int:
    wait_for(lambda: len(re.findall("event=listening", server.log())) == 2)
    return int(re.findall(r"event=listening address=\S*?:(\d+)", server.log())[1])


def hits(server: Server, options: tuple[str, ...]) -> dict[str, float]:
    found = scrape(server)
    return {o: found["wsbus_limit_hits_total", f'limit="limits.{o}"'] for o in options}


def newcomer(server: Server) -> bool:
    """Nobody who comes is refused any longer."""
    with Raw(server.port) as raw:
        return raw.request(handshake(server.port)).status == 101


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack(target: Server, attack: str) -> None:
    wanted = WANTED[attack]
    before, memory = hits(target, wanted), target.rss()
    took: list[tuple[float, float]] = []  # by the clock, and of the daemon's processor time
    address = f"198.51.100.{list(ATTACKS).index(attack) + 1}"
    script = [sys.executable, str(HERE / "attackers.py"), attack, str(attacked_port(target))]
    began = time.monotonic()
    with Client(target.url) as healthy, Client(target.url) as feeder:
        attacker = subprocess.Popen([*script, "60", address], stdout=subprocess.DEVNULL)
        try:
            # Until it has run into what is there for it, and for half a second in any case.
            while time.monotonic() < began + 30 * PATIENCE:
                asked, used = time.monotonic(), target.busy()
                assert healthy.call("ping")["type"] == "pong"
                took.append((time.monotonic() - asked, target.busy() - used))
                assert attacker.poll() is None, "the attacker has given up"
                feeder.publish("plain.healthy", data="x" * 3000)
                time.sleep(0.03)  # the load of somebody who does no harm
                now = hits(target, wanted)
                if asked > began + 0.5 and all(now[o] > before[o] for o in wanted):
                    break
        finally:
            attacker.kill()
            attacker.wait()
    for option, count in hits(target, wanted).items():
        assert count > before[option], option
    # On a machine that stands still for a moment one or two wait for that, and nobody works.
    assert sorted(clock for clock, _ in took)[-min(3, len(took))] < 2 * PATIENCE, took
    assert max(processor for _, processor in took) < 2 * PATIENCE, took
    if not SANITIZER:
        assert target.rss() - memory < 48 << 20
    # All of it goes again.
    wait_for(lambda: newcomer(target))
    wait_for(lambda: scrape(target)["wsbus_sessions", ""] == 0)
    wait_for(lambda: scrape(target)["wsbus_connections", ""] == 0)
    assert scrape(target)["wsbus_queue_bytes", ""] == 0


ROW = re.compile(r"^\| (\w+) \| .* \| (\d+) / (\d+) / \d+ MB \| [\d.]+ / ([\d.]+) ms \|", re.M)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_attacks_for_longer() -> None:
    """With the limits that everybody has."""
    script = HERE.parent / "bench" / "attacks.py"
    done = subprocess.run(
        [sys.executable, str(script), "--seconds", "5", "--any"],  # WSBUS_BIN is passed on
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    rows = ROW.findall(done.stdout)
    assert [row[0] for row in rows] == list(ATTACKS), done.stdout
    for name, before, during, half in rows:
        assert int(during) - int(before) < 256, (name, done.stdout)
        assert float(half) < 100 * PATIENCE, (name, done.stdout)
