"""The least gateway that keeps a worker busy, in both dialects: what is measured against it is the worker."""

import asyncio
import itertools
import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from submodel.contract import limits, wire
from submodel.contract.exchange import ExchangeAnswer, ExchangeRequest, JobPolicy, LeasedJob

HOLD_SECONDS = 20.0
_POLICY = JobPolicy()


@dataclass
class Work:
    """Jobs to hand out, and what came back. Instants are those of `time.perf_counter`."""

    left: int = 0
    input: bytes = b"0"
    handed_out: int = 0
    done: int = 0
    errors: list[str] = field(default_factory=list)
    items: list[Any] = field(default_factory=list)
    first_at: float = 0.0
    """When the first job was handed out."""

    first_item_at: float = 0.0
    last_at: float = 0.0
    """When the last result came."""

    heard_at: float = 0.0
    silence: float = 0.0
    """Longest time in which a worker with a job was not heard of."""


class BenchGateway:
    """Serves any worker and any endpoint; an asynchronous context manager."""

    def __init__(self) -> None:
        self.work = Work()
        self.polled = asyncio.Event()
        """Set when a worker asks for jobs."""

        self._numbers = itertools.count()
        """Of jobs. A name never comes twice: a worker takes a lease that it has for one that was sent again."""

        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "BenchGateway":
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def run(self, jobs: int, input: Any = 0, seconds: float = 120.0) -> Work:
        """Hand out so many jobs; returns when all have come back."""
        self.work = Work(left=jobs, input=json.dumps(input).encode())
        self._change()
        async with asyncio.timeout(seconds):
            while self.work.done < jobs:
                await self._changed.wait()
        return self.work

    def _change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _take(self, count: int) -> list[str]:
        work = self.work
        count = min(count, work.left)
        if count and not work.handed_out:
            work.first_at = work.heard_at = time.perf_counter()
        names = [f"j{next(self._numbers)}" for _ in range(count)]
        work.left -= count
        work.handed_out += count
        return names

    def _heard(self) -> None:
        work, now = self.work, time.perf_counter()
        if work.handed_out > work.done:
            work.silence = max(work.silence, now - work.heard_at)
        work.heard_at = now

    def _finished(self, error: object) -> None:
        work = self.work
        if error:
            work.errors.append(str(error))
        work.done += 1
        work.last_at = time.perf_counter()
        if not work.left and work.done == work.handed_out:
            self._change()

    def _item(self, *items: Any) -> None:
        if not self.work.items:
            self.work.first_item_at = time.perf_counter()
        self.work.items += items

    async def held(self, count: int, seconds: float) -> list[str]:
        """Jobs, as soon as there are some."""
        try:
            async with asyncio.timeout(seconds):
                while not (names := self._take(count)):
                    await self._changed.wait()
                return names
        except TimeoutError:
            return []

    async def exchange(self, body: bytes) -> bytes:
        request = wire.decode(body, ExchangeRequest)
        self._heard()
        for chunks in request.chunks:
            self._item(*(msgspec.json.decode(item) for item in chunks.items))
        for result in request.results:
            self._finished(result.error)
        names: list[str] = []
        if request.capacity:
            self.polled.set()
            names = self._take(request.capacity) or await self.held(request.capacity, request.wait_ms / 1000)
        elif request.wait_ms:
            await self.held(0, request.wait_ms / 1000)
        job = msgspec.Raw(self.work.input)
        jobs = [LeasedJob(id=name, token=name, input=job, policy=_POLICY) for name in names]
        return wire.encode(ExchangeAnswer(jobs=jobs, lease_ms=limits.LEASE_MS))

    async def legacy(self, target: str, body: bytes) -> bytes:
        """Empty for 204."""
        parts = urlsplit(target)
        operation = parts.path.split("/")[3]
        self._heard()
        if operation in ("job-take", "job-take-batch"):
            self.polled.set()
            size = int(parse_qs(parts.query).get("batch_size", ["1"])[0])
            names = await self.held(size, HOLD_SECONDS)
            jobs = [{"id": name, "input": json.loads(self.work.input)} for name in names]
            return json.dumps(jobs if operation.endswith("batch") else jobs[0]).encode() if jobs else b""
        if operation == "job-stop":
            await self.held(0, HOLD_SECONDS)
            return b""
        if operation == "job-stream":
            self._item(json.loads(body)["output"])
        elif operation == "job-done":
            self._finished(json.loads(body).get("error"))
        return b"{}"


class _Connection(asyncio.Protocol):
    def __init__(self, gateway: BenchGateway) -> None:
        self._gateway = gateway
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        for task in self._tasks:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, mark, rest = self._buffer.partition(b"\r\n\r\n")
        if not mark:
            return
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if len(rest) < length:
            return
        self._buffer = b""
        task = asyncio.get_running_loop().create_task(self._serve(head.split(b" ", 2)[1].decode(), rest))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, target: str, body: bytes) -> None:
        assert self._transport is not None
        if target.endswith("/exchange"):
            answer = await self._gateway.exchange(body)
        else:
            answer = await self._gateway.legacy(target, body)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json" if answer else b"HTTP/1.1 204 No Content"
        self._transport.write(b"%s\r\nContent-Length: %d\r\n\r\n%s" % (head, len(answer), answer))
