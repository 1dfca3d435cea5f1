"""Somebody who has large results made and reads them, one after another, until standard input ends.

`python -m tests.bench.publisher PORT` prints the seconds of each. A process of its own: beside the clients whose waits
are measured it would make them wait by itself.
"""

import http.client
import json
import sys
import time
from threading import Event, Thread

from tests.bench.places import BESIDE

LARGE_BYTES = 20 * 1024 * 1024 - 2


def main(port: int) -> None:
    over = Event()

    def listen() -> None:
        sys.stdin.read()
        over.set()

    Thread(target=listen, daemon=True).start()
    line = http.client.HTTPConnection("127.0.0.1", port)
    while not over.is_set():
        started = time.perf_counter()
        line.request("POST", f"/v2/{BESIDE}/runsync", json.dumps({"input": {"size": LARGE_BYTES}}))
        answer = line.getresponse()
        body = answer.read()
        assert answer.status == 200, body[:300]
        assert len(body) > LARGE_BYTES, body[:300]
        sys.stdout.write(f"{time.perf_counter() - started}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
