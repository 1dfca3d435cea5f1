"""A proxy before an API server, for the faults which no server makes on demand: to requests, and to open watches.

The operator talks to it in plain HTTP, and it adds the credentials. What it is not told to spoil goes through as it is.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from submodel_operator.kube import Connection
from tests.support.http_server import serving
from tests.support.kube_api import tls
from tests.support.kubeconfig import write_kubeconfig

Object = dict[str, Any]
_DROPPED = frozenset({"host", "content-length", "transfer-encoding", "connection", "authorization", "accept-encoding"})


@dataclass(frozen=True)
class Call:
    """One request of the operator."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict, compare=False)
    agent: str = field(default="", compare=False)

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return self.method != "GET"

    @property
    def watches(self) -> bool:
        """Whether it opens a watch."""
        return self.query.get("watch") == "true"

    @property
    def by_kopf(self) -> bool:
        """Whether it comes from the watches, and not from the operator's own client."""
        return not self.agent.startswith("submodel-operator")

    def of(self, method: str, ending: str) -> bool:
        """Whether it is this kind of request: `PATCH`, `/status`."""
        return self.method == method and self.path.endswith(ending)


@dataclass(frozen=True)
class Answer:
    """Given instead of the server's."""

    status: int
    message: str = "a fault of the test"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LostAnswer:
    """The server does what was asked, and the connection ends before it can say so."""


@dataclass(frozen=True)
class Hang:
    """Nothing is answered until `released`, and then the request goes on as if nothing had been."""

    released: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True)
class Before:
    """Something happens in the cluster just before the request."""

    happens: Callable[[], Awaitable[object]]


Trouble = Answer | LostAnswer | Hang | Before
Fault = Callable[[Call], Trouble | None]
"""What happens to a request; None lets it through."""


class Few:
    """A fault of the first requests of a kind: each has one of the troubles, and those after them go through."""

    def __init__(self, chosen: Callable[[Call], bool], *troubles: Trouble) -> None:
        self.left = list(troubles)
        """Those that no request has had yet."""

        self._chosen = chosen

    def __call__(self, call: Call) -> Trouble | None:
        return self.left.pop(0) if self.left and self._chosen(call) else None


