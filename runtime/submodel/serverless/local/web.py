"""HTTP for a handler's own server: one thread per connection, on the standard library's server.

It serves people and tests on one machine, and realtime requests behind a proxy. Answers come from `route`; everything
about sockets, bounds and browsers is here.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from submodel.contract import limits, wire
from submodel.serverless.log import logger

SILENCE_SECONDS = 60.0
"""How long a connection may be idle, or a request take to arrive piece by piece."""

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names of this machine for itself."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request. `path` is decoded and has no query; `body` is whole."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


def as_json(value: Any, status: int = 200) -> Reply:
    """An answer in JSON."""
    return Reply(status, wire.encode(value))


def refusal(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Reply:
    """An answer that says why there is no other."""
    return Reply(status, wire.encode({"error": sentence}), headers or {})


class WebServer:
    """Serves `route` on a socket that listens already; a context manager.

    On an address of this machine for itself, names that lead here from elsewhere are refused, so that no web page can
    reach the handler through its reader's browser.
    """

    def __init__(self, listening: socket.socket, route: Callable[[Request], Reply]) -> None:
        self.route = route
        self.loopback = listening.getsockname()[0] in LOOPBACK
        self._busy = 0
        self._quiet = threading.Condition()
        self._server = _Server(listening, self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    def __enter__(self) -> "WebServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @contextlib.contextmanager
    def answering(self) -> Any:
        """Around each request, so that `wait_until_quiet` knows of it."""
        with self._quiet:
            self._busy += 1
        try:
            yield
        finally:
            with self._quiet:
                self._busy -= 1
                self._quiet.notify_all()

    def wait_until_quiet(self, seconds: float) -> None:
        """Wait until every request has its answer, `seconds` at most."""
        with self._quiet:
            self._quiet.wait_for(lambda: not self._busy, seconds)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, listening: socket.socket, web: WebServer) -> None:
        super().__init__(listening.getsockname()[:2], _Connection, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.web = web

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up, or a defect."""
        logger.debug("A connection ended early.", exc_info=True)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "submodel-runtime"
    sys_version = ""
    timeout = SILENCE_SECONDS
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def _serve(self) -> None:
        web = self.server.web
        with web.answering():
            reply = self._unusable() or self._routed(web.route)
            logger.debug("%s %s: %d", self.command, urlsplit(self.path).path, reply.status)
            self._send(reply)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = _serve

    def _unusable(self) -> Reply | None:
        """Why the request is refused before its body is read."""
        refused: Reply | None = None
        host = self.headers["Host"] or ""
        origin = self.headers["Origin"]
        length = self.headers["Content-Length"] or "0"
        if self.server.web.loopback and _name(host) not in LOOPBACK:
            refused = refusal(403, f"this server serves its own machine only, not {host!r}; see --rp_api_host")
        elif origin is not None and urlsplit(origin).netloc != host:
            refused = refusal(403, f"a page of {origin} may not use this server")
        elif self.headers["Transfer-Encoding"] is not None:
            refused = refusal(411, "send the body with a Content-Length")
        elif not (length.isascii() and length.isdigit()):
            refused = refusal(400, "Content-Length is not a number")
        elif int(length) > limits.RUNSYNC_BODY_BYTES:
            refused = refusal(413, f"the body is over {limits.RUNSYNC_BODY_BYTES} bytes")
        if refused is not None:
            self.close_connection = True
        return refused

    def _routed(self, route: Callable[[Request], Reply]) -> Reply:
        body = self.rfile.read(int(self.headers["Content-Length"] or "0"))
        parts = urlsplit(self.path)
        method = "GET" if self.command == "HEAD" else self.command
        try:
            return route(Request(method, unquote(parts.path), dict(parse_qsl(parts.query)), body))
        except Exception:
            logger.exception("%s %s failed", self.command, parts.path)
            return refusal(500, "a defect of the server; its log says more")

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        headers = {
            "Content-Type": reply.content_type,
            "Content-Length": str(len(reply.body)),
            "Cache-Control": "no-store",
        }
        for name, value in (headers | dict(reply.headers)).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are logged in `_serve`; what is not HTTP only when somebody looks for it."""
        logger.debug(format, *args)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """See `_serve`."""


def _name(host: str) -> str:
    """The name in a Host header."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
