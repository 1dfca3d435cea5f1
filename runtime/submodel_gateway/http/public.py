"""The public port: the job API for clients, and what workers ask for, which is under `/v2/{endpoint}` only.

`operations` says which operations there are and where; `http.servers` binds the application to a socket; errors become
answers in `answers`.
"""

from collections.abc import Awaitable, Callable
from functools import partial

from msgspec.structs import replace

from submodel.contract import limits
from submodel.contract.wire import encode
from submodel_gateway.auth.keys import Scope
from submodel_gateway.errors import NotFound, Unauthorized
from submodel_gateway.http import (
    answers,
    documents,
    envelope,
    exchanges,
    openai_frames,
    openapi,
    operations,
    parameters,
    stream_events,
)
from submodel_gateway.http.batches import Batches
from submodel_gateway.http.legacy import LegacyRoutes
from submodel_gateway.http.messages import App, Reply, Request
from submodel_gateway.http.openai import OpenAiRoutes
from submodel_gateway.http.operations import Base, Operation
from submodel_gateway.http.stream_events import StreamEvents
from submodel_gateway.service.access import Access
from submodel_gateway.service.bodies import Stay
from submodel_gateway.service.clients import NewJob
from submodel_gateway.service.gateway import Gateway
from submodel_gateway.service.takes import workers_of

ID_LENGTH_MAX = 256

_WELCOME = encode({"service": "SubModel gateway", "api": "/v2/{endpoint}/{operation}", "document": "/openapi.json"})

_Serve = Callable[..., Awaitable[Reply]]
"""Takes the request, the endpoint, and the id of the job, or the name of the model, that the operation is about."""


def public_app(gateway: Gateway, access: Access) -> App:
    """The application of the public port."""
    return answers.application(_Public(gateway, access).route, gateway.measures)


