"""Certificates made for one test, and clients that speak TLS."""

from __future__ import annotations

import itertools
import socket
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client import Client, Frame
from raw import PING, PONG, TEXT, Raw, encode, handshake
from server import PATIENCE, Server, config


@dataclass
class Pair:
    cert: Path
    key: Path

    @property
    def option(self) -> dict[str, Any]:
        return {"cert": str(self.cert), "key": str(self.key)}

    @property
    def der(self) -> bytes:
        return ssl.PEM_cert_to_DER_cert(self.cert.read_text())


def make_pair(folder: Path, name: str, *names: str, rsa: bool = False) -> Pair:
    """A self-signed certificate: its own authority."""
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    kind = ["rsa:2048"] if rsa else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    alternatives = ",".join(f"DNS:{n}" for n in (*names, "localhost")) + ",IP:127.0.0.1"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-days", "90", "-subj", f"/CN={name}",
         "-addext", f"subjectAltName={alternatives}", "-keyout", str(pair.key), "-out", str(pair.cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    return pair


def tls_config(*pairs: Pair, listen: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """The usual configuration, on a port that speaks TLS with these certificates."""
    entry = {"address": "127.0.0.1:0", "tls": [p.option for p in pairs], **(listen or {})}
    return config(listen=entry, **changes)


def context(trust: Pair | None = None, own: Pair | None = None) -> ssl.SSLContext:
    """A client's. It believes this certificate, or any."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = trust is not None
    made.verify_mode = ssl.CERT_REQUIRED if trust else ssl.CERT_NONE
    if trust:
        made.load_verify_locations(trust.cert)
    if own:
        made.load_cert_chain(own.cert, own.key)
    return made


class TlsRaw(Raw):
    """A TLS connection to the daemon. Its end must be announced (close_notify), or it is an error."""

    def __init__(
        self,
        port: int,
        how: ssl.SSLContext | None = None,
        *,
        name: str | None = None,
        session: ssl.SSLSession | None = None,
        receive_buffer: int = 0,
        before: bytes = b"",
    ) -> None:
        super().__init__(port, receive_buffer=receive_buffer)
        plain = self.sock
        plain.sendall(before)
        try:
            self.tls = (how or context()).wrap_socket(
                plain, server_hostname=name, session=session, suppress_ragged_eofs=False
            )
        except BaseException:
            plain.close()
            raise
        self.sock = self.tls

    @property
    def certificate(self) -> bytes | None:
        return self.tls.getpeercert(binary_form=True)


class Messages:
    """What a Client needs of a WebSocket, over a TlsRaw."""

    def __init__(self, raw: TlsRaw) -> None:
        self.raw = raw
        answer = raw.request(handshake(raw.port, headers={"sec-websocket-protocol": "wsbus.v1"}))
        assert answer.status == 101, answer

    def send(self, text: str) -> None:
        self.raw.send(encode(TEXT, text.encode()))

    def recv(self, timeout: float) -> str:
        self.raw.sock.settimeout(timeout)
        while True:
            opcode, payload = self.raw.read_frame()
            if opcode == TEXT:
                return payload.decode()
            assert opcode == PING, (opcode, payload)
            self.raw.send(encode(PONG, payload))

    def close(self) -> None:
        self.raw.sock.close()


class TlsClient(Client):
    """A Client over TLS with everything that a TlsRaw shows, the end of the connection too."""

    def __init__(self, server: Server, how: ssl.SSLContext | None = None, name: str | None = None) -> None:
        self.raw = TlsRaw(server.port, how, name=name)
        self.ws: Any = Messages(self.raw)
        self.ids = itertools.count(1)
        self.kept: list[Frame] = []
        self.welcome = self.next("welcome")

    def closed(self, timeout: float = 10) -> int:
        self.raw.sock.settimeout(timeout * PATIENCE)
        return self.raw.close_code()


def connect_plain(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10 * PATIENCE)


def livez(port: int) -> bytes:
    return f"GET /livez HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
