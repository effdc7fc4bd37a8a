"""Channel rules: patterns, topics, keys, rights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from client import Client, data, ordinal, split
from conftest import Start
from server import config

Connect = Callable[..., Client]


def test_key_is_set_by_publishing(client: Client, topic: str) -> None:
    client.subscribe(f"whole.{topic}")
    client.publish(f"keyed.{topic}.EURUSD", data=1)
    frame = client.next("message", f"whole.{topic}")
    assert frame["key"] == "EURUSD" and frame["data"] == 1


def test_subscribing_sees_that_key_only(client: Client, topic: str) -> None:
    client.subscribe(f"keyed.{topic}.a")
    client.publish(f"keyed.{topic}.b", data=1)
    client.publish(f"whole.{topic}", data=2)
    client.publish(f"whole.{topic}", data=3, key="c")
    client.quiet()
    client.publish(f"whole.{topic}", data=4, key="a")
    client.publish(f"keyed.{topic}.a", data=5, key="a")
    frames = client.messages(f"keyed.{topic}.a", 2)
    assert data(frames) == [4, 5] and all(f["key"] == "a" for f in frames)


def test_another_key_is_refused(client: Client, topic: str) -> None:
    channel = f"keyed.{topic}.a"
    frame = client.refused("bad_request", type="publish", channel=channel, key="b", data=1)
    assert frame["channel"] == channel
    client.refused("bad_request", type="publish", channel=channel, key="", data=1)
    assert client.history(channel)["messages"] == []


def test_channels_share_the_positions_of_their_topic(client: Client, topic: str) -> None:
    for i in range(9):
        client.publish(f"keyed.{topic}.{'abc'[i % 3]}", data=i)
    frame = client.subscribe(f"keyed.{topic}.a", "earliest")
    messages = client.messages(f"keyed.{topic}.a", 3)
    assert data(messages) == [0, 3, 6] and [ordinal(m["pos"]) for m in messages] == [1, 4, 7]
    assert ordinal(client.next("live")["cursor"][0]) == 9
    # A position of the one holds on the other.
    other = client.subscribe(f"keyed.{topic}.b", {"after": [messages[1]["pos"]]})
    assert other["recovered"] is True
    assert split(other["cursor"][0])[:2] == split(frame["cursor"][0])[:2]
    assert data(client.messages(f"keyed.{topic}.b", 2)) == [4, 7]
    client.next("live")
    client.subscribe(f"whole.{topic}", {"after": [messages[2]["pos"]]})
    assert data(client.messages(f"whole.{topic}", 2)) == [7, 8]
    client.next("live")


def test_many_channels_on_one_topic(client: Client, topic: str) -> None:
    keys = [f"k{i}" for i in range(100)]
    for key in keys:
        client.subscribe(f"keyed.{topic}.{key}")
    client.subscribe(f"whole.{topic}")
    client.subscribe(f"alias.{topic}")
    for i, key in enumerate(keys):
        client.publish(f"keyed.{topic}.{key}", data=i)
        got = {client.next("message")["channel"] for _ in range(3)}
        assert got == {f"keyed.{topic}.{key}", f"whole.{topic}", f"alias.{topic}"}
    client.quiet()


def test_last_on_a_keyed_channel(client: Client, topic: str) -> None:
    for i in range(300):
        client.publish(f"keyed.{topic}.{i % 30}", data=i)
    for count in (1, 3, 100):
        client.subscribe(f"keyed.{topic}.7", {"last": count})
        expected = list(range(7, 300, 30))[-count:]
        assert data(client.messages(f"keyed.{topic}.7", len(expected))) == expected
        client.next("live")
        client.unsubscribe(f"keyed.{topic}.7")


def test_last_on_a_rare_key(client: Client, topic: str) -> None:
    """The newest message of a key, far behind in the log, comes at once."""
    client.publish(f"keyed.{topic}.rare", data="price")
    for _ in range(5):
        client.publish_many(f"keyed.{topic}.busy", 1000)
    client.subscribe(f"keyed.{topic}.busy")
    client.subscribe(f"keyed.{topic}.rare", {"last": 1})
    assert client.next("message", f"keyed.{topic}.rare")["data"] == "price"
    client.next("live", f"keyed.{topic}.rare")


def test_history_of_a_keyed_channel(client: Client, topic: str) -> None:
    for i in range(40):
        client.publish(f"keyed.{topic}.{'ab'[i % 2]}", data=i)
    page = client.history(f"keyed.{topic}.b", limit=5)
    assert data(page["messages"]) == [1, 3, 5, 7, 9] and page["more"] is True
    got: list[Any] = []
    while True:
        got += data(page["messages"])
        if not page["more"]:
            break
        page = client.history(f"keyed.{topic}.b", {"after": page["cursor"]}, limit=5)
    assert got == list(range(1, 40, 2))
    page = client.history(
        f"keyed.{topic}.a",
        {"last": 3},
        until=[page["messages"][-1]["pos"]] if page["messages"] else None,
    )
    assert len(page["messages"]) == 3


def test_segments(start: Start, connect: Connect) -> None:
    rules = [
        {"match": "exact", "bus": "m"},
        {"match": "one.*", "bus": "m"},
        {"match": "mid.*.end", "bus": "m"},
        {"match": "many.**", "bus": "m"},
        {"match": "mix.*.{b}.**", "bus": "m", "topic": "mix-{b}"},
    ]
    client = connect(start(config(channels=rules)))
    for name in ("exact", "one.a", "mid.x.end", "many.a", "many.a.b.c", "mix.a.b.c", "mix.a.b.c.d"):
        client.subscribe(name)
    for name in (
        "exact.a",
        "exac",
        "Exact",
        "one",
        "one.a.b",
        "mid.end",
        "mid.a.b.end",
        "mid.a.end.b",
        "many",
        "manya",
        "mix.a.b",
        "other",
    ):
        frame = client.refused("unknown_channel", type="subscribe", channel=name)
        assert frame["channel"] == name
        client.refused("unknown_channel", type="publish", channel=name, data=1)
        client.refused("unknown_channel", type="history", channel=name)
    client.publish("mix.z.b.c.d.e", data=1)
    assert {client.next("message")["channel"] for _ in range(2)} == {"mix.a.b.c", "mix.a.b.c.d"}
    client.quiet()


def test_templates(start: Start, connect: Connect) -> None:
    rules = [
        {"match": "a.{x}.{y}", "bus": "m", "topic": "pre-{y}-mid-{x}", "key": "k:{x}:{y}"},
        {"match": "topic.{x}", "bus": "m", "topic": "pre-{x}-mid-1"},
        {"match": "other.{x}", "bus": "n", "topic": "pre-{x}-mid-1"},
    ]
    buses = {"m": {"type": "memory"}, "n": {"type": "memory"}}
    client = connect(start(config(channels=rules, buses=buses)))
    client.subscribe("topic.2")
    client.subscribe("other.2")
    client.publish("a.1.2", data=1)
    frame = client.next("message")
    assert frame["channel"] == "topic.2" and frame["key"] == "k:1:2"
    client.quiet()
    client.publish("other.2", data=2)
    assert client.next("message")["channel"] == "other.2"


def test_first_match_wins(start: Start, connect: Connect) -> None:
    rules = [
        {"match": "a.special", "bus": "m", "publish": False},
        {"match": "a.*", "bus": "m"},
        {"match": "a.**", "bus": "m", "history": False},
    ]
    client = connect(start(config(channels=rules)))
    client.refused("forbidden", type="publish", channel="a.special", data=1)
    client.subscribe("a.special", "earliest")
    client.next("live")
    client.publish("a.other", data=1)
    client.history("a.other")
    client.publish("a.b.c", data=1)
    client.refused("forbidden", type="history", channel="a.b.c")


def test_publish_forbidden_by_rule(client: Client, topic: str) -> None:
    channel = f"readonly.{topic}"
    client.subscribe(channel, "earliest")
    client.next("live")
    assert (
        client.refused("forbidden", type="publish", channel=channel, data=1)["channel"] == channel
    )
    client.publish(f"whole.{topic}", data=1)
    assert client.next("message", channel)["data"] == 1
    assert data(client.history(channel)["messages"]) == [1]


def test_history_forbidden_by_rule(client: Client, topic: str) -> None:
    channel = f"fleeting.{topic}"
    client.refused("forbidden", type="history", channel=channel)
    froms: list[Any] = ["earliest", {"after": []}, {"time": 0}, {"ago": 1}, {"last": 1}]
    for from_ in froms:
        client.refused("forbidden", {"type": "subscribe", "channel": channel, "from": from_})
    frame = client.subscribe(channel, "now")
    assert frame["cursor"] is None
    client.publish(channel, data=1)
    assert client.next("message", channel)["data"] == 1


def test_anonymous_rights(start: Start, connect: Connect) -> None:
    access = {
        "anonymous": {
            "subscribe": ["plain.public.**", "plain.both"],
            "publish": ["plain.in.*", "plain.both"],
        }
    }
    client = connect(start(config(access=access)))
    assert client.welcome["auth"] == "anonymous"
    client.subscribe("plain.public.a")
    client.subscribe("plain.public.a.b", "earliest")
    client.next("live")
    client.history("plain.public.a")
    client.publish("plain.in.a", data=1)
    client.subscribe("plain.both")
    client.publish("plain.both", data=1)
    client.next("message")
    for channel in ("plain.in.a", "plain.secret", "plain.public"):
        assert client.refused("forbidden", type="subscribe", channel=channel)["channel"] == channel
        client.refused("forbidden", type="history", channel=channel)
    for channel in ("plain.public.a", "plain.in.a.b", "plain.secret"):
        client.refused("forbidden", type="publish", channel=channel, data=1)
    client.quiet()


def test_access_without_anonymous_allows_nothing(start: Start, connect: Connect) -> None:
    client = connect(start(config(access={"origins": ["https://app.example.com"]})))
    client.refused("forbidden", type="subscribe", channel="plain.a")
    client.refused("forbidden", type="publish", channel="plain.a", data=1)
    assert client.call("ping")["type"] == "pong"


def test_without_rules_a_channel_is_a_topic(start: Start, connect: Connect) -> None:
    settings = config()
    del settings["channels"]
    client = connect(start(settings))
    client.subscribe("hello")
    client.publish("hello", data=1)
    assert client.next("message", "hello")["data"] == 1
    for name in ("__hidden", "__consumer_offsets", "__"):
        client.refused("unknown_channel", type="subscribe", channel=name)
        client.refused("unknown_channel", type="publish", channel=name, data=1)
        client.refused("unknown_channel", type="history", channel=name)
    client.subscribe("a.__b")


def test_without_rules_several_buses(start: Start, connect: Connect) -> None:
    settings = config(buses={"one": {"type": "memory"}, "two": {"type": "memory"}})
    del settings["channels"]
    client = connect(start(settings))
    client.subscribe("one/x")
    client.subscribe("two/x")
    client.publish("two/x", data=1)
    assert client.next("message")["channel"] == "two/x"
    client.quiet()
    for name in ("x", "three/x", "one/__x", "one"):
        client.refused("unknown_channel", type="subscribe", channel=name)


@pytest.mark.parametrize("count", [5])
def test_idle_topics_make_room(start: Start, connect: Connect, count: int) -> None:
    """A memory bus bounds its topics; one with subscribers never goes."""
    client = connect(start(config(buses={"m": {"type": "memory", "topics": count}})))
    client.subscribe("plain.kept")
    first = client.publish("plain.kept", data=0)
    gone = client.publish("plain.gone", data=0)
    for i in range(count * 3):
        client.publish(f"plain.{i}", data=i)
    assert split(client.publish("plain.kept", data=1))[1] == split(first)[1]
    frame = client.call("history", channel="plain.gone", from_={"after": [gone]})
    assert frame["recovered"] is False and frame["reason"] == "epoch"
