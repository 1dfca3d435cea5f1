"""HTTP/1.1 connections with bounds: what a client may send before it is believed, and how long it may take.

httptools parses, an `App` serves, one request after another per connection. An ASGI server in between costs as much as
all of this: messages, events and timers per request that no route here has a use for. A connection has one timer that
looks at a deadline when it fires; a request that arrives in one piece, as nearly all do, only moves the deadline.
"""

import asyncio
import logging
import math
from collections import deque
from enum import Enum, auto
from urllib.parse import unquote

import httptools

from submodel.contract.wire import encode
from submodel_gateway.http.incoming import Incoming
from submodel_gateway.http.messages import App, Header, Request
from submodel_gateway.http.peers import Peers
from submodel_gateway.sockets import has_hung_up

log = logging.getLogger(__name__)

_NO_HTTP = b"400 Bad Request", encode({"error": "this is no HTTP request: its syntax is wrong"})
_LARGE_HEAD = encode({"error": "the request line and headers are too large; send fewer or shorter ones"})
_LARGE_FRAME = encode({"error": "what frames the chunks of the body is too large; send no extensions and trailers"})
_OLD_VERSIONS = ("0.9", "1.0")


class _Awaited(Enum):
    """What a connection may not be late with."""

    NOTHING = auto()
    """A request is being served."""

    HEAD = auto()
    BODY = auto()
    REQUEST = auto()


READ_BYTES = 32_768
"""What is read of a connection at once, before anybody can refuse it. The event loop's own 256 KiB, of thousands of
connections that begin to send at the same time, would be half a gigabyte."""

PIPELINED_MAX = 8
"""Requests that may wait behind the one that is served, while the connection is read on: only so does the loop notice
that the client has gone away. With more the system is asked now and then."""

ASK_SECONDS = 1.0

COMING_SECONDS = 1.0
"""How long a server that leaves waits for the first request of a new connection, and for one that has begun to come."""

SENT_SECONDS = 0.1
"""How long for one of a connection that has been idle: it may be here already, and not have been read yet."""

_READ = bytearray(READ_BYTES)
"""One for all connections: what is read is parsed before the next one is read."""

_SEEN = memoryview(_READ)


