"""A worker of the legacy dialect, scripted: requests to the gateway's application, without sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from submodel_gateway.http.messages import App, Grow, Header, Line, Request, Streamed, too_large
from submodel_gateway.http.public import public_app
from submodel_gateway.service.access import Open
from submodel_gateway.store.base import Store
from tests.support.gateway_world import ENDPOINT, TOKEN, World, world

RUNPOD = "runpod/1.12.0"


@dataclass
class Answer:
    """What a request got."""

    status: int
    body: bytes
    headers: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class _Caller(Line):
    """The client's side of one request."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.unread: bytes | None = body
        self.got: Answer | None = None

    async def body(self, limit: int, grow: Grow | None) -> bytes:
        assert self.unread is not None, "a body is read once"
        body, self.unread = self.unread, None
        if len(body) > limit:
            raise too_large(limit)
        if grow is not None:
            await grow(len(body))
        return body

    def answer(self, status: int, body: bytes | None, headers: Iterable[Header]) -> None:
        self.got = Answer(status, body or b"", dict(headers))

    async def read(self) -> None:
        """It has it already."""

    async def stream(self, answer: Streamed, headers: Iterable[Header]) -> None:
        body = b"".join([part async for part in answer.parts])
        self.got = Answer(200, body, {b"content-type": answer.content_type, **dict(headers)})


class Call:
    """One request on its way; `hang_up` closes its connection."""

    def __init__(self, app: App, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        self._caller = _Caller(body)
        path, _, query = path.partition("?")
        sent = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        request = Request(method, path, query.encode(), sent, self._caller)
        self._task = asyncio.ensure_future(self._serve(app, request))

    @property
    def done(self) -> bool:
        return self._task.done()

    @property
    def unread(self) -> bool:
        """Whether nobody has looked at the body."""
        return self._caller.unread is not None

    def hang_up(self) -> None:
        self._caller.lose()

    async def answer(self) -> Answer:
        await self._task
        assert self._caller.got is not None, "every request is answered"
        return self._caller.got

    async def _serve(self, app: App, request: Request) -> None:
        await app(request)


class LegacyWorker:
    """Says what such a worker says, in the words of its SDK."""

    def __init__(
        self, world: World, name: str = "w-1", sdk: str = RUNPOD, key: str = TOKEN, query: str = "sdk=runpod"
    ) -> None:
        self._app = public_app(world.gateway, Open())
        self._query = query
        self.name = name
        self.sdk = sdk
        self.headers = {"authorization": key}
        if sdk:
            family, _, version = sdk.partition("/")
            self.headers["user-agent"] = f"{family}-Python-SDK/{version} (Linux; x86_64) Language/Python 3.11.7"

    def call(self, method: str, path: str, body: bytes = b"", endpoint: str = ENDPOINT) -> Call:
        return Call(self._app, method, f"/v2/{endpoint}/{path}", self.headers, body)

    def ask(self, running: bool | None = False, batch: int = 1) -> Call:
        """A job-take, on its way."""
        parts = [self._query]
        if batch > 1:
            parts.append(f"batch_size={batch}")
        if running is not None:
            parts.append(f"job_in_progress={int(running)}")
        operation = "job-take-batch" if batch > 1 else "job-take"
        return self.call("GET", f"{operation}/{self.name}?{'&'.join(parts)}")

    async def take(self, running: bool | None = False) -> dict[str, Any]:
        """The job that is there."""
        answer = await self.ask(running).answer()
        assert answer.status == 200, answer
        job: dict[str, Any] = answer.json
        return job

    def send_done(self, job: str, body: bytes | dict[str, Any]) -> Call:
        raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        return self.call("POST", f"job-done/{self.name}/{job}?{self._query}&isStream=false", raw)

    async def done(self, job: str, body: bytes | dict[str, Any]) -> Answer:
        return await self.send_done(job, body).answer()

    def send_chunk(self, job: str, value: Any) -> Call:
        body = json.dumps({"output": value}).encode()
        return self.call("POST", f"job-stream/{self.name}/{job}?{self._query}&isStream=false", body)

    async def chunk(self, job: str, value: Any) -> Answer:
        return await self.send_chunk(job, value).answer()

    async def ping(self, *jobs: str, **query: str) -> Answer:
        family, _, version = self.sdk.partition("/")
        words = {**({"job_id": "%2C".join(jobs)} if jobs else {}), **query}
        if self.sdk:
            words[f"{family}_version"] = version
        text = "&".join([self._query, *(f"{name}={value}" for name, value in words.items())])
        return await self.call("GET", f"ping/{self.name}?{text}").answer()

    def ask_stops(self) -> Call:
        return self.call("GET", f"job-stop/{self.name}?sdk=runpod")


@asynccontextmanager
async def at_work(store: Store | None = None) -> AsyncIterator[tuple[World, LegacyWorker, str]]:
    """A gateway whose worker `w-1` has taken a job: both, and the job's id."""
    async with world(store) as w:
        id = await w.submit()
        worker = LegacyWorker(w)
        await worker.take()
        yield w, worker, id
