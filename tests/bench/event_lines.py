"""Readers of server-sent events that cost little beside what they read; for items `[number, instant]`."""

import asyncio
import re
import time
from typing import Self

_ITEM = re.compile(rb'data: \{"output":\[(\d+),([0-9.e+-]+)\]\}\n')


class EventLine(asyncio.Protocol):
    """One stream: `delays` has the milliseconds from the making of each item to its arrival."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._rest = b""

    @classmethod
    async def open(cls, port: int, request: bytes) -> Self:
        transport, line = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        transport.write(request)
        return line

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        text, end = self._rest + data, 0
        for item in _ITEM.finditer(text):
            end = item.end()
            if int(item[1]) != len(self.delays):
                self._end(AssertionError(f"item {item[1]!r} came after {len(self.delays)} others"))
                return
            self.delays.append(1_000 * (now - float(item[2])))
        self._rest = text[end:]
        if b"event: status" in self._rest:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionError("the server closed the connection"))

    def _end(self, error: Exception | None) -> None:
        if self.ended.done():
            return
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)
