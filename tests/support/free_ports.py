"""Ports for those who have to name one, or who come back to theirs: nobody else takes them meanwhile."""

import itertools
import os
import random
import socket

FIRST, COUNT, PROCESSES = 20_000, 500, 20
"""Below those that systems give to connections, and to listeners that name none. So many for each process of a run:
a port that two of them mean is taken by the other before the test that asked for it listens."""

_process = os.environ.get("PYTEST_XDIST_WORKER", "gw0")  # noqa: TID251  # which of the run's processes this is
_first = FIRST + COUNT * (int(_process.removeprefix("gw")) % PROCESSES)
# Another run on this machine has the same ones, and hardly begins at the same place.
_next = itertools.count(random.randrange(COUNT))


def free_port() -> int:
    """A port on which nobody listens."""
    while True:
        port = _first + next(_next) % COUNT
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
