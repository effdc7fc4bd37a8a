#!/usr/bin/env python3
"""Publishes prices of its own, each at least once: what the bus has not confirmed is sent again.

    pip install websockets
    python examples/python_publish.py [ws://127.0.0.1:8080/ws] [prices.ACME]

When the connection ends before the answer, nobody knows whether the price is in the log. So each
carries an `id` of its own: who reads it twice can tell.
"""

import itertools
import json
import random
import sys
import time
import uuid

from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import connect

FINAL = {1002, 1003, 1007, 1008, 1009, *range(4500, 4600)}  # close codes: do not come back


class Pause(Exception):
    """The connection is of no more use; come back, after so many seconds at the earliest."""


def prices():
    """A price four times a second."""
    price = 100.0
    while True:
        price = round(price * random.uniform(0.999, 1.001), 2)
        yield {"id": str(uuid.uuid4()), "bid": price, "ask": round(price + 0.02, 2)}
        time.sleep(0.25)


def publish(ws, channel, price):
    """Returns the answer of the bus to this one price."""
    frame = {"type": "publish", "id": price["id"], "channel": channel, "data": price}
    ws.send(json.dumps(frame))
    leave = None
    while True:
        try:
            answer = json.loads(ws.recv(timeout=30))
        except TimeoutError:
            raise Pause(0) from None
        except ConnectionClosed:
            if leave is None:
                raise
            raise Pause(leave) from None
        if answer["type"] == "goaway":
            leave = answer["retry_after"] / 1000
        elif answer.get("id") == price["id"]:
            return answer


def session(url, channel, todo):
    """Publishes until the connection ends. `todo`: what is left of a session before, first."""
    with connect(url, subprotocols=["wsbus.v1"], max_size=None) as ws:
        for price in itertools.chain(list(todo), prices()):
            todo[:] = [price]
            answer = publish(ws, channel, price)
            if answer["type"] == "published":
                print(f"{channel} {price['bid']:8.2f} {answer['pos']}", flush=True)
            elif answer["code"] == "outcome_unknown" or answer["retry"]:
                raise Pause(answer.get("retry_after", 0) / 1000)
            else:
                sys.exit(f"refused: {answer['code']}: {answer['message']}")
            todo.clear()


def main():
    url = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8080/ws"
    channel = sys.argv[2] if len(sys.argv) > 2 else "prices.ACME"
    todo = []
    failures = 0
    while True:
        begun = time.monotonic()
        least = 0.0
        try:
            session(url, channel, todo)
        except Pause as pause:
            least = pause.args[0]
        except BrokenPipeError:
            return  # nobody reads what we print
        except (OSError, WebSocketException) as error:
            print("no connection:", error, file=sys.stderr)
            close = error.rcvd if isinstance(error, ConnectionClosed) else None
            if close and close.code in FINAL:
                sys.exit(1)
        failures = 0 if time.monotonic() - begun > 10 else min(failures + 1, 10)
        time.sleep(max(random.uniform(0, min(0.5 * 2**failures, 20)), least))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
