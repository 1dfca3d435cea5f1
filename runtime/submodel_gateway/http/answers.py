"""What callers get to read: the JSON of jobs and streams, and every error as one sentence with its status."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from submodel.contract.wire import encode
from submodel_gateway import errors, logs
from submodel_gateway.http.documents import (
    Batch,
    BatchItem,
    HealthStatus,
    JobCounts,
    JobPage,
    JobStatus,
    StreamItem,
    StreamStatus,
    WebhookStatus,
    WebhookTry,
    WorkerCounts,
)
from submodel_gateway.http.messages import Answer, App, Header, Reply, Request, Streamed
from submodel_gateway.jobs.record import Job
from submodel_gateway.metrics.measures import Measures
from submodel_gateway.ratelimit import bucket
from submodel_gateway.service.admission import NotAdmitted
from submodel_gateway.service.clients import Health, JobView, Submitted, Waiting
from submodel_gateway.service.streams import StreamPart
from submodel_gateway.service.webhooks import WebhookView
from submodel_gateway.store.base import Page

Route = Callable[[Request], Awaitable[Reply]]
"""Reads a request and returns the answer, or raises an error of `errors`."""

log = logging.getLogger(__name__)

_STATUS: dict[type[errors.GatewayError], int] = {
    errors.InvalidRequest: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Outdated: 409,
    errors.KeyReused: 422,
    errors.TooLarge: 413,
    errors.Unsupported: 415,
    errors.Overloaded: 429,
    errors.Unavailable: 503,
    errors.OperationFailed: 503,
    errors.StoreAway: 503,
    errors.StoreFull: 503,
}


class MethodNotAllowed(Exception):
    """The path exists, its methods are others."""

    def __init__(self, method: str, allowed: tuple[str, ...]) -> None:
        super().__init__(f"method {method} is not allowed here; use {' or '.join(allowed)}")
        self.allowed = allowed


def application(route: Route, measures: Measures | None = None) -> App:
    """An application that serves `route` and turns what it raises into answers, in this one place."""

    counted = measures or Measures()

    async def serve(request: Request) -> None:
        began, status = time.perf_counter(), 499
        id = logs.id_of(request.id)
        logs.request_id.set(id)
        try:
            try:
                reply = await _reply(route, request)
                told, status = [*_rates(request), (b"x-request-id", id.encode())], _status(reply)
                if isinstance(reply, Streamed):
                    await request.line.stream(reply, told)
            finally:
                request.close()
                counted.request(request.operation, status, time.perf_counter() - began)
            if isinstance(reply, Streamed):
                return
            body, headers = (reply.body, (*reply.headers, *told)) if isinstance(reply, Answer) else (reply, told)
            request.line.answer(status, body, headers)
            if body is not None and request.counts(len(body)):
                del reply, body  # they are the connection's now
                await request.line.read()
        finally:
            request.forget_answer()

    return serve


def _status(reply: Reply) -> int:
    if isinstance(reply, Answer):
        return reply.status
    return 204 if reply is None else 200


async def _reply(route: Route, request: Request) -> Reply:
    try:
        return await route(request)
    except MethodNotAllowed as error:
        return _refusal(request, 405, str(error), (b"allow", ", ".join(error.allowed).encode()))
    except errors.GatewayError as error:
        status = status_of(error)
        if status >= 500:
            log.error("%s answered with %d: %s", request.method, status, error)
        return _refusal(request, status, str(error), *_retry_after(error, status), job=_job_of(error))
    except Exception:
        log.exception("%s failed", request.method)
        return _refusal(request, 500, "the gateway failed on this request; its log says why")


def _refusal(request: Request, status: int, text: str, *headers: Header, job: str = "") -> Answer:
    return Answer(status, request.error_body(status, text, job), headers)


def _job_of(error: errors.GatewayError) -> str:
    """The job that there is, or may be, although its submit failed."""
    return error.job if isinstance(error, errors.Unsure) else ""


def _retry_after(error: errors.GatewayError, status: int) -> list[Header]:
    if isinstance(error, errors.Overloaded):
        retry = (b"retry-after", b"%d" % error.retry_after_seconds)
        decision = error.decision if isinstance(error, NotAdmitted) else None
        return [retry, *_rate(decision)] if decision else [retry]
    return [(b"retry-after", b"1")] if status == 503 else []


def _rates(request: Request) -> list[Header]:
    """What a request that was let in hears of its limit; nothing where there is none."""
    decision = request.admitted.decision if request.admitted else None
    return _rate(decision) if decision else []


def _rate(decision: bucket.Decision) -> list[Header]:
    return [
        (b"ratelimit-limit", b"%d" % decision.limit),
        (b"ratelimit-remaining", b"%d" % decision.remaining),
        (b"ratelimit-reset", b"%d" % bucket.seconds(decision.full_in_ns)),
    ]


def status_of(error: errors.GatewayError) -> int:
    """The status that an error is answered with."""
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)


def batch_answer(outcomes: Iterable[Submitted | errors.GatewayError]) -> bytes:
    """The JSON of what became of the requests of a batch."""
    return encode(Batch(requests=[_batch_item(outcome) for outcome in outcomes]))


def _batch_item(outcome: Submitted | errors.GatewayError) -> BatchItem:
    if isinstance(outcome, Submitted):
        return BatchItem(id=outcome.id, status=outcome.state)
    return BatchItem(id=_job_of(outcome) or msgspec.UNSET, error=str(outcome), code=status_of(outcome))


def enveloped(reply: Reply) -> Reply:
    """An answer for clients that look for it in `data`, beside a code; its own fields stay where they were."""
    if not isinstance(reply, bytes):
        return reply
    rest = b"," + reply[1:] if reply != b"{}" else b"}"
    return b'{"code":20000,"message":"success","data":' + reply + rest


def job_answer(view: JobView) -> bytes:
    """The JSON of a job's status."""
    answer = _job_status(view.job)
    if view.output is not None:
        answer.output = msgspec.Raw(view.output)
    if view.error is not None:
        answer.error = view.error
    if view.waits is not None:
        _add_waits(answer, view.waits)
    return encode(answer)


