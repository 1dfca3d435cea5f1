"""A load generator that costs little beside what it loads: prepared requests on kept connections, answers in bytes.

It knows just enough HTTP for the servers of these measurements: answers have a `Content-Length`, or no body.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Self


class Line(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._parts: list[bytes] = []
        self._missing = 0
        """Bytes of the body that have yet to come; 0 while the head has not."""

        self._status = 0

    @classmethod
    async def open(cls, port: int) -> Self:
        _, line = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return line

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # of a stream
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the server closed the connection"))

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
        if not self._missing and self._answer is not None:
            body = b"".join(self._parts)
            self._parts.clear()
            self._answer.set_result((self._status, body))


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


async def ask_all(opened: list[Line], requests: int, turn: Callable[[Line], Awaitable[object]]) -> list[float]:
    """Seconds of each of so many turns, which the lines take as fast as they can."""
    waits: list[float] = []
    turns = iter(range(requests))

    async def caller(line: Line) -> None:
        for _ in turns:
            started = time.perf_counter()
            await turn(line)
            waits.append(time.perf_counter() - started)

    await asyncio.gather(*map(caller, opened))
    return waits


def _length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"\r\ncontent-length:")
    return int(lower[at + 17 :].partition(b"\r\n")[0]) if at >= 0 else 0
