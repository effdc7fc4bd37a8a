"""The end of the process, slow readers, connections that end."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable

import pytest
from websockets.exceptions import ConnectionClosed

from client import Client, data
from conftest import Start
from raw import TEXT, Raw, encode, handshake, wait_for
from server import WORKERS, config
from steady import steadily

Connect = Callable[..., Client]


def goaway(client: Client) -> dict[str, object]:
    frames = [f for f in client.kept if f["type"] == "goaway"]
    assert len(frames) == 1, client.kept
    assert isinstance(frames[0]["reason"], str) and frames[0]["retry_after"] >= 0
    return frames[0]


# ---- drain


def test_sigterm_without_connections(start: Start) -> None:
    special = start(config(drain=60_000))
    special.terminate()
    assert special.wait(20) == 0


def test_sigint(start: Start, connect: Connect) -> None:
    special = start(config(drain=1000))
    client = connect(special)
    special.process.send_signal(2)
    assert client.closed() in (1001, 1012)
    assert special.wait(10) == 0


def test_drain_says_goodbye_to_each(start: Start, connect: Connect) -> None:
    special = start(config(drain=2000))
    clients = [connect(special) for _ in range(30)]
    for i, client in enumerate(clients):
        client.subscribe(f"plain.{i % 3}")
    special.terminate()
    assert [client.closed() for client in clients] == [1012] * 30
    after = {goaway(client)["retry_after"] for client in clients}
    assert len(after) > 5, "retry_after is random for each client"
    for client in clients:
        assert client.kept[-1]["type"] == "goaway", client.kept
    assert special.wait(10) == 0


def test_drain_answers_what_is_open(start: Start, connect: Connect) -> None:

    def round_() -> None:
        special = start(config(drain=2000))
        client = connect(special)
        client.publish_many("plain.a", 1000)
        asked = []
        for i in range(200):
            asked.append(client.ask("publish", channel="plain.a", data=i))
            asked.append(client.ask("ping"))
            asked.append(client.ask("subscribe", channel=f"plain.b{i}"))
        for _ in range(15):
            asked.append(client.ask("history", channel="plain.a", limit=1000))
        special.terminate()
        assert client.closed() == 1012
        goaway(client)
        answered = [f["id"] for f in client.kept if "id" in f]
        assert sorted(answered) == sorted(asked), "one reply for every id"
        assert special.wait(10) == 0

    steadily(round_, gap=0.5)  # the answers are read while it drains


def test_drain_lets_others_finish(start: Start, connect: Connect) -> None:
    """Until its turn to go comes, a client is served."""
    special = start(config(drain=3000))
    clients = [connect(special) for _ in range(8)]
    for client in clients:
        client.subscribe("plain.a")
    special.terminate()
    served = 0
    for client in clients:
        frame = client.next()
        while frame["type"] == "message":  # of those whose turn came earlier
            frame = client.next()
        assert frame["type"] == "goaway", frame
        try:
            client.ask("publish", channel="plain.a", data=frame["retry_after"])
        except (OSError, ConnectionClosed):
            continue
        code = client.closed()
        assert code == 1012
        served += any(f["type"] == "published" for f in client.kept)
    assert special.wait(10) == 0
    print("served after goaway:", served)


def test_no_newcomers_while_draining(start: Start, connect: Connect) -> None:
    special = start(config(drain=3000))
    client = connect(special)
    special.terminate()
    client.next("goaway")
    try:
        with Raw(special.port) as raw:
            answer = raw.request(handshake(special.port))
            assert answer.status == 503 and "retry-after" in answer.headers
    except ConnectionError:
        pass  # not listening any more
    assert client.closed() == 1012
    assert special.wait(10) == 0


def test_drain_ends_when_all_have_gone(start: Start, connect: Connect) -> None:
    special = start(config(drain=60_000))
    clients = [connect(special) for _ in range(5)]
    special.terminate()
    for client in clients:
        client.next("goaway")
        client.close()
    assert special.wait(20) == 0


def test_drain_does_not_wait_for_who_asks_nothing(start: Start, connect: Connect) -> None:
    """A browser opens connections in advance: nothing has begun on them that could be finished."""
    special = start(config(drain=60_000, limits={"handshake_ms": 60_000}))
    client = connect(special)
    with Raw(special.port), Raw(special.port) as halfway:
        halfway.send(b"GET /ws HTTP/1.1\r\nHost: a")
        client.quiet()
        special.terminate()
        client.next("goaway")
        client.close()
        assert special.wait(10) == 0


def test_drain_is_spread_evenly(start: Start, connect: Connect) -> None:
    special = start(config(drain=4000))
    clients = [connect(special) for _ in range(40)]
    special.terminate()
    after = sorted(int(str(client.next("goaway")["retry_after"])) for client in clients)
    assert 0 <= after[0] and after[-1] <= 4000
    # Of each worker one in each slice.
    for i in range(4):
        assert abs(sum(i * 950 <= a < (i + 1) * 950 for a in after) - 10) <= 2 * WORKERS + 1, after
    special.terminate()
    assert special.wait(10) == 0


def test_second_sigterm_hastens(start: Start, connect: Connect) -> None:
    special = start(config(drain=60_000))
    clients = [connect(special) for _ in range(20)]
    special.terminate()
    for client in clients:
        client.next("goaway")
    special.terminate()
    assert special.wait(20) == 0
    assert all(client.closed() in (1012, 1001) for client in clients)


def test_drain_with_a_reader_that_does_not_read(start: Start, connect: Connect) -> None:
    """It holds nobody up beyond the drain's time."""
    special = start(
        config(
            drain=1000,
            limits={"queue_bytes": 64 << 20, "queue_ms": 3_600_000, "send_buffer": 16384},
        )
    )
    client = connect(special)
    with Raw(special.port, receive_buffer=4096) as raw:
        raw.upgrade()
        raw.text('{"type":"subscribe","id":1,"channel":"plain.a"}')
        assert raw.json()["type"] == "subscribed"
        for _ in range(30):
            client.publish("plain.a", text="x" * 60_000)
        special.terminate()
        assert client.closed() == 1012
        assert special.wait(15) == 0


