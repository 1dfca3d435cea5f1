"""Clients by script: each one submits a job and follows it in its own way until it is final."""

import hashlib
from dataclasses import dataclass
from random import Random

import msgspec

from submodel.contract import limits
from submodel.contract.states import JobState
from submodel_gateway.errors import Conflict, GatewayError, NotFound, StreamEnded
from submodel_gateway.service.clients import JobView, NewJob, SubmitKey
from submodel_gateway.service.gateway import Gateway
from submodel_gateway.service.streams import StreamPart
from submodel_gateway.service.waiting import Hangup
from tests.sim.history import (
    CancelAnswered,
    History,
    PurgeAnswered,
    Read,
    RetryAnswered,
    Streamed,
    Submitted,
)
from tests.sim.loop import SimulatedLoop, pause, process_name
from tests.sim.network import Network, Service, Unreachable
from tests.sim.worker import ENDPOINT, Script

CALL_SECONDS = 15.0
TRIES_MAX = 30
"""Submits of one key before a client gives up."""

REPEATED_READS = 0.3
"""How often a client reads a final job again later."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one client is going to do."""

    script: Script
    begins_seconds: float
    sync: bool
    keyed: bool
    priority: int
    ttl_ms: int | None
    execution_timeout_ms: int | None
    follows: str
    """`poll`, `wait`, `offset` or `cursor`."""

    cancels_after: float | None
    retries: bool
    keeps_ms: int | None
    """How long its result is to be kept once it is read, None for as long as it would be."""


def plan(chance: Random, number: int, seconds: float) -> Plan:
    """A client of a mixed crowd that begins within `seconds`."""
    kind = chance.random()
    runs = chance.uniform(0.05, 2) if kind < 0.55 else chance.uniform(2, 8) if kind < 0.9 else chance.uniform(8, 40)
    ends = chance.choices(("ok", "error", "oom"), weights=(0.94, 0.055, 0.005))[0]
    streams = chance.random() < 0.3
    follows = chance.choice(("offset", "cursor")) if streams else chance.choice(("poll", "wait"))
    return Plan(
        script=Script(number=number, seconds=runs, chunks=chance.randrange(1, 12) if streams else 0, ends=ends),
        begins_seconds=chance.uniform(0, seconds),
        sync=chance.random() < 0.25,
        keyed=chance.random() < 0.6,
        priority=chance.choices((0, 1, -1), weights=(0.8, 0.1, 0.1))[0],
        ttl_ms=chance.choice((limits.TTL_MS_MIN, 30_000)) if chance.random() < 0.04 else None,
        execution_timeout_ms=chance.choice((5_000, 15_000)) if chance.random() < 0.1 else None,
        follows=follows,
        cancels_after=chance.uniform(0, 20) if chance.random() < 0.07 else None,
        retries=chance.random() < 0.6,
        keeps_ms=chance.choice((0, 1_000, 20_000)) if chance.random() < 0.1 else None,
    )


