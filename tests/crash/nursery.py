"""Processes to kill, forked from one that has imported everything: a start costs milliseconds, not a third of a second.

`python -m tests.crash.nursery FD` forks once per order that comes through the socket FD, says the child's pid, and how
it ended. It ends with that socket, and a child with the pipe that it tells into.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from signal import SIGKILL

import msgspec

from tests.crash import load

ROOT = Path(__file__).parents[2]
END_SECONDS = 20.0


class Order(msgspec.Struct):
    """What a process shall do until it is killed."""

    url: str
    seed: int


class Nursery:
    """Starts loads; use as a context manager."""

    def __enter__(self) -> "Nursery":
        self._control, theirs = socket.socketpair()
        command = [sys.executable, "-m", "tests.crash.nursery", str(theirs.fileno())]
        self._process = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()])
        theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()
        self._process.wait(END_SECONDS)

    def start(self, url: str, seed: int) -> tuple[int, Iterator[bytes]]:
        """The pid of a new load, and what it tells until its end; the first message says that its store is open."""
        told, telling = os.pipe()
        socket.send_fds(self._control, [msgspec.json.encode(Order(url, seed))], [telling])
        os.close(telling)
        return self._number(), _messages(Connection(told, writable=False))

    def was_killed(self) -> bool:
        """Waits for the end of the load that was started last."""
        return self._number() == -SIGKILL

    def _number(self) -> int:
        return int.from_bytes(self._control.recv(4), signed=True)


def _messages(pipe: Connection) -> Iterator[bytes]:
    with pipe:
        while True:
            try:
                yield pipe.recv_bytes()
            except EOFError:
                return


def _serve(control: socket.socket) -> None:
    while True:
        order, telling, *_ = socket.recv_fds(control, 4_096, 1)
        if not order:
            return
        child = os.fork()
        if child == 0:
            control.close()
            _load(msgspec.json.decode(order, type=Order), telling[0])
        os.close(telling[0])
        _say(control, child)
        _say(control, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _load(order: Order, telling: int) -> None:
    try:
        load.main(order.url, order.seed, Connection(telling, readable=False))
    finally:
        os._exit(1)


def _say(control: socket.socket, number: int) -> None:
    control.send(number.to_bytes(4, signed=True))


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