class HttpConnection(asyncio.BufferedProtocol):
    """One client's connection to `app`; `peers` are the others of the same server."""

    def __init__(self, app: App, peers: Peers) -> None:
        self._app = app
        self._peers = peers
        self._bounds = peers.bounds
        self._loop = asyncio.get_running_loop()
        self._parser: httptools.HttpRequestParser | None = None
        self._url = b""
        self._headers: list[Header] = []
        self._in_head = True
        self._offered = False
        """Whether the request whose head has just come offers another protocol."""

        self._head_bytes = self._body_bytes = 0
        self._frame_bytes = 0
        """What came of a body since its last content: sizes and extensions of chunks, trailer fields."""

        self._reading = True
        self._deaf = False
        """Whether what comes is not looked at any more."""

        self._leaving = False
        """Whether the connection ends after the answer to what is served."""

        self._newest: Incoming | None = None
        """The request that is, or was last, coming in."""

        self._served: Incoming | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiting: deque[tuple[App, Request, Incoming]] = deque()
        self._asking = False
        """Whether the system will be asked whether the client is there."""

        self._unread: asyncio.Future[None] | None = None
        """There while the client does not read what was sent."""

        self._awaited = _Awaited.NOTHING
        self._deadline = self._timer_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    # For the event loop:

    def get_buffer(self, sizehint: int) -> bytearray:
        return _READ

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # of a stream
        self._transport = transport
        self._parser = self._new_parser()
        peer = transport.get_extra_info("peername")
        if self._peers.enter(self, str(peer[0]) if isinstance(peer, tuple) else ""):
            self._await(_Awaited.HEAD, self._bounds.head_seconds)
        else:
            self._deaf = True
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deaf = True
        self._parser = None  # it knows this connection too
        if self._timer is not None:
            self._timer.cancel()
        self._peers.go(self)
        for incoming in (self._served, self._newest, *(waiting for _, _, waiting in self._waiting)):
            if incoming is not None:
                incoming.lose()
        self._waiting.clear()
        self.resume_writing()

    def buffer_updated(self, nbytes: int) -> None:
        if self._deaf or self._parser is None:
            return
        if self._in_head:
            self._head_bytes += nbytes
        else:
            self._body_bytes += nbytes
            self._frame_bytes += nbytes
        try:
            self._parse(_SEEN[:nbytes])
        except httptools.HttpParserError as error:
            if isinstance(error, httptools.HttpParserCallbackError) and not isinstance(error.__context__, _BadTarget):
                log.error("the parser of HTTP failed", exc_info=error)
            self._refuse(*_NO_HTTP)
            return
        if not self._in_head:
            if self._frame_bytes > self._bounds.head_bytes:
                self._refuse(b"431 Request Header Fields Too Large", _LARGE_FRAME)
                return
            if self._newest is not None:
                self._newest.wait()
            if self._awaited is not _Awaited.BODY:
                self._await_body()
        elif self._head_bytes > self._bounds.head_bytes:
            self._refuse(b"431 Request Header Fields Too Large", _LARGE_HEAD)
        elif self._head_bytes:
            if self._awaited is not _Awaited.HEAD:
                self._await(_Awaited.HEAD, self._bounds.head_seconds)
        else:
            self._await_next()

    def pause_writing(self) -> None:
        self._unread = self._loop.create_future()
        self._expect_reading()

    def resume_writing(self) -> None:
        if self._unread is not None:
            self._unread.set_result(None)
            self._unread = None
            self._serve_next()

    # For the parser:

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # what trails a body is nobody's
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None, "it calls"
        method, version = self._parser.get_method().decode("ascii"), self._parser.get_http_version()
        path, query = _target(self._url)
        modern = version not in _OLD_VERSIONS
        if self._parser.should_upgrade() and method != "CONNECT":
            self._offered = True
            return
        too_large = self._head_is_too_large()
        ends = too_large or self._peers.parting or method == "CONNECT"
        goes_on = modern and not ends and self._parser.should_keep_alive()
        incoming = Incoming(self, head_only=method == "HEAD", chunks=modern, keep_alive=goes_on)
        request = Request(method, path, query, self._headers, incoming)
        incoming.expects = modern and request.header(b"expect").lower() == "100-continue"
        self._in_head, self._head_bytes, self._body_bytes, self._frame_bytes = False, 0, 0, 0
        self._newest = incoming
        app = _refuse_head if too_large else self._app
        if self._served is None and self._unread is None:
            self._serve(app, request, incoming)
        else:
            self._waiting.append((app, request, incoming))
            if len(self._waiting) > PIPELINED_MAX:
                self.pause_reading()
                self._ask_for_the_client()

    def on_body(self, data: bytes) -> None:
        self._frame_bytes = 0
        if self._newest is not None:
            self._newest.feed(data)

    def on_message_complete(self) -> None:
        if self._offered:
            return  # its body has not been looked at
        if self._newest is not None:
            self._newest.complete()
        self._in_head, self._head_bytes = True, 0
        # A large body stops the reading until it is fetched. What comes next is the end of the connection, if anything,
        # and whoever waits for the answer must hear of that.
        self._read_on()

    # For requests:

    def write(self, *parts: bytes) -> None:
        # uvloop raises when the client has gone away; asyncio's own transports do not.
        if self._transport.is_closing():
            return
        if len(parts) == 1:
            self._transport.write(parts[0])
        else:
            self._transport.writelines(parts)

    async def drained(self) -> None:
        if self._unread is not None:
            await self._unread

    def pause_reading(self) -> None:
        if self._reading and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()

    # For the server:

    def part(self) -> None:
        last = self._waiting[-1][2] if self._waiting else self._served
        # Who is told nothing of it may send the next request into the end of the connection.
        if last is not None and not last.complete_answer:
            last.keep_alive = False

    def leave(self) -> None:
        # What a client sent it may not send again: it cannot know whether it was read.
        if self._awaited is _Awaited.HEAD:
            self._await(_Awaited.HEAD, COMING_SECONDS)
        elif self._awaited is _Awaited.REQUEST:
            self._await(_Awaited.REQUEST, SENT_SECONDS)
        else:
            self._end()

    def cut(self) -> None:
        self._transport.abort()

    # What comes:

    def _end(self) -> None:
        """The connection ends, after the answer to what is served."""
        if self._served is None:
            self._transport.close()
        else:
            self._leaving = True
            self._served.keep_alive = False

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        # What follows a request that is the last one is no reason to refuse that request.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def _parse(self, seen: memoryview) -> None:
        assert self._parser is not None, "the connection is there"
        while True:
            try:
                self._parser.feed_data(seen)
                return
            except httptools.HttpParserUpgrade as pause:
                seen = seen[pause.args[0] :]
            if not self._offered:
                self._deaf = True
                return
            self._decline()

    def _decline(self) -> None:
        """Read the head again without the protocol that it offers: the parser takes what follows for that one.

        Java's client offers HTTP/2 with the first request of a connection, and sends its body all the same.
        """
        assert self._parser is not None, "the connection is there"
        line = b"%b %b HTTP/%b" % (self._parser.get_method(), self._url, self._parser.get_http_version().encode())
        fields = [b"%b: %b" % header for header in self._headers if header[0] != b"upgrade"]
        self._offered = False
        self._parser = self._new_parser()
        self._parser.feed_data(b"\r\n".join([line, *fields, b"", b""]))

    # One request after another:

    def _serve(self, app: App, request: Request, incoming: Incoming) -> None:
        self._served = incoming
        self._task = self._loop.create_task(self._run(app, request, incoming))
        self._peers.serving(self._task)

    async def _run(self, app: App, request: Request, incoming: Incoming) -> None:
        try:
            await app(request)
        except Exception:
            log.exception("an answer broke off")
            incoming.keep_alive = False
        finally:
            if self._task is not None:
                self._peers.served(self._task)
            self._served = None
        if self._transport.is_closing():
            return
        if self._leaving or not incoming.keep_alive:
            self._deaf = True
            self._transport.close()
            return
        self._serve_next()
        self._read_on()
        if self._awaited is _Awaited.NOTHING:
            self._await_next()

    def _serve_next(self) -> None:
        if self._waiting and self._served is None and self._unread is None and not self._transport.is_closing():
            self._serve(*self._waiting.popleft())
            self._read_on()

    def _read_on(self) -> None:
        """Read again what was not, unless too many requests wait already: a small piece may hold a thousand."""
        if len(self._waiting) <= PIPELINED_MAX:
            self.resume_reading()

    def _refuse(self, status: bytes, body: bytes) -> None:
        """What came is not to be understood: the last word on this connection, unless an answer comes before."""
        self._deaf = True
        answered = not self._in_head and self._newest is not None and self._newest.answered
        if answered or (self._served is not None and (self._served is not self._newest or self._served.is_complete)):
            self._end()
            return
        head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.write(head % (status, len(body)) + body)
        self._transport.close()

    def _head_is_too_large(self) -> bool:
        if len(self._headers) > self._bounds.headers:
            return True
        # What came was counted, and the head is a part of it; but not when it came with the end of the last request.
        if 0 < self._head_bytes <= self._bounds.head_bytes:
            return False
        size = len(self._url) + sum(len(name) + len(value) for name, value in self._headers)
        return size > self._bounds.head_bytes

    def _ask_for_the_client(self) -> None:
        """End the connection when the client has gone away, while nothing of it is read."""
        if self._parser is None or len(self._waiting) <= PIPELINED_MAX or self._transport.is_closing():
            self._asking = False
        elif has_hung_up(self._transport.get_extra_info("socket")):
            self.cut()
        elif not self._asking:
            self._asking = True
            self._loop.call_later(ASK_SECONDS, self._ask_again)

    def _ask_again(self) -> None:
        self._asking = False
        self._ask_for_the_client()

    # Time:

    def _expect_reading(self) -> None:
        """End the connection of a client that does not read: it holds an answer of many megabytes, perhaps."""
        unread, size = self._unread, self._transport.get_write_buffer_size()

        def look() -> None:
            if unread is None or unread.done():
                return
            if size - self._transport.get_write_buffer_size() >= self._bounds.body_bytes:
                self._expect_reading()
            else:
                self._transport.abort()

        self._loop.call_later(self._bounds.unread_seconds, look)

    def _await_next(self) -> None:
        """All that has come is complete."""
        if self._served is not None or self._waiting:
            self._awaited, self._deadline = _Awaited.NOTHING, math.inf
        else:
            self._await(_Awaited.REQUEST, self._bounds.idle_seconds)

    def _await_body(self) -> None:
        self._body_bytes = 0
        self._await(_Awaited.BODY, self._bounds.body_seconds)

    def _await(self, awaited: _Awaited, seconds: float) -> None:
        self._awaited = awaited
        self._deadline = self._loop.time() + seconds
        if self._deadline < self._timer_at:
            self._arm(seconds)

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._deadline
        self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer, self._timer_at = None, math.inf
        rest = self._deadline - self._loop.time()
        if rest > 0:
            if rest < math.inf:
                self._arm(rest)
        elif self._awaited is _Awaited.BODY and (self._body_bytes >= self._bounds.body_bytes or not self._reading):
            self._await_body()  # while the gateway itself does not read, the client is not to blame
        elif self._awaited is _Awaited.HEAD and not self._reading:
            self._await(_Awaited.HEAD, self._bounds.head_seconds)
        else:
            self._transport.close()


class _BadTarget(ValueError):
    """What is asked for cannot be read."""


def _target(url: bytes) -> tuple[str, bytes]:
    """Decoded path and query of what a request line asks for."""
    try:
        if url.startswith(b"/") and b"#" not in url:
            raw, _, query = url.partition(b"?")
        else:
            parsed = httptools.parse_url(url)
            raw, query = parsed.path, parsed.query or b""
        path = raw.decode("ascii")
    except (httptools.HttpParserError, UnicodeDecodeError, AttributeError) as error:
        raise _BadTarget from error
    return unquote(path) if "%" in path else path, query


async def _refuse_head(request: Request) -> None:
    request.line.answer(431, _LARGE_HEAD, ())
