"""A client of the protocol over the `websockets` library, one call at a time."""

from __future__ import annotations

import base64
import itertools
import json
import time
from types import TracebackType
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from raw import TEXT, encode
from server import PATIENCE

WAIT = 10.0


class Frame(dict[str, Any]):
    """A frame from the server, with the text that it came as."""

    raw: str

    @classmethod
    def of(cls, raw: str) -> Frame:
        frame = cls(json.loads(raw))
        frame.raw = raw
        return frame

    @property
    def payload(self) -> bytes | None:
        """The payload's bytes exactly as they were published; None: a tombstone."""
        if self.get("tombstone"):
            assert self.raw.endswith('"data":null,"tombstone":true}'), self.raw
            return None
        if "text" in self:
            return str(self["text"]).encode()
        if "binary" in self:
            return base64.b64decode(self["binary"], validate=True)
        return self.raw_data().encode()

    def raw_data(self) -> str:
        """The text of `data`, the last member (no header or key of a test looks like it)."""
        _, found, rest = self.raw.partition(',"data":')
        assert found and rest.endswith("}"), self.raw
        return rest[:-1]

    @property
    def form(self) -> str:
        forms = [name for name in ("data", "text", "binary") if name in self]
        assert len(forms) == 1, self.raw
        return forms[0]


