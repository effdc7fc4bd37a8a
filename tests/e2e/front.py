"""HAProxy and nginx as deploy/ has them, with only addresses, files and sizes put in the place of theirs.

A certificate for bridge.example.com is made with openssl. Each runs in the foreground and ends with the
tests, however they end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from client import Client
from ports import free_port
from server import PATIENCE, ROOT
from tls_socket import share

NAME = "bridge.example.com"
KINDS = ("haproxy", "nginx")


def until(there: Callable[[], bool], what: str, timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout * PATIENCE
    while not there():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.01)


def changed(text: str, changes: dict[str, str]) -> str:
    """Every one of them must be there: what is tested is what users get."""
    for old, new in changes.items():
        assert old in text, f"not in the configuration: {old}"
        text = text.replace(old, new)
    return text


def make_certificate(folder: Path) -> None:
    """wsbus.pem, wsbus.key, and both.pem, as HAProxy wants it."""
    key, pem = folder / "wsbus.key", folder / "wsbus.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        + ["-nodes", "-days", "2", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
        + ["-keyout", str(key), "-out", str(pem)],
        check=True,
        capture_output=True,
    )
    (folder / "both.pem").write_text(pem.read_text() + key.read_text())


class Front:
    """One proxy before two nodes, given by their ports; `silence` is the time in ms that a connection may
    be silent, in place of 75 s; `more` changes what a user may change."""

    def __init__(
        self,
        kind: str,
        nodes: tuple[int, int],
        silence: int = 75_000,
        more: dict[str, str] | None = None,
    ) -> None:
        self.more = more or {}
        self.kind = kind
        self.folder = Path(tempfile.mkdtemp(prefix=f"wsbus-{kind}-"))
        self.loaded = 1  # so often it has read its file
        self.folder.chmod(0o755)  # workers may run as another user
        make_certificate(self.folder)
        self.plain, self.port = free_port(), free_port()
        self.context = ssl.create_default_context(cafile=str(self.folder / "wsbus.pem"))
        path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
        executable = shutil.which(kind, path=path)
        assert executable, f"{kind} is not installed: see deploy/packages"
        written = self._nginx if kind == "nginx" else self._haproxy
        argv = written(nodes, silence)
        self.log = (self.folder / "said").open("wb")
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", executable, *argv],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        try:
            until(self._listens, f"{kind} listens: {self.said()}")
        except BaseException:
            self.stop()
            raise

    def _nodes(self, nodes: tuple[int, int]) -> dict[str, str]:
        return {f"127.0.0.1:808{i + 1}": f"127.0.0.1:{port}" for i, port in enumerate(nodes)}

    def _haproxy(self, nodes: tuple[int, int], silence: int) -> list[str]:
        text = changed(
            changed((ROOT / "deploy/haproxy.cfg").read_text(), self.more),
            {
                "    user haproxy\n    group haproxy\n": "",
                "maxconn 50000": "maxconn 500",
                "/run/haproxy/admin.sock": f"{self.folder}/admin.sock",
                "bind :80\n": f"bind 127.0.0.1:{self.plain}\n",
                "bind :443 ": f"bind 127.0.0.1:{self.port} ",
                "/etc/haproxy/wsbus.pem": f"{self.folder}/both.pem",
                "timeout tunnel 75s": f"timeout tunnel {silence}ms",
                **self._nodes(nodes),
            },
        )
        (self.folder / "haproxy.cfg").write_text(text)
        return ["-W", "-f", f"{self.folder}/haproxy.cfg"]

    def _nginx(self, nodes: tuple[int, int], silence: int) -> list[str]:
        places = [
            f"{kind}_temp_path {self.folder}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        ]
        text = changed(
            changed((ROOT / "deploy/nginx.conf").read_text(), self.more),
            {
                "worker_processes auto;": "worker_processes 2;",
                "/run/nginx.pid": f"{self.folder}/pid",
                "/var/log/nginx/error.log": f"{self.folder}/error.log",
                "worker_rlimit_nofile 110000;": "",
                "worker_connections 50000;": "worker_connections 500;",
                "http {\n": "http {\n" + "\n".join(places) + "\n",
                "listen 80;": f"listen 127.0.0.1:{self.plain};",
                "listen 443 ssl;": f"listen 127.0.0.1:{self.port} ssl;",
                "/etc/nginx/wsbus": f"{self.folder}/wsbus",
                "proxy_read_timeout 75s": f"proxy_read_timeout {silence}ms",
                "proxy_send_timeout 75s": f"proxy_send_timeout {silence}ms",
                **self._nodes(nodes),
            },
        )
        (self.folder / "nginx.conf").write_text(text)
        return ["-e", f"{self.folder}/error.log", "-p", str(self.folder)] + [
            "-c", f"{self.folder}/nginx.conf", "-g", "daemon off;",
        ]  # fmt: skip

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.said()
        if self.kind == "haproxy" and not self._hears():
            return False
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def _hears(self) -> bool:
        """HAProxy ignores signals while it starts, and starts anew with each reload."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        caught = next(int(line.split()[1], 16) for line in status.split("\n") if "SigCgt" in line)
        heard = caught >> (signal.SIGUSR2 - 1) & 1
        return bool(heard) and self.said().count("Loading success") >= self.loaded

    def said(self) -> str:
        names = ("said", "error.log")
        paths = [self.folder / name for name in names if (self.folder / name).exists()]
        return "\n".join(path.read_text(errors="replace") for path in paths)

    def tcp(self, address: str = "") -> socket.socket:
        """`address`: that of the client, in 127.0.0.0/8."""
        plain = socket.create_connection(("127.0.0.1", self.port), 10 * PATIENCE, (address, 0))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return plain

    def tls(self, address: str = "") -> ssl.SSLSocket:
        """A connection with the certificate checked."""
        return self.context.wrap_socket(self.tcp(address), server_hostname=NAME)

    def client(self) -> Client:
        """As a page is one: with TLS, by the proxy's name, with its Origin."""
        how = share(ssl.create_default_context(cafile=str(self.folder / "wsbus.pem")))
        return Client(f"wss://{NAME}/ws", sock=self.tcp(), ssl=how, origin=f"https://{NAME}")

    def children(self) -> set[int]:
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return {int(pid) for pid in text.split()}

    def reload(self) -> None:
        """Returns when other processes serve new connections."""
        before = self.children()
        self.loaded += 1
        self.process.send_signal(signal.SIGUSR2 if self.kind == "haproxy" else signal.SIGHUP)
        until(lambda: bool(self.children() - before), f"{self.kind} has read its file again")
        until(self._listens, f"{self.kind} listens again")

    def stop(self) -> None:
        children = self.children() if self.process.poll() is None else set()
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in children:  # connections of the tests may hold them
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
