"""A TCP proxy in front of a server, which cuts connections where a test wants: before, within or after an answer."""

import contextlib
import socket
import threading
from enum import Enum
from typing import Self

WAIT_SECONDS = 60.0
PIECE_BYTES = 65536


class Cut(Enum):
    """Where the connection of one request ends."""

    BEFORE_REQUEST = "the server never sees the request"
    WITHIN_ANSWER = "the client sees a part of the answer"
    BEFORE_ANSWER = "the server has answered, the client sees nothing"


class TcpProxy:
    """Forwards connections to `127.0.0.1:<upstream>`; a context manager. `cuts` are used up in order, one a request."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.cuts: list[Cut | None] = []
        self.connections = 0
        self.requests = 0
        self._changed = threading.Condition()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self.break_connections()

    def break_connections(self) -> None:
        """End all connections that are open now."""
        with self._changed:
            sockets, self._open = self._open, []
        for one in sockets:
            _end(one)

    def wait_for_requests(self, count: int) -> None:
        """Until `count` requests have begun since the start."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.requests >= count, WAIT_SECONDS), self.requests

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def connect(self) -> socket.socket:
        """A connection to the server. Raises `OSError`."""
        return socket.create_connection(("127.0.0.1", self.upstream), WAIT_SECONDS)

    def _forward(self, client: socket.socket) -> None:
        try:
            server = self.connect()
        except OSError:
            _end(client)
            client.close()
            return
        server.settimeout(None)
        with self._changed:
            self._open += [client, server]
        with client, server:
            connection = _Connection(self, client, server)
            back = threading.Thread(target=connection.pump_answers, daemon=True)
            back.start()
            connection.pump_requests()
            back.join()

    def next_cut(self) -> Cut | None:
        """What happens to the request that begins now."""
        with self._changed:
            self.requests += 1
            self._changed.notify_all()
            return self.cuts.pop(0) if self.cuts else None


class _Connection:
    def __init__(self, proxy: TcpProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._between = True
        """Whether the next bytes of the client begin a request."""

        self._cut: Cut | None = None

    def pump_requests(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._client.recv(PIECE_BYTES):
                if self._between:
                    self._between = False
                    self._cut = self._proxy.next_cut()
                if self._cut is Cut.BEFORE_REQUEST:
                    break
                self._server.sendall(data)
        self._end()

    def pump_answers(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._server.recv(PIECE_BYTES):
                if self._cut is Cut.WITHIN_ANSWER:
                    self._client.sendall(data[: len(data) - 5])
                if self._cut is not None:
                    break
                self._between = True
                self._client.sendall(data)
        self._end()

    def _end(self) -> None:
        _end(self._client)
        _end(self._server)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