class Client:
    """One client and its job."""

    def __init__(self, loop: SimulatedLoop, network: Network, history: History, chance: Random, plan: Plan) -> None:
        self._loop = loop
        self._network = network
        self._history = history
        self._chance = chance
        self._plan = plan
        self.job: str | None = None

    @property
    def streams(self) -> bool:
        """Whether the job streams anything."""
        return self._plan.script.chunks > 0

    async def run(self) -> None:
        """From the submit to the last read."""
        plan = self._plan
        await pause(plan.begins_seconds)
        self.job = job = await self._submit()
        if job is None:
            return
        if plan.cancels_after is not None:
            self._loop.background(self._cancel(job, plan.cancels_after))
        state = await self._follow(job)
        if plan.retries and state in (JobState.FAILED, JobState.TIMED_OUT) and await self._retry(job):
            state = await self._follow(job)
        if state is not None and plan.keeps_ms is not None:
            await self._view(job, lambda gateway, hangup: gateway.clients.status(ENDPOINT, job, keep_ms=plan.keeps_ms))
        if state is not None and self._chance.random() < REPEATED_READS:
            await pause(self._chance.uniform(0, 20))
            await self.read(job)

    async def read(self, job: str) -> JobState | None:
        """The job's state as answered; None when nobody answered or it was not found."""
        return await self._view(job, lambda gateway, hangup: gateway.clients.status(ENDPOINT, job))

    async def stream_from_start(self, job: str) -> None:
        """Read everything that was streamed, by offset."""
        await self._stream(job, f"late-{self._plan.script.number}", by_offset=True)

    async def _submit(self) -> str | None:
        plan = self._plan
        number = plan.script.number
        body = msgspec.json.encode(plan.script)
        key = SubmitKey("client", f"key-{number}", hashlib.sha256(body).hexdigest()) if plan.keyed else None
        new = NewJob(
            input=body,
            execution_timeout_ms=plan.execution_timeout_ms,
            ttl_ms=plan.ttl_ms,
            priority=plan.priority,
            key=key,
        )

        async def submit(gateway: Gateway, hangup: Hangup) -> str:
            return (await gateway.clients.submit(ENDPOINT, new, sync=plan.sync)).id

        for _ in range(TRIES_MAX):
            asked_at = self._loop.now_ms
            job = None
            try:
                job = await self._network.call(submit, CALL_SECONDS)
            except Unreachable:
                again = key is not None
            except GatewayError:
                again = True
            self._history.add(
                Submitted(at=self._loop.now_ms, asked_at=asked_at, number=number, job=job, keyed=key is not None)
            )
            if job is not None or not again:
                return job
            await pause(self._chance.uniform(1, 8))
        return None

    async def _follow(self, job: str) -> JobState | None:
        """Until the job is final; None when it is gone."""
        if self._plan.follows in ("offset", "cursor"):
            await self._stream(job, f"reader-{self._plan.script.number}", by_offset=self._plan.follows == "offset")
        while True:
            if self._plan.follows == "wait":
                state = await self._wait(job, self._chance.choice((0, 5_000, 12_000)))
            else:
                await pause(self._chance.uniform(1, 12))
                state = await self.read(job)
            if state is None or state.terminal:
                return state

    async def _wait(self, job: str, wait_ms: int) -> JobState | None:
        if not wait_ms:
            await pause(self._chance.uniform(1, 8))
        return await self._view(job, lambda gateway, hangup: gateway.clients.wait(ENDPOINT, job, wait_ms, hangup))

    async def _view(self, job: str, service: Service[JobView]) -> JobState | None:
        while True:
            asked_at = self._loop.now_ms
            try:
                view = await self._network.call(service, CALL_SECONDS)
            except NotFound:
                self._gone(job, asked_at)
                return None
            except (Unreachable, GatewayError):
                await pause(self._chance.uniform(1, 8))
            else:
                self._seen(asked_at, view)
                return view.job.state

    async def _stream(self, job: str, reader: str, *, by_offset: bool) -> None:
        """Read to the end; a reader by offset starts again when another attempt does."""
        offset, attempt = 0, 0
        while True:
            part = await self._part(job, reader, offset if by_offset else None)
            if part is None:
                return
            if by_offset and offset and part.job.attempt != attempt:
                offset = 0
                continue
            attempt, offset = part.job.attempt, part.offset + len(part.items)
            if part.job.state.terminal and (offset >= part.job.chunks or not by_offset):
                return

    async def _part(self, job: str, reader: str, offset: int | None) -> StreamPart | None:
        wait_ms = self._chance.choice((0, 2_000, 10_000))
        while True:
            asked_at = self._loop.now_ms
            try:
                gateway, part = await self._network.call(
                    lambda gateway, hangup: _streamed(gateway, job, offset, wait_ms, hangup), CALL_SECONDS
                )
            except StreamEnded:
                return None
            except NotFound:
                self._gone(job, asked_at)
                return None
            except (Unreachable, GatewayError):
                await pause(self._chance.uniform(1, 8))
                continue
            self._history.add(
                Streamed(
                    at=self._loop.now_ms,
                    asked_at=asked_at,
                    gateway=gateway,
                    reader=reader,
                    job=job,
                    asked_offset=offset,
                    gen=part.job.gen,
                    attempt=part.job.attempt,
                    state=part.job.state,
                    offset=part.offset,
                    items=tuple(part.items),
                )
            )
            if not part.items and not wait_ms:
                await pause(self._chance.uniform(0.2, 4))
            return part

    async def _cancel(self, job: str, after_seconds: float) -> None:
        await pause(after_seconds)
        while True:
            asked_at = self._loop.now_ms
            state: JobState | None = None
            try:
                view = await self._network.call(
                    lambda gateway, hangup: gateway.clients.cancel(ENDPOINT, job), CALL_SECONDS
                )
                state = view.job.state
            except NotFound:
                pass
            except (Unreachable, GatewayError):
                await pause(self._chance.uniform(1, 8))
                continue
            self._history.add(CancelAnswered(at=self._loop.now_ms, asked_at=asked_at, job=job, state=state))
            return

    async def _retry(self, job: str) -> bool:
        """Whether the job is known to run again."""
        await pause(self._chance.uniform(0, 5))
        asked_at = self._loop.now_ms
        accepted = True
        try:
            await self._network.call(lambda gateway, hangup: gateway.clients.retry(ENDPOINT, job), CALL_SECONDS)
        except (Conflict, NotFound):
            accepted = False
        except (Unreachable, GatewayError):
            return True
        self._history.add(RetryAnswered(at=self._loop.now_ms, asked_at=asked_at, job=job, accepted=accepted))
        return accepted

    def _seen(self, asked_at: int, view: JobView) -> None:
        job = view.job
        self._history.add(
            Read(
                at=self._loop.now_ms,
                asked_at=asked_at,
                job=job.id,
                state=job.state,
                gen=job.gen,
                attempt=job.attempt,
                output=view.output,
                error=view.error,
            )
        )

    def _gone(self, job: str, asked_at: int) -> None:
        self._history.add(Read(at=self._loop.now_ms, asked_at=asked_at, job=job, state=None))


async def _streamed(
    gateway: Gateway, job: str, offset: int | None, wait_ms: int, hangup: Hangup
) -> tuple[str, StreamPart]:
    """With the name of the gateway's process: one that is alone forgets with its end what was read without offset."""
    if offset is None:
        return process_name(), await gateway.streams.once(ENDPOINT, job, wait_ms, hangup)
    return process_name(), await gateway.streams.after(ENDPOINT, job, offset, wait_ms, hangup)


async def purge(loop: SimulatedLoop, network: Network, history: History) -> None:
    """Somebody empties the queue, once, whether or not the answer comes."""
    asked_at = loop.now_ms
    try:
        removed = await network.call(lambda gateway, hangup: gateway.clients.purge(ENDPOINT), CALL_SECONDS)
    except (Unreachable, GatewayError):
        return
    history.add(PurgeAnswered(at=loop.now_ms, asked_at=asked_at, removed=removed))
