"""How long a worker keeps its jobs: what renews them, and by what it is taken to have lost them or to be gone."""

from submodel.contract import limits
from submodel.contract.exchange import Refused
from submodel.contract.internal import GoneWorker
from submodel.contract.states import JobState
from tests.support.gateway_world import ENDPOINT, Worker, presence, world


async def test_listing_a_job_renews_its_lease() -> None:
    async with world() as w:
        id = await w.submit()
        worker = Worker(w)
        await worker.take()
        for _ in range(4):
            await w.pass_time(30_000)
            await worker.say()
        assert (await w.status(id)).job.state is JobState.IN_PROGRESS


async def test_a_worker_that_falls_silent_loses_its_job_after_a_lease() -> None:
    async with world() as w:
        id = await w.submit()
        await Worker(w).take()
        await w.pass_time(limits.LEASE_MS)
        assert (await w.status(id)).job.state is JobState.IN_QUEUE
        await w.pass_time(1_000)
        assert (await w.snapshot()).workers == []


async def test_a_gateway_that_stood_still_gives_every_lease_its_full_length_again() -> None:
    async with world() as w:
        id = await w.submit()
        await Worker(w).take()
        await w.freeze(10 * limits.LEASE_MS)
        assert (await w.status(id)).job.state is JobState.IN_PROGRESS


async def test_a_job_that_is_missing_twice_is_lost() -> None:
    async with world() as w:
        id = await w.submit()
        worker = Worker(w)
        await worker.take()
        await w.pass_time(20_001)
        await worker.say(running=[])
        assert (await w.status(id)).job.state is JobState.IN_PROGRESS
        await worker.say(running=[])
        assert (await w.status(id)).job.state is JobState.IN_QUEUE


async def test_a_job_is_not_missing_soon_after_its_take() -> None:
    async with world() as w:
        id = await w.submit()
        worker = Worker(w)
        await worker.take()
        for _ in range(3):
            await worker.say(running=[])
        assert (await w.status(id)).job.state is JobState.IN_PROGRESS


async def test_a_job_is_not_missing_from_requests_that_could_not_list_it() -> None:
    async with world() as w:
        id = await w.submit()
        worker = Worker(w)
        await worker.take(request=7)
        await w.pass_time(20_001)
        for number in (3, 4, 5):
            await worker.say(running=[], request=number)
        for number in (8, 9, 10):
            await worker.say(running=[], request=number, unanswered=[7])
        assert (await w.status(id)).job.state is JobState.IN_PROGRESS


async def test_a_restarted_worker_loses_the_jobs_of_its_former_session() -> None:
    async with world() as w:
        id = await w.submit()
        before = Worker(w, session="old")
        (job,) = await before.take()
        (again,) = await Worker(w, session="new").take()
        assert (again.id, again.attempt) == (id, 2)
        assert (await before.finish(job)).refused == [Refused(id=id, reason="stale", token=job.token)]


async def test_a_former_session_gets_nothing_more_and_is_told_to_end() -> None:
    async with world() as w:
        before = Worker(w, session="old")
        await before.say()
        await Worker(w, session="new").say()
        await w.submit()
        answer = await before.say(capacity=1)
        assert (answer.jobs, answer.drain) == ([], True)


async def test_a_worker_that_its_operator_declares_gone_loses_its_jobs_at_once() -> None:
    async with world() as w:
        id = await w.submit()
        worker = Worker(w)
        await worker.take()
        gone = GoneWorker(worker="w-1", reason="evicted", charged=False)
        await w.gateway.registry.gone(ENDPOINT, [gone])
        job = (await w.status(id)).job
        assert (job.state, job.used) == (JobState.IN_QUEUE, 0)
        assert await worker.take() == []


async def test_a_worker_missing_from_a_list_that_named_it_is_gone() -> None:
    async with world() as w:
        id = await w.submit()
        await Worker(w).take()
        await w.gateway.registry.put_workers(ENDPOINT, [presence("w-1")], w.clock.ms)
        await w.gateway.registry.put_workers(ENDPOINT, [], w.clock.ms)
        assert (await w.status(id)).job.state is JobState.IN_QUEUE


async def test_a_worker_that_came_before_the_first_list_is_not_gone() -> None:
    async with world() as w:
        id = await w.submit()
        began_ms = w.clock.ms
        await Worker(w).take()
        await w.gateway.registry.put_workers(ENDPOINT, [presence("other")], began_ms)
        assert (await w.status(id)).job.state is JobState.IN_PROGRESS


async def test_a_list_that_was_long_on_its_way_does_not_end_a_worker_that_is_younger() -> None:
    async with world() as w:
        id = await w.submit()
        await Worker(w).take()
        w.clock.ms += 5
        await w.gateway.registry.put_workers(ENDPOINT, [presence("other")], w.clock.ms)
        assert (await w.status(id)).job.state is JobState.IN_PROGRESS


async def test_an_unnamed_worker_that_was_silent_for_long_before_the_push_is_gone() -> None:
    async with world() as w:
        id = await w.submit()
        await Worker(w).take()
        await w.pass_time(10_001)
        await w.gateway.registry.put_workers(ENDPOINT, [], w.clock.ms)
        assert (await w.status(id)).job.state is JobState.IN_QUEUE


async def test_a_worker_that_a_list_names_again_gets_jobs_again() -> None:
    async with world() as w:
        worker = Worker(w)
        await worker.say()
        await w.gateway.registry.put_workers(ENDPOINT, [presence("w-1")], w.clock.ms)
        await w.gateway.registry.put_workers(ENDPOINT, [], w.clock.ms)
        await w.submit()
        assert await worker.take() == []
        await w.gateway.registry.put_workers(ENDPOINT, [presence("w-1")], w.clock.ms)
        assert len(await worker.take()) == 1
