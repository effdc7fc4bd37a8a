#!/usr/bin/env python3
"""Feeds the quotes page through Kafka: one topic, the symbol is the key, prices by a random walk.

    pip install confluent-kafka
    python examples/kafka_quotes.py [localhost:9092] [quotes]
    build/wsbus -c examples/kafka_quotes.jsonc

and open http://127.0.0.1:8080/. This program knows nothing of WebSockets or of wsbus; it makes the topic
if there is none. Stop and restart what you like: the page says so and goes on, with what it missed.
"""

import json
import random
import sys
import time

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

PARTITIONS = 3
RATE = 40  # quotes a second, all symbols together

# symbol: first price, spread, decimals; prices are whole numbers of the last decimal
SYMBOLS = {
    "EURUSD": (108438, 14, 5),
    "GBPUSD": (127215, 18, 5),
    "USDJPY": (154321, 14, 3),
    "XAUUSD": (265840, 32, 2),
    "BTCUSD": (9842150, 1200, 2),
    "AAPL": (22934, 2, 2),
}


def quote(symbol, points):
    """The JSON that the page expects. Numbers are written with all their decimals: 1.08450, not 1.0845."""
    _, spread, decimals = SYMBOLS[symbol]
    unit = 10**decimals

    def price(n):
        return f"{n // unit}.{n % unit:0{decimals}}"

    bid, ask = points - spread // 2, points + (spread + 1) // 2
    return (
        f'{{"symbol":{json.dumps(symbol)},"bid":{price(bid)},"ask":{price(ask)},'
        f'"last":{price(points)},"time":{time.time_ns() // 1_000_000}}}'
    )


def make_topic(brokers, topic):
    """Waits for the brokers; a topic that is there already stays as it is."""
    admin = AdminClient({"bootstrap.servers": brokers})
    while True:
        try:
            admin.create_topics([NewTopic(topic, PARTITIONS)])[topic].result(10)
            return
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                return
            print("no topic yet:", error.args[0].str(), file=sys.stderr)
            time.sleep(1)


def delivered(error, _):
    if error:
        print("not delivered:", error.str(), file=sys.stderr)


def main():
    brokers, topic = [*sys.argv[1:], *["localhost:9092", "quotes"][len(sys.argv) - 1 :]]
    make_topic(brokers, topic)
    # A key has the partition that it has with Java's producer, and with wsbus.
    producer = Producer(
        {"bootstrap.servers": brokers, "linger.ms": 0, "partitioner": "murmur2_random"}
    )
    points = {symbol: first for symbol, (first, _, _) in SYMBOLS.items()}
    try:
        while True:
            symbol = random.choice(list(SYMBOLS))
            step = max(1, SYMBOLS[symbol][0] // 20_000)
            points[symbol] = max(1, points[symbol] + random.randint(-step, step))
            try:
                value = quote(symbol, points[symbol])
                producer.produce(topic, value, key=symbol, on_delivery=delivered)
            except BufferError:
                pass  # the brokers are away for long: old quotes are of no use then
            producer.poll(0)
            time.sleep(random.expovariate(RATE))
    finally:
        producer.flush(5)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
