"""Requests that come again and answers that got lost: of a worker, and of a gateway that comes after another."""

import asyncio

import pytest

from submodel.contract import limits
from submodel.contract.exchange import Held, LeasedJob
from submodel.contract.states import JobState, WorkerPhase
from submodel_gateway.errors import Unavailable
from submodel_gateway.service.session import ANSWER_KEPT_BYTES, ANSWERS_BYTES, ANSWERS_KEPT, Session, most_kept
from submodel_gateway.store import base
from tests.support.gateway_world import (
    ENDPOINT,
    LARGE_OUTPUT,
    FailingStore,
    UnsureStore,
    Worker,
    World,
    at_work,
    here,
    settle,
    world,
)

LARGE_INPUT = b'"' + b"x" * ANSWER_KEPT_BYTES + b'"'


async def finish_uncharged(w: World, worker: Worker, jobs: list[LeasedJob]) -> None:
    """The worker completes them, and of their attempts this one alone counts."""
    for job in jobs:
        await worker.finish(job, b"1")
    assert [(await w.status(job.id)).job.state for job in jobs] == [JobState.COMPLETED] * len(jobs)
    assert [(await w.status(job.id)).job.used for job in jobs] == [1] * len(jobs)


async def test_a_repeated_request_gets_the_stored_answer_and_no_second_job() -> None:
    async with world() as w:
        await w.submit()
        await w.submit()
        worker = Worker(w)
        (job,) = await worker.take(request=1)
        (again,) = await worker.take(request=1)
        assert again.token == job.token
        assert (await w.snapshot()).queued == 1


async def test_an_answer_is_kept_as_long_as_the_worker_says_that_it_lacks_it() -> None:
    async with world() as w:
        await w.submit()
        worker = Worker(w)
        (job,) = await worker.take(request=1)
        for number in range(2, 20):
            await worker.say(request=number, unanswered=[1])
        (again,) = await worker.take(request=1)
        assert again.token == job.token


async def test_answers_that_were_read_are_not_kept() -> None:
    async with world() as w:
        worker = Worker(w)
        for number in range(1, 6):
            await worker.say(request=number)
        session = w.gateway.workers._endpoints.get(ENDPOINT).sessions["w-1"]
        assert list(session.answers) == [5]


async def test_a_large_answer_is_not_kept_and_its_jobs_go_out_again_uncharged_to_a_worker_that_lacks_it() -> None:
    async with world() as w:
        ids = [await w.submit(LARGE_INPUT) for _ in range(2)]
        worker = Worker(w)
        lost = await worker.take(capacity=2, request=1)
        session = w.gateway.workers._endpoints.get(ENDPOINT).sessions["w-1"]
        assert session.answers == {1: b""}
        jobs = await worker.take(capacity=2, request=1, repeated=True, running=[])
        assert [job.id for job in jobs] == ids
        assert not {job.token for job in lost} & {job.token for job in jobs}
        await finish_uncharged(w, worker, jobs)


async def test_a_worker_that_leaves_and_lacks_a_large_answer_leaves_its_jobs_to_others_uncharged() -> None:
    async with world() as w:
        read, other = [await w.submit(LARGE_INPUT) for _ in range(2)]
        worker = Worker(w)
        await worker.take(request=1)
        await worker.take(request=2)
        await worker.say(request=2, phase=WorkerPhase.DRAINING, running=[held(worker, read)])
        jobs = [(await w.status(id)).job for id in (read, other)]
        assert [(job.state, job.used) for job in jobs] == [(JobState.IN_PROGRESS, 1), (JobState.IN_QUEUE, 0)]


def held(worker: Worker, id: str) -> Held:
    return Held(id=id, token=worker.held[id].token)


async def test_a_request_repeated_while_it_is_held_answers_both() -> None:
    async with world() as w:
        worker = Worker(w)
        held = asyncio.create_task(worker.take(request=1, wait_ms=20_000))
        await settle()
        repeated = await worker.take(request=1, wait_ms=20_000)
        assert repeated == await held == []


async def test_a_job_that_could_not_be_given_back_is_in_the_answer_to_the_repeated_request() -> None:
    store = FailingStore()
    async with world(store) as w:
        id = await w.submit()
        hangup = here()
        store.meanwhile = {base.Take: lambda: hangup.set_result(None)}
        store.refused = {base.Release}
        worker = Worker(w)
        await worker.take(request=1, hangup=hangup)
        store.meanwhile.clear()
        (job,) = await worker.take(request=1)
        assert (job.id, (await w.status(id)).job.state) == (id, JobState.IN_PROGRESS)


