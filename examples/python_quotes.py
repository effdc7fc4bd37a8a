#!/usr/bin/env python3
"""Follows quotes and loses none: keeps a cursor, reconnects, resumes after it.

    pip install websockets
    python examples/python_quotes.py [ws://127.0.0.1:8080/ws] [EURUSD]

Stop the server and start it again while this runs: the in-memory bus begins a new log then, which
the client is told (`recovered` false), and goes on.
"""

import json
import sys
import time

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

NO_RECONNECT = {1002, 1003, 1007, 1008, 1009, 4500, 4501, 4502}


def partition(position):
    return position.split("/", 1)[0]


def follow(url, channel, cursor):
    """Prints quotes until the connection ends. `cursor` maps partitions to positions; it is kept up
    to date here, and where it is empty we begin with the newest quote."""
    start = {"after": list(cursor.values())} if cursor else {"last": 1}
    with connect(url, subprotocols=["wsbus.v1"]) as ws:
        ws.send(json.dumps({"type": "subscribe", "id": 1, "channel": channel, "from": start}))
        for text in ws:
            frame = json.loads(text)
            kind = frame["type"]
            if kind == "message":
                cursor[partition(frame["pos"])] = frame["pos"]
                quote = frame["data"]
                print(f"{quote['symbol']:8} {quote['bid']:>12} {quote['ask']:>12}", flush=True)
            elif kind in ("subscribed", "live", "position"):
                if kind == "subscribed" and frame.get("recovered") is False:
                    print("some quotes are gone:", frame.get("reason"), file=sys.stderr)
                    cursor.clear()
                cursor.update((partition(p), p) for p in frame["cursor"])
            elif kind == "gap":
                print("a gap:", frame["reason"], file=sys.stderr)
            elif kind == "error" and frame["retry"]:
                return None
            elif kind == "error":
                sys.exit(f"refused: {frame['code']}: {frame['message']}")
        return ws.close_code


def main():
    url = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8080/ws"
    channel = "quotes." + (sys.argv[2] if len(sys.argv) > 2 else "EURUSD")
    cursor = {}
    pause = 0.5
    while True:
        begun = time.monotonic()
        try:
            code = follow(url, channel, cursor)
        except BrokenPipeError:
            return  # nobody reads what we print
        except (OSError, WebSocketException) as error:
            code = getattr(getattr(error, "rcvd", None), "code", None)
            print("no connection:", error, file=sys.stderr)
        if code in NO_RECONNECT:
            sys.exit(f"closed for good with {code}")
        pause = 0.5 if time.monotonic() - begun > 10 else min(pause * 2, 15)
        time.sleep(pause)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
