"""The job API's use cases: submit, wait, read, list, cancel, retry, purge, health; streams are in `streams`."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import msgspec

from submodel.contract import limits
from submodel.contract.internal import EndpointRegistration
from submodel.contract.states import JobState
from submodel_gateway.errors import (
    Conflict,
    InvalidRequest,
    KeyReused,
    OperationFailed,
    Overloaded,
    StoreAway,
    StoreError,
    TargetRefused,
    Unavailable,
    Unsure,
)
from submodel_gateway.jobs import breaker
from submodel_gateway.jobs.ids import is_sync, job_id
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.transition import Reason
from submodel_gateway.service.capacity import HELD_BACK, Wait, why, worker_counts
from submodel_gateway.service.endpoints import Endpoints, EndpointState
from submodel_gateway.service.payloads import Payloads
from submodel_gateway.service.stores import Stores, unknown_job
from submodel_gateway.service.unread import Shelf
from submodel_gateway.service.waiting import Hangup, JobWatchers, OutcomeHold
from submodel_gateway.store import base
from submodel_gateway.tracing.spans import Spans, behind_url, carried
from submodel_gateway.webhooks.targets import Rules

PURGE_BATCH = 1_000
KEY_TTL_MS = 86_400_000
"""How long an idempotency key is remembered."""

PAGE_MAX = 100
QUEUE_RETRY_SECONDS = 5


class SubmitKey(msgspec.Struct, frozen=True):
    """An idempotency key: `principal` is whoever sent it, `body_hash` tells apart what was sent with it."""

    principal: str
    key: str
    body_hash: str


class NewJob(msgspec.Struct, frozen=True):
    """A client's request as parsed: payloads are JSON text, limits are None where the endpoint's apply."""

    input: bytes
    extra: bytes = b"{}"
    execution_timeout_ms: int | None = None
    ttl_ms: int | None = None
    priority: int = 0
    low_priority: bool = False
    webhook: str | None = None
    """URL that shall hear of the outcome, as the client gave it."""

    key: SubmitKey | None = None


class Submitted(msgspec.Struct, frozen=True):
    """The job that a submit led to, and its state then."""

    id: str
    state: JobState


class JobView(msgspec.Struct, frozen=True):
    """A job with its output and error, as a reader sees it."""

    job: Job
    output: bytes | None = None
    error: str | None = None
    waits: "Waiting | None" = None
    """Only of a queued job that a client asked about."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued job's place, and why it waits. `position` is 1 for the next one, None for one that is far behind."""

    position: int | None
    wait: Wait | None


@dataclass(frozen=True, slots=True)
class Health:
    """Jobs and workers of an endpoint. Totals count since the endpoint was first known; `failed` includes timeouts."""

    jobs: dict[str, int]
    workers: dict[str, int]
    warning: str | None = None
    """Why jobs are held back, in one sentence."""