class _Public:
    def __init__(self, gateway: Gateway, access: Access) -> None:
        self._gateway = gateway
        self._access = access
        self._bodies = gateway.bodies
        self._unread = gateway.unread
        self._undelivered = gateway.undelivered
        self._admission = gateway.admission
        self._registry = gateway.registry
        self._clients = gateway.clients
        self._streams = gateway.streams
        self._events = StreamEvents(gateway.clients, gateway.streams, lambda: not gateway.ready)
        self._workers = gateway.workers
        self._legacy = LegacyRoutes(gateway)
        self._openai = OpenAiRoutes(gateway.openai)
        self._names = gateway.openai
        self._webhooks = gateway.webhooks
        self._spans = gateway.spans
        self._documents = {"": _WELCOME, "openapi.json": encode(openapi.document())}
        self._served: dict[Operation, _Serve] = {
            operations.RUN: self._run,
            operations.RUNSYNC: self._runsync,
            operations.RUN_BATCH: Batches(gateway.clients, gateway.admission).serve,
            operations.STATUS: self._status,
            operations.STATUS_SYNC: self._status_sync,
            operations.STREAM: self._stream,
            operations.CANCEL: self._cancel,
            operations.RETRY: self._retry,
            operations.WEBHOOK: self._webhook,
            operations.WEBHOOK_REPLAY: self._webhook_replay,
            operations.REQUESTS: self._requests,
            operations.PURGE_QUEUE: self._purge_queue,
            operations.HEALTH: self._health,
            operations.MODELS: self._models,
            operations.MODEL: self._model,
        }

    async def route(self, request: Request) -> Reply:
        """Serve one request. Raises what `answers.application` turns into an answer."""
        if (found := operations.split(request.path)) is not None:
            base, rest = found
            if (operation := operations.locate(rest)) is not None:
                endpoint = rest[0]
                if operation is operations.OPENAI:
                    request.error_body = openai_frames.error_body
                self._arrive(request, operation)
                try:
                    self._admit(request, operation, endpoint)
                except (NotFound, Unauthorized):
                    await self._registry.look_up(endpoint)
                    self._admit(request, operation, endpoint)
                if operation is operations.OPENAI:
                    return await self._openai.serve(request, endpoint, rest[2:])
                named = ["/".join(rest[2:])] if operation is operations.MODEL else rest[2:3]
                reply = await self._served[operation](request, endpoint, *named)
                return answers.enveloped(reply) if base is Base.API_V1_SL else reply
            if base is Base.V2 and rest:
                return await self._worker(request, rest)
        elif (document := self._documents.get("/".join(request.path))) is not None:
            _allow(request, operations.GET)
            return document
        raise _no_path()

    def _arrive(self, request: Request, operation: Operation) -> None:
        request.operation = operation.name
        if self._spans.on:
            self._spans.arrive(request.header(b"traceparent"))
        _allow(request, operation.methods)
        _check_lengths(request)

    def _admit(self, request: Request, operation: Operation, endpoint: str) -> None:
        """Raises `NotFound` and `Unauthorized` also for what another gateway knows, and this one not yet."""
        caller = self._access.caller(request.credential(), endpoint, operation.scope)
        request.principal, request.account = caller.principal, caller.account
        request.stay = Stay(self._bodies, caller.account, patient=False)
        request.unread = self._unread
        request.admitted = self._admission.enter(endpoint, operation.group, caller.account)

    async def _worker(self, request: Request, path: list[str]) -> Reply:
        _check_lengths(request)
        workers = workers_of(path[0])
        request.stay = Stay(self._bodies, workers, patient=True)
        request.account, request.unread = workers, self._undelivered
        match path:
            case [endpoint, "workers", worker, "exchange"]:
                request.operation = "exchange"
                _allow(request, operations.POST)
                return await self._exchange(request, endpoint, worker)
            case [endpoint, operation, worker] if operation in self._legacy.on_worker:
                request.operation = operation
                _allow(request, operations.GET)
                return await self._legacy.on_worker[operation](request, endpoint, worker)
            case [endpoint, operation, worker, job] if operation in self._legacy.on_job:
                request.operation = operation
                _allow(request, operations.POST)
                return await self._legacy.on_job[operation](request, endpoint, worker, job)
        raise _no_path()

    async def _run(self, request: Request, endpoint: str) -> bytes:
        new = await _new_job(request, operations.RUN)
        submitted = await self._clients.submit(endpoint, new)
        return encode(documents.Accepted(id=submitted.id, status=submitted.state))

    async def _runsync(self, request: Request, endpoint: str) -> bytes:
        wait_ms = self._wait_ms(parameters.WAIT, request)
        new = await _new_job(request, operations.RUNSYNC)
        waiting = self._clients.submit_and_wait(
            endpoint, new, wait_ms, request.hangup(), request.forget_body, request.shelf
        )
        del new  # the wait is long
        return answers.job_answer(await waiting)

    def _wait_ms(self, parameter: parameters.Whole, request: Request) -> int:
        return 0 if self._gateway.leaving else parameter.read(request) or 0

    async def _purge_queue(self, request: Request, endpoint: str) -> bytes:
        removed = await self._clients.purge(endpoint)
        return encode(documents.Purged(removed=removed, status="completed"))

    async def _health(self, request: Request, endpoint: str) -> bytes:
        return answers.health_answer(await self._clients.health(endpoint))

    async def _status(self, request: Request, endpoint: str, job: str) -> bytes:
        keep_ms = parameters.TTL.read(request)
        if keep_ms is not None:
            self._access.caller(request.credential(), endpoint, Scope.RUN)
        return answers.job_answer(await self._clients.status(endpoint, job, keep_ms, request.shelf))

    async def _status_sync(self, request: Request, endpoint: str, job: str) -> bytes:
        wait_ms = self._wait_ms(parameters.WAIT, request)
        await request.body(limits.RUN_BODY_BYTES)
        return answers.job_answer(await self._clients.wait(endpoint, job, wait_ms, request.hangup(), request.shelf))

    async def _stream(self, request: Request, endpoint: str, job: str) -> Reply:
        if stream_events.wanted(request):
            await request.body(limits.RUN_BODY_BYTES)
            return await self._events.serve(request, endpoint, job)
        wait_ms = self._wait_ms(parameters.STREAM_WAIT, request)
        offset = parameters.OFFSET.read(request)
        await request.body(limits.RUN_BODY_BYTES)
        hangup, shelf = request.hangup(), request.shelf
        if offset is None:
            return answers.stream_answer(await self._streams.once(endpoint, job, wait_ms, hangup, shelf))
        return answers.stream_answer(await self._streams.after(endpoint, job, offset, wait_ms, hangup, shelf))

    async def _cancel(self, request: Request, endpoint: str, job: str) -> bytes:
        return answers.job_answer(await self._clients.cancel(endpoint, job, request.shelf))

    async def _retry(self, request: Request, endpoint: str, job: str) -> bytes:
        view = await self._clients.retry(endpoint, job)
        return encode(documents.Accepted(id=view.job.id, status=view.job.state))

    async def _webhook(self, request: Request, endpoint: str, job: str) -> bytes:
        return answers.webhook_answer(await self._webhooks.show(endpoint, job))

    async def _webhook_replay(self, request: Request, endpoint: str, job: str) -> bytes:
        return answers.webhook_answer(await self._webhooks.replay(endpoint, job))

    async def _requests(self, request: Request, endpoint: str) -> bytes:
        limit, before = parameters.LIMIT.read(request) or parameters.PAGE_DEFAULT, parameters.BEFORE.read(request)
        states = envelope.states(request.query(parameters.STATES.name))
        page = await self._clients.requests(endpoint, before, limit, states)
        return answers.requests_answer(page)

    async def _models(self, request: Request, endpoint: str) -> bytes:
        return encode(documents.Models(models=[documents.Model(id=name) for name in self._names.models(endpoint)]))

    async def _model(self, request: Request, endpoint: str, name: str) -> bytes:
        if name not in self._names.models(endpoint):
            raise NotFound(f"the manifest of this endpoint names no model {name!r}")
        return encode(documents.Model(id=name))

    async def _exchange(self, request: Request, endpoint: str, worker: str) -> bytes:
        token = request.bearer()
        if not token:
            raise Unauthorized("the worker's token is missing; send it as `Authorization: Bearer <token>`")
        await self._workers.authorize(endpoint, worker, token)
        message = await envelope.beside(await request.body(limits.EXCHANGE_BODY_BYTES), exchanges.read)
        hangup, forget = request.hangup(), request.forget_body
        exchanged = self._workers.exchange(endpoint, worker, token, message, hangup, forget)
        del message  # what it delivers is let go as soon as it is durable
        return await exchanged


def _no_path() -> NotFound:
    return NotFound("there is nothing at this path; the job API is at /v2/{endpoint}/{operation}; see /openapi.json")


async def _new_job(request: Request, operation: Operation) -> NewJob:
    return await envelope.beside(await request.body(operation.body_bytes), partial(_read_job, request))


def _read_job(request: Request, body: bytes) -> NewJob:
    key = envelope.submit_key(request.header(b"idempotency-key"), request.principal, body)
    new = envelope.new_job(body)
    return new if key is None else replace(new, key=key)


def _check_lengths(request: Request) -> None:
    """Names are keys of what is remembered, and come back in sentences."""
    if len(max(request.path, key=len)) > ID_LENGTH_MAX:
        raise NotFound(f"there is nothing at this path; ids have at most {ID_LENGTH_MAX} characters")


def _allow(request: Request, methods: tuple[str, ...]) -> None:
    if request.method not in methods:
        raise answers.MethodNotAllowed(request.method, methods)
