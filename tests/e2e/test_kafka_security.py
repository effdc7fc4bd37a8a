"""Logins, certificates and rights on real Kafka brokers, and what is said when they are wrong."""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AclOperation

from client import Client
from conftest import Start
from kafka_secure import SecureKafka
from pulse import Pulse, await_words, beside_memory, complaints
from server import Server

Connect = Callable[..., Client]

READ, WRITE, DESCRIBE = AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE
# For buses that stay down: what they are asked and told to wait for ends early.
SOON = {"publish_timeout": 1000, "request_timeout": 500}
UNAUTHORIZED = "Topic authorization failed"


def started(version: str) -> Iterator[SecureKafka]:
    broker = SecureKafka(version)
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


@pytest.fixture(scope="module")
def secure() -> Iterator[SecureKafka]:
    """Kafka 4."""
    yield from started("4.3.0")


@pytest.fixture(scope="module")
def secure3() -> Iterator[SecureKafka]:
    yield from started("3.9.1")


def bus(kafka: SecureKafka, way: str, login: str = "", **properties: Any) -> dict[str, Any]:
    """By the given way; with TLS the authority is known unless it is said otherwise."""
    tls = way not in ("login",)
    if tls:
        properties.setdefault("ssl.ca.location", str(kafka.authority.ca))
    scheme = "kafkas" if tls else "kafka"
    url = f"{scheme}://{login}{'@' if login else ''}{kafka.ways[way]}"
    return {"type": "kafka", "url": url, "properties": properties}


def hopeless(options: dict[str, Any]) -> dict[str, Any]:
    """The daemon with a bus that stays down."""
    return beside_memory({**options, **SOON}, bus_wait=1000)


def goes_round(page: Client, kafka: SecureKafka, topic: str) -> None:
    """Live, the past, and what the bridge itself publishes."""
    kafka.create(topic)
    page.subscribe(topic)
    kafka.produce(topic, b"1")
    assert page.next("message", topic)["data"] == 1
    assert page.publish(topic, data=2) == "0/1"
    assert page.next("message", topic)["data"] == 2
    assert [m["data"] for m in page.history(topic, "earliest")["messages"]] == [1, 2]


def refused(server: Server, page: Client, words: str) -> None:
    """The bus stays down, which is said once with these words; everything else lives."""
    with Pulse(server):
        asked = [page.ask("subscribe", channel=channel) for channel in "abc"]
        asked += [page.ask("history", channel="a"), page.ask("publish", channel="a", data=1)]
        for number in asked:
            assert page.reply(number, 30)["code"] == "bus_unavailable"
        await_words(server, ["no broker can be reached", words])
    # The reason that librdkafka 2.8.0 knows for a certificate that was not sent is a line of its own.
    said = [line for line in complaints(server) if "librdkafka: SSL: " not in line]
    assert len(said) == 1 and len(complaints(server)) <= 2, complaints(server)


# ---- certificates


def test_tls(start: Start, connect: Connect, secure: SecureKafka, topic: str) -> None:
    goes_round(connect(start(beside_memory(bus(secure, "tls")))), secure, topic)


@pytest.mark.parametrize("files", ["one", "two"])
def test_certificate_of_the_client(
    start: Start, connect: Connect, secure: SecureKafka, topic: str, files: str
) -> None:
    key, signed = secure.authority.sign("client")
    if files == "one":
        both = Path(secure.folder) / "both.pem"
        both.write_text(signed.read_text() + key.read_text())
        key = signed = both
    names = {"ssl.key.location": str(key), "ssl.certificate.location": str(signed)}
    server = start(beside_memory(bus(secure, "mutual", **names)))
    goes_round(connect(server), secure, topic)


def test_wrong_authority(start: Start, connect: Connect, secure: SecureKafka) -> None:
    other = {"ssl.ca.location": str(secure.stranger.ca)}
    server = start(hopeless(bus(secure, "tls", **other)))
    refused(server, connect(server), "certificate verify failed")


def test_no_authority(start: Start, connect: Connect, secure: SecureKafka) -> None:
    """The ones of the system do not know this broker."""
    options = bus(secure, "tls")
    del options["properties"]
    server = start(hopeless(options))
    refused(server, connect(server), "certificate verify failed")


