"""What workers with an SDK of the hosted platforms deliver: results, progress and streamed chunks.

These SDKs throw away what is not taken within seconds: an answer of 4xx is final, 5xx is tried twice more, a broken
connection not at all. So a request is held, and the store tried again, until what it brings is durable.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from submodel.contract import limits
from submodel.contract.states import JobState
from submodel_gateway.errors import StoreError, Unavailable
from submodel_gateway.jobs.ids import from_delivery_id, payload_limit
from submodel_gateway.jobs.record import Job, attempt_token
from submodel_gateway.jobs.transition import Reason
from submodel_gateway.service.clock import Clock
from submodel_gateway.service.legacy_memory import LegacyStream
from submodel_gateway.service.legacy_sessions import Caller, LegacySessions
from submodel_gateway.service.payloads import Payloads
from submodel_gateway.service.stores import Stores
from submodel_gateway.service.waiting import Hangup, Hold
from submodel_gateway.store import base
from submodel_gateway.tracing.spans import Spans

INSIST_MS = 120_000
"""How long the store is tried before the worker is told that it cannot be done."""

DRAIN_MS = 20_000
"""The same in a process that goes down; less than its open requests are given."""

PAUSE_MS = 200
PAUSE_MS_MAX = 5_000

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a job: FAILED with an `error`, which may come with an output; `output` is JSON text.

    `stop_worker` asks for a fresh worker. A `final` error is not tried again, whatever the job's policy.
    """

    output: bytes | None = None
    error: str | None = None
    stop_worker: bool = False
    final: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running job is: JSON text."""

    value: bytes


@dataclass(frozen=True, slots=True)
class _Delivery:
    """A request that brings something for a job; `token` names the attempt and the worker."""

    caller: Caller
    job: str
    token: str

    @property
    def endpoint(self) -> str:
        return self.caller.state.id


class LegacyPosts:
    """Takes what these workers deliver. `close` when the process goes down."""

    def __init__(
        self,
        stores: Stores,
        payloads: Payloads,
        sessions: LegacySessions,
        clock: Clock,
        spans: Spans | None = None,
    ) -> None:
        self._stores = stores
        self._payloads = payloads
        self._sessions = sessions
        self._clock = clock
        self._spans = spans or Spans()
        self._pauses: dict[Hold, None] = {}
        self._until: int | None = None
        """When waiting is over, in a process that goes down."""

    def drain(self) -> None:
        """The process is going down: wait for a store that is away a little longer, not for ever."""
        if self._until is None:
            self._until = self._clock.now_ms() + DRAIN_MS

    def close(self) -> None:
        """Wait for no store any more."""
        self._until = self._clock.now_ms()
        for pause in self._pauses:
            pause.end()

    async def authorize(self, endpoint: str, token: str) -> None:
        """Check what can be checked before a body is read. Raises as `result`."""

        async def check() -> None:
            self._sessions.authorize(endpoint, token)

        await self._insist(check)

    async def result(self, endpoint: str, worker: str, token: str, name: str, post: Result | Progress) -> None:
        """Publish the outcome, or the progress, of the job `name`; what comes too late has no effect.

        Raises `NotFound`, `Unauthorized`, and `Unavailable` when the store could not do it for long.
        """
        async with self._delivery(endpoint, worker, token, name) as delivery:
            if isinstance(post, Progress):
                await self._progress(delivery, post.value)
                return
            if post.stop_worker:
                state, session = delivery.caller.state, delivery.caller.session
                self._sessions.replace(state, session, "a job asked for a fresh worker")
            await self._finish(delivery, post)

    async def chunk(
        self, endpoint: str, worker: str, token: str, name: str, post: bytes | Result, hangup: Hangup
    ) -> None:
        """Append a streamed item, which gets the next number; or end the job with a result in its place.

        A chunk whose answer failed is recognised when it comes again. Raises as `result`.
        """
        async with self._delivery(endpoint, worker, token, name) as delivery:
            if isinstance(post, Result):
                await self._finish(delivery, post)
            elif len(post) > limits.CHUNK_BYTES:
                await self._end(delivery, f"a streamed item is larger than {limits.CHUNK_BYTES} bytes")
            else:
                await self._append(delivery, post, hangup)

    @asynccontextmanager
    async def _delivery(self, endpoint: str, worker: str, token: str, name: str) -> AsyncIterator[_Delivery]:
        """The delivery, of which nobody concludes that the worker has lost the job."""
        caller = await self._insist(lambda: self._sessions.caller(endpoint, worker, token))
        job, attempt = from_delivery_id(name)
        delivering = caller.memory.delivering
        delivering[name] += 1
        try:
            yield _Delivery(caller, job, attempt_token(attempt, worker))
        finally:
            delivering[name] -= 1
            if not delivering[name]:
                del delivering[name]

    async def _finish(self, delivery: _Delivery, result: Result) -> None:
        size, limit = len(result.output or b""), payload_limit(delivery.job)
        if size > limit:
            await self._end(delivery, f"its output has {size} bytes, the limit is {limit}")
            return
        if result.error is not None and len(result.error) > limit:
            await self._end(delivery, f"its error has {len(result.error)} characters, the limit is {limit}")
            return
        await self._insist(lambda: self._store_result(delivery, result))

    async def _store_result(self, delivery: _Delivery, result: Result) -> None:
        output = None if result.output is None else await self._payloads.keep(delivery.endpoint, result.output)
        finish = base.Finish(
            endpoint=delivery.endpoint,
            id=delivery.job,
            token=delivery.token,
            output=output,
            error=result.error,
            final=result.final,
        )
        end = self._result_span(delivery) if self._spans.on else None
        (outcome,) = await self._stores.of(delivery.endpoint).many((finish,))
        used = await self._payloads.finished(finish, outcome)
        if end is not None and used and isinstance(outcome, base.Applied) and outcome.change.after is not None:
            end(outcome.change.after.state)
        _check(finish, outcome)

    def _result_span(self, delivery: _Delivery) -> Callable[[JobState], None]:
        """These workers send no context back: it is that of the lease, where this gateway gave it."""
        holding = delivery.caller.session.held.get(delivery.job)
        return self._spans.result(holding.trace if holding else "", delivery.endpoint, delivery.job)

    async def _progress(self, delivery: _Delivery, value: bytes) -> None:
        if len(value) > limits.CHUNK_BYTES:
            await self._end(delivery, f"a progress value is larger than {limits.CHUNK_BYTES} bytes")
            return
        progress = base.Progress(endpoint=delivery.endpoint, id=delivery.job, token=delivery.token, value=value)
        await self._insist(lambda: self._apply(progress))

    async def _end(self, delivery: _Delivery, why: str) -> None:
        """What was delivered would be refused for ever: the job must not run again for it."""
        await self._finish(delivery, Result(error=f"the job was ended because {why}", final=True))

    async def _append(self, delivery: _Delivery, item: bytes, hangup: Hangup) -> None:
        job = await self._running(delivery)
        if job is None:
            return
        stream = self._stream(delivery, job)
        async with stream.turn:
            job = await self._running(delivery)
            if job is None or stream.repeats(item, job.chunks, self._clock.now_ms()):
                return
            seq, outcome = job.chunks + 1, None
            append = base.AppendChunk(
                endpoint=delivery.endpoint, id=delivery.job, token=delivery.token, seq=seq, items=(item,)
            )
            try:
                outcome = await self._insist(lambda: self._apply(append))
            finally:
                if outcome is None or hangup.done():
                    stream.failed(item, seq, self._clock.now_ms())
        if isinstance(outcome, base.Refused) and outcome.reason is Reason.TOO_LARGE:
            await self._end(delivery, "it streamed more than one attempt may")

    async def _running(self, delivery: _Delivery) -> Job | None:
        """The job while the worker runs this attempt of it."""
        job = await self._insist(lambda: self._stores.at(delivery.endpoint).job(delivery.endpoint, delivery.job))
        running = job is not None and job.state is JobState.IN_PROGRESS and job.answers_to(delivery.token)
        return job if running else None

    def _stream(self, delivery: _Delivery, job: Job) -> LegacyStream:
        session = delivery.caller.session
        holding = session.held.get(job.id)
        if holding is None or holding.token != job.token:
            session.hold(job, self._clock.now_ms())
            holding = session.held[job.id]
        if holding.stream is None:
            holding.stream = LegacyStream()
        return holding.stream

    async def _apply(self, operation: base.JobOperation) -> base.Outcome:
        """The outcome. Raises as `_check`."""
        (outcome,) = await self._stores.of(operation.endpoint).many((operation,))
        _check(operation, outcome)
        return outcome

    async def _insist(self, action: Callable[[], Awaitable[T]]) -> T:
        """What `action` returns, once the store lets it. Raises `Unavailable` when it does not for long."""
        limit, pause_ms = self._clock.now_ms() + INSIST_MS, PAUSE_MS
        while True:
            try:
                return await action()
            except StoreError as error:
                if self._clock.now_ms() + pause_ms > min(limit, self._until or limit):
                    raise Unavailable(f"the job store could not take it, send it again: {error}") from error
                log.warning("a worker's delivery waits for the job store: %s", error)
            await self._pause(pause_ms)
            pause_ms = min(2 * pause_ms, PAUSE_MS_MAX)

    async def _pause(self, milliseconds: int) -> None:
        """Not ended by the worker hanging up: what it has done is worth as much without it."""
        with Hold(milliseconds, asyncio.get_running_loop().create_future()) as pause:
            self._pauses[pause] = None
            try:
                await pause.woken()
            finally:
                self._pauses.pop(pause, None)


def _check(operation: base.JobOperation, outcome: base.Outcome) -> None:
    """Raises `StoreError` when the store could not apply the operation.

    A refusal is no error: any answer but 2xx would make the SDK complain of what cannot be helped.
    """
    if isinstance(outcome, base.Failed):
        raise outcome.error
    if isinstance(outcome, base.Refused):
        kind = type(operation).__name__
        log.info("%s of job %s came too late and had no effect: %s", kind, operation.id, outcome.reason)
