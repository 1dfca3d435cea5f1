"""A real HTTP server for webhooks, in a thread: remembers what came and answers as told."""

import json
import queue
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WAIT_SECONDS = 60.0

Reply = Callable[["Connection"], None]
"""Answers a request, or not."""


@dataclass(frozen=True)
class Received:
    """A request, with its header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Connection(BaseHTTPRequestHandler):
    """One request of one connection."""

    server: "_Server"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.receiver.received.put(Received(self.command, self.path, headers, body))
        self.server.receiver.reply(self)

    do_GET = do_POST

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    receiver: "Receiver"

    def handle_error(self, request: object, client_address: object) -> None:
        """A gateway that was killed hangs up."""


class Receiver:
    """Answers `status`, or whatever `reply` does; `hold` makes requests wait until `let_go`."""

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.received: queue.Queue[Received] = queue.Queue()
        self.reply: Reply = lambda connection: connection.answer(200)
        self._free = threading.Event()
        self._server = _Server(("127.0.0.1", port), Connection)
        self._server.receiver = self
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def next(self) -> Received:
        """The next request, waiting for it."""
        return self.received.get(timeout=WAIT_SECONDS)

    def answers(self, *statuses: int) -> None:
        """Answer with these in turn; the last one stays."""
        left = list(statuses)
        self.reply = lambda connection: connection.answer(left.pop(0) if len(left) > 1 else left[0])

    def hold(self) -> None:
        """Answer nothing until `let_go`."""
        self._free.clear()

        def reply(connection: Connection) -> None:
            self._free.wait(WAIT_SECONDS)
            connection.answer(200)

        self.reply = reply

    def let_go(self) -> None:
        self._free.set()

    def __enter__(self) -> "Receiver":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.let_go()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class RawReceiver:
    """Accepts one connection after another and writes what it is told, HTTP or not, then closes."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/hook"

    def _serve(self) -> None:
        for answer in self._answers:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(WAIT_SECONDS)
                try:
                    connection.recv(65_536)
                    connection.sendall(answer)
                except OSError:
                    continue

    def __enter__(self) -> "RawReceiver":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.close()
