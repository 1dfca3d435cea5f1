"""Everything that can be read of a store, as values that are equal for equal stores."""

import asyncio
from collections.abc import Collection, Mapping

import msgspec

from submodel.contract.states import JobState
from submodel_gateway.jobs.breaker import Breaker
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.store import base
from submodel_gateway.store.base import Store
from tests.support.store_calls import backlog
from tests.support.store_promises import Known, Promises

EVERYTHING = 10_000


class JobReading(msgspec.Struct, frozen=True):
    content: base.Content
    chunks: tuple[bytes, ...]


class Reading(msgspec.Struct, frozen=True):
    """One endpoint."""

    jobs: tuple[Job, ...]
    """The newest first."""

    closely: dict[str, JobReading]
    tally: Tally
    backlog: base.Backlog
    breaker: Breaker
    held: dict[str, tuple[Job, ...]]
    """By worker."""


async def read_endpoint(store: Store, endpoint: str, late_at: int, closely: Collection[str]) -> Reading:
    """All that is known of an endpoint, and more about the jobs in `closely`."""
    page, queue, breaker, holders = await asyncio.gather(
        store.requests(endpoint, None, base.SCAN_MAX),
        backlog(store, endpoint, late_at),
        store.breaker(endpoint),
        store.holders(endpoint),
    )
    looked_at = [job for job in page.jobs if job.id in closely]
    details = await asyncio.gather(*(read_closely(store, job) for job in looked_at))
    held = await asyncio.gather(*(store.held(endpoint, worker) for worker in holders))
    assert [len(jobs) for jobs in held] == [*holders.values()], "holders are counted by what they hold"
    return Reading(
        jobs=page.jobs,
        closely={job.id: each for job, each in zip(looked_at, details, strict=True)},
        tally=store.tally(endpoint),
        backlog=queue,
        breaker=breaker,
        held={worker: tuple(jobs) for worker, jobs in zip(holders, held, strict=True)},
    )


async def read_closely(store: Store, job: Job) -> JobReading:
    content, chunks = await asyncio.gather(store.content(job), store.chunks(job, 0, EVERYTHING))
    return JobReading(content, tuple(chunks))


def check(reading: Reading, promises: Promises, endpoint: str, now: int, late_at: int) -> None:
    """That an endpoint reads as its answers promised."""
    known = {each.job.id: each for each in promises.of(endpoint)}
    listed = {job.id: job for job in reading.jobs}
    assert listed == {id: each.job for id, each in known.items()}, "every job is found as it was told"
    assert [job.seq for job in reading.jobs] == sorted((job.seq for job in reading.jobs), reverse=True)
    for id, closely in reading.closely.items():
        assert closely == JobReading(_content(known[id]), tuple(known[id].items)), "every reader sees the same"
    _check_tally(reading, promises, endpoint)
    assert reading.backlog == _backlog(reading.jobs, late_at)
    held = {job.id for jobs in reading.held.values() for job in jobs}
    assert held == {job.id for job in reading.jobs if job.state is JobState.IN_PROGRESS}
    assert all(job.worker == worker for worker, jobs in reading.held.items() for job in jobs)
    losses = sum(now - loss.at < 600_000 for loss in reading.breaker.losses)
    assert (losses > 5) == promises.probing(endpoint, now), "the breaker is open exactly after so many losses"


def _backlog(jobs: Collection[Job], late_at: int) -> base.Backlog:
    queued = [job for job in jobs if job.state is JobState.IN_QUEUE]
    usual = [job.queued_at for job in queued if not job.low_priority]
    return base.Backlog(
        oldest_at=min(usual, default=None),
        late=sum(at <= late_at for at in usual),
        usual=None if len(usual) == len(queued) else len(usual),
        running_low=sum(job.low_priority and job.state is JobState.IN_PROGRESS for job in jobs),
    )


def _check_tally(reading: Reading, promises: Promises, endpoint: str) -> None:
    total: Mapping[str, int] = promises.totals.get(endpoint, {})
    states = [job.state for job in reading.jobs]
    alive = {"queued": states.count(JobState.IN_QUEUE), "in_progress": states.count(JobState.IN_PROGRESS)}
    assert msgspec.structs.asdict(reading.tally) == {**dict.fromkeys(Tally.__struct_fields__, 0), **total, **alive}
    ended = ("completed", "failed", "cancelled", "timed_out")
    assert reading.tally.arrived == sum(alive.values()) + sum(getattr(reading.tally, name) for name in ended)


def _content(known: Known) -> base.Content:
    if known.state is JobState.IN_PROGRESS:
        return base.Content(known.progress)
    return known.content if known.state.terminal else base.Content()
