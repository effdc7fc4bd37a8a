#!/usr/bin/env python3
"""Feeds the quotes page through Redis: a stream for each symbol, prices by a random walk.

    pip install redis
    python examples/redis_quotes.py [redis://localhost:6379/0]
    build/wsbus 'redis://localhost:6379/0?kind=stream' --set web.demo=true

and open http://127.0.0.1:8080/. Start them in any order, stop and restart what you like: the page says
so and goes on, with what it missed, because the streams keep the last 10 000 quotes of each symbol.
"""

import json
import random
import sys
import time

import redis

KEEP = 10_000
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


def main():
    server = redis.Redis.from_url(sys.argv[1] if len(sys.argv) > 1 else "redis://localhost:6379/0")
    points = {symbol: first for symbol, (first, _, _) in SYMBOLS.items()}
    while True:
        symbol = random.choice(list(SYMBOLS))
        step = max(1, SYMBOLS[symbol][0] // 20_000)
        points[symbol] = max(1, points[symbol] + random.randint(-step, step))
        # The payload of a message is the field `data`. Any other field would be a header.
        entry = {"data": quote(symbol, points[symbol])}
        try:
            server.xadd(f"quotes.{symbol}", entry, maxlen=KEEP, approximate=True)
        except redis.RedisError as error:
            print("no Redis:", error, file=sys.stderr)
            time.sleep(1)
        time.sleep(random.expovariate(RATE))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
