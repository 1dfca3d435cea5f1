"""Stands between a store and its PostgreSQL, and loses the connection at a chosen message.

It knows where one protocol message ends and the next one begins, and nothing else of them but the marks of a writer:
statements that sign its gateway's row.
"""

import socket
import struct
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Self

from tests.support.postgres import PostgresServer

WRITERS_MARKS = b"UPDATE gateway SET group_no", b"RETURNING id, group_no"


class PostgresProxy:
    """A Unix socket that leads to the server's. Use as a context manager."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._exit = ExitStack()
        self.folder = Path(self._exit.enter_context(tempfile.TemporaryDirectory(prefix="proxy-", dir="/tmp")))
        self._lock = Lock()
        self._connections: set[_Connection] = set()
        self._countdowns: list[int] = []
        self._and_refuse = False
        self._refusing = False
        self.delay_seconds = 0.0
        """How long each message is on its way."""

        self.cut = Event()
        """Set when a connection was lost at each of the armed messages."""

    def __enter__(self) -> Self:
        self._listener = self._exit.enter_context(socket.socket(socket.AF_UNIX))
        self._listener.bind(str(self.folder / self._server.socket.name))
        self._listener.listen()
        self._acceptor = Thread(target=self._accept)
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self.lose_all()
        self._exit.close()

    def url(self, database_url: str) -> str:
        """The way to a database of the server through here."""
        return database_url.replace(str(self._server.folder), str(self.folder))

    def arm(self, *messages: int, and_refuse: bool = False) -> None:
        """Lose the writer's connection at this message from now, in either direction, which is not passed on.

        Further numbers count from there. `and_refuse` lets no connection come through afterwards.
        """
        with self._lock:
            self.cut.clear()
            self._countdowns = list(messages)
            self._and_refuse = and_refuse

    def refuse(self) -> None:
        """Lose all connections, and let none come through."""
        with self._lock:
            self._refusing = True
        self.lose_all()

    def allow(self) -> None:
        """Let connections come through again."""
        self._refusing = False

    def lose_all(self) -> None:
        """Lose every connection at once."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.lose()
        for connection in connections:
            connection.join()

    def passes(self, connection: "_Connection") -> bool:
        """Whether the next message of a connection is passed on."""
        with self._lock:
            if not connection.is_writers or not self._countdowns:
                return True
            self._countdowns[0] -= 1
            if self._countdowns[0]:
                return True
            del self._countdowns[0]
            if not self._countdowns:
                self._refusing = self._refusing or self._and_refuse
                self.cut.set()
            return False

    def forget(self, connection: "_Connection") -> None:
        with self._lock:
            self._connections.discard(connection)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(str(self._server.socket))
            except OSError:
                server.close()
                client.close()
                continue
            connection = _Connection(self, client, server)
            # In one step: `refuse` must find every connection that came through before it.
            with self._lock:
                refused = self._refusing
                if not refused:
                    self._connections.add(connection)
                    connection.start()
            if refused:
                client.close()
                server.close()


class _Connection:
    """A client, a server, and two threads that pass messages."""

    def __init__(self, proxy: PostgresProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._sockets = client, server
        self._threads = [
            Thread(target=self._pass, args=(client, server, True)),
            Thread(target=self._pass, args=(server, client, False)),
        ]
        self._open = len(self._threads)
        self._lock = Lock()
        self.is_writers = False

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def lose(self) -> None:
        for end in self._sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _pass(self, source: socket.socket, target: socket.socket, untyped: bool) -> None:
        reader = source.makefile("rb")
        with suppress(OSError):
            # The client's first message has no type.
            while message := _message(reader.read, 0 if untyped else 1):
                if any(mark in message for mark in WRITERS_MARKS):
                    self.is_writers = True
                if not self._proxy.passes(self):
                    break
                if self._proxy.delay_seconds:
                    time.sleep(self._proxy.delay_seconds)  # noqa: TID251  # a way that takes time is what is asked for
                target.sendall(message)
                untyped = False
        reader.close()
        self.lose()
        with self._lock:
            self._open -= 1
            last = not self._open
        if last:
            for end in self._sockets:
                end.close()
            self._proxy.forget(self)


def _message(read: Callable[[int], bytes], head: int) -> bytes:
    """One message: `head` bytes of type, its length, and the rest; empty at the end of the stream."""
    start = read(head + 4)
    if len(start) < head + 4:
        return b""
    (length,) = struct.unpack("!I", start[head:])
    rest = read(length - 4)
    return start + rest if len(rest) == length - 4 else b""
