"""Plain sockets: HTTP as it should not be, and WebSocket frames that no library would send."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import time
from dataclasses import dataclass
from types import TracebackType

from server import PATIENCE

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = base64.b64encode(b"0123456789abcdef").decode()


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    rest: bytes

    @property
    def text(self) -> str:
        return self.rest.decode(errors="replace")


def handshake(
    port: int,
    *,
    path: str = "/ws",
    drop: tuple[str, ...] = (),
    headers: dict[str, str] | None = None,
) -> bytes:
    """An upgrade request. `headers` replaces and adds, `drop` leaves out; names in lower case."""
    fields = {
        "host": f"127.0.0.1:{port}",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-key": KEY,
        "sec-websocket-version": "13",
        **(headers or {}),
    }
    lines = [f"{name}: {value}" for name, value in fields.items() if name not in drop]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


class Raw:
    """A TCP connection to the daemon."""

    rsv = 0  # the reserved bits of the last frame; without an extension there are none
    extension = False

    def __init__(self, port: int, *, receive_buffer: int = 0, timeout: float = 10) -> None:
        self.port = port
        self.buffer = b""
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout * PATIENCE)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Raw:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.sock.close()

    def vanish(self) -> None:
        """Ends the connection with a reset, as a crashed peer does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    # ---- HTTP

    def response(self) -> Response:
        """Reads the head of a response; of the body what `content-length` says, or all there is."""
        while b"\r\n\r\n" not in self.buffer:
            if not self._more():
                raise ConnectionError(f"closed within the head: {self.buffer!r}")
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)
        }
        status = int(first.split()[1])
        body = b""
        if status != 101:
            size = headers.get("content-length")
            while size is None or len(self.buffer) < int(size):
                if not self._more():
                    break
            end = len(self.buffer) if size is None else int(size)
            body, self.buffer = self.buffer[:end], self.buffer[end:]
        return Response(status, headers, body)

    def request(self, data: bytes) -> Response:
        self.send(data)
        return self.response()

    def _more(self) -> bool:
        try:
            data = self.sock.recv(65536)
        except ConnectionError:
            return False
        self.buffer += data
        return bool(data)

    def closed(self) -> bool:
        """Reads to the end of the connection; False if it is still open after the timeout."""
        try:
            while self._more():
                pass
        except TimeoutError:
            return False
        return True

    # ---- WebSocket

    def upgrade(self) -> Raw:
        """Handshake and welcome."""
        answer = self.request(handshake(self.port))
        assert answer.status == 101, answer
        frame = self.json()
        assert frame["type"] == "welcome"
        return self

    def frame(
        self,
        opcode: int,
        payload: bytes = b"",
        *,
        fin: bool = True,
        masked: bool = True,
        rsv: int = 0,
        length: int | None = None,
    ) -> None:
        """Sends one frame; `length` may promise another length than comes."""
        self.send(encode(opcode, payload, fin=fin, masked=masked, rsv=rsv, length=length))

    def text(self, text: str | bytes) -> None:
        self.frame(TEXT, text if isinstance(text, bytes) else text.encode())

    def read_frame(self) -> tuple[int, bytes]:
        """The next frame: opcode and payload. The daemon does not fragment nor mask."""
        head = self._exactly(2)
        assert not head[1] & 0x80, "a server does not mask"
        assert head[0] & 0x80, "fragmented"
        self.rsv = head[0] >> 4 & 7
        assert self.extension or self.rsv == 0, "reserved bits"
        size = head[1] & 0x7F
        if size == 126:
            size = struct.unpack("!H", self._exactly(2))[0]
        elif size == 127:
            size = struct.unpack("!Q", self._exactly(8))[0]
        return head[0] & 0x0F, self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            if not self._more():
                raise ConnectionError("closed")
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def json(self) -> dict[str, object]:
        while True:
            opcode, payload = self.read_frame()
            if opcode == PING:
                continue
            assert opcode == TEXT, (opcode, payload)
            return dict(json.loads(payload))

    def close_code(self) -> int:
        """Reads on until the close frame. 1006: the connection ended without; 1005: no code."""
        try:
            while True:
                opcode, payload = self.read_frame()
                if opcode == CLOSE:
                    assert len(payload) != 1, "a close frame of one octet"
                    return int(struct.unpack("!H", payload[:2])[0]) if payload else 1005
        except ConnectionError:
            return 1006


def encode(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    masked: bool = True,
    rsv: int = 0,
    length: int | None = None,
) -> bytes:
    size = len(payload) if length is None else length
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    mask_bit = 0x80 if masked else 0
    if size < 126:
        head += bytes([mask_bit | size])
    elif size < 65536:
        head += bytes([mask_bit | 126]) + struct.pack("!H", size)
    else:
        head += bytes([mask_bit | 127]) + struct.pack("!Q", size)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    pad = mask * (len(payload) // 4 + 1)
    body = (int.from_bytes(payload, "big") ^ int.from_bytes(pad[: len(payload)], "big")).to_bytes(
        len(payload), "big"
    )
    return head + mask + body


def stalled_reader(port: int, channel: str, policy: str) -> socket.socket:
    """Subscribes, and never reads again."""
    ask = json.dumps({"type": "subscribe", "channel": channel, "policy": policy})
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(60)
    sock.connect(("127.0.0.1", port))
    sock.sendall(handshake(port))
    sock.recv(300)
    sock.sendall(encode(TEXT, ask.encode()))
    return sock


def wait_for(condition: object, timeout: float = 10, what: str = "") -> None:
    """Polls a function until it is true."""
    assert callable(condition)
    deadline = time.monotonic() + timeout * PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.01)
