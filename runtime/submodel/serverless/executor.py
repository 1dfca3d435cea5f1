"""Calls the handler. Everything of the user's runs in the main thread, with an asyncio loop running in that thread.

So `asyncio.get_running_loop()`, `signal.signal` and objects bound to the thread that imported the handler work, as on
the hosted platforms. Plain functions and generators block the loop while they run; coroutines share it up to the
worker's concurrency. What kind of handler it is shows in the value that a call gives, so wrappers, partials and
lambdas around any kind work.
"""

import asyncio
import contextlib
import dataclasses
import functools
import inspect
import json
import time
from collections.abc import AsyncIterable, Callable, Iterator
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any

from submodel.contract.exchange import LeasedJob
from submodel.serverless import outcome
from submodel.serverless.dialect import Flow, News
from submodel.serverless.log import about, logger
from submodel.serverless.outcome import Identity, Outcome
from submodel.serverless.serving import Handler as Handler
from submodel.serverless.serving import Serving
from submodel.serverless.source import JobSource
from submodel.serverless.stopper import Inside, Limits, current_job

if TYPE_CHECKING:
    from submodel.serverless.tracing import Tracing


class Executor:
    """Runs the jobs of one worker on the loop of the main thread.

    Args:
        on_exit: called when the process is to end, after the outcome of the job was handed over.
        tracing: makes a span of each execution; None for no traces.
    """

    def __init__(
        self,
        serving: Serving,
        identity: Identity,
        exchange: JobSource,
        on_exit: Callable[[], None],
        tracing: "Tracing | None" = None,
    ) -> None:
        self._serving = serving
        self._identity = identity
        self._exchange = exchange
        self._on_exit = on_exit
        self._tracing = tracing
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._begun: set[str] = set()
        self.inside = Inside()
        self.limits: Limits | None = None
        """Who is told how long jobs may run."""

        self.exit: SystemExit | None = None
        """What a handler ended the process with."""

    def hear(self, news: News) -> None:
        """Start jobs and stop others; on the loop's thread."""
        for job in news.jobs:
            task = asyncio.get_running_loop().create_task(self._run(job))
            self._tasks[job.token] = task
            task.add_done_callback(functools.partial(self._forget, job.token))
        for token in news.stops:
            self.cancel(token)

    def cancel(self, token: str) -> None:
        """Cancel the job's coroutine; on the loop's thread."""
        if token in self._tasks:
            self._tasks[token].cancel()

    def runs(self, token: str) -> bool:
        """Whether its handler was called and has not returned. From any thread, as the next one."""
        return token in self._begun

    def abandon(self, result: Outcome) -> None:
        """Give every job that runs this outcome: their handlers will not return."""
        for token in list(self._begun):
            self._exchange.finish(token, result, 0)

    def _forget(self, token: str, task: asyncio.Task[None]) -> None:
        del self._tasks[token]
        self._begun.discard(token)
        if self.limits is not None:
            self.limits.end(token)

    async def _run(self, job: LeasedJob) -> None:
        if not self._exchange.begin(job.token):
            return
        current_job.set(job.token)
        self._begun.add(job.token)
        if self.limits is not None and job.policy.execution_timeout_ms > 0:
            self.limits.begin(job.token, job.policy.execution_timeout_ms / 1000)
        logger.debug("Started.", extra=about(job.id))
        started = time.monotonic()
        result = await (self._outcome(job) if self._tracing is None else self._traced(job, self._tracing))
        execution_ms = round((time.monotonic() - started) * 1000)
        if job.trace and not result.trace:
            result = dataclasses.replace(result, trace=job.trace)
        if self._serving.refresh_worker:
            result = dataclasses.replace(result, stop_worker=True)
        self._exchange.finish(job.token, result, execution_ms)
        if result.error is None:
            logger.info("Finished in %d ms.", execution_ms, extra=about(job.id))
        if self.exit is not None or self._serving.refresh_worker:
            self._on_exit()

    async def _traced(self, job: LeasedJob, tracing: "Tracing") -> Outcome:
        """`_outcome` within a span, which is the handler's current one."""
        with tracing.execution(job) as execution:
            result = await self._outcome(job)
            execution.ended(failed=result.error is not None)
            return dataclasses.replace(result, trace=execution.context)

    async def _outcome(self, job: LeasedJob) -> Outcome:
        """The outcome of one job. Catches everything: a job must end with a definite answer."""
        streams = False
        try:
            value = await self._value(job)
            streams = isinstance(value, AsyncIterable | Iterator)
            result = await self._streamed(job, value) if streams else outcome.of_value(value)
        except (SystemExit, KeyboardInterrupt) as error:
            logger.error("The handler ends the process: %s.", _where(error), extra=about(job.id))
            self.exit = self.exit or (error if isinstance(error, SystemExit) else SystemExit(130))
            return outcome.of_exception(error, self._identity)
        except BaseException as error:
            logger.error("Failed: %s.", _where(error), extra=about(job.id))
            if streams and isinstance(error, Exception):
                return outcome.of_broken_stream(error)
            return outcome.of_exception(error, self._identity)
        if result.error is not None:
            logger.error("Failed: %s.", result.refusal or "the handler gave an error", extra=about(job.id))
        return result

    async def _value(self, job: LeasedJob) -> Any:
        """What the handler gives; a generator has not begun yet."""
        asked = _job_dict(job)
        with self.inside.of(job.token):
            value: Any = self._serving.handler(asked)
            waits = inspect.isawaitable(value)
            if waits:
                value = await value
        if not waits and not isinstance(value, AsyncIterable):
            self._one_at_a_time(job)
        return value

    def _one_at_a_time(self, job: LeasedJob) -> None:
        """A handler that blocks runs one job at a time: more would wait here while other workers are free."""
        if self._exchange.limit(1):
            logger.warning("The handler is not asynchronous: this worker takes one job at a time.", extra=about(job.id))

    async def _streamed(self, job: LeasedJob, values: AsyncIterable[Any] | Iterator[Any]) -> Outcome:
        if isinstance(values, AsyncIterable):
            return await self._stream(job, values)
        return self._stream_blocking(job, values)

    async def _stream(self, job: LeasedJob, values: AsyncIterable[Any]) -> Outcome:
        stream = _Stream(job.token, self._exchange, self._serving.aggregate)
        iterator, section = aiter(values), self.inside.of(job.token)
        try:
            while True:
                with section:
                    try:
                        value = await anext(iterator)
                    except StopAsyncIteration:
                        return outcome.of_stream(stream.collected)
                if (ended := stream.add(value)) is not None:
                    return ended
                if stream.waits:
                    await asyncio.to_thread(self._exchange.wait_for_room)
        finally:
            if isinstance(values, AsyncGeneratorType):
                with section, _closing(job):
                    await values.aclose()

    def _stream_blocking(self, job: LeasedJob, values: Iterator[Any]) -> Outcome:
        stream = _Stream(job.token, self._exchange, self._serving.aggregate)
        section = self.inside.of(job.token)
        try:
            while True:
                with section:
                    try:
                        value = next(values)
                    except StopIteration:
                        return outcome.of_stream(stream.collected)
                if (ended := stream.add(value)) is not None:
                    return ended
                if stream.waits:
                    self._exchange.wait_for_room()
        finally:
            if isinstance(values, GeneratorType):
                with section, _closing(job):
                    values.close()