def _add_waits(answer: JobStatus, waits: Waiting) -> None:
    if waits.position is not None:
        answer.queue_position = waits.position
    if waits.wait is not None:
        answer.wait_reason, answer.wait_message = waits.wait.reason, waits.wait.message


def requests_answer(page: Page) -> bytes:
    """The JSON of a page of jobs, without outputs; `next` is the `before` of the following page."""
    return encode(JobPage(requests=[_job_status(job) for job in page.jobs], next=page.next))


def webhook_answer(view: WebhookView) -> bytes:
    """The JSON of what became of a webhook."""
    answer = WebhookStatus(id=view.id, state=view.state, tries=view.tries)
    if view.log:
        answer.last_answer = view.log[-1].answer
        answer.log = [WebhookTry(ago_ms=line.ago_ms, answer=line.answer) for line in view.log]
    if view.next_in_ms is not None:
        answer.next_try_in_ms = view.next_in_ms
    return encode(answer)


def _job_status(job: Job) -> JobStatus:
    answer = JobStatus(id=job.id, status=job.state)
    if job.taken_at is not None:
        answer.delay_time = job.taken_at - job.queued_at
        answer.worker_id = job.worker or ""
        answer.retries = max(0, job.used - 1)
        if job.finished_at is not None:
            measured = job.finished_at - job.taken_at
            answer.execution_time = measured if job.execution_ms is None else job.execution_ms
    return answer


def stream_answer(part: StreamPart) -> bytes:
    """The JSON of a part of a stream; `stream` is always an array."""
    items = [StreamItem(msgspec.Raw(item)) for item in part.items]
    return encode(StreamStatus(part.job.id, part.job.state, items, part.place.offset, part.place.attempt))


def health_answer(health: Health) -> bytes:
    """The JSON of an endpoint's health: eleven integers, always all of them, and a warning when jobs are held back."""
    answer = HealthStatus(
        jobs=msgspec.convert(health.jobs, JobCounts), workers=msgspec.convert(health.workers, WorkerCounts)
    )
    if health.warning:
        answer.warning = health.warning
    return encode(answer)
