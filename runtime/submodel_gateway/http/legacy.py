"""The routes of workers with an SDK of the hosted platforms, under `/v2/{endpoint}`; `public` hands them over.

| Path | Caller | Answer |
|---|---|---|
| `GET job-take/{worker}` | asks for a job | the job, or 204 |
| `GET job-take-batch/{worker}?batch_size=` | asks for several | a list of jobs, or 204 |
| `GET job-stop/{worker}` | asks what to stop | `{"jobsToStop": [...]}`, or 204 |
| `GET ping/{worker}?job_id=` | lives, and lists its jobs | `{}` |
| `POST job-done/{worker}/{job}` | delivers a result or progress | `{}` |
| `POST job-stream/{worker}/{job}` | delivers a streamed item | `{}` |
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from submodel.contract.wire import encode
from submodel_gateway.errors import StoreError, TooLarge, Unavailable
from submodel_gateway.http import legacy_bodies
from submodel_gateway.http.messages import Request
from submodel_gateway.service.gateway import Gateway
from submodel_gateway.service.legacy import Ask, Ping
from submodel_gateway.service.takes import TAKE_MAX
from submodel_gateway.service.waiting import Hangup
from submodel_gateway.store.base import Lease
from submodel_gateway.tracing.spans import FIELD

BODY_BYTES = 64 * 1024 * 1024
"""Read before the size of what it holds is judged, so that a job with a large result ends with a reason."""

TOKEN = "t"
"""Name of the worker's token in a query. It goes before the header: an SDK may find another key in its image."""

REASON_LENGTH_MAX = 300

_DONE = encode({})
_EXTRA = msgspec.json.Decoder(dict[str, msgspec.Raw])

_RESERVED = frozenset({"id", "input", "self", FIELD})
"""Fields that a client may not add to a job, because the SDKs make keyword arguments of them; and one of ours."""

T = TypeVar("T")

log = logging.getLogger(__name__)

_OnWorker = Callable[[Request, str, str], Awaitable[bytes | None]]
_OnJob = Callable[[Request, str, str, str], Awaitable[bytes | None]]


class LegacyRoutes:
    """Answers these workers. None stands for 204."""

    def __init__(self, gateway: Gateway) -> None:
        self._workers = gateway.legacy
        self._posts = gateway.legacy_posts
        self.on_worker: dict[str, _OnWorker] = {
            "job-take": self._take,
            "job-take-batch": self._take_batch,
            "job-stop": self._stop,
            "ping": self._ping,
        }
        self.on_job: dict[str, _OnJob] = {"job-done": self._done, "job-stream": self._stream}

    async def _take(self, request: Request, endpoint: str, worker: str) -> bytes | None:
        jobs = await self._jobs(request, endpoint, worker, 1)
        return jobs[0] if jobs else None

    async def _take_batch(self, request: Request, endpoint: str, worker: str) -> bytes | None:
        size = request.query("batch_size") or ""
        limit = int(size) if size.isascii() and size.isdigit() and len(size) < 5 else 1
        jobs = await self._jobs(request, endpoint, worker, max(1, min(limit, TAKE_MAX)))
        return b"[" + b",".join(jobs) + b"]" if jobs else None

    async def _jobs(self, request: Request, endpoint: str, worker: str, limit: int) -> Sequence[bytes]:
        running = {"0": False, "1": True}.get(request.query("job_in_progress") or "")
        ask, hangup = Ask(limit, running, _sdk(request)), request.hangup()
        taking = self._workers.take(endpoint, worker, _token(request), ask, hangup)
        return [_job(name, lease) for name, lease in await self._held(taking, hangup) or ()]

    async def _stop(self, request: Request, endpoint: str, worker: str) -> bytes | None:
        hangup = request.hangup()
        stops = await self._held(self._workers.stops(endpoint, worker, _token(request), hangup), hangup)
        return encode({"jobsToStop": stops}) if stops else None

    async def _ping(self, request: Request, endpoint: str, worker: str) -> bytes:
        jobs = dict.fromkeys(name for name in (request.query("job_id") or "").split(",") if name)
        ping = Ping(tuple(jobs), _sdk(request), _unhealthy(request))
        await self._workers.ping(endpoint, worker, _token(request), ping)
        return _DONE

    async def _done(self, request: Request, endpoint: str, worker: str, job: str) -> bytes:
        token = _token(request)
        await self._posts.authorize(endpoint, token)
        try:
            post = await legacy_bodies.read_result(await request.body(BODY_BYTES))
        except TooLarge:
            post = legacy_bodies.unusable(f"is larger than {BODY_BYTES} bytes")
        await self._posts.result(endpoint, worker, token, job, post)
        return _DONE

    async def _stream(self, request: Request, endpoint: str, worker: str, job: str) -> bytes:
        token = _token(request)
        await self._posts.authorize(endpoint, token)
        try:
            post = await legacy_bodies.read_chunk(await request.body(BODY_BYTES))
        except TooLarge:
            post = legacy_bodies.unusable(f"is larger than {BODY_BYTES} bytes")
        await self._posts.chunk(endpoint, worker, token, job, post, request.hangup())
        return _DONE

    async def _held(self, answer: Awaitable[T], hangup: Hangup) -> T | None:
        """What a held request brings. While the store is away there is nothing to bring; an error is held too."""
        try:
            return await answer
        except (StoreError, Unavailable) as error:
            log.warning("a worker's request brought nothing: %s", error)
            await self._workers.refuse(hangup)
            return None
        except Exception:
            await self._workers.refuse(hangup)
            raise


def _job(name: str, lease: Lease) -> bytes:
    fields = {key: value for key, value in _EXTRA.decode(lease.extra).items() if key not in _RESERVED}
    input = lease.input if isinstance(lease.input, bytes) else b"null"
    return msgspec.json.encode({"id": name, "input": msgspec.Raw(input), **fields})


def _token(request: Request) -> str:
    return request.query(TOKEN) or request.credential()


def _sdk(request: Request) -> str:
    """The worker's SDK and version, `runpod/1.12.0`; pings say it in the query, other requests as user agent."""
    for family in ("runpod", "submodel"):
        if version := request.query(f"{family}_version"):
            return f"{family}/{version}"
    agent = request.header(b"user-agent").partition(" ")[0]
    return agent if "-python-sdk/" in agent.lower() else ""


def _unhealthy(request: Request) -> str:
    if request.query("status") != "unhealthy":
        return ""
    reason = f"{request.query('check') or 'a check'}: {request.query('reason') or 'failed'}"
    return reason[:REASON_LENGTH_MAX]