class Client:
    """Sends frames, takes replies by their id, keeps what else comes in the order it came."""

    # On a bus outside of the daemon the feed may hear of a message after its publisher does: then
    # the replay ends before it. messages() keeps such a `live` for later.
    live_between = False

    def __init__(self, url: str, *, welcome: bool = True, **options: Any) -> None:
        options.setdefault("subprotocols", ["wsbus.v1"])
        options.setdefault("compression", None)
        options.setdefault("max_size", None)
        options.setdefault("open_timeout", WAIT * PATIENCE)
        options.setdefault("close_timeout", 2)
        self.ws = connect(url, **options)
        self.ids = itertools.count(1)
        self.kept: list[Frame] = []
        self.welcome = self._receive(WAIT) if welcome else Frame()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.ws.close()

    # ---- out

    def send(self, frame: str | dict[str, Any] | None = None, **fields: Any) -> None:
        """A frame as text, as a dictionary, or as keywords (`from_` stands for `from`)."""
        if isinstance(frame, str):
            self.ws.send(frame)
            return
        fields = {**(frame or {}), **fields}
        if "from_" in fields:
            fields["from"] = fields.pop("from_")
        self.ws.send(json.dumps(fields, ensure_ascii=False))

    def send_together(self, *frames: dict[str, Any]) -> None:
        """In one write: they are read in one go."""
        texts = [json.dumps(frame, ensure_ascii=False).encode() for frame in frames]
        self.ws.socket.sendall(b"".join(encode(TEXT, text) for text in texts))

    def ask(self, type_: str, **fields: Any) -> int:
        """Sends a request and returns its id."""
        number = next(self.ids)
        self.send(type=type_, id=number, **fields)
        return number

    def call(self, type_: str, **fields: Any) -> Frame:
        """Sends a request and returns its reply, whatever it is."""
        return self.reply(self.ask(type_, **fields))

    def subscribe(self, channel: str, from_: Any = None, **fields: Any) -> Frame:
        if from_ is not None:
            fields["from_"] = from_
        frame = self.call("subscribe", channel=channel, **fields)
        assert frame["type"] == "subscribed", frame
        assert frame["channel"] == channel
        return frame

    def unsubscribe(self, channel: str) -> Frame:
        frame = self.call("unsubscribe", channel=channel)
        assert frame["type"] == "unsubscribed" and frame["channel"] == channel, frame
        return frame

    def publish(self, channel: str, **fields: Any) -> str:
        """Publishes and returns the position."""
        frame = self.call("publish", channel=channel, **fields)
        assert frame["type"] == "published", frame
        return str(frame["pos"])

    def publish_raw(self, channel: str, data: str, **fields: Any) -> str:
        """Publishes a text of JSON as it stands."""
        number = next(self.ids)
        head = json.dumps({"type": "publish", "id": number, "channel": channel, **fields})
        self.send(f'{head[:-1]},"data":{data}}}')
        frame = self.reply(number)
        assert frame["type"] == "published", frame
        return str(frame["pos"])

    def publish_many(self, channel: str, count: int, first: int = 1, **fields: Any) -> list[str]:
        """Publishes first, first + 1, … without waiting between them; returns their positions."""
        asked = [
            self.ask("publish", channel=channel, data=first + i, **fields) for i in range(count)
        ]
        replies = [self.reply(number) for number in asked]
        assert all(r["type"] == "published" for r in replies), replies
        return [str(r["pos"]) for r in replies]

    def history(self, channel: str, from_: Any = None, **fields: Any) -> Frame:
        if from_ is not None:
            fields["from_"] = from_
        frame = self.call("history", channel=channel, **fields)
        assert frame["type"] == "history" and frame["channel"] == channel, frame
        return frame

    def refused(self, code: str, frame: str | dict[str, Any] | None = None, **fields: Any) -> Frame:
        """Sends a request that must be answered with this error. Keywords as in send()."""
        if not isinstance(frame, str):
            fields = {**(frame or {}), **fields}
            fields.setdefault("id", f"r{next(self.ids)}")
            self.send(fields)
            answer = self.reply(fields["id"])
        else:
            self.send(frame)
            answer = self.next("error")
        assert answer["type"] == "error", answer
        assert answer["code"] == code, answer
        assert isinstance(answer["message"], str) and answer["message"], answer
        assert answer["retry"] is (code in ("rate_limited", "busy", "bus_unavailable")), answer
        return answer

    # ---- in

    def _receive(self, timeout: float) -> Frame:
        raw = self.ws.recv(timeout=max(timeout * PATIENCE, 0.001))
        assert isinstance(raw, str), raw
        return Frame.of(raw)

    def reply(self, number: Any, timeout: float = WAIT) -> Frame:
        """The reply with this id; everything else is kept for next()."""
        for i, frame in enumerate(self.kept):
            if "id" in frame and same_id(frame["id"], number):
                return self.kept.pop(i)
        deadline = time.monotonic() + timeout * PATIENCE
        while True:
            frame = self._receive((deadline - time.monotonic()) / PATIENCE)
            if "id" in frame and same_id(frame["id"], number):
                return frame
            self.kept.append(frame)

    def next(
        self, type_: str | None = None, channel: str | None = None, timeout: float = WAIT
    ) -> Frame:
        """The next frame of any type, which must be of this type and channel if they are given."""
        frame = self.kept.pop(0) if self.kept else self._receive(timeout)
        assert type_ is None or frame["type"] == type_, frame
        assert channel is None or frame["channel"] == channel, frame
        return frame

    def messages(self, channel: str, count: int, timeout: float = WAIT) -> list[Frame]:
        """The next `count` frames, all of them messages of this channel."""
        found: list[Frame] = []
        live: list[Frame] = []
        while len(found) < count:
            frame = self.next(None, channel, timeout)
            if self.live_between and frame["type"] == "live":
                live.append(frame)
                continue
            assert frame["type"] == "message", frame
            found.append(frame)
        self.kept[:0] = live
        return found

    def quiet(self) -> None:
        """Nothing is on its way: a ping is answered, and nothing came before its pong."""
        assert self.call("ping")["type"] == "pong"
        assert not self.kept, self.kept

    def closed(self, timeout: float = WAIT) -> int:
        """Reads until the server closes; the code. What came before is kept."""
        deadline = time.monotonic() + timeout * PATIENCE
        try:
            while True:
                self.kept.append(self._receive((deadline - time.monotonic()) / PATIENCE))
        except ConnectionClosed as error:
            return error.rcvd.code if error.rcvd else 1006


def same_id(a: Any, b: Any) -> bool:
    return type(a) is type(b) and a == b


def split(pos: str) -> tuple[str, str, int]:
    """A position of the memory bus: partition, epoch, number."""
    partition, _, rest = pos.partition("/")
    epoch, _, digits = rest.rpartition("-")
    assert (
        partition.isdigit() and epoch.isalnum() and epoch == epoch.lower() and digits.isdigit()
    ), pos
    return partition, epoch, int(digits)


def ordinal(pos: str) -> int:
    return split(pos)[2]


def at(pos: str, n: int) -> str:
    """Another place in the log of this position."""
    return f"{pos.rpartition('-')[0]}-{n}"


def data(frames: list[Frame]) -> list[Any]:
    return [frame["data"] for frame in frames]


def cursor_of(frame: Frame) -> str:
    """The only entry of a memory bus's cursor."""
    assert isinstance(frame["cursor"], list) and len(frame["cursor"]) == 1, frame
    return str(frame["cursor"][0])