class _Stream:
    """The chunks of one job."""

    def __init__(self, token: str, exchange: JobSource, aggregate: bool) -> None:
        self._token = token
        self._exchange = exchange
        self._aggregate = aggregate
        self._count = 0
        self.waits = False
        """Whether there must be room before the next value."""

        self.collected: list[bytes] = []

    def add(self, value: object) -> Outcome | None:
        """Send one yielded value; returns the outcome when the job ends with it."""
        chunk = outcome.chunk(value, self._count)
        if isinstance(chunk, Outcome):
            return chunk
        flow = self._exchange.add_chunk(self._token, chunk)
        if flow is Flow.END:
            return Outcome(error="the job was stopped", refusal="the job was stopped")
        self.waits = flow is Flow.WAIT
        self._count += 1
        if self._aggregate:
            self.collected.append(chunk)
        return None


@contextlib.contextmanager
def _closing(job: LeasedJob) -> Iterator[None]:
    """Around the end of a generator that is not wanted any longer: its job has an outcome already, which stays."""
    try:
        yield
    except Exception as error:
        logger.error("The generator failed when it was closed: %s.", _where(error), extra=about(job.id))


def _job_dict(job: LeasedJob) -> dict[str, Any]:
    extra = {name: json.loads(bytes(value)) for name, value in job.extra.items()}
    return {**extra, "id": job.id, "input": json.loads(bytes(job.input))}


def _where(error: BaseException) -> str:
    """The exception's type and place. Its text may hold a payload: that is in the job's error only."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    at = f" at {place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place is not None else ""
    return f"{type(error).__name__}{at}"
