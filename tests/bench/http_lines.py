"""A load generator that costs little beside what it loads: prepared requests on kept connections, answers in bytes.

It knows just enough HTTP for the servers of these measurements: answers have a `Content-Length`, or no body.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Self

Then = Callable[[int, bytes], None]
"""Hears status and body of an answer."""


class Line(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._then: Then | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parts: list[bytes] = []
        self._missing = 0
        """Bytes of the body that have yet to come; 0 while the head has not."""

        self._status = 0

    @classmethod
    async def open(cls, port: int) -> Self:
        _, line = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return line

    def send(self, request: bytes, then: Then) -> None:
        """Send a request; futures and tasks for each would cost as much as all the rest of a load generator."""
        assert self._transport is not None
        self._then = then
        self._transport.write(request)

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body."""
        answers: list[tuple[int, bytes]] = []
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def then(status: int, body: bytes) -> None:
            answers.append((status, body))
            answered.set_result(None)

        self.send(request, then)
        await asyncio.wait((answered, self.lost), return_when=asyncio.FIRST_COMPLETED)
        assert answers, "the server closed the connection"
        return answers[0]

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # of a stream
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        if not self._missing:
            data = b"".join((*self._parts, data))
            self._parts.clear()
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._parts.append(head)
                return
            self._status = int(head[9:12])
            self._missing = _length(head)
        self._parts.append(data)
        self._missing -= len(data)
        if not self._missing and self._then is not None:
            body = data if len(self._parts) == 1 else b"".join(self._parts)
            self._parts.clear()
            self._then(self._status, body)


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: bench", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def lines(port: int, count: int) -> AsyncIterator[list[Line]]:
    """That many open connections."""
    opened = [await Line.open(port) for _ in range(count)]
    try:
        yield opened
    finally:
        for line in opened:
            line.close()


async def ask_all(
    opened: list[Line], requests: int, asked: bytes, is_right: Callable[[bytes], bool] = bool
) -> list[float]:
    """Seconds of each of so many requests, which the lines send as fast as they are answered.

    Raises `AssertionError` for an answer that is not a 200, or not right.
    """
    waits: list[float] = []
    turns = iter(range(requests))
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def send(line: Line) -> None:
        began = time.perf_counter()

        def then(status: int, body: bytes) -> None:
            waits.append(time.perf_counter() - began)
            if status != 200 or not is_right(body):
                done.set_exception(AssertionError(f"{status}: {body[:300]!r}"))
            elif next(turns, None) is not None:
                send(line)
            elif len(waits) == requests:
                done.set_result(None)

        line.send(asked, then)

    for line in opened:
        if next(turns, None) is not None:
            send(line)
    await asyncio.wait([done, *(line.lost for line in opened)], return_when=asyncio.FIRST_COMPLETED)
    assert done.done(), "the server closed a connection"
    await done
    return waits


def _length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"\r\ncontent-length:")
    return int(lower[at + 17 :].partition(b"\r\n")[0]) if at >= 0 else 0
