#!/usr/bin/env python3
"""Follows quotes and loses none: keeps a cursor, reconnects, resumes after it.

    pip install websockets
    python examples/python_quotes.py [ws://127.0.0.1:8080/ws] [EURUSD]

Stop the server and start it again while this runs: the in-memory bus begins a new log then, which
the client is told (`recovered` false), and goes on.
"""

import json
import random
import sys
import time

from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import connect

FINAL = {1002, 1003, 1007, 1008, 1009, *range(4500, 4600)}  # close codes: do not come back


def partition(position):
    return position.split("/", 1)[0]


class Follower:
    """What outlives a connection: the cursor, and when we may come back."""

    def __init__(self, url, channel):
        self.url = url
        self.channel = channel
        self.cursor = {}  # partition: position
        self.not_before = 0.0
        self.failures = 0

    def take(self, positions):
        self.cursor.update((partition(p), p) for p in positions or [])

    def wait(self, frame):
        """The server says how long it wants to be left alone."""
        self.not_before = time.monotonic() + frame.get("retry_after", 0) / 1000

    def subscribe(self, ws):
        start = {"after": list(self.cursor.values())} if self.cursor else {"last": 1}
        frame = {"type": "subscribe", "id": 1, "channel": self.channel, "from": start}
        ws.send(json.dumps(frame))

    def frame(self, frame):
        """One frame of the server; false: this connection is of no more use."""
        kind = frame["type"]
        if kind == "message":
            self.take([frame["pos"]])
            quote = frame["data"]
            print(f"{quote['symbol']:8} {quote['bid']:>12} {quote['ask']:>12}", flush=True)
        elif kind == "subscribed":
            if frame.get("recovered") is False:
                print("some quotes are gone:", frame["reason"], file=sys.stderr)
                self.cursor.clear()
            self.take(frame["cursor"])
        elif kind in ("live", "position"):
            self.take(frame["cursor"])
        elif kind == "gap":
            print("some quotes are gone:", frame["reason"], file=sys.stderr)
        elif kind == "goaway":
            self.wait(frame)
        elif kind == "error" and frame["retry"]:
            self.wait(frame)
            return False
        elif kind == "error":
            sys.exit(f"refused: {frame['code']}: {frame['message']}")
        elif kind == "unsubscribed":
            sys.exit(f"ended by the server: {frame['reason']}")
        return True

    def follow(self):
        """Prints quotes until the connection ends."""
        with connect(self.url, subprotocols=["wsbus.v1"], max_size=None) as ws:
            quiet = json.loads(ws.recv(timeout=10))["ping"] / 1000 or 25  # of `welcome`
            self.subscribe(ws)
            while True:
                try:
                    if not self.frame(json.loads(ws.recv(timeout=1.5 * quiet))):
                        return
                except TimeoutError:  # nothing to say, or a dead line?
                    if not ws.ping().wait(5):
                        print("no answer", file=sys.stderr)
                        return

    def run(self):
        while True:
            begun = time.monotonic()
            try:
                self.follow()
            except BrokenPipeError:
                return  # nobody reads what we print
            except (OSError, WebSocketException) as error:
                print("no connection:", error, file=sys.stderr)
                close = error.rcvd if isinstance(error, ConnectionClosed) else None
                if close and close.code in FINAL:
                    sys.exit(1)
            if time.monotonic() - begun > 10:  # it was a good connection
                self.failures = 0
            most = min(0.5 * 2**self.failures, 20)
            self.failures = min(self.failures + 1, 10)
            time.sleep(max(random.uniform(0, most), self.not_before - time.monotonic()))


def main():
    url = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8080/ws"
    symbol = sys.argv[2] if len(sys.argv) > 2 else "EURUSD"
    try:
        Follower(url, f"quotes.{symbol}").run()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