# ---- slow readers


@pytest.mark.timeout(180)
def test_slow_reader_is_closed_and_others_go_on(start: Start, connect: Connect) -> None:
    special = start(config(limits={"queue_bytes": 65536, "send_buffer": 16384}))
    writer, reader, waiter = connect(special), connect(special), connect(special)
    reader.subscribe("plain.a")
    waiter.subscribe("plain.b")
    with Raw(special.port, receive_buffer=4096) as slow:
        slow.upgrade()
        slow.text('{"type":"subscribe","id":1,"channel":"plain.a"}')
        assert slow.json()["type"] == "subscribed"
        for i in range(100):
            writer.publish("plain.a", text=f"{i:03}" + "x" * 10_000)
            assert reader.next("message")["text"][:3] == f"{i:03}"
        writer.publish("plain.b", data=1)
        assert waiter.next("message")["data"] == 1
        # What had been sent is read in order, then comes the close frame.
        got = []
        code = 0
        while not code:
            opcode, payload = slow.read_frame()
            if opcode == TEXT:
                got.append(json.loads(payload)["text"][:3])
            elif opcode == 8:
                code = int.from_bytes(payload[:2], "big")
        assert code == 4000
        assert got == [f"{i:03}" for i in range(len(got))] and len(got) < 100
    reader.quiet()


@pytest.mark.long
def test_slow_reader_may_read_to_the_end(start: Start, connect: Connect) -> None:
    """As long as it reads, it gets all that was sent and then the reason."""
    special = start(config(limits={"queue_bytes": 65536, "send_buffer": 65536}))
    writer = connect(special)
    with Raw(special.port, receive_buffer=4096) as slow:
        slow.upgrade()
        slow.text('{"type":"subscribe","id":1,"channel":"plain.a"}')
        assert slow.json()["type"] == "subscribed"
        for _ in range(100):
            writer.publish("plain.a", text="x" * 10_000)
        began, code = time.monotonic(), 0
        while not code:
            opcode, payload = slow.read_frame()
            if opcode == 8:
                code = int.from_bytes(payload[:2], "big")
            time.sleep(1)
        assert code == 4000 and time.monotonic() - began > 5.5
    writer.quiet()


def test_slow_reader_by_age(start: Start, connect: Connect) -> None:
    special = start(config(limits={"queue_ms": 500, "send_buffer": 16384, "queue_bytes": 16 << 20}))
    writer = connect(special)
    with Raw(special.port, receive_buffer=4096) as slow:
        slow.upgrade()
        slow.text('{"type":"subscribe","id":1,"channel":"plain.a"}')
        assert slow.json()["type"] == "subscribed"
        for _ in range(30):
            writer.publish("plain.a", text="x" * 20_000)
        # Longer than a message may wait, shorter than the daemon waits for its close frame to be
        # taken (5 s): after that the connection is cut.
        time.sleep(1)
        writer.publish("plain.a", text="y")
        time.sleep(0.5)
        assert slow.close_code() == 4000
    writer.quiet()


