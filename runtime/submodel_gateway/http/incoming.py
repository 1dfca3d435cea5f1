"""One request on its connection: its body as it comes in, its answer as bytes.

Made by `protocol` when the head is complete; routes see it as the `line` of their `Request`.
"""

import asyncio
from collections.abc import Iterable
from contextlib import aclosing
from http import HTTPStatus
from typing import Protocol

from submodel_gateway.errors import InvalidRequest
from submodel_gateway.http.messages import Grow, Header, Line, Streamed, too_large

UNREAD_BYTES = 65_536
"""Of a body that is being fetched; its connection is not read any further then."""

JOINED_BYTES = 65_536
"""Up to here it costs less to join head and body than to hand on both."""

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
# All there can be, for workers name statuses too: not each of those has a phrase.
_STATUS_LINES = {status: f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n".encode() for status in range(200, 600)}
_JSON = b"content-type: application/json\r\ncontent-length: %d\r\n"
_STREAMED = b"content-type: %b\r\ncache-control: no-store\r\nx-accel-buffering: no\r\n"
_CHUNKED = b"transfer-encoding: chunked\r\n"
_CLOSE = b"connection: close\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Wire(Protocol):
    """The connection underneath."""

    def write(self, *parts: bytes) -> None:
        """Send to the client; to nobody when it has gone away."""

    async def drained(self) -> None:
        """Wait while the client does not read what was sent before."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Incoming(Line):
    """See the module.

    Args:
        head_only: whether the client wants no body, as with HEAD.
        chunks: whether the client understands a body that comes in chunks; HTTP/1.0 does not.
        keep_alive: whether the connection goes on after the answer.
    """

    __slots__ = (
        "_body",
        "_chunks",
        "_complete",
        "_head_only",
        "_size",
        "_unread",
        "_waiter",
        "_wire",
        "answered",
        "complete_answer",
        "expects",
        "keep_alive",
    )

    def __init__(self, wire: Wire, *, head_only: bool, chunks: bool, keep_alive: bool) -> None:
        super().__init__()
        self._wire = wire
        self._head_only = head_only
        self._chunks = chunks
        self._body: bytes | bytearray = b""
        self._size = self._unread = 0
        self._complete = False
        self._waiter: asyncio.Future[None] | None = None
        self.keep_alive = keep_alive
        self.expects = False
        """Whether the client waits for a word before it sends the body."""

        self.answered = False
        self.complete_answer = False
        """Whether all of the answer has been written, though it may not have been read."""

    @property
    def is_complete(self) -> bool:
        """Whether all of the body is here."""
        return self._complete

    def feed(self, data: bytes) -> None:
        """More of the body has come."""
        if self.answered:
            return
        # In one piece it stays what it is; many pieces, of a byte each perhaps, must not cost more than they hold.
        if not self._size:
            self._body = data
        elif isinstance(self._body, bytearray):
            self._body += data
        else:
            self._body = bytearray(self._body)
            self._body += data
        self._size += len(data)
        self._unread += len(data)
        if self._unread > UNREAD_BYTES:
            self._wire.pause_reading()
        self._wake()

    def wait(self) -> None:
        """A part of the body has come. While nobody fetches it, no more of it is read: it may not even be let in."""
        if self._waiter is None and not self.answered:
            self._wire.pause_reading()

    def complete(self) -> None:
        """All of the body is here."""
        self._complete = True
        self._wake()

    def lose(self) -> None:
        super().lose()
        self._wake()

    async def body(self, limit: int, grow: Grow | None) -> bytes:
        told = 0
        while True:
            if self._size > limit:
                raise too_large(limit)
            if grow is not None and told < self._size:
                told = self._size
                await grow(told)
                continue  # more may have come meanwhile
            if self._complete:
                break
            if self._lost:
                raise InvalidRequest("the body ended before its time")
            if self.expects:
                self.expects = False
                self._wire.write(_CONTINUE)
            self._unread = 0
            self._wire.resume_reading()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        body, self._body = self._body, b""
        return bytes(body)

    def answer(self, status: int, body: bytes | None, headers: Iterable[Header]) -> None:
        length = b"" if body is None else _JSON % len(body)
        head = self._head(status, length, headers)
        self.complete_answer = True
        if body is None or self._head_only:
            self._wire.write(head)
        elif len(body) <= JOINED_BYTES:
            self._wire.write(head + body)
        else:
            self._wire.write(head, body)

    async def read(self) -> None:
        await self._wire.drained()

    async def stream(self, answer: Streamed, headers: Iterable[Header]) -> None:
        kind = _STREAMED % answer.content_type
        if self._chunks:
            kind += _CHUNKED
        else:
            self.keep_alive = False
        self._wire.write(self._head(200, kind, headers))
        async with aclosing(answer.parts) as parts:
            if self._head_only:
                return
            async for part in parts:
                if self._lost:
                    return
                if part:
                    self._write_part(part)
                    del part  # the next one may take long
                    await self._wire.drained()
        if self._chunks:
            self._wire.write(b"0\r\n\r\n")

    def _write_part(self, part: bytes) -> None:
        if not self._chunks:
            self._wire.write(part)
        elif len(part) <= JOINED_BYTES:
            self._wire.write(b"%x\r\n%b\r\n" % (len(part), part))
        else:
            self._wire.write(b"%x\r\n" % len(part), part, b"\r\n")

    def _head(self, status: int, kind: bytes, headers: Iterable[Header]) -> bytes:
        self.answered = True
        self._body = b""
        fields = b"".join([b"%b: %b\r\n" % header for header in headers])
        return b"%b%b%b%b\r\n" % (_STATUS_LINES[status], kind, fields, b"" if self.keep_alive else _CLOSE)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