class Clients:
    """What clients can ask for.

    Args:
        watchers: woken by the gateway after each commit.
        rules: where webhooks may go.
        queue_limit: queued jobs per worker that an endpoint may have; None for any number.
        spans: what is said of a job's way.
    """

    def __init__(
        self,
        stores: Stores,
        payloads: Payloads,
        endpoints: Endpoints,
        watchers: JobWatchers,
        random_bits: Callable[[int], int],
        rules: Rules,
        queue_limit: int | None = None,
        spans: Spans | None = None,
    ) -> None:
        self._stores = stores
        self._payloads = payloads
        self._endpoints = endpoints
        self._watchers = watchers
        self._random_bits = random_bits
        self._rules = rules
        self._queue_limit = queue_limit
        self._spans = spans or Spans()

    async def submit(self, endpoint: str, new: NewJob, *, sync: bool = False) -> Submitted:
        """Store a job; it is durable then. A known key leads to the job that it made before.

        Raises `NotFound`, `InvalidRequest` for a webhook that may not be sent, `KeyReused` for a key that came with
        another body, `Overloaded` when the queue is too long or the store takes no more jobs, `StoreError` when nothing
        was stored, and `Unsure` when nobody knows.
        """
        return await self._submit(endpoint, new, self._new_id(endpoint, sync=sync))

    async def submit_and_wait(
        self,
        endpoint: str,
        new: NewJob,
        wait_ms: int,
        hangup: Hangup,
        stored: Callable[[], None] = lambda: None,
        shelf: Shelf | None = None,
    ) -> JobView:
        """`submit` for a caller who waits for the outcome as in `wait`. Raises what they do.

        `stored` is called when the job is, and `new` is needed no more. From then on errors of the store, and
        `Unavailable`, are `Unsure`.
        """
        id = self._new_id(endpoint, sync=True)
        with OutcomeHold(wait_ms, hangup) as hold:
            # Watched before it is there: nothing about it has to be looked up until it ends.
            self._watchers.add(endpoint, id, hold)
            try:
                submitted = await self._submit(endpoint, new, id)
                del new  # the wait is long
                stored()
                if submitted.id == id:
                    try:
                        job = await self._outcome(endpoint, id, hold)
                        return await self._seen(job, hold.take_content(job), shelf)
                    except _UNTOLD as error:
                        raise _unsure(id, error) from error
            finally:
                self._watchers.remove(endpoint, id, hold)
        try:
            return await self.wait(endpoint, submitted.id, wait_ms, hangup, shelf)
        except _UNTOLD as error:
            raise _unsure(submitted.id, error) from error

    def _new_id(self, endpoint: str, *, sync: bool) -> str:
        self._endpoints.get(endpoint)
        return job_id(self._stores.now_ms(endpoint), self._random_bits(74), sync=sync)

    async def _submit(self, endpoint: str, new: NewJob, id: str) -> Submitted:
        if not self._spans.on:
            return await self._stored(endpoint, new, id, "")
        with self._spans.submit(endpoint, id) as trace:
            return await self._stored(endpoint, new, id, trace)

    async def _stored(self, endpoint: str, new: NewJob, id: str, trace: str) -> Submitted:
        state = self._endpoints.get(endpoint)
        self._check_queue(state)
        webhook = self._checked(new.webhook)
        kept = await self._payloads.keep(endpoint, new.input)
        submit = self._new_submit(state, id, new, kept, webhook and behind_url(webhook, trace), trace)
        # Waking a take before the submit is queued lets both travel in one transaction.
        state.wake_takers(1)
        try:
            outcome = await self._stores.of(endpoint).one(submit)
        except StoreAway as error:
            remedy = "ask for its status, or repeat the request if it had an Idempotency-Key"
            raise Unsure(f"job {id} may or may not have been accepted: {error}; {remedy}", id) from error
        if isinstance(outcome, base.Applied):
            return Submitted(submit.id, JobState.IN_QUEUE)
        await self._payloads.drop(endpoint, submit.input)
        if isinstance(outcome, base.Repeated):
            return Submitted(outcome.id, outcome.state)
        raise _not_submitted(outcome)

    def _check_queue(self, state: EndpointState) -> None:
        """A queue that its workers do not get through is no buffer; its jobs would expire in it."""
        most, of = self._most_queued(state.registration)
        if most is not None and self._stores.tally(state.id).queued > most:
            raise Overloaded(
                f"{most} jobs and more are queued at this endpoint; come back when some are done, or raise {of}",
                QUEUE_RETRY_SECONDS,
            )

    def _most_queued(self, registration: EndpointRegistration) -> tuple[int | None, str]:
        """The bound of the queue, and the field that it comes from."""
        if registration.queued_max is not None:
            return registration.queued_max, "jobs.maxQueued"
        workers = registration.workers_max
        if self._queue_limit is None or workers is None:
            return None, ""
        return max(limits.QUEUED_MIN, self._queue_limit * workers), f"scaling.workersMax, which is {workers}"

    def _new_submit(
        self, state: EndpointState, id: str, new: NewJob, input: base.Payload, webhook: str | None, trace: str
    ) -> base.Submit:
        registration = state.registration
        return base.Submit(
            id=id,
            endpoint=state.id,
            input=input,
            extra=carried(new.extra, trace),
            max_attempts=registration.max_attempts,
            retry_errors=registration.retry_errors,
            execution_timeout_ms=_or(new.execution_timeout_ms, registration.execution_timeout_ms),
            ttl_ms=_or(new.ttl_ms, registration.ttl_ms),
            retention_ms=_retention_ms(registration, id),
            pri=new.priority,
            low_priority=new.low_priority,
            webhook=webhook,
            idempotency=None if new.key is None else _key(new.key, self._stores.now_ms(state.id)),
        )

    def _checked(self, webhook: str | None) -> str | None:
        try:
            return webhook and self._rules.target(webhook).url
        except TargetRefused as error:
            raise InvalidRequest(f'"webhook" cannot be used: {error}') from error

    async def status(self, endpoint: str, id: str, keep_ms: int | None = None, shelf: Shelf | None = None) -> JobView:
        """The job as it is now; a final one is kept for `keep_ms` more at most. Raises `NotFound`, `StoreError`."""
        self._endpoints.get(endpoint)
        view = await self._seen(await self._stores.job(endpoint, id), shelf=shelf)
        keep_until = view.job.keep_until
        if keep_ms is not None and keep_until is not None and self._stores.now_ms(endpoint) + keep_ms < keep_until:
            # Refused when it was retried or forgotten since: then there is nothing to shorten.
            await self._stores.of(endpoint).one(base.Shorten(endpoint=endpoint, id=id, keep_ms=keep_ms))
        return view

    async def requests(
        self, endpoint: str, before: int | None, limit: int, states: Collection[JobState] = ()
    ) -> base.Page:
        """Jobs of the endpoint, the newest first; see `Store.requests`. Raises `NotFound`."""
        self._endpoints.get(endpoint)
        return await self._stores.at(endpoint).requests(endpoint, before, min(limit, PAGE_MAX), states)

    async def wait(self, endpoint: str, id: str, wait_ms: int, hangup: Hangup, shelf: Shelf | None = None) -> JobView:
        """The job once it is final, or as it is after `wait_ms`. Raises `NotFound`."""
        self._endpoints.get(endpoint)
        with OutcomeHold(wait_ms, hangup) as hold:
            self._watchers.add(endpoint, id, hold)
            try:
                job = await self._stores.job(endpoint, id)
                if not job.state.terminal and not hold.ended:
                    job = await self._outcome(endpoint, id, hold)
            finally:
                self._watchers.remove(endpoint, id, hold)
        return await self._seen(job, hold.take_content(job), shelf)

    async def _outcome(self, endpoint: str, id: str, hold: OutcomeHold) -> Job:
        """The job once it has ended, or as it is when `hold` ends."""
        while True:
            await hold.woken()
            job = hold.job or await self._stores.job(endpoint, id)
            if job.state.terminal or hold.ended:
                return job

    async def cancel(self, endpoint: str, id: str, shelf: Shelf | None = None) -> JobView:
        """End the job unless it is final; returns it as it is then. Raises `NotFound`, `OperationFailed`."""
        self._endpoints.get(endpoint)
        outcome = await self._stores.of(endpoint).one(base.Cancel(endpoint=endpoint, id=id))
        job = outcome.change.after if isinstance(outcome, base.Applied) else _refused(outcome)
        if job is None:
            raise unknown_job(id)
        return await self.view(job, shelf)

    async def retry(self, endpoint: str, id: str) -> JobView:
        """Run a failed job again, last in its queue. Raises `NotFound`, `Conflict` for any other job, `StoreError`."""
        self._endpoints.get(endpoint)
        outcome = await self._stores.of(endpoint).one(base.Retry(endpoint=endpoint, id=id))
        if isinstance(outcome, base.Applied) and outcome.change.after is not None:
            return JobView(outcome.change.after)
        if (job := _refused(outcome)) is None:
            raise unknown_job(id)
        raise Conflict(f"job {id} is {job.state}; only FAILED and TIMED_OUT jobs can run again")

    async def purge(self, endpoint: str) -> int:
        """Cancel the jobs that are queued now, none that comes later; returns how many."""
        self._endpoints.get(endpoint)
        up_to = await self._stores.at(endpoint).last_seq()
        removed = 0
        while True:
            outcome = await self._stores.of(endpoint).one(base.Purge(endpoint=endpoint, up_to=up_to, limit=PURGE_BATCH))
            batch = len(base.changes(outcome))
            removed += batch
            if batch < PURGE_BATCH:
                return removed

    async def health(self, endpoint: str) -> Health:
        """Counts of jobs and workers. Raises `NotFound`."""
        state = self._endpoints.get(endpoint)
        tally = self._stores.tally(endpoint)
        held_back = await self._held_back(endpoint)
        jobs = {
            "completed": tally.completed,
            "failed": tally.failed + tally.timed_out,
            "inProgress": tally.in_progress,
            "inQueue": tally.queued,
            "retried": tally.retried,
        }
        return Health(jobs, worker_counts(state), HELD_BACK if held_back else None)

    async def _held_back(self, endpoint: str) -> bool:
        losses = await self._stores.at(endpoint).breaker(endpoint)
        return breaker.is_open(losses, self._stores.now_ms(endpoint))

    async def _seen(self, job: Job, content: base.Content | None = None, shelf: Shelf | None = None) -> JobView:
        """The job as its client sees it: `view`, and for a queued one why it waits."""
        state = self._endpoints.find(job.endpoint)
        if job.state is not JobState.IN_QUEUE or state is None:
            if content is not None and (shelf is None or shelf.fits(_bytes(content))):
                return await self._view(job, content, shelf)
            del content
            return await self.view(job, shelf)
        ahead = await self._stores.at(job.endpoint).ahead(job)
        held_back = await self._held_back(job.endpoint)
        wait = why(state, job, self._stores.now_ms(job.endpoint), held_back=held_back)
        return JobView(job, waits=Waiting(ahead + 1 if ahead < base.AHEAD_MAX else None, wait))

    async def view(self, job: Job, shelf: Shelf | None = None) -> JobView:
        """The job with its output and error. Raises `NotFound` when they are gone, `Unavailable` without room."""
        content = await self._stores.at(job.endpoint).content(job)
        if job.state.terminal and _doubtful(job, content):
            # Record and content are read one after the other: it may have been retried or forgotten in between.
            now = await self._stores.job(job.endpoint, job.id)
            if (now.gen, now.state) != (job.gen, job.state):
                return await self.view(now, shelf)
        if shelf is not None and not shelf.fits(size := _bytes(content)):
            del content
            await shelf.wait(size)
            return await self.view(job, shelf)
        return await self._view(job, content, shelf)

    async def _view(self, job: Job, content: base.Content, shelf: Shelf | None) -> JobView:
        if content.output is None:
            return JobView(job, None, content.error)
        try:
            output = await self._payloads.load(job.endpoint, content.output)
            while shelf is not None and not shelf.fits(size := len(output)):
                del output  # it was stored compressed, and nobody knew its size
                await shelf.wait(size)
                output = await self._payloads.load(job.endpoint, content.output)
        except OperationFailed as error:
            raise unknown_job(job.id) from error
        return JobView(job, output, content.error)