async def test_the_answer_to_a_newer_request_is_kept_when_an_older_one_is_repeated() -> None:
    async with world() as w:
        worker = Worker(w)
        await worker.say()
        id = await w.submit()
        worker.number = 2
        (job,) = await worker.take(unanswered=[2])
        worker.number = 1
        await worker.say(running=[])
        worker.number = 2
        assert [again.token for again in await worker.take(unanswered=[2])] == [job.token]
        assert (await w.status(id)).job.attempt == 1


async def test_a_request_that_comes_a_second_time_takes_no_job_that_nobody_would_get() -> None:
    async with world() as w:
        worker = Worker(w)
        await worker.take()
        await worker.say()
        id = await w.submit()
        worker.number = 0
        assert await worker.take() == []
        assert (await w.status(id)).job.state is JobState.IN_QUEUE


async def restarted(w: World) -> World:
    """The gateway that comes after this one, or stands beside it."""
    again = World(w.store)
    again.clock.ms = w.clock.ms
    again.gateway.registry.load(await w.store.endpoints())
    return again


async def test_jobs_of_an_answer_that_died_with_its_gateway_go_out_with_that_of_the_next_one_uncharged() -> None:
    async with world() as w:
        ids = [await w.submit() for _ in range(2)]
        worker = Worker(w)
        await worker.take(capacity=2, request=1)
        worker._world = await restarted(w)
        jobs = await worker.take(capacity=2, request=1, repeated=True, running=[])
        assert {job.id for job in jobs} == set(ids)
        await finish_uncharged(w, worker, jobs)


async def test_of_an_answer_that_died_only_what_the_worker_does_not_know_goes_out_again() -> None:
    async with world() as w:
        await w.submit()
        worker = Worker(w)
        (read,) = await worker.take(request=1)
        id = await w.submit()
        await worker.take(request=2, running=[Held(id=read.id, token=read.token)])
        worker._world = again = await restarted(w)
        (job,) = await worker.take(request=2, running=[Held(id=read.id, token=read.token)], repeated=True)
        assert job.id == id
        await worker.finish(read, b"1")
        assert (await again.status(read.id)).job.state is JobState.COMPLETED


async def test_a_repeated_request_without_capacity_says_nothing_of_jobs_that_it_does_not_list() -> None:
    async with world() as w:
        await w.submit()
        worker = Worker(w)
        (job,) = await worker.take(request=2)
        worker._world = again = await restarted(w)
        await worker.say(request=1, repeated=True, unanswered=[2], running=[])
        await worker.finish(job, b"1")
        assert (await again.status(job.id)).job.state is JobState.COMPLETED


async def test_a_restarted_gateway_keeps_a_job_that_its_worker_still_runs() -> None:
    async with at_work() as (w, worker, job):
        again = World(w.store)
        again.clock.ms = w.clock.ms + 10 * limits.LEASE_MS
        again.gateway.registry.load(await w.store.endpoints())
        await again.sweep()
        worker._world = again
        await worker.say()
        await again.pass_time(limits.LEASE_MS - 1_000)
        await worker.finish(job, b"1")
        assert (await again.status(job.id)).job.state is JobState.COMPLETED
        assert (await again.status(job.id)).job.attempt == 1


async def test_a_large_output_of_which_nobody_knows_whether_it_was_stored_is_kept() -> None:
    store = UnsureStore()
    async with at_work(store) as (w, worker, job):
        with pytest.raises(Unavailable):
            await worker.finish(job, LARGE_OUTPUT)
        store.arrives()
        answer = await worker.finish(job, LARGE_OUTPUT)
        assert not answer.refused
        seen = await w.status(job.id)
        assert (seen.job.state, seen.output) == (JobState.COMPLETED, LARGE_OUTPUT)
        assert len(store._rows.blobs) == 1, "that of the second request is not kept"


@pytest.mark.parametrize("workers", [1, 100, 5_000])
def test_what_is_kept_for_workers_that_may_repeat_themselves_is_bounded_for_all_of_an_endpoint(workers: int) -> None:
    sessions = [Session(f"w-{number}", "s", "r1", last_seen_ms=0, idle_since_ms=0) for number in range(workers)]
    for count, session in enumerate(sessions, 1):
        for number in range(2 * ANSWERS_KEPT):
            for length in (ANSWER_KEPT_BYTES, most_kept(count)):
                session.keep_answer(number, b"x" * length, most_kept(count))
    kept = sum(len(answer) for session in sessions for answer in session.answers.values())
    assert 0 < kept <= 7 * ANSWERS_BYTES
