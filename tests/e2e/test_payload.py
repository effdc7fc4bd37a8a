"""Payloads, keys and headers arrive byte for byte."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from client import Client
from conftest import Start
from server import config

Connect = Callable[..., Client]


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


# What a parser would change if it read and printed them again.
DATA = [
    "9223372036854775807", "18446744073709551615", "-9223372036854775808", "9007199254740993", "123456789012345678901234567890",
    "1e400", "-1E+400", "1e-400", "-0", "-0.0", "1.0", "1.50", "0.1e1", "10e-1", "3.141592653589793238462643383279",
    '{"a":1,"a":2}', '{"b":1,"a":2,"b":{"b":1}}', '{"":0}', '{"type":"welcome","channel":"x","data":1}', "{}", "[]", '""', "null", "true", "false",
    r'"\ud800"', r'"\udc00\ud800"', r'{"\ud83d":"\ude00"}', r'"\u0000"', r'{"a\u0000b":"\u0000"}', r'"\/"', r'"\u0041"', r'"\uD83D\uDE00"',
    r'"\"\\\b\f\n\r\t"', '"\x7f"', '"\u2028\u2029"', '"\ufeff"', '"😀"', '"\U0010ffff"', '"é"', '"日本語"', '" ]} "', '[1,[2,[3,{"a":[]}]]]',
    '{"a" : [ 1 ,\t2 ,\n3\r\n] }', "[1, 2,   3]", '{"a":\n{\n}\n}',
]  # fmt: skip


@pytest.mark.parametrize("text", DATA, ids=range(len(DATA)))
def test_data(client: Client, channel: str, text: str) -> None:
    client.subscribe(channel)
    client.publish_raw(channel, text)
    frame = client.next("message", channel)
    assert frame.form == "data" and frame.raw_data() == text
    assert f'"data":{text}}}' in client.history(channel).raw


@pytest.mark.parametrize("text", DATA, ids=range(len(DATA)))
def test_text_that_is_json_comes_as_data(client: Client, channel: str, text: str) -> None:
    """The form on the way out is decided by the bytes alone."""
    client.subscribe(channel)
    client.publish(channel, text=text)
    client.publish(channel, binary=base64.b64encode(text.encode()).decode())
    for frame in client.messages(channel, 2):
        assert frame.form == "data" and frame.raw_data() == text


def test_data_is_taken_without_white_space_around_it(client: Client, channel: str) -> None:
    client.subscribe(channel)
    client.publish_raw(channel, ' \t\r\n{"a" : 1}\n\t ')
    assert client.next("message").raw_data() == '{"a" : 1}'
    client.publish_raw(channel, ' " x " ')
    assert client.next("message").raw_data() == '" x "'


@pytest.mark.parametrize("text", [" 1", "1 ", "\n{}", "[]\r\n", '\t"a" '])
def test_white_space_around_json_survives(client: Client, channel: str, text: str) -> None:
    client.subscribe(channel)
    client.publish(channel, text=text)
    frame = client.next("message")
    assert frame.form == "data" and frame.raw_data() == text


TEXTS = [
    "", " ", "hello", "\n", "\0", "a\0b", '"', "\\", "{", "[1,]", "01", "1.", ".5", "+1", "NaN", "Infinity", "nul", "True", "{'a':1}", "1 2", "{}{}",
    '{"a":1,}', '"\n"', '"\t"', '"\0"', r'"\x41"', r'"\u12"', "\ufeff1", "\ufeff", "\ufeff{}", "\u2028", "\u0085", "\x7f\x1f", "日本語 😀 \U0010ffff",
    "</script>", "line one\r\nline two", "// comment", "1//", "e\u0301",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_text(client: Client, channel: str, text: str) -> None:
    client.subscribe(channel)
    client.publish(channel, text=text)
    client.publish(channel, binary=base64.b64encode(text.encode()).decode())
    for frame in client.messages(channel, 2):
        assert frame.form == "text" and frame["text"] == text
        assert "\n" not in frame.raw, "a frame holds no newline outside a JSON payload"


BINARIES = [
    b"\xff", b"\xff\xfe", b"\x80", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf0\x80\x80\x80",
    b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xc3", b"a\xe2\x82", b"\xf0\x9f\x98", b'"\xff"', b'{"a":"\xed\xa0\x80"}', bytes(range(256)),
]  # fmt: skip


@pytest.mark.parametrize("payload", BINARIES, ids=range(len(BINARIES)))
def test_binary(client: Client, channel: str, payload: bytes) -> None:
    client.subscribe(channel)
    client.publish(channel, binary=base64.b64encode(payload).decode())
    frame = client.next("message")
    assert frame.form == "binary" and frame.payload == payload


def test_depth(client: Client, channel: str) -> None:
    """JSON deeper than 512 is text."""
    client.subscribe(channel)
    for depth, form in [(1, "data"), (511, "data"), (512, "data"), (513, "text"), (5000, "text")]:
        for text in (nested(depth), '{"a":' * depth + "1" + "}" * depth):
            client.publish(channel, text=text)
            frame = client.next("message")
            assert (frame.form, frame.payload) == (form, text.encode()), depth


def test_depth_of_a_frame(client: Client, channel: str) -> None:
    """A frame itself must not be nested deeper than 512, its payload included."""
    client.subscribe(channel)
    client.publish_raw(channel, nested(511))
    assert client.next("message").raw_data() == nested(511)
    client.send(f'{{"type":"publish","id":"deep","channel":"{channel}","data":{nested(512)}}}')
    assert client.next("error")["code"] == "bad_request"
    client.send(f'{{"type":"publish","channel":"{channel}","data":{nested(10_000)}}}')
    assert client.next("error")["code"] == "bad_request"
    client.quiet()


def test_random_bytes(client: Client, channel: str) -> None:
    """Random payloads, most of them near the borders of JSON and UTF-8."""
    seed = random.SystemRandom().getrandbits(32)
    chance = random.Random(seed)
    pieces = [
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b"1",
        b"e",
        b"-",
        b"\0",
        b"\n",
        b" ",
        b"\xc3\xa9",
        b"\xff",
        b"\xed\xa0\x80",
        b"a",
        b"\\u",
    ]
    client.subscribe(channel)
    payloads = [b"".join(chance.choices(pieces, k=chance.randrange(8))) for _ in range(1000)]
    for payload in payloads:
        client.send(type="publish", channel=channel, binary=base64.b64encode(payload).decode())
    for payload in payloads:
        frame = client.next("message")
        assert frame.payload == payload, f"seed {seed}"
        assert frame.form == form_of(payload), f"seed {seed}: {payload!r}"


def form_of(payload: bytes) -> str:
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return "binary"
    try:
        json.loads(text, parse_constant=lambda name: json.loads("x"))
    except ValueError:
        return "text"
    return "data"


HEADERS: list[dict[str, str]] = [
    {"a": ""}, {"": "b"}, {"a b": "c d"}, {"Content-Type": "application/json"}, {"ü": "😀"}, {'"': '"\\'}, {"a": "\0"}, {"\0": "a"},
    {"a": "line\nbreak\r"}, {"a": '{"b":1}'}, {"data": "1", "type": "x"}, {"a": "1", "A": "2"}, {f"h{i}": str(i) for i in range(100)}, {"a": "x" * 10_000},
]  # fmt: skip


@pytest.mark.parametrize("headers", HEADERS, ids=range(len(HEADERS)))
def test_headers(client: Client, channel: str, headers: dict[str, str]) -> None:
    client.subscribe(channel)
    client.publish(channel, data=1, headers=headers)
    frame = client.next("message")
    assert frame["headers"] == headers and frame["data"] == 1


def test_header_given_twice(client: Client, channel: str) -> None:
    """Refused like any other name given twice; nothing is published."""
    client.send(
        f'{{"type":"publish","channel":"{channel}","headers":{{"a":"1","b":"x","a":"2"}},"data":1}}'
    )
    assert client.next("error", channel)["code"] == "bad_request"
    assert client.history(channel)["messages"] == []


@pytest.mark.parametrize(
    "key", ["", "a", "EUR/USD", " ", "\0", '"\\', "😀", "x" * 5000, "null", "{}"]
)
def test_keys(client: Client, channel: str, key: str) -> None:
    client.subscribe(channel)
    client.publish(channel, data=1, key=key)
    frame = client.next("message")
    assert frame["key"] == key and "key_binary" not in frame


@pytest.mark.parametrize("size", [1, 125, 126, 127, 65535, 65536, 65537, 300_000, 1 << 20])
def test_sizes(start: Start, connect: Connect, size: int) -> None:
    special = start(config(limits={"message_bytes": 1 << 20}))
    client, other = connect(special), connect(special)
    client.subscribe("plain.a")
    other.subscribe("plain.a")
    text = "".join(random.Random(size).choices('ab"\\\n', k=size))
    client.publish("plain.a", text=text)
    client.publish_raw("plain.a", json.dumps("y" * max(size - 2, 0)))
    client.publish("plain.a", binary=base64.b64encode(b"\xff" * size).decode())
    for reader in (client, other):
        payloads = [m.payload for m in reader.messages("plain.a", 3)]
        assert payloads == [text.encode(), b'"' + b"y" * max(size - 2, 0) + b'"', b"\xff" * size]
    got: list[Any] = []
    page = client.history("plain.a")
    while True:
        got += page["messages"]
        if not page["more"]:
            break
        page = client.history("plain.a", {"after": page["cursor"]})
    assert len(got) == 3
    client.refused("too_large", type="publish", channel="plain.a", text="x" * ((1 << 20) + 1))
