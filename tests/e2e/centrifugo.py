#!/usr/bin/env python3
"""A stand-in for Centrifugo 6, as far as `make bench CENTRIFUGO=…` talks to it.

    centrifugo.py --config FILE

What it does is written down in Centrifugo's own documentation (server configuration, engines, client protocol)
and in the schema of its messages (centrifugal/protocol, client.proto): so it shows that the benchmark's
configuration, frames and PUBLISH fit those. How fast Centrifugo is it cannot show.

  - The configuration may have the options that are listed below, and no others.
  - A command or reply is a line of JSON, and a WebSocket frame may hold several. Connect comes first.
  - Redis: SUBSCRIBE PREFIX.client.CHANNEL; what comes is a Publication, whose field 4 is the data.
  - A ping is an empty object, and is answered with the same. Here each frame of publications has one among its
    lines, as it happens under load, and a client that has not answered gets no more (Centrifugo closes it).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import struct
import sys
from pathlib import Path
from typing import Any

KNOWN = {
    "http_server": {"address", "port", "tls"},
    "client": {"insecure", "channel_limit"},
    "engine": {"type", "redis"},
    "usage_stats": {"disabled"},
    "log": {"level"},
    "websocket": {"compression"},
}
GATHER = 0.005
BAD_REQUEST = 3501


def configuration(path: str) -> dict[str, Any]:
    config = dict(json.loads(Path(path).read_text()))
    for section, options in config.items():
        if section not in KNOWN or set(options) - KNOWN[section]:
            raise SystemExit(f"centrifugo: unknown option in {section}: {options}")
    if config["engine"]["type"] != "redis" or not config["client"]["insecure"]:
        raise SystemExit("centrifugo: clients need a token, or there is no engine")
    return config


def data_of(publication: bytes) -> bytes:
    """Field 4 of a protobuf message that has no other."""
    assert publication[0] == 4 << 3 | 2, publication[:8]
    at, length, shift = 1, 0, 0
    while True:
        length |= (publication[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if publication[at - 1] < 128:
            break
    assert len(publication) == at + length
    return publication[at:]


def publication(data: bytes) -> bytes:
    length, head = len(data), bytearray([4 << 3 | 2])
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    return bytes([*head, length]) + data


def frame(opcode: int, payload: bytes) -> bytes:
    if len(payload) < 126:
        return bytes([0x80 | opcode, len(payload)]) + payload
    assert len(payload) < 65536
    return struct.pack(">BBH", 0x80 | opcode, 126, len(payload)) + payload


class Redis:
    def __init__(self, inlet: asyncio.StreamReader, outlet: asyncio.StreamWriter) -> None:
        self.inlet, self.outlet = inlet, outlet

    def say(self, *words: bytes) -> None:
        body = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        self.outlet.write(b"*%d\r\n" % len(words) + body)

    async def answer(self) -> Any:
        line = await self.inlet.readline()
        kind, number = line[:1], line[1:].strip()
        if kind == b"*":
            return [await self.answer() for _ in range(int(number))]
        if kind == b"$":
            return (await self.inlet.readexactly(int(number) + 2))[:-2]
        return number


class Client:
    def __init__(self, node: Node, inlet: asyncio.StreamReader, outlet: asyncio.StreamWriter) -> None:
        self.node, self.inlet, self.outlet = node, inlet, outlet
        self.channels: set[str] = set()
        self.waiting: list[str] = []
        self.connected = False
        self.asked = False  # for a pong

    async def upgrade(self) -> None:
        head = (await self.inlet.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        assert head[0].startswith("GET /connection/websocket HTTP/1.1"), head[0]
        key = next(line.split(": ")[1] for line in head if line.lower().startswith("sec-websocket-key"))
        digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        accept = base64.b64encode(digest).decode()
        self.outlet.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )

    async def run(self) -> None:
        await self.upgrade()
        while True:
            first, length = await self.inlet.readexactly(2)
            assert length & 0x80, "a client's frames are masked"
            length &= 0x7F
            if length == 126:
                length = struct.unpack(">H", await self.inlet.readexactly(2))[0]
            mask = await self.inlet.readexactly(4)
            payload = await self.inlet.readexactly(length)
            if first & 15 == 8:
                return
            text = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)).decode()
            for line in filter(None, text.split("\n")):
                self.take(json.loads(line))

    def take(self, command: dict[str, Any]) -> None:
        if not command:
            self.asked = False
            if self.waiting:
                self.flush()
        elif "connect" in command and not self.connected:
            self.connected = True
            self.say(
                {"id": command["id"], "connect": {"client": "x", "version": "6", "ping": 25, "pong": True}}
            )
        elif "subscribe" in command and self.connected:
            channel = command["subscribe"]["channel"]
            if len(self.channels) >= self.node.config["client"]["channel_limit"]:
                self.say({"id": command["id"], "error": {"code": 106, "message": "limit exceeded"}})
                return
            self.channels.add(channel)
            self.node.join(channel, self)
            self.say({"id": command["id"], "subscribe": {}})
        elif "publish" in command and self.connected:
            asked = command["publish"]
            self.node.publish(asked["channel"], json.dumps(asked["data"]).encode())
            self.say({"id": command["id"], "publish": {}})
        else:
            self.close(BAD_REQUEST)

    def say(self, reply: dict[str, Any]) -> None:
        self.outlet.write(frame(1, json.dumps(reply, separators=(",", ":")).encode()))

    def push(self, line: str) -> None:
        """What comes within a few milliseconds goes into one frame, with a ping."""
        if not self.waiting and not self.asked:
            asyncio.get_running_loop().call_later(GATHER, self.flush)
        self.waiting.append(line)

    def flush(self) -> None:
        if self.outlet.is_closing() or self.asked:
            return
        self.asked = True
        self.waiting.insert((len(self.waiting) + 1) // 2, "{}")
        self.outlet.write(frame(1, "\n".join(self.waiting).encode()))
        self.waiting = []

    def close(self, code: int) -> None:
        self.outlet.write(frame(8, struct.pack(">H", code)))
        self.outlet.close()


class Node:
    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.members: dict[str, set[Client]] = {}

    async def begin(self) -> None:
        host, port = self.config["engine"]["redis"]["address"].removeprefix("redis://").split(":")
        self.news = Redis(*await asyncio.open_connection(host, int(port)))
        self.words = Redis(*await asyncio.open_connection(host, int(port)))

    def join(self, channel: str, client: Client) -> None:
        if channel not in self.members:
            self.news.say(b"SUBSCRIBE", b"centrifugo.client." + channel.encode())
        self.members.setdefault(channel, set()).add(client)

    def publish(self, channel: str, data: bytes) -> None:
        self.words.say(b"PUBLISH", b"centrifugo.client." + channel.encode(), publication(data))

    async def deliver(self) -> None:
        while True:
            kind, name, what = await self.news.answer()
            if kind != b"message":
                continue
            channel = name.decode().removeprefix("centrifugo.client.")
            data = json.loads(data_of(what))
            push = {"push": {"channel": channel, "pub": {"data": data}}}
            for client in self.members.get(channel, ()):
                client.push(json.dumps(push, separators=(",", ":")))

    async def serve(self, inlet: asyncio.StreamReader, outlet: asyncio.StreamWriter) -> None:
        client = Client(self, inlet, outlet)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await client.run()
        for channel in client.channels:
            self.members[channel].discard(client)
        if not outlet.is_closing():
            outlet.close()


async def main() -> None:
    assert sys.argv[1] == "--config"
    node = Node(configuration(sys.argv[2]))
    await node.begin()
    where = node.config["http_server"]
    await asyncio.start_server(node.serve, where["address"], where["port"])
    await node.deliver()


if __name__ == "__main__":
    asyncio.run(main())
