"""The servers that fanout.py measures: how each is started, fed and asked.

Every process runs on one core of its own or on the generator's, and none outlives this program, however it
ends. The feeders speak four ways (feed.c); for each of them there is a floor that is fed the same way:

    floor-ws      wsbus-memory                       publish frames over one WebSocket
    floor-redis   wsbus-redis, bridge, centrifugo    PUBLISH to a Redis of its own
    floor-kafka   wsbus-kafka, bridge-kafka          one topic of four partitions, the key is the channel
    floor-http    nchan                              POST over one connection, pipelined
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "bench"
TOOLS = ROOT / "build" / "bench"
BINARY = os.environ.get("WSBUS_BIN") or str(ROOT / "build" / "wsbus")
NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
CENTRIFUGO = os.environ.get("CENTRIFUGO", "")
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from ports import free_port  # noqa: E402

SERVER_CORE, LOAD_CORE = "0", "1"
HISTORY = 1000  # messages that wsbus's memory bus and nchan keep of each channel

# The daemon's own bounds out of the way: one address and one publisher stand for all.
BOUNDS = {
    "connections": 18400,
    "subscriptions": 2000,
    "half_open": 18400,
    "inbox_bytes": 1 << 28,
    **dict.fromkeys(["handshakes_per_second", "frames_per_second", "bytes_per_second"], 0),
    **dict.fromkeys(["publishes_per_second", "subscribes_per_second"], 0),
}


@dataclass(frozen=True)
class Setup:
    """What a workload wants of a server."""

    tls: bool = False
    deflate: bool = False
    workers: int = 1
    spread: bool = False  # server and generator share all cores
    interval: int = 0  # wsbus's flush_interval, ms


def on_cores(cores: str, *argv: str) -> list[str]:
    return ["setpriv", "--pdeathsig", "KILL", "taskset", "-c", cores, *argv]


def cpu_seconds(pid: int) -> float:
    """Processor time of all threads of a process, user and system, in ns of precision."""
    return time.clock_gettime(~pid << 3 | 2)


def resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"no memory of process {pid}")


def certificate() -> tuple[str, str]:
    folder = TOOLS / "tls"
    cert, key = folder / "cert.pem", folder / "key.pem"
    if not cert.exists():
        folder.mkdir(parents=True, exist_ok=True)
        argv = (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365"
            " -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
        ).split()
        subprocess.run(
            [*argv, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True
        )
    return str(cert), str(key)


class Aids:
    """What servers are fed through: a Redis for each, one Kafka broker for all."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self.brokers = ""
        self.topics = 0

    @functools.cached_property
    def folder(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="wsbus-bench-"))

    def spawn(self, cores: str, *argv: str, inlet: bool = False) -> subprocess.Popen[bytes]:
        log = (self.folder / f"log-{len(self.processes)}").open("wb")
        process = subprocess.Popen(
            on_cores(cores, *argv),
            stdin=subprocess.PIPE if inlet else subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self.folder,
            # Those are options of the daemon's too.
            env={k: v for k, v in os.environ.items() if not k.startswith("WSBUS_")},
        )
        log.close()
        process.log = Path(log.name)  # type: ignore[attr-defined]
        self.processes.append(process)
        return process

    def answers(self, process: subprocess.Popen[bytes], port: int, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.02)
        raise SystemExit(f"does not run: {process.log.read_text()[-2000:]}")  # type: ignore[attr-defined]

    def redis(self) -> int:
        port = free_port()
        argv = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        self.answers(self.spawn(LOAD_CORE, *argv), port)
        return port

    def kafka(self) -> tuple[str, str]:
        """The broker's address, and a new topic."""
        if not self.brokers:
            port = free_port(2)
            folder = self.folder / "kafka"
            folder.mkdir()
            (folder / "extra.properties").write_text("num.partitions=4\n")
            script = str(ROOT / "tests" / "kafka" / "broker")
            process = self.spawn(LOAD_CORE, script, "run", str(folder), str(port))
            self.answers(process, port, 60)
            self.brokers = f"127.0.0.1:{port}"
        self.topics += 1
        topic = f"t{self.topics}"
        subprocess.run(  # whoever produces to a topic makes it
            [str(TOOLS / "feed"), "to=kafka", f"brokers={self.brokers}", f"topic={topic}",
             "channels=1", "rate=100", "seconds=0.01", "size=100"],
            check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=30,
        )  # fmt: skip
        return self.brokers, topic

    def stop(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
        if "folder" in vars(self):
            shutil.rmtree(self.folder, ignore_errors=True)


class Server:
    """One server. `dialect` and `feed` are those of load.c and feed.c; `posts` that of publish.c."""

    name = dialect = feed = posts = floor = ""
    label = ""

    @classmethod
    def missing(cls, setup: Setup) -> str:
        """Why it cannot do this here; empty: it can."""
        return "" if not setup.deflate else "it has no permessage-deflate"

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.port = free_port()
        # The publisher's door is plain, also where those of the subscribers are not.
        self.feed_port = free_port() if setup.tls else self.port
        self.aids = Aids()
        self.feeding: list[str] = []
        try:
            self.prepare()
            cores = f"{SERVER_CORE},{LOAD_CORE}" if setup.spread else SERVER_CORE
            self.process = self.aids.spawn(cores, *self.argv(), inlet=True)
            self.aids.answers(self.process, self.port)
        except BaseException:
            self.stop()
            raise

    def prepare(self) -> None:
        """Brings up what it is fed through."""
        self.feeding = [f"to={self.feed}", f"port={self.feed_port}"]
        if self.feed in ("redis", "centrifugo"):
            self.redis = self.aids.redis()
            self.feeding[1] = f"port={self.redis}"
        if self.feed == "kafka":
            self.brokers, self.topic = shared.kafka()
            self.feeding = ["to=kafka", f"brokers={self.brokers}", f"topic={self.topic}"]

    def argv(self) -> list[str]:
        raise NotImplementedError

    def await_channels(self, count: int) -> None:
        """Until the bus knows that this server wants so many channels."""
        if self.feed not in ("redis", "centrifugo"):
            return
        deadline = time.monotonic() + 60
        with socket.create_connection(("127.0.0.1", self.redis)) as link:
            while time.monotonic() < deadline:
                link.sendall(b"INFO stats\r\n")
                text = link.recv(65536).decode()
                if int(text.partition("pubsub_channels:")[2].split()[0]) >= count:
                    return
                time.sleep(0.05)
        raise SystemExit(f"{self.name}: Redis has no subscriptions to {count} channels")

    def cpu(self) -> float:
        return cpu_seconds(self.process.pid)

    def memory(self) -> int:
        return resident(self.process.pid)

    def says(self) -> str:
        log: Path = self.process.log  # type: ignore[attr-defined]
        return log.read_text(errors="replace")[-1000:]

    def stop(self) -> None:
        self.aids.stop()


class Wsbus(Server):
    dialect = posts = "wsbus"
    rule: dict[str, Any] = {}

    @classmethod
    def missing(cls, setup: Setup) -> str:
        return "" if not setup.deflate or DEFLATE else "this build has no permessage-deflate"

    def bus(self) -> dict[str, Any]:
        raise NotImplementedError

    def argv(self) -> list[str]:
        cert, key = certificate() if self.setup.tls else ("", "")
        at, plain = f"127.0.0.1:{self.port}", f"127.0.0.1:{self.feed_port}"
        secret = {"address": at, "tls": {"cert": cert, "key": key}}
        config: dict[str, Any] = {
            "listen": [secret, plain] if cert else at,
            "workers": self.setup.workers,
            "buses": {"b": self.bus()},
            "channels": [{"match": "b.{k}", "bus": "b", **self.rule}],
            "limits": BOUNDS,
            "flush_interval": self.setup.interval,
        }
        if self.setup.deflate:
            config.update(DEFLATE)
        path = self.aids.folder / "wsbus.json"
        path.write_text(json.dumps(config))
        return [BINARY, "-c", str(path)]


class WsbusMemory(Wsbus):
    name, feed, floor, label = "wsbus-memory", "ws", "floor-ws", "wsbus (memory)"

    def bus(self) -> dict[str, Any]:
        return {"type": "memory", "history": HISTORY, "topics": 20000}


class WsbusRedis(Wsbus):
    name, feed, floor, label = "wsbus-redis", "redis", "floor-redis", "wsbus (Redis)"

    def bus(self) -> dict[str, Any]:
        return {"type": "redis", "url": f"redis://127.0.0.1:{self.redis}"}


class WsbusKafka(Wsbus):
    name, feed, floor, label = "wsbus-kafka", "kafka", "floor-kafka", "wsbus (Kafka, by key)"

    @classmethod
    def missing(cls, setup: Setup) -> str:
        return super().missing(setup) or no_kafka()

    def bus(self) -> dict[str, Any]:
        self.rule = {"topic": self.topic, "key": "{k}"}
        return {"type": "kafka", "url": f"kafka://{self.brokers}"}


class Floor(Server):
    dialect = "floor"

    def argv(self) -> list[str]:
        more = {"redis": f"redis={getattr(self, 'redis', '')}"}.get(self.feed)
        argv = [str(TOOLS / "floor"), f"port={self.port}", *([more] if more else [])]
        if self.feed == "kafka":
            argv += [f"kafka={self.brokers}", f"topic={self.topic}"]
        if self.setup.tls:
            cert, key = certificate()
            argv += [f"cert={cert}", f"key={key}"]
        return argv


class FloorWs(Floor):
    name = floor = "floor-ws"
    feed, posts, label = "ws", "wsbus", "floor, fed by WebSocket"

    @classmethod
    def missing(cls, setup: Setup) -> str:
        return super().missing(setup) or ("its one door would be TLS" if setup.tls else "")


class FloorRedis(Floor):
    name = floor = "floor-redis"
    feed, label = "redis", "floor, fed by Redis"


class FloorHttp(Floor):
    name = floor = "floor-http"
    feed, posts, label = "http", "http", "floor, fed by HTTP"

    @classmethod
    def missing(cls, setup: Setup) -> str:
        return super().missing(setup) or ("its one door would be TLS" if setup.tls else "")


class FloorKafka(Floor):
    name = floor = "floor-kafka"
    feed, label = "kafka", "floor, fed by Kafka"

    @classmethod
    def missing(cls, setup: Setup) -> str:
        return super().missing(setup) or no_kafka()


class Nchan(Server):
    name = dialect = label = "nchan"
    feed = posts = "http"
    floor = "floor-http"

    @classmethod
    def missing(cls, setup: Setup) -> str:
        return "" if NCHAN.exists() and shutil.which("nginx") else "nginx with nchan is not installed"

    def argv(self) -> list[str]:
        tls = ""
        if self.setup.tls:
            cert, key = certificate()
            tls = f"ssl_certificate {cert}; ssl_certificate_key {key};"
        deflate = "nchan_deflate_message_for_websocket on;" if self.setup.deflate else ""
        (self.aids.folder / "nginx.conf").write_text(f"""
load_module {NCHAN};
worker_processes 1;
worker_rlimit_nofile 20000;
daemon off;
master_process off;
pid nginx.pid;
error_log stderr crit;
events {{ worker_connections 19900; }}
http {{
  access_log off;
  nchan_shared_memory_size 512M;
  nchan_message_buffer_length {HISTORY};
  client_body_temp_path . ; proxy_temp_path . ; fastcgi_temp_path . ; uwsgi_temp_path . ;
  scgi_temp_path . ;
  server {{
    listen 127.0.0.1:{self.port} backlog=4096 {"ssl" if tls else ""};
    {f"listen 127.0.0.1:{self.feed_port};" if tls else ""}
    {tls}
    location /sub {{
      nchan_subscriber websocket;
      nchan_channel_id $arg_id;
      nchan_channel_id_split_delimiter ",";
      nchan_subscriber_first_message newest;
    }}
    location /pub {{
      keepalive_requests 1000000000;
      nchan_publisher http;
      nchan_channel_id $arg_id;
      {deflate}
    }}
  }}
}}
""")
        return ["nginx", "-p", str(self.aids.folder), "-c", "nginx.conf"]


class Bridge(Server):
    name, label = "bridge", "Node bridge (ws, ioredis)"
    dialect, posts = "bridge", "wsbus"
    feed, floor = "redis", "floor-redis"

    @classmethod
    def missing(cls, setup: Setup) -> str:
        packages = [TOOLS / "node" / "node_modules" / name for name in ("ws", "ioredis", "kafkajs")]
        there = shutil.which("node") and all(package.exists() for package in packages)
        return "" if there else "Node and its packages are missing"

    def argv(self) -> list[str]:
        options: dict[str, Any] = {"port": self.port}
        if self.feed == "redis":
            options["redis"] = self.redis
        else:
            options |= {"kafka": self.brokers, "topic": self.topic}
        if self.setup.tls:
            options["cert"], options["key"] = certificate()
        if self.setup.deflate:
            options["deflate"] = True
        shutil.copy(HERE / "bridge.mjs", TOOLS / "node")
        return ["node", str(TOOLS / "node" / "bridge.mjs"), json.dumps(options)]


class BridgeKafka(Bridge):
    name, label = "bridge-kafka", "Node bridge (ws, kafkajs)"
    feed, floor, posts = "kafka", "floor-kafka", ""

    @classmethod
    def missing(cls, setup: Setup) -> str:
        return super().missing(setup) or no_kafka()


class Centrifugo(Server):
    """Its Redis engine takes PUBLISH centrifugo.client.CHANNEL of a protobuf message with the payload in
    field 4 (Publication.data); it puts several messages into a WebSocket frame, a line each."""

    name = dialect = feed = posts = "centrifugo"
    floor, label = "floor-redis", "Centrifugo"

    @classmethod
    def missing(cls, setup: Setup) -> str:
        return "" if CENTRIFUGO else "no CENTRIFUGO=/path/to/centrifugo was given"

    def argv(self) -> list[str]:
        config: dict[str, Any] = {
            "http_server": {"address": "127.0.0.1", "port": self.port},
            "client": {"insecure": True, "channel_limit": 1000},
            "engine": {"type": "redis", "redis": {"address": f"redis://127.0.0.1:{self.redis}"}},
            "usage_stats": {"disabled": True},
            "log": {"level": "error"},
        }
        if self.setup.tls:
            cert, key = certificate()
            config["http_server"]["tls"] = {"enabled": True, "cert_pem": cert, "key_pem": key}
        if self.setup.deflate:
            config["websocket"] = {"compression": True}
        path = self.aids.folder / "centrifugo.json"
        path.write_text(json.dumps(config))
        return [CENTRIFUGO, "--config", str(path)]


def no_kafka() -> str:
    ready = (ROOT / "build" / "kafka").glob("*/jars/ready")
    return "" if any(ready) else "the Kafka broker of the tests was not fetched (make bench FULL=1)"


def deflate_options() -> dict[str, Any]:
    """What switches permessage-deflate on in this build of wsbus; empty: nothing does."""
    with suppress(OSError, subprocess.CalledProcessError):
        argv = [BINARY, "schema"]
        schema = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)
        if "compression" in schema["properties"]:
            return {"compression": {"enabled": True}}
    return {}


LIST: list[type[Server]] = [
    FloorWs, WsbusMemory, FloorRedis, WsbusRedis, FloorHttp, Nchan, Bridge, Centrifugo,
    FloorKafka, WsbusKafka, BridgeKafka,
]  # fmt: skip
SERVERS = {kind.name: kind for kind in LIST}
shared = Aids()
DEFLATE = deflate_options()
