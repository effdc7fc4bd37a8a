"""Many clients resume one stream at once: each gets exactly its own, and Redis is read about once."""

from __future__ import annotations

from collections.abc import Callable

from client import Client, Frame
from conftest import Start
from crowd import ask_all, reads_of, replayed
from redis_server import Redis, bridge_config

Connect = Callable[..., Client]

TOTAL = 1500
PAGES = 24
ALONE = 4  # reads of one client at least


def fill(server: Redis, name: str) -> None:
    pipe = server.client().pipeline(transaction=False)
    for n in range(1, TOTAL + 1):
        pipe.xadd(name, {"data": f'"{n}{"x" * 150}"', "key": f"k{n % 10}"}, id=f"{n}-0")
    pipe.execute()


def numbers(frames: list[Frame]) -> list[int]:
    return [int(frame["pos"].partition("/")[2].partition("-")[0]) for frame in frames]


def test_from_places_near_each_other(redis_server: Redis, start: Start, connect: Connect) -> None:
    fill(redis_server, "st.crowd")
    bridge = start(bridge_config(redis_server.url, drain=100, replay={"ring_messages": 10}))
    pages = [connect(bridge) for _ in range(PAGES)]
    begins = [n * 37 % 200 for n in range(PAGES)]
    ask_all(pages, ["st.crowd"] * PAGES, [{"after": [f"0/{n}-0"]} for n in begins])
    for page, begin in zip(pages, begins, strict=True):
        assert numbers(replayed(page, "st.crowd")) == list(range(begin + 1, TOTAL + 1))
    redis_server.client().xadd("st.crowd", {"data": "1"}, id=f"{TOTAL + 1}-0")
    for page in pages:
        assert numbers(page.messages("st.crowd", 1)) == [TOTAL + 1]
    assert 0 < reads_of(bridge, pages) < PAGES * ALONE / 2


def test_channels_of_one_stream_by_key(redis_server: Redis, start: Start, connect: Connect) -> None:
    fill(redis_server, "st.keys")
    bridge = start(bridge_config(redis_server.url, drain=100, replay={"ring_messages": 10}))
    pages = [connect(bridge) for _ in range(PAGES)]
    channels = [f"keyed.keys.k{n % 10}" for n in range(PAGES)]
    ask_all(pages, channels, ["earliest"] * PAGES)
    for n, page in enumerate(pages):
        found = numbers(replayed(page, channels[n]))
        assert found == [i for i in range(1, TOTAL + 1) if i % 10 == n % 10]
    assert reads_of(bridge, pages) < PAGES * ALONE / 2


def test_a_budget_for_the_bus(redis_server: Redis, start: Start, connect: Connect) -> None:
    fill(redis_server, "st.a")
    fill(redis_server, "st.b")
    bridge = start(bridge_config(redis_server.url, drain=100, replay={"at_once": 1}))
    page = connect(bridge)
    asks = {"type": "subscribe", "from": "earliest"}
    page.send_together({**asks, "id": 1, "channel": "st.a"}, {**asks, "id": 2, "channel": "st.b"})
    refused = page.reply(2)
    assert refused["code"] == "busy" and refused["retry"] is True
    assert 500 <= refused["retry_after"] < 1500
    assert numbers(replayed(page, "st.a")) == list(range(1, TOTAL + 1))
    page.send(type="subscribe", id=1, channel="st.b", from_="earliest")
    assert numbers(replayed(page, "st.b")) == list(range(1, TOTAL + 1))


def test_a_budget_for_each_client(redis_server: Redis, start: Start, connect: Connect) -> None:
    fill(redis_server, "st.c")
    bridge = start(bridge_config(redis_server.url, drain=100, replay={"each": 1}))
    page, other = connect(bridge), connect(bridge)
    asks = {"type": "subscribe", "from": "earliest"}
    page.send_together({**asks, "id": 1, "channel": "st.c"}, {**asks, "id": 2, "channel": "st.d"})
    refused = page.reply(2)
    assert refused["code"] == "busy" and refused["retry"] is True
    assert 500 <= refused["retry_after"] < 1500
    other.send(type="subscribe", id=1, channel="st.c", from_="earliest")
    for each in (page, other):
        assert numbers(replayed(each, "st.c")) == list(range(1, TOTAL + 1))
    page.subscribe("st.d", "earliest")
