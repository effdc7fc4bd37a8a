"""Deploys: two nodes on one Redis behind HAProxy are restarted one after the other while messages flow,
and every client holds every message exactly once."""

from __future__ import annotations

import csv
import resource
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ports import free_port
from redis_server import Redis, until
from server import SANITIZER, WORKERS, Server
from tools import Tool

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin")

pytestmark = [
    pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed"),
    # The bounds are those of time, and thousands of clients cost a sanitizer too much of it.
    pytest.mark.skipif(bool(SANITIZER), reason="a sanitizer is too slow for the pace"),
]


class Proxy:
    """HAProxy in front of nodes, as it is configured for a deploy without loss."""

    def __init__(self, folder: Path, ports: list[int]) -> None:
        self.port = free_port()
        servers = "\n".join(f"  server n{p} 127.0.0.1:{p} check" for p in ports)
        path = folder / "haproxy.cfg"
        self.stats = folder / "haproxy.sock"
        path.write_text(
            f"""
global
  maxconn 8000
  stats socket {self.stats} level admin
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
  timeout tunnel 1h
  retries 3
  option redispatch 1
  retry-on conn-failure empty-response 503
frontend f
  bind 127.0.0.1:{self.port}
  default_backend b
backend b
  balance leastconn
  option httpchk GET /readyz
  timeout check 3s
  default-server inter 500 fall 2 rise 1
{servers}
"""
        )
        assert HAPROXY
        self.log = (folder / "haproxy.log").open("wb")
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", HAPROXY, "-db", "-f", str(path)],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        until(self._listens, "haproxy listens")

    def _listens(self) -> bool:
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def sees(self, node: int) -> bool:
        """That the node on this port is up."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(self.stats))
            s.sendall(b"show stat\n")
            rows = list(csv.DictReader(s.makefile("r", encoding="ascii")))
        return any(r["svname"] == f"n{node}" and r["status"] == "UP" for r in rows)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


class Publisher:
    """{"n":1}, {"n":2}, … to each stream, at a steady pace in all."""

    def __init__(self, redis: Redis, streams: int, rate: float) -> None:
        self.redis, self.streams, self.rate = redis, streams, rate
        self.count = 0  # of each stream
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        client = self.redis.client()
        began = time.monotonic()
        while not self.over.wait(
            max(0.0, began + self.count * self.streams / self.rate - time.monotonic())
        ):
            self.count += 1
            with client.pipeline(transaction=False) as pipe:
                for i in range(self.streams):
                    pipe.xadd(f"s.{i}", {"data": f'{{"n":{self.count}}}'}, maxlen=10_000)
                pipe.execute()

    def stop(self) -> int:
        self.over.set()
        self.thread.join()
        return self.count


class Stage:
    """Everything together."""

    def __init__(self, folder: Path, *, clients: int, streams: int, rate: float, drain: int) -> None:
        self.redis = Redis()
        self.ports = [free_port(), free_port()]
        self.drain = drain
        self.clients = clients
        self.nodes = [self.node(i) for i in range(2)]
        self.proxy = Proxy(folder, self.ports)
        self.followers = Tool("follow", self.proxy.port, clients, streams, "s.")
        self.followers.ask("subscribed", 60)
        self.publisher = Publisher(self.redis, streams, rate)

    def node(self, i: int) -> Server:
        return Server(
            f"restart-{i}",
            {
                "listen": f"127.0.0.1:{self.ports[i]}",
                "workers": WORKERS,
                "drain": self.drain,
                "buses": {"r": {"type": "redis", "url": self.redis.url}},
                "channels": [{"match": "s.*", "bus": "r", "kind": "stream"}],
            },
        )

    def restart(self, i: int) -> None:
        """In order, as a deploy does it."""
        self.nodes[i].terminate()
        assert self.nodes[i].wait(self.drain / 1000 + 15) == 0
        self.nodes[i] = self.node(i)
        until(lambda: ready(self.ports[i]), "the node is ready")
        until(lambda: self.proxy.sees(self.ports[i]), "HAProxy has seen it too")

    def finish(self) -> dict[str, Any]:
        """The publisher's last message has come everywhere."""
        count = self.publisher.stop()
        try:
            self.followers.ask(f"until {count}", 60)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.followers.ask('report')}, {count}") from None
        report = self.followers.ask("report")
        assert report["missing"] == report["twice"] == report["gaps"] == 0, report
        assert report["unrecovered"] == 0, report
        assert report["received"] == count * self.clients, (count, report)
        return report

    def close(self) -> None:
        self.publisher.stop()
        self.followers.close()
        self.proxy.close()
        for node in self.nodes:
            node.terminate()
            node.terminate()
        for node in self.nodes:
            node.wait(20)
        self.redis.close()


def ready(port: int) -> bool:
    with socket.socket() as s:
        s.settimeout(2)
        if s.connect_ex(("127.0.0.1", port)) != 0:
            return False
        s.sendall(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        return s.recv(100).startswith(b"HTTP/1.1 200")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Any]:
    made: list[Stage] = []

    def factory(**options: Any) -> Stage:
        made.append(Stage(tmp_path, **options))
        return made[-1]

    yield factory
    for one in made:
        one.close()


def test_rolling_restart(stage: Any) -> None:
    scene = stage(clients=200, streams=10, rate=200, drain=3000)
    scene.restart(0)
    scene.restart(1)
    report = scene.finish()
    # Of the first node about half of them, of the second all.
    assert report["restart"] >= scene.clients and report["again"] >= scene.clients, report


def test_node_killed(stage: Any) -> None:
    scene = stage(clients=200, streams=10, rate=200, drain=3000)
    scene.nodes[0].kill()
    until(lambda: scene.followers.ask("report")["again"] > 0, "they come back")
    scene.nodes[0] = scene.node(0)
    until(lambda: scene.followers.ask("report")["open"] == scene.clients, "all of them", 30)
    report = scene.finish()
    assert report["other"] == 0 and report["open"] == scene.clients, report


CLIENTS, DRAIN = 5000, 30_000


@pytest.mark.long
@pytest.mark.timeout(400)
def test_rolling_restart_of_many(stage: Any) -> None:
    """At no moment do more than a twentieth of all clients a second come anew."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * CLIENTS + 500:
        pytest.skip(f"no more than {hard} files may be open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        scene = stage(clients=CLIENTS, streams=100, rate=1000, drain=DRAIN)
        scene.restart(0)
        scene.restart(1)
        report = scene.finish()
        print(report)
        assert report["restart"] >= CLIENTS
        # `peak` is the same on a machine that has the time.
        assert report["planned"] <= CLIENTS / 20, report
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.long
@pytest.mark.timeout(400)
def test_node_killed_under_many(stage: Any) -> None:
    scene = stage(clients=CLIENTS, streams=100, rate=1000, drain=DRAIN)
    time.sleep(5)
    scene.nodes[0].kill()
    time.sleep(5)
    scene.nodes[0] = scene.node(0)
    time.sleep(5)
    report = scene.finish()
    print(report)
    assert report["open"] == CLIENTS and report["again"] >= CLIENTS / 3, report