_UNTOLD = StoreError, Unavailable
"""What keeps the caller from the outcome of a job that was accepted."""


def _unsure(id: str, error: Exception) -> Unsure:
    """Whatever keeps the caller from the outcome, it hears which job it has."""
    return Unsure(f"job {id} was accepted, but cannot be shown now; ask for its status: {error}", id)


def _bytes(content: base.Content) -> int:
    """What the content takes, as far as it is known before it is read."""
    output = content.output
    size = output.size if isinstance(output, base.Blob) else len(output or b"")
    return size + len(content.error or "")


def _doubtful(job: Job, content: base.Content) -> bool:
    """Whether the content is not that of the final job: no outcome at all, or that of another generation."""
    if job.state is JobState.COMPLETED:
        return content.output is None or content.error is not None
    return content.error is None


def _retention_ms(registration: EndpointRegistration, id: str) -> int:
    return 1000 * (registration.sync_result_ttl_seconds if is_sync(id) else registration.result_ttl_seconds)


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _key(key: SubmitKey, now: int) -> base.IdempotencyKey:
    return base.IdempotencyKey(
        principal=key.principal, key=key.key, body_hash=key.body_hash, expires_at=now + KEY_TTL_MS
    )


def _not_submitted(outcome: base.Outcome) -> Exception:
    reason = outcome.reason if isinstance(outcome, base.Refused) else None
    if reason is Reason.KEY_REUSED:
        return KeyReused("this Idempotency-Key came with another body before; use a new key for another job")
    if reason is Reason.FULL:
        return Overloaded("the job store takes no more jobs until some of those it has are gone; try again later")
    return OperationFailed(f"the job could not be stored: {reason}")


def _refused(outcome: base.Outcome) -> Job | None:
    return outcome.job if isinstance(outcome, base.Refused) else None
