#!/usr/bin/env python3
"""A terminal and a browser chat with each other, through Redis.

    pip install redis
    build/wsbus 'redis://localhost?kind=stream' --set web.demo=true
    python examples/redis_chat.py [redis://localhost:6379/0] [NAME] [ROOM]

and open http://127.0.0.1:8080/chat#lobby. This program knows nothing of WebSockets or of wsbus: a room is
the stream `chat.ROOM`, and what is said there is JSON {"id","name","text"} in the field `data` of an entry.
Each line that is typed is said; `id` is what readers go by if something comes twice.
"""

import json
import sys
import threading
import time
import uuid

import redis

PAST = 20  # what was said before, at most
KEEP = 100_000


def said(fields):
    """Name and text of an entry, or None where it is something else."""
    try:
        message = json.loads(fields[b"data"])
        return str(message["name"]), str(message["text"])
    except (KeyError, TypeError, ValueError):
        return None


def listen(server, room, mine):
    """Prints what the others say, from now on and for ever."""
    last = None
    while True:
        try:
            if last is None:
                entries = server.xrevrange(room, count=PAST)[::-1]
                last = entries[-1][0] if entries else b"0-0"
            else:
                # An explicit id, never "$": nothing is missed between two calls.
                answer = server.xread({room: last}, block=5000)
                entries = answer[0][1] if answer else []
            for last, fields in entries:
                message = said(fields)
                if message and message[0] != mine:
                    print(f"{message[0]}: {message[1]}", flush=True)
        except redis.RedisError as error:
            print("no Redis:", error, file=sys.stderr)
            time.sleep(1)


def main():
    url, name, room, *_ = [
        *sys.argv[1:],
        *["redis://localhost:6379/0", "terminal", "lobby"][len(sys.argv) - 1 :],
    ]
    server = redis.Redis.from_url(url)
    room = f"chat.{room}"
    threading.Thread(target=listen, args=(server, room, name), daemon=True).start()
    for line in sys.stdin:
        message = {"id": str(uuid.uuid4()), "name": name, "text": line.rstrip("\n")}
        if not message["text"]:
            continue
        try:
            server.xadd(room, {"data": json.dumps(message)}, maxlen=KEEP, approximate=True)
        except redis.RedisError as error:
            print("not said:", error, file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