class _Watch:
    """An open watch of the operator."""

    def __init__(self, plural: str, request: web.Request, response: web.StreamResponse) -> None:
        self.plural = plural
        self.request = request
        self.response = response
        self.passing = float("inf")
        """How many further lines go through."""

        self.may_pass = asyncio.Event()
        self.torn = False
        self.over = asyncio.Event()

    async def pass_on(self, line: bytes) -> None:
        """One line of the server's. Half of it, if the watch is to be torn there."""
        while not self.passing:
            self.may_pass.clear()
            await self.may_pass.wait()
        self.passing -= 1
        if not self.torn:
            await self.response.write(line + b"\n")
            return
        await self.response.write(line[: len(line) // 2])
        self.cut()

    def cut(self) -> None:
        """Break the connection."""
        if self.request.transport:
            self.request.transport.abort()
        self.over.set()

    async def end(self, *lines: Object) -> None:
        """Say these last words, and end as a server does whose time is over."""
        for line in lines:
            await self.response.write(json.dumps(line).encode() + b"\n")
        with suppress(ConnectionError):
            await self.response.write_eof()
        self.over.set()


class FaultProxy:
    """Stands before the server of `connection`. `faults` are asked in order about each request."""

    def __init__(self, connection: Connection) -> None:
        self.faults: list[Fault] = []
        self.calls: list[Call] = []
        self.page_size = 0
        """When above 0, lists come in pages of that many objects."""

        self.url = ""
        self._connection = connection
        self._session: aiohttp.ClientSession | None = None
        self._watches: set[_Watch] = set()
        self._changed = asyncio.Event()
        self._failure: BaseException | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FaultProxy"]:
        """Serve for the time of the context."""
        connector = aiohttp.TCPConnector(ssl=tls(self._connection), limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
            self._session = session
            async with serving(self._handle, client_max_size=1 << 24) as self.url:
                try:
                    yield self
                finally:
                    self.cut_watches()

    def kubeconfig(self, folder: Path) -> str:
        """Write a kubeconfig for the proxy; returns its path."""
        return write_kubeconfig(folder / "proxy-kubeconfig", self.url, "proxy")

    @property
    def writes(self) -> list[Call]:
        """All requests that may have changed something."""
        return [call for call in self.calls if call.writes]

    async def forget_trouble(self) -> None:
        """Nothing is spoiled any more, and another operator may come.

        Returns once no watch of the last one is left: the next one's could be taken for open by them.
        """
        self.faults.clear()
        self.page_size = 0
        self._failure = None
        self.cut_watches()
        await self.until(lambda: not self._watches)

    # Front:

    async def until(self, holds: Callable[[], object]) -> None:
        """See `operator_thread.Front`."""
        while not holds():
            if self._failure:
                raise AssertionError(f"waited in vain: {self._failure!r}") from self._failure
            self._changed.clear()
            await self._changed.wait()

    def watching(self, plural: str) -> bool:
        """See `operator_thread.Front`."""
        return any(watch.plural == plural for watch in self._watches)

    def operator_ended(self, error: BaseException | None) -> None:
        """See `operator_thread.Front`."""
        self._failure = error
        self._changed.set()

    # Trouble with open watches:

    def cut_watches(self, plural: str = "") -> None:
        """Break the watches of a kind, or all."""
        for watch in self._of(plural):
            watch.cut()

    def tear_watches(self, plural: str) -> None:
        """Break them in the middle of their next line."""
        for watch in self._of(plural):
            watch.torn = True

    def stall_watches(self, plural: str) -> None:
        """They stay open, and nothing comes any more."""
        for watch in self._of(plural):
            watch.passing = 0

    def resume_watches(self, plural: str, lines: float = float("inf")) -> None:
        """What was held back comes now, or so many lines of it."""
        for watch in self._of(plural):
            watch.passing = lines
            watch.may_pass.set()

    async def end_watches(self, plural: str, *last_words: Object) -> None:
        """End them as the server does when their time is over."""
        for watch in self._of(plural):
            await watch.end(*last_words)

    def _of(self, plural: str) -> list[_Watch]:
        return [watch for watch in self._watches if plural in ("", watch.plural)]

    # Forwarding:

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        agent = request.headers.get("User-Agent", "")
        call = Call(request.method, request.path, dict(request.query), agent)
        self.calls.append(call)
        try:
            return await self._spoiled(request, call)
        finally:
            self._changed.set()

    async def _spoiled(self, request: web.Request, call: Call) -> web.StreamResponse:
        lost = False
        for fault in self.faults:
            self._changed.set()
            match fault(call):
                case Answer(status, message, headers):
                    return _status(status, message, headers)
                case Hang(released):
                    await released.wait()
                case Before(happens):
                    await happens()
                case LostAnswer():
                    lost = True
        response = await self._forward(request, call)
        if lost and request.transport:
            request.transport.abort()
        return response

    async def _forward(self, request: web.Request, call: Call) -> web.StreamResponse:
        if self._session is None:
            raise RuntimeError("the proxy does not run")
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _DROPPED}
        if self._connection.token:
            headers["Authorization"] = f"Bearer {self._connection.token}"
        query = dict(call.query)
        if self.page_size and "limit" in query:
            query["limit"] = str(self.page_size)
        body = await request.read() or None
        url = self._connection.server + request.path
        async with self._session.request(call.method, url, params=query, headers=headers, data=body) as answer:
            if call.watches and answer.status == 200:
                return await self._watch(request, call, answer)
            return web.Response(body=await answer.read(), status=answer.status, headers=_kept(answer))

    async def _watch(self, request: web.Request, call: Call, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(headers=_kept(answer))
        await response.prepare(request)
        watch = _Watch(call.path.rpartition("/")[2], request, response)
        self._watches.add(watch)
        self._changed.set()
        flow = asyncio.create_task(_flow(answer, watch))
        over = asyncio.create_task(watch.over.wait())
        try:
            await asyncio.wait((flow, over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._watches.discard(watch)
            self._changed.set()
            for task in (flow, over):
                task.cancel()
            await asyncio.gather(flow, over, return_exceptions=True)
        return response


async def _flow(answer: aiohttp.ClientResponse, watch: _Watch) -> None:
    rest = b""
    with suppress(aiohttp.ClientError, ConnectionError):
        async for piece in answer.content.iter_any():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                await watch.pass_on(line)


def _kept(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {"Content-Type": answer.headers.get("Content-Type", "application/json")}


def _status(status: int, message: str, headers: dict[str, str]) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "message": message}
    return web.json_response(body, status=status, headers=headers)
