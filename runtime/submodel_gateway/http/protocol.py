"""HTTP connections with bounds: what a client may send before it is believed, and how long it may take.

uvicorn's parser keeps whatever heads come and waits for bodies for ever; each of these costs memory or a connection.
A request that arrives in one piece, as nearly all do, costs nothing: timers are armed only while a part is missing.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any, Self

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from submodel.contract.wire import encode
from submodel_gateway.http.messages import Connection, Receive, Scope, Send, send_json


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one connection, and all of them together, may use up."""

    head_bytes: int = 65_536
    """Request line and headers."""

    headers: int = 100
    head_seconds: float = 10.0
    """From the first byte of a request, or from the connection, to the end of its headers."""

    body_seconds: float = 15.0
    """Within each of these spans a body that is not complete must bring `body_bytes`."""

    body_bytes: int = 15_360
    connections: int = 10_000
    connections_per_address: int | None = None
    """Of one client's address; None for any number, as behind a proxy, where all of them have the same."""


class Line(Connection):
    """A connection between uvicorn and its transport: head and body of an answer leave in one write, not in two."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._held: list[bytes] | None = None
        self.is_closing = transport.is_closing
        self.get_extra_info = transport.get_extra_info

    def whole_answer(self) -> Self:
        return self

    def __enter__(self) -> None:
        self._held = []

    def __exit__(self, *exc: object) -> None:
        self._release()

    def write(self, data: bytes) -> None:
        if self._held is None:
            self._transport.write(data)
        else:
            self._held.append(data)

    def close(self) -> None:
        self._release()
        self._transport.close()

    def _release(self) -> None:
        held, self._held = self._held, None
        # uvloop raises when the client has gone away; asyncio's own transports do not.
        if held and not self._transport.is_closing():
            self._transport.writelines(held)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol within `bounds`."""

    bounds = Bounds()
    addresses: Counter[str]
    """How many connections there are of each address, where that is bounded; shared by those of one server."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_bytes = 0
        self._in_head = True
        self._body_bytes = 0
        self._address = ""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in its base
        super().connection_made(transport)
        self._line = Line(transport)
        self.transport = self._line  # type: ignore[assignment]  # as much of one as uvicorn uses
        if len(self.connections) > self.bounds.connections:
            self.logger.warning("more than %d connections; a new one was closed", self.bounds.connections)
            transport.abort()
            return
        if not self._enter():
            transport.abort()
            return
        self._arm(self.bounds.head_seconds, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._leave()
        super().connection_lost(exc)
        self._line.lose()

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        else:
            self._body_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head and self._head_bytes > self.bounds.head_bytes:
            self._refuse_head()
        elif self._in_head and self._head_bytes:
            self._arm(self.bounds.head_seconds, self._head_is_late)
        elif not self._in_head and not self.cycle.response_complete:
            self._arm(self.bounds.body_seconds, self._check_body)
        else:
            self._disarm()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[Connection.SCOPE_KEY] = self._line  # type: ignore[literal-required]  # no key of ASGI
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._disarm()
        too_large = self._head_is_too_large()
        self._in_head, self._head_bytes, self._body_bytes = False, 0, 0
        if too_large:
            served, self.app = self.app, _refuse
            try:
                super().on_headers_complete()
            finally:
                self.app = served
        else:
            super().on_headers_complete()

    def _head_is_too_large(self) -> bool:
        if len(self.headers) > self.bounds.headers:
            return True
        # What came was counted, and the head is a part of it; but not when it came with the end of the last request.
        if 0 < self._head_bytes <= self.bounds.head_bytes:
            return False
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        return size > self.bounds.head_bytes

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head, self._head_bytes = True, 0
        # A large body stops the reading until it is fetched. What comes next is the end of the connection, if anything.
        self.flow.resume_reading()

    def on_response_complete(self) -> None:
        if self.cycle.response_complete:
            self.cycle.body = bytearray()  # of a request that was answered before its body was read
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP gets an answer that a client can read, like every other."""
        self._end(b"400 Bad Request", encode({"error": "this is no HTTP request: its syntax is wrong"}))

    def _enter(self) -> bool:
        """Count the connection for its address; False when there are too many."""
        most = self.bounds.connections_per_address
        if most is None or self.client is None:
            return True
        host = self.client[0]
        if self.addresses[host] >= most:
            self.logger.warning("more than %d connections of %s; a new one was closed", most, host)
            return False
        self._address = host
        self.addresses[host] += 1
        return True

    def _leave(self) -> None:
        if self._address:
            self.addresses[self._address] -= 1
            if not self.addresses[self._address]:
                del self.addresses[self._address]

    def _arm(self, seconds: float, then: Any) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(seconds, self._expired, then)

    def _expired(self, then: Any) -> None:
        self._timer = None
        then()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _head_is_late(self) -> None:
        if self._in_head:
            self.transport.close()

    def _check_body(self) -> None:
        """Close on a client that sends too slowly; while the gateway itself does not read, it is not to blame."""
        if self._in_head or self.cycle.response_complete:
            return
        if self._body_bytes < self.bounds.body_bytes and not self.flow.read_paused:
            self.transport.close()
            return
        self._body_bytes = 0
        self._arm(self.bounds.body_seconds, self._check_body)

    def _refuse_head(self) -> None:
        self._end(b"431 Request Header Fields Too Large", _SENTENCE)

    def _end(self, status: bytes, body: bytes) -> None:
        head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % (status, len(body))
        self.transport.write(head + b"connection: close\r\n\r\n" + body)
        self.transport.close()


_SENTENCE = encode({"error": "the request line and headers are too large; send fewer or shorter ones"})


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    await send_json(send, 431, _SENTENCE, [(b"connection", b"close")])


def protocol(bounds: Bounds) -> type[BoundedProtocol]:
    """The protocol class for a server with these bounds."""
    return type("BoundedProtocol", (BoundedProtocol,), {"bounds": bounds, "addresses": Counter()})
