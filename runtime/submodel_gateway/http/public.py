"""The public port: the job API for clients and the exchange for workers, both under `/v2/{endpoint}`.

`http.servers` binds it to a socket; errors become answers in `answers`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import msgspec

from submodel.contract import limits
from submodel.contract.exchange import ExchangeRequest
from submodel.contract.wire import encode
from submodel_gateway.auth.keys import Scope
from submodel_gateway.errors import InvalidRequest, NotFound, Unauthorized
from submodel_gateway.http import answers, envelope
from submodel_gateway.http.legacy import LegacyRoutes
from submodel_gateway.http.messages import Asgi, Request
from submodel_gateway.service.access import Access
from submodel_gateway.service.clients import NewJob
from submodel_gateway.service.gateway import Gateway

STREAM_WAIT_MS_DEFAULT = 1_000
PAGE_DEFAULT = 20

_WELCOME = encode(
    {
        "service": "SubModel gateway",
        "api": "/v2/{endpoint}/run, runsync, status, stream, cancel, retry, requests, webhook, health",
    }
)
_EXCHANGE = msgspec.json.Decoder(ExchangeRequest)

_OnEndpoint = tuple[tuple[str, ...], Scope, Callable[[Request, str], Awaitable[bytes]]]
_OnJob = tuple[tuple[str, ...], Scope, Callable[[Request, str, str], Awaitable[bytes]]]

_GET = ("GET",)
_POST = ("POST",)
_EITHER = ("GET", "POST")


def public_app(gateway: Gateway, access: Access) -> Asgi:
    """The application of the public port."""
    return answers.application(_Public(gateway, access).route)


class _Public:
    def __init__(self, gateway: Gateway, access: Access) -> None:
        self._access = access
        self._clients = gateway.clients
        self._workers = gateway.workers
        self._legacy = LegacyRoutes(gateway)
        self._webhooks = gateway.webhooks
        self._on_endpoint: dict[str, _OnEndpoint] = {
            "run": (_POST, Scope.RUN, self._run),
            "runsync": (_POST, Scope.RUN, self._runsync),
            "purge-queue": (_POST, Scope.RUN, self._purge_queue),
            "health": (_GET, Scope.READ, self._health),
            "requests": (_GET, Scope.READ, self._requests),
        }
        self._on_job: dict[str, _OnJob] = {
            "status": (_EITHER, Scope.READ, self._status),
            "status-sync": (_EITHER, Scope.READ, self._status_sync),
            "stream": (_EITHER, Scope.READ, self._stream),
            "cancel": (_EITHER, Scope.RUN, self._cancel),
            "retry": (_EITHER, Scope.RUN, self._retry),
            "webhook": (_GET, Scope.READ, self._webhook),
        }

    async def route(self, request: Request) -> bytes | None:
        """Serve one request. Raises what `answers.application` turns into an answer."""
        match request.path:
            case [""]:
                _allow(request, _GET)
                return _WELCOME
            case ["v2", endpoint, operation] if operation in self._on_endpoint:
                methods, scope, serve = self._on_endpoint[operation]
                _allow(request, methods)
                request.principal = self._access.principal(request.credential(), endpoint, scope)
                return await serve(request, endpoint)
            case ["v2", endpoint, operation, job] if operation in self._on_job:
                methods, scope, serve_job = self._on_job[operation]
                _allow(request, methods)
                request.principal = self._access.principal(request.credential(), endpoint, scope)
                return await serve_job(request, endpoint, job)
            case ["v2", endpoint, "webhook", job, "replay"]:
                _allow(request, _POST)
                request.principal = self._access.principal(request.credential(), endpoint, Scope.RUN)
                return answers.webhook_answer(await self._webhooks.replay(endpoint, job))
            case ["v2", endpoint, "workers", worker, "exchange"]:
                _allow(request, _POST)
                return await self._exchange(request, endpoint, worker)
            case ["v2", endpoint, operation, worker] if operation in self._legacy.on_worker:
                _allow(request, _GET)
                return await self._legacy.on_worker[operation](request, endpoint, worker)
            case ["v2", endpoint, operation, worker, job] if operation in self._legacy.on_job:
                _allow(request, _POST)
                return await self._legacy.on_job[operation](request, endpoint, worker, job)
        raise NotFound("there is nothing at this path; the job API is at /v2/{endpoint}/{operation}")

    async def _run(self, request: Request, endpoint: str) -> bytes:
        new = await _new_job(request, limits.RUN_BODY_BYTES)
        submitted = await self._clients.submit(endpoint, new)
        return encode(answers.Accepted(id=submitted.id, status=submitted.state))

    async def _runsync(self, request: Request, endpoint: str) -> bytes:
        wait_ms = _wait(request, limits.RUNSYNC_WAIT_MS_DEFAULT, limits.RUNSYNC_WAIT_MS_MAX)
        new = await _new_job(request, limits.RUNSYNC_BODY_BYTES)
        submitted = await self._clients.submit(endpoint, new, sync=True)
        return answers.job_answer(await self._clients.wait(endpoint, submitted.id, wait_ms, request.hangup()))

    async def _purge_queue(self, request: Request, endpoint: str) -> bytes:
        return encode({"removed": await self._clients.purge(endpoint), "status": "completed"})

    async def _health(self, request: Request, endpoint: str) -> bytes:
        return answers.health_answer(await self._clients.health(endpoint))

    async def _status(self, request: Request, endpoint: str, job: str) -> bytes:
        return answers.job_answer(await self._clients.status(endpoint, job))

    async def _status_sync(self, request: Request, endpoint: str, job: str) -> bytes:
        wait_ms = _wait(request, limits.RUNSYNC_WAIT_MS_DEFAULT, limits.RUNSYNC_WAIT_MS_MAX)
        await request.body(limits.RUN_BODY_BYTES)
        return answers.job_answer(await self._clients.wait(endpoint, job, wait_ms, request.hangup()))

    async def _stream(self, request: Request, endpoint: str, job: str) -> bytes:
        wait_ms = _wait(request, STREAM_WAIT_MS_DEFAULT, limits.RUNSYNC_WAIT_MS_MAX)
        offset = request.whole("offset")
        await request.body(limits.RUN_BODY_BYTES)
        return answers.stream_answer(await self._clients.stream(endpoint, job, offset, wait_ms, request.hangup()))

    async def _cancel(self, request: Request, endpoint: str, job: str) -> bytes:
        return answers.job_answer(await self._clients.cancel(endpoint, job))

    async def _retry(self, request: Request, endpoint: str, job: str) -> bytes:
        view = await self._clients.retry(endpoint, job)
        return encode(answers.Accepted(id=view.job.id, status=view.job.state))

    async def _webhook(self, request: Request, endpoint: str, job: str) -> bytes:
        return answers.webhook_answer(await self._webhooks.show(endpoint, job))

    async def _requests(self, request: Request, endpoint: str) -> bytes:
        limit, states = request.whole("limit"), envelope.states(request.query("status"))
        page = await self._clients.requests(endpoint, request.whole("before"), limit or PAGE_DEFAULT, states)
        return answers.requests_answer(page)

    async def _exchange(self, request: Request, endpoint: str, worker: str) -> bytes:
        token = request.bearer()
        if not token:
            raise Unauthorized("the worker's token is missing; send it as `Authorization: Bearer <token>`")
        self._workers.authorize(endpoint, token)
        message = envelope.parse(await request.body(limits.EXCHANGE_BODY_BYTES), _EXCHANGE)
        if message.capacity < 0 or message.wait_ms < 0:
            raise InvalidRequest("capacity and waitMs must not be below 0")
        return await self._workers.exchange(endpoint, worker, token, message, request.hangup())


async def _new_job(request: Request, limit: int) -> NewJob:
    body = await request.body(limit)
    key = envelope.submit_key(request.header(b"idempotency-key"), request.principal, body)
    return replace(envelope.new_job(body), key=key)


def _allow(request: Request, methods: tuple[str, ...]) -> None:
    if request.method not in methods:
        raise answers.MethodNotAllowed(request.method, methods)


def _wait(request: Request, default: int, maximum: int) -> int:
    wait_ms = request.whole("wait")
    return min(default if wait_ms is None else wait_ms, maximum)