def test_wrong_name(start: Start, connect: Connect, secure: SecureKafka) -> None:
    server = start(hopeless(bus(secure, "wrong")))
    refused(server, connect(server), "certificate verify failed")


def test_wrong_name_that_nobody_asks_for(
    start: Start, connect: Connect, secure: SecureKafka, topic: str
) -> None:
    careless = {"ssl.endpoint.identification.algorithm": "none"}
    server = start(beside_memory(bus(secure, "wrong", **careless)))
    goes_round(connect(server), secure, topic)


def test_without_a_certificate(start: Start, connect: Connect, secure: SecureKafka) -> None:
    server = start(hopeless(bus(secure, "mutual")))
    refused(server, connect(server), "certificate")


def test_certificate_of_a_stranger(start: Start, connect: Connect, secure: SecureKafka) -> None:
    key, signed = secure.stranger.sign("somebody")
    names = {"ssl.key.location": str(key), "ssl.certificate.location": str(signed)}
    server = start(hopeless(bus(secure, "mutual", **names)))
    refused(server, connect(server), "certificate")


def test_tls_where_there_is_none(start: Start, connect: Connect, secure: SecureKafka) -> None:
    options = bus(secure, "tls")
    options["url"] = f"kafkas://{secure.address}"
    server = start(hopeless(options))
    refused(server, connect(server), "SSL")


def test_no_tls_where_there_is(start: Start, connect: Connect, secure: SecureKafka) -> None:
    options = bus(secure, "tls")
    options["url"] = f"kafka://{secure.ways['tls']}"
    server = start(hopeless(options))
    refused(server, connect(server), "connecting to a SSL listener?")


# ---- logins


@pytest.mark.parametrize("way", ["login", "secure"])
def test_plain(
    start: Start, connect: Connect, secure: SecureKafka, topic: str, way: str
) -> None:
    server = start(beside_memory(bus(secure, way, "free:freely")))
    goes_round(connect(server), secure, topic)


def test_login_by_one_argument(
    start: Start, connect: Connect, secure: SecureKafka, topic: str
) -> None:
    """Nothing but an address on the command line, with user and password."""
    url = f"kafka://free:freely@{secure.ways['login']}"
    server = start(None, url, "--set", "listen=127.0.0.1:0")
    goes_round(connect(server), secure, topic)
    assert "freely" not in server.log()


def test_wrong_password(start: Start, connect: Connect, secure: SecureKafka) -> None:
    server = start(hopeless(bus(secure, "secure", "bridge:mistaken")))
    refused(server, connect(server), "Invalid username or password")
    assert "mistaken" not in server.log()


SCRAM = pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])


@pytest.fixture(scope="module")
def scram_is_old() -> bool:
    """Is the daemon's librdkafka one that Kafka 4 refuses? It is the system's."""
    return int(ctypes.CDLL("librdkafka.so.1").rd_kafka_version()) < 0x02060100


def scram_works(
    start: Start, connect: Connect, kafka: SecureKafka, topic: str, mechanism: str
) -> None:
    """With TLS and without; a wrong password is said once, and is not told."""
    for number, way in enumerate(("secure", "login")):
        options = bus(kafka, way, "free:freely", **{"sasl.mechanisms": mechanism})
        server = start(beside_memory(options))
        goes_round(connect(server), kafka, f"{topic}-{number}")
        assert "Kafka 4" not in server.log() or kafka.version.startswith("3")
    options = bus(kafka, "login", "free:mistaken", **{"sasl.mechanisms": mechanism})
    server = start(hopeless(options))
    page = connect(server)
    page.refused("bus_unavailable", type="subscribe", channel=topic)
    await_words(server, "Authentication failed")
    assert server.log().count("Authentication failed") == 1
    assert "mistaken" not in server.log()


@pytest.mark.long
@SCRAM
def test_scram_of_kafka_3(
    start: Start, connect: Connect, secure3: SecureKafka, topic: str, mechanism: str
) -> None:
    scram_works(start, connect, secure3, topic, mechanism)


@SCRAM
def test_scram_of_kafka_4(
    start: Start,
    connect: Connect,
    secure: SecureKafka,
    topic: str,
    mechanism: str,
    scram_is_old: bool,
) -> None:
    if not scram_is_old:
        scram_works(start, connect, secure, topic, mechanism)
        return
    options = bus(secure, "secure", "free:freely", **{"sasl.mechanisms": mechanism})
    server = start(hopeless(options))
    assert "it takes librdkafka 2.6.1 or Kafka 3" in server.log()
    connect(server).refused("bus_unavailable", type="subscribe", channel=topic)
    await_words(server, "Authentication failed")


