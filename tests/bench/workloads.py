"""What fanout.py does with the servers: the workloads A to K and how each is measured.

Several servers stand side by side with their sockets open, and get their messages in turns, each for a few
seconds: what is compared is seconds apart, and who waits costs nothing. A turn is a whole stream: processor
time is read before its first message and after its last one has arrived, so nothing is cut off, and what
has not arrived then is lost.

The host of a virtual machine takes processor time when it likes. A turn about which it took more than a
hundredth of that of the two cores is measured again (Patience); its record stays, and says how much it was.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from rig import STOLEN, stolen, stolen_since
from servers import LOAD_CORE, SERVER_CORE, SERVERS, TOOLS, Server, Setup, cpu_seconds, on_cores

Record = dict[str, Any]
Report = Callable[[str, str, Record], None]


@dataclass(frozen=True)
class Shape:
    """Sockets, channels of each, channels in all, messages a second, bytes of a message."""

    sockets: int
    each: int
    channels: int
    rate: float
    size: int = 100
    form: str = ""

    def deliveries(self) -> float:
        """Sockets that get a message."""
        return self.sockets * self.each / self.channels


class Patience:
    """How often what the host has disturbed is measured again: so many times in all, twice in a row."""

    IN_A_ROW = 2

    def __init__(self, times: int) -> None:
        self.left = times

    def records(self, once: Callable[[], Record]) -> Iterator[Record]:
        """What `once` finds, until the host has left it alone or there is no patience left."""
        for turn in range(1 + self.IN_A_ROW):
            then = stolen(SERVER_CORE, LOAD_CORE)
            record = once()
            record["stolen"] = stolen_since(then, SERVER_CORE, LOAD_CORE)
            yield record
            if record["stolen"] < STOLEN or self.left == 0 or turn == self.IN_A_ROW:
                return
            self.left -= 1


@dataclass(frozen=True)
class Options:
    rounds: int = 9  # many and short: what drifts on a machine then weighs on all alike
    seconds: float = 0.7
    idle: float = 5.0  # seconds that E looks on
    steps: int = 2  # A-max: bisections
    patience: float = 0.5  # of all that is measured, so much may be measured again

    def patient(self, count: int) -> Patience:
        return Patience(int(self.patience * count))

    @property
    def few(self) -> int:
        """Rounds of what takes long."""
        return min(3, self.rounds)

    @property
    def longer(self) -> float:
        return max(1.5, self.seconds)


def read_line(process: subprocess.Popen[str], seconds: float, what: str) -> Record:
    assert process.stdout
    if not select.select([process.stdout], [], [], seconds)[0]:
        raise SystemExit(f"{what}: not in time")
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"{what}: it has ended with {process.wait()}")
    return dict(json.loads(line))


def spawn(name: str, *args: str, cores: str = LOAD_CORE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        on_cores(cores, str(TOOLS / name), *args),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


class Load:
    """The sockets; see load.c."""

    def __init__(self, server: Server, shape: Shape, *more: str) -> None:
        setup = server.setup
        args = [f"dialect={server.dialect}", f"port={server.port}", f"sockets={shape.sockets}",
                f"each={shape.each}", f"channels={shape.channels}", *more]  # fmt: skip
        args += ["tls=1"] * setup.tls + ["deflate=1"] * setup.deflate
        cores = f"{SERVER_CORE},{LOAD_CORE}" if setup.spread else LOAD_CORE
        self.name = server.name
        self.process = spawn("load", *args, cores=cores)

    def say(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ask(self, line: str, seconds: float = 90) -> Record:
        self.say(line)
        return read_line(self.process, seconds, f"{self.name}: load: {line}")

    def cpu(self) -> float:
        return cpu_seconds(self.process.pid)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class Station:
    """A server with its sockets."""

    def __init__(self, name: str, setup: Setup, shape: Shape, window: int = 500) -> None:
        self.shape = shape
        self.server = SERVERS[name](setup)
        self.load: Load | None = None
        try:
            self.empty = self.server.memory()
            before, load_before = self.server.cpu(), 0.0
            self.load = Load(self.server, shape, f"window={window}")
            self.opened = float(self.load.ask(f"wait {shape.sockets * shape.each}")["seconds"])
            self.server.await_channels(shape.channels)
            self.opening_cpu = self.server.cpu() - before
            self.opening_load = self.load.cpu() - load_before
            self.opening = self.load.ask("clear")
        except BaseException:
            print(f"\n{name} says: {self.server.says()}", file=sys.stderr)
            self.close()
            raise

    def stream(self, seconds: float, rate: float = 0) -> Record:
        """One stream, from its first message until nothing comes any more."""
        shape, load = self.shape, self.load
        assert load
        rate = rate or shape.rate
        args = [*self.server.feeding, f"channels={shape.channels}", f"rate={rate}",
                f"seconds={seconds}", f"size={shape.size}", f"form={shape.form}"]  # fmt: skip
        load.ask("clear")
        feed = spawn("feed", *args)
        try:
            count = int(read_line(feed, 30, "feed")["messages"])
            before, load_before, began = self.server.cpu(), load.cpu(), time.monotonic()
            fed = read_line(feed, seconds + 60, "feed")
            result = load.ask(f"end {count}")
        finally:
            feed.kill()
            feed.wait()
        used, lasted = self.server.cpu() - before, time.monotonic() - began
        if result["lost"] > result["told"]:
            print(f"\n{self.server.name}: lost in silence; it says\n{self.server.says()}", file=sys.stderr)
        expected = count * shape.deliveries()
        result.update(
            rate=rate,
            cpu_us=used * 1e6 / max(1, result["messages"]),
            busy=used / lasted,
            generator=(load.cpu() - load_before) / lasted,
            share=result["messages"] / expected,
            late=fed["late"],
            refused=fed["refused"],
            deliveries=rate * shape.deliveries(),
        )
        return result

    def close(self) -> None:
        if self.load:
            self.load.close()
        self.server.stop()


@contextlib.contextmanager
def stations(names: list[str], setup: Setup, shape: Shape) -> Iterator[dict[str, Station]]:
    with contextlib.ExitStack() as stack:
        found = {}
        for name in names:
            print(f"\r  opening {name:<24}", end="", file=sys.stderr)
            found[name] = Station(name, setup, shape)
            stack.callback(found[name].close)
        yield found


def in_turns(
    workload: str, names: list[str], options: Options, report: Report, shape: Shape, setup: Setup
) -> None:
    with stations(names, setup, shape) as found:
        for station in found.values():
            station.stream(0.5)  # what is only done once
        patience = options.patient(options.rounds * len(names))
        for turn in range(options.rounds):
            order = names[turn % len(names) :] + names[: turn % len(names)]
            for name in order:
                print(f"\r  round {turn + 1} {name:<24}", end="", file=sys.stderr)
                stream = functools.partial(found[name].stream, options.seconds)
                for record in patience.records(stream):
                    report(workload, name, {"round": turn, **record})


def carried(result: Record) -> bool:
    bad = result["lost"] or result["closed"] or result["again"]
    return not bad and result["p99"] < 100 and result["late"] < 100


def climb(name: str, options: Options) -> Record:
    """The highest rate of workload A that is carried: everything, in order, p99 under 100 ms."""
    station: Station | None = None
    best: Record = {}
    beyond: list[Record] = []
    disturbed: list[Record] = []  # not carried, and measured again
    patience = options.patient(4 + options.steps)

    def carries(rate: float) -> bool:
        nonlocal station, best
        if station is None:
            station = Station(name, Setup(), A)
            station.stream(0.3)
        print(f"\r  {name} at {rate:.0f}/s        ", end="", file=sys.stderr)
        for result in patience.records(functools.partial(station.stream, options.longer, rate)):
            if carried(result) or result["closed"]:
                break
            disturbed.append(result)
        if result["closed"]:
            station.close()
            station = None
        if carried(result):
            best = max(best, result, key=lambda r: float(r.get("rate", 0)))
            return True
        beyond.append(result)
        disturbed.remove(result)
        return False

    try:
        low, high = 0.0, 250.0
        while high <= 16000 and carries(high):
            low, high = high, high * 4
        if low == 0:
            low = 250 / 4
            low = low if carries(low) else 1
        for _ in range(options.steps if high <= 16000 else 0):
            middle = float(round((low * high) ** 0.5))
            low, high = (middle, high) if carries(middle) else (low, middle)
    finally:
        if station:
            station.close()
    beyond.sort(key=lambda r: float(r["rate"]))
    return {**(best or {"rate": 0, "deliveries": 0}), "beyond": beyond, "disturbed": disturbed}


def highest(workload: str, names: list[str], options: Options, report: Report) -> None:
    for name in names:
        report(workload, name, {"round": 0, **climb(name, options)})


def without_sockets(name: str, setup: Setup) -> float:
    """The share of a core that a server needs to do nothing for nobody."""
    server = SERVERS[name](setup)
    try:
        time.sleep(1)
        before = server.cpu()
        time.sleep(2)
        return (server.cpu() - before) / 2
    finally:
        server.stop()


def idle(
    workload: str, names: list[str], options: Options, report: Report, shape: Shape, setup: Setup
) -> None:
    for name in names:
        print(f"\r  {name:<24}", end="", file=sys.stderr)
        alone = without_sockets(name, setup)
        station = Station(name, setup, shape)
        try:
            time.sleep(1)
            memory = station.server.memory()
            for looked in options.patient(2).records(lambda: look(station, options.idle)):
                record = {
                    "bytes": (memory - station.empty) / shape.sockets,
                    "empty": station.empty,
                    "alone": alone,
                    "sockets": shape.sockets,
                    **looked,
                }
                report(workload, name, {"round": 0, **record})
        finally:
            station.close()


def look(station: Station, seconds: float) -> Record:
    before = station.server.cpu()
    time.sleep(seconds)
    return {"busy": (station.server.cpu() - before) / seconds}


def connects(workload: str, names: list[str], options: Options, report: Report) -> None:
    patience = options.patient(options.few * len(names))
    for turn in range(options.few):
        for name in names:
            print(f"\r  round {turn + 1} {name:<24}", end="", file=sys.stderr)
            for record in patience.records(functools.partial(connect_once, name)):
                report(workload, name, {"round": turn, **record})


def connect_once(name: str) -> Record:
    station = Station(name, Setup(), F, window=4000)
    station.close()
    return {
        "seconds": station.opened,
        "a_second": F.sockets / station.opened,
        "cpu_us": station.opening_cpu * 1e6 / F.sockets,
        "busy": station.opening_cpu / station.opened,
        "generator": station.opening_load / station.opened,
        "p50": station.opening["p50"],
        "p99": station.opening["p99"],
    }


class Talker:
    """One WebSocket of the daemon, for a question and its answer."""

    def __init__(self, port: int) -> None:
        self.link = socket.create_connection(("127.0.0.1", port), 10)
        key = base64.b64encode(os.urandom(16)).decode()
        self.link.sendall(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self.inlet = self.link.makefile("rb")
        while self.inlet.readline() not in (b"\r\n", b""):
            pass

    def ask(self, frame: Record, answer: str) -> Record:
        text = json.dumps(frame).encode()
        assert len(text) < 126
        self.link.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
        while True:
            length = self.inlet.read(2)[1]
            if length == 126:
                length = struct.unpack(">H", self.inlet.read(2))[0]
            got = dict(json.loads(self.inlet.read(length)))
            if got["type"] in (answer, "error"):
                return got

    def close(self) -> None:
        self.link.close()


CROWD, EACH = 2000, 500


def resume(workload: str, names: list[str], options: Options, report: Report) -> None:
    """2 000 clients come back at once, each for 500 messages of another channel, beside a stream."""
    live = replace(A, channels=2, each=1, sockets=500)
    for name in names:
        print(f"\r  {name:<24}", end="", file=sys.stderr)
        station = Station(name, Setup(), replace(live, channels=1))
        try:
            once = functools.partial(resume_once, station, options.longer)
            patience = options.patient(options.few)
            for turn in range(options.few):
                for record in patience.records(once):
                    report(workload, name, {"round": turn, **record})
        finally:
            station.close()


def resume_once(station: Station, seconds: float) -> Record:
    server, channel = station.server, int(time.monotonic() * 10) % 90000 + 10
    talker = Talker(server.port)
    question = {"type": "subscribe", "id": 1, "channel": f"b.{channel:05d}"}
    start = {"after": talker.ask(question, "subscribed")["cursor"]}
    talker.close()
    past = [*server.feeding, "channels=1", f"channel={channel}", "rate=5000", "size=100"]
    feed = spawn("feed", *past, f"seconds={EACH / 5000}")
    try:
        for _ in range(2):
            read_line(feed, 30, "feed")
        calm = station.stream(seconds)
    finally:
        feed.kill()
        feed.wait()
    crowd = Load(server, Shape(CROWD, 1, 100000, 0), "hold=1", f"from={json.dumps(start)}",
                 f"channel={channel}")  # fmt: skip
    try:
        crowd.ask(f"wait {CROWD}")
        os.setpriority(os.PRIO_PROCESS, crowd.process.pid, 10)
        before = server.cpu()
        crowd.say("go")
        read_line(crowd.process, 30, "go")
        crowd.say(f"fill {CROWD * EACH}")
        busy = station.stream(seconds)
        took = read_line(crowd.process, 60, "crowd")["seconds"]
        got = crowd.ask("report")
        used = server.cpu() - before
    finally:
        crowd.close()
    return {
        "seconds": took,
        "a_second": CROWD * EACH / took,
        "cpu_us": used * 1e6 / (got["messages"] + busy["messages"]),
        "p99": busy["p99"],
        "calm_p99": calm["p99"],
        "lost": got["lost"] + busy["lost"],
        "again": got["again"],
    }


def publishing(workload: str, names: list[str], options: Options, report: Report) -> None:
    patience = options.patient(options.few * len(names))
    for turn in range(options.few):
        for name in names:
            print(f"\r  round {turn + 1} {name:<24}", end="", file=sys.stderr)
            for record in patience.records(functools.partial(publish_once, name, options.longer)):
                report(workload, name, {"round": turn, **record})


def publish_once(name: str, seconds: float) -> Record:
    kind = SERVERS[name]
    server = kind(Setup())
    args = [f"dialect={kind.posts}", f"port={server.port}", f"sockets={J.sockets}",
            f"rate={J.rate}", f"seconds={seconds}", f"channels={J.channels}"]  # fmt: skip
    clients = spawn("publish", *args)
    try:
        read_line(clients, 60, f"{name}: publish")
        assert clients.stdin
        before = server.cpu()
        clients.stdin.write("\n")
        clients.stdin.flush()
        result = read_line(clients, seconds + 30, f"{name}: publish")
        used = server.cpu() - before
    finally:
        clients.kill()
        clients.wait()
        server.stop()
    result["cpu_us"] = used * 1e6 / result["acknowledged"] if result["acknowledged"] else 0
    result["missing"] = result["published"] - result["acknowledged"]
    result["busy"] = used / seconds
    return result


def two_workers(workload: str, names: list[str], options: Options, report: Report) -> None:
    """Server and generator share both cores: what one delivery costs with one worker and with two."""
    shape = replace(A, rate=2000)
    patience = options.patient(options.few * 2 * len(names))
    for name in names:
        for turn in range(options.few):
            for workers, words in ((1, "one worker"), (2, "two workers")):
                print(f"\r  round {turn + 1} {name}, {words}   ", end="", file=sys.stderr)
                station = Station(name, Setup(workers=workers, spread=True), shape)
                try:
                    station.stream(0.3)
                    stream = functools.partial(station.stream, options.longer)
                    for record in patience.records(stream):
                        report(workload, f"{name}, {words}", {"round": turn, **record})
                finally:
                    station.close()


INTERVALS = (0, 5, 20, 100)


def intervals(workload: str, names: list[str], options: Options, report: Report) -> None:
    """What it is worth to wait for more, side by side."""
    with contextlib.ExitStack() as stack:
        found = {}
        for name in names:
            for ms in INTERVALS:
                station = Station(name, Setup(interval=ms), D)
                stack.callback(station.close)
                station.stream(0.5)
                found[f"{name}, {ms} ms"] = station
        patience = options.patient(options.rounds * len(found))
        for turn in range(options.rounds):
            for name, station in found.items():
                print(f"\r  round {turn + 1} {name:<24}", end="", file=sys.stderr)
                for record in patience.records(functools.partial(station.stream, options.seconds)):
                    report(workload, name, {"round": turn, **record})


A = Shape(1000, 1, 1, 100)
B = Shape(10000, 1, 1, 10)
C = Shape(10000, 1, 10000, 20000)
D = Shape(1000, 50, 1000, 4000)
E = Shape(18000, 1, 1, 0)
OWN = replace(E, channels=18000)
F = Shape(10000, 1, 10000, 0)  # at most 4 000 at once: that is what a listener's queue holds
J = Shape(1000, 1, 1000, 20000)
PRICES = replace(A, size=1024, form="prices")

ALL = ["floor-ws", "wsbus-memory", "floor-redis", "wsbus-redis", "floor-http", "nchan", "bridge",
       "centrifugo"]  # fmt: skip
KAFKA = ("floor-kafka", "wsbus-kafka", "bridge-kafka")


@dataclass(frozen=True)
class Workload:
    title: str
    run: Callable[[str, list[str], Options, Report], None]
    servers: list[str]
    setup: Setup = Setup()
    full: bool = False  # only with FULL=1
    more: tuple[str, ...] = ()  # servers that are measured only then


def turns(shape: Shape, setup: Setup) -> Callable[[str, list[str], Options, Report], None]:
    return lambda w, names, options, report: in_turns(w, names, options, report, shape, setup)


def still(shape: Shape, setup: Setup) -> Callable[[str, list[str], Options, Report], None]:
    return lambda w, names, options, report: idle(w, names, options, report, shape, setup)


IDLE = ["floor-ws", "wsbus-memory", "wsbus-redis", "nchan", "bridge", "centrifugo"]
TLS, PACKED = Setup(tls=True), Setup(deflate=True)
WORKLOADS: dict[str, Workload] = {
    "A": Workload("1 000 sockets on one channel, 100 messages/s of 100 bytes", turns(A, Setup()),
                  ALL, more=KAFKA),
    "A-max": Workload("A at the highest rate with p99 under 100 ms and nothing lost", highest, ALL),
    "B": Workload("10 000 sockets on one channel, 10 messages/s", turns(B, Setup()), ALL, more=KAFKA),
    "C": Workload("10 000 sockets, each on a channel of its own, 20 000 messages/s in all",
                  turns(C, Setup()), ALL),
    "D": Workload("1 000 sockets with 50 of 1 000 channels each, 4 000 messages/s: 200 000 deliveries/s",
                  turns(D, Setup()), ALL, more=KAFKA),
    "E": Workload("18 000 sockets subscribed to one channel, and nothing else", still(E, Setup()), IDLE),
    "E-own": Workload("18 000 sockets subscribed, each to a channel of its own, and nothing else",
                      still(OWN, Setup()), IDLE, full=True),
    "F": Workload("10 000 sockets connect and subscribe at once", connects,
                  ["wsbus-memory", "wsbus-redis", "floor-ws", "nchan", "bridge", "centrifugo"]),
    "G": Workload("A with TLS", turns(A, TLS), ALL, TLS, full=True),
    "G-idle": Workload("E with TLS, 10 000 sockets", still(replace(E, sockets=10000), TLS), IDLE, TLS,
                       full=True),
    "H-plain": Workload("A with JSON of 1 KB", turns(PRICES, Setup()),
                        ["wsbus-memory", "wsbus-redis", "floor-redis", "nchan", "bridge", "centrifugo"],
                        full=True),
    "H": Workload("A with JSON of 1 KB and permessage-deflate", turns(PRICES, PACKED),
                  ["wsbus-memory", "wsbus-redis", "nchan", "bridge", "centrifugo"], PACKED, full=True),
    "I": Workload("2 000 clients resume 500 messages each at once, beside a live stream", resume,
                  ["wsbus-memory", "wsbus-kafka"], full=True),
    "J": Workload("1 000 sockets publish 20 000 messages/s, each acknowledged", publishing,
                  ["wsbus-memory", "wsbus-redis", "wsbus-kafka", "floor-ws", "nchan", "bridge",
                   "centrifugo"], full=True),
    "K": Workload("C through Redis and through Kafka by key", turns(C, Setup()),
                  ["floor-redis", "wsbus-redis", "bridge", *KAFKA], full=True),
    "workers": Workload("A at 2 000 messages/s, server and generator sharing both cores", two_workers,
                        ["wsbus-memory"], full=True),
    "flush": Workload("D with flush_interval", intervals, ["wsbus-redis"], full=True),
}  # fmt: skip