def test_replay_to_a_slow_reader_is_paced(start: Start, connect: Connect) -> None:
    """A replay is never too much: a client that reads slowly gets all of it."""
    special = start(config(limits={"queue_bytes": 65536, "send_buffer": 16384, "queue_ms": 60_000}))
    writer = connect(special)
    for i in range(300):
        writer.publish("plain.a", text=f"{i:03}" + "x" * 10_000)
    with Raw(special.port, receive_buffer=4096) as slow:
        slow.upgrade()
        slow.text('{"type":"subscribe","id":1,"channel":"plain.a","from":"earliest"}')
        assert slow.json()["type"] == "subscribed"
        time.sleep(1)
        for i in range(300):
            assert str(slow.json()["text"]).startswith(f"{i:03}")
            if i % 30 == 0:
                time.sleep(0.05)
        assert slow.json()["type"] == "live"
    writer.quiet()


def test_a_message_larger_than_the_queue(start: Start, connect: Connect) -> None:
    """An empty queue takes any one message."""
    special = start(config(limits={"queue_bytes": 4096}))
    client = connect(special)
    client.subscribe("plain.a")
    client.publish("plain.a", text="x" * 60_000)
    assert len(client.next("message")["text"]) == 60_000
    client.unsubscribe("plain.a")
    client.subscribe("plain.a", "earliest")
    assert len(client.next("message")["text"]) == 60_000
    client.next("live")
    assert len(client.history("plain.a")["messages"]) == 1


def test_requests_of_a_client_that_does_not_read(start: Start, connect: Connect) -> None:
    """Somebody who asks and asks without ever reading does not fill the memory."""
    special = start(config(limits={"send_buffer": 16384}))
    writer = connect(special)
    writer.publish_many("plain.a", 1000)
    before = special.rss()
    raw = Raw(special.port, receive_buffer=4096)
    raw.upgrade()
    ask = (
        encode(TEXT, b'{"type":"history","id":1,"channel":"plain.a","limit":1000}')
        + encode(TEXT, b'{"type":"ping","id":2}') * 20
    )
    raw.sock.settimeout(1)
    deadline = time.monotonic() + 5
    try:
        while time.monotonic() < deadline:
            raw.send(ask * 20)
    except OSError:
        pass
    writer.quiet()
    grown = special.rss() - before
    raw.sock.close()
    assert grown < 40 << 20, f"{grown >> 20} MiB more"


# ---- connections


def test_connections_end_on_both_sides(start: Start, connect: Connect) -> None:
    special = start(config())
    base = descriptors(special.pid)
    clients = [Client(special.url) for _ in range(50)]
    assert descriptors(special.pid) >= base + 50
    for client in clients:
        client.close()
    wait_for(lambda: descriptors(special.pid) <= base + 2, what="the daemon closes its side")


def descriptors(pid: int) -> int:
    return int(subprocess.check_output(["sh", "-c", f"ls /proc/{pid}/fd | wc -l"]))


def test_limit_of_connections(start: Start, connect: Connect) -> None:
    special = start(config(limits={"connections": 5}, workers=1))
    clients = [connect(special) for _ in range(5)]
    try:
        with Raw(special.port) as raw:
            answer = raw.request(handshake(special.port))
            assert answer.status == 503 and "retry-after" in answer.headers
    except ConnectionError:
        pass
    for client in clients:
        client.quiet()
    clients.pop().close()
    wait_for(lambda: _connects(special.url), what="a place is free again")


def _connects(url: str) -> bool:
    try:
        Client(url).close()
    except Exception:  # whatever the library says of a refusal
        return False
    return True


def test_clients_come_and_go_while_messages_flow(start: Start, connect: Connect) -> None:
    special = start(config())
    keeper = connect(special)
    keeper.subscribe("plain.a")
    stop = threading.Event()
    subscribe = encode(TEXT, b'{"type":"subscribe","id":1,"channel":"plain.a","from":"earliest"}')

    def churn() -> None:
        while not stop.is_set():
            try:
                raw = Raw(special.port)
                raw.send(handshake(raw.port) + subscribe)
                raw.vanish()
            except OSError:
                pass

    threads = [threading.Thread(target=churn) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for start_ in range(0, 2000, 100):
            keeper.publish_many("plain.a", 100, first=start_)
            time.sleep(0.02)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert data(keeper.messages("plain.a", 2000)) == list(range(2000))
    keeper.quiet()