# ---- rights


def test_rights(start: Start, connect: Connect, secure: SecureKafka) -> None:
    """Read and Describe are enough to follow, Write to publish; no group is asked for."""
    for name in ("open", "readable", "visible", "hidden"):
        secure.create(name)
    secure.allow("bridge", "open", READ, DESCRIBE, WRITE)
    secure.allow("bridge", "readable", READ, DESCRIBE)
    secure.allow("bridge", "visible", DESCRIBE)
    page = connect(start(beside_memory(bus(secure, "secure", "bridge:secret"))))
    page.subscribe("open")
    page.publish("open", data=1)
    assert page.next("message", "open")["data"] == 1
    page.subscribe("readable")
    secure.produce("readable", b"2")
    assert page.next("message", "readable")["data"] == 2
    answer = page.refused("forbidden", type="publish", channel="readable", data=1)
    assert UNAUTHORIZED in answer["message"], answer
    page.subscribe("visible")
    frame = page.next("unsubscribed", "visible")
    assert UNAUTHORIZED in frame["reason"], frame
    for name in ("hidden", "not-there"):
        for request in ("subscribe", "publish", "history"):
            more = {"data": 1} if request == "publish" else {}
            answer = page.refused("forbidden", type=request, channel=name, **more)
            assert UNAUTHORIZED in answer["message"], answer


@pytest.mark.parametrize("taken", [(READ,), (READ, DESCRIBE)])
def test_rights_that_end(
    start: Start, connect: Connect, secure: SecureKafka, topic: str, taken: tuple[AclOperation, ...]
) -> None:
    """Whoever follows is told; the other topics go on, and with the right back this one does."""
    other = f"{topic}-other"
    for name in (topic, other):
        secure.create(name)
        secure.allow("bridge", name, READ, DESCRIBE, WRITE)
    server = start(beside_memory({**bus(secure, "login", "bridge:secret"), "refresh": 500}))
    pages = [connect(server) for _ in range(3)]
    for page in pages:
        page.subscribe(topic)
        page.subscribe(other)
    secure.produce(topic, b"1")
    for page in pages:
        assert page.next("message", topic)["data"] == 1
    secure.forbid("bridge", topic, *taken)
    for page in pages:
        frame = page.next("unsubscribed", topic, 20)
        assert UNAUTHORIZED in frame["reason"], frame
    secure.produce(other, b"2")
    for page in pages:
        assert page.next("message", other)["data"] == 2
    secure.allow("bridge", topic, *taken)
    page = pages[0]
    secure.wait(lambda: page.call("subscribe", channel=topic, from_="earliest")["type"] != "error")


def test_right_to_write_that_ends(
    start: Start, connect: Connect, secure: SecureKafka, topic: str
) -> None:
    """It is an answer, not the end of the producer."""
    secure.create(topic)
    secure.allow("bridge", topic, READ, DESCRIBE, WRITE)
    page = connect(start(beside_memory(bus(secure, "login", "bridge:secret"))))
    assert page.publish(topic, data=1) == "0/0"
    secure.forbid("bridge", topic, WRITE)
    secure.wait(lambda: page.call("publish", channel=topic, data=2)["type"] == "error")
    for _ in range(3):
        answer = page.refused("forbidden", type="publish", channel=topic, data=3)
        assert UNAUTHORIZED in answer["message"], answer
    secure.allow("bridge", topic, WRITE)
    secure.wait(lambda: page.call("publish", channel=topic, data=4)["type"] == "published")


# ---- addresses


def test_a_name_that_does_not_resolve(start: Start, connect: Connect) -> None:
    options = {"type": "kafka", "url": "kafka://no-such-host.invalid"}
    server = start(hopeless(options))
    refused(server, connect(server), "no-such-host.invalid")


def test_an_address_where_nobody_answers(start: Start, connect: Connect) -> None:
    """Connections are taken, and that is all."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        options = {"type": "kafka", "url": f"kafka://127.0.0.1:{deaf.getsockname()[1]}"}
        server = start(hopeless(options))
        refused(server, connect(server), f"no answer from {options['url'].partition('//')[2]}")
