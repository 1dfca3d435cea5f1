"""Ports for those who have to name one, or who come back to theirs: nobody else takes them meanwhile."""

import itertools
import random
import socket

FIRST, COUNT = 20_000, 10_000
"""Below those that systems give to connections, and to listeners that name none."""

# Each process of the tests goes its own way through them, so that two hardly ever mean the same one.
_next = itertools.count(random.randrange(COUNT))


def free_port() -> int:
    """A port on which nobody listens."""
    while True:
        port = FIRST + next(_next) % COUNT
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
