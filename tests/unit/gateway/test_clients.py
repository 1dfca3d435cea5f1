"""The job API's use cases: waiting, streams, cancellation, purge, health."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from submodel.contract import limits
from submodel.contract.exchange import Chunks, LeasedJob, Result
from submodel.contract.internal import GoneWorker
from submodel.contract.states import JobState, WorkerPhase
from submodel_gateway.errors import Conflict, NotFound, Overloaded, StreamEnded, Unavailable
from submodel_gateway.jobs.record import Job
from submodel_gateway.service import streams
from submodel_gateway.service.clients import NewJob, SubmitKey, Submitted
from submodel_gateway.service.streams import StreamPart
from submodel_gateway.store import base
from submodel_gateway.store.memory import MemoryStore
from tests.support.gateway_world import ENDPOINT, Worker, World, at_work, here, presence, settle, world


class InterruptedReads(MemoryStore):
    """Something happens while a job is read, once: `between` its record and what is beside it, or `after` both."""

    def __init__(self) -> None:
        super().__init__()
        self.between: Callable[[], Awaitable[object]] | None = None
        self.after: Callable[[], Awaitable[object]] | None = None

    async def content(self, job: Job) -> base.Content:
        await self._interrupt()
        return await super().content(job)

    async def chunks(self, job: Job, after: int, limit: int) -> list[bytes]:
        await self._interrupt()
        items = await super().chunks(job, after, limit)
        later, self.after = self.after, None
        if later is not None:
            await later()
        return items

    async def _interrupt(self) -> None:
        between, self.between = self.between, None
        if between is not None:
            await between()


async def stream(w: World, id: str, offset: int | None = None, wait_ms: int = 0) -> StreamPart:
    if offset is None:
        return await w.gateway.streams.once(ENDPOINT, id, wait_ms, here())
    return await w.gateway.streams.after(ENDPOINT, id, offset, wait_ms, here())


async def send(worker: Worker, job: LeasedJob, seq: int, *items: bytes) -> None:
    chunk = Chunks(id=job.id, token=job.token, seq=seq, items=[msgspec.Raw(item) for item in items])
    assert (await worker.say(chunks=[chunk])).refused == []


async def test_a_waiting_client_gets_the_result_as_soon_as_it_is_there() -> None:
    async with world() as w:
        id = (await w.gateway.clients.submit(ENDPOINT, NewJob(input=b"1"), sync=True)).id
        assert id.startswith("sync-")
        waits = asyncio.create_task(w.gateway.clients.wait(ENDPOINT, id, 600_000, here()))
        worker = Worker(w)
        (job,) = await worker.take()
        assert not waits.done()
        await worker.finish(job, b"42")
        view = await waits
        assert (view.job.state, view.output) == (JobState.COMPLETED, b"42")


@pytest.mark.requirement("client.runsync")
async def test_a_client_that_waited_long_enough_gets_the_job_as_it_is() -> None:
    async with world() as w:
        id = await w.submit()
        view = await w.gateway.clients.wait(ENDPOINT, id, 1, here())
        assert view.job.state is JobState.IN_QUEUE


@pytest.mark.requirement("client.foreign")
@pytest.mark.requirement("client.status.ttl")
async def test_a_reader_may_shorten_how_long_a_final_job_is_kept() -> None:
    async with world() as w:
        id = await w.submit()
        clients = w.gateway.clients
        worker = Worker(w)
        (job,) = await worker.take()
        await clients.status(ENDPOINT, id, 0)
        await worker.finish(job, b"42")
        assert (await clients.status(ENDPOINT, id, 5_000)).output == b"42"
        await clients.status(ENDPOINT, id, 1_000 * limits.RESULT_TTL_ASYNC_SECONDS * 2)
        await w.pass_time(4_000)
        assert (await clients.status(ENDPOINT, id)).output == b"42"
        await w.pass_time(1_000)
        with pytest.raises(NotFound):
            await clients.status(ENDPOINT, id)


async def test_unknown_endpoints_and_jobs_are_not_found() -> None:
    async with world() as w:
        id = await w.submit()
        await w.register("other")
        clients = w.gateway.clients
        with pytest.raises(NotFound):
            await clients.status(ENDPOINT, "x")
        with pytest.raises(NotFound):
            await clients.status("other", id)
        with pytest.raises(NotFound):
            await clients.cancel(ENDPOINT, "x")
        with pytest.raises(NotFound):
            await clients.submit("nowhere", NewJob(input=b"1"))
        with pytest.raises(NotFound):
            await stream(w, "x")


@pytest.mark.requirement("client.stream.once")
async def test_each_poll_of_a_stream_returns_only_what_is_new() -> None:
    async with at_work() as (w, worker, job):
        await send(worker, job, 1, b"1", b"2")
        assert (await stream(w, job.id)).items == [b"1", b"2"]
        assert (await stream(w, job.id)).items == []
        await send(worker, job, 3, b"3")
        assert (await stream(w, job.id)).items == [b"3"]


@pytest.mark.requirement("client.stream.once")
async def test_reading_a_stream_by_offset_changes_nothing() -> None:
    async with at_work() as (w, worker, job):
        await send(worker, job, 1, b"1", b"2")
        assert (await stream(w, job.id, offset=1)).items == [b"2"]
        assert (await stream(w, job.id, offset=0)).items == [b"1", b"2"]
        assert (await stream(w, job.id)).items == [b"1", b"2"]


@pytest.mark.requirement("client.stream.held")
async def test_a_held_stream_is_released_by_the_next_chunk() -> None:
    async with at_work() as (w, worker, job):
        reads = asyncio.create_task(stream(w, job.id, wait_ms=600_000))
        await settle()
        assert not reads.done()
        await send(worker, job, 1, b"1")
        assert (await reads).items == [b"1"]


@pytest.mark.requirement("client.stream.last")
async def test_the_answer_that_carries_the_final_state_carries_the_rest_of_the_stream() -> None:
    async with at_work() as (w, worker, job):
        await send(worker, job, 1, *(b"%d" % n for n in range(2_500)))
        assert len((await stream(w, job.id)).items) == 1_000
        await worker.finish(job)
        part = await stream(w, job.id)
        assert (part.job.state, part.items[0], len(part.items)) == (JobState.COMPLETED, b"1000", 1_500)


async def test_a_second_attempt_streams_from_its_beginning() -> None:
    async with world() as w:
        id = await w.submit()
        first = Worker(w, session="old")
        (job,) = await first.take()
        await send(first, job, 1, b"1", b"2")
        await stream(w, id)
        second = Worker(w, session="new")
        (job,) = await second.take()
        await send(second, job, 1, b"a")
        assert (await stream(w, id)).items == [b"a"]


@pytest.mark.requirement("client.cancel", "worker.stop.decided")
async def test_a_cancelled_job_says_so_and_a_finished_one_says_how_it_ended() -> None:
    async with world() as w:
        id = await w.submit()
        assert (await w.gateway.clients.cancel(ENDPOINT, id)).job.state is JobState.CANCELLED
        done = await w.submit()
        worker = Worker(w)
        (job,) = await worker.take()
        await worker.finish(job, b"1")
        view = await w.gateway.clients.cancel(ENDPOINT, done)
        assert (view.job.state, view.output) == (JobState.COMPLETED, b"1")


async def test_the_stream_of_a_cancelled_job_is_not_found_once_its_end_was_told() -> None:
    async with at_work() as (w, worker, job):
        await send(worker, job, 1, b"1")
        await w.gateway.clients.cancel(ENDPOINT, job.id)
        assert (await stream(w, job.id)).items == [b"1"]
        told = await stream(w, job.id)
        assert (told.job.state, told.items) == (JobState.CANCELLED, [])
        for _ in range(2):
            with pytest.raises(StreamEnded, match="was cancelled"):
                await stream(w, job.id)
        with pytest.raises(NotFound) as unknown:
            await w.gateway.streams.once("ns.other", job.id, 0, asyncio.get_running_loop().create_future())
        assert not isinstance(unknown.value, StreamEnded), "another endpoint learns nothing of it"
        assert (await stream(w, job.id, offset=0)).items == [b"1"]


@pytest.mark.requirement("platform.purge", "client.purge")
async def test_a_purge_removes_queued_jobs_only() -> None:
    async with world() as w:
        running = await w.submit()
        await Worker(w).take()
        for _ in range(3):
            await w.submit()
        assert await w.gateway.clients.purge(ENDPOINT) == 3
        assert (await w.status(running)).job.state is JobState.IN_PROGRESS


async def test_health_counts_jobs_and_workers() -> None:
    async with world() as w:
        await w.submit()
        await w.submit()
        await Worker(w, "busy").take()
        await Worker(w, "idle").say()
        await Worker(w, "booting").say(phase=WorkerPhase.STARTING)
        await Worker(w, "ill").say(phase=WorkerPhase.UNHEALTHY, reason="no GPU")
        workers = [presence("busy"), presence("new", "Pending"), presence("none", "Unschedulable")]
        workers += [presence("bad", "CrashLoopBackOff"), presence("leaving", "Terminating")]
        await w.gateway.registry.put_workers(ENDPOINT, workers, w.clock.ms)
        health = await w.gateway.clients.health(ENDPOINT)
        assert health.jobs == {"completed": 0, "failed": 0, "inProgress": 1, "inQueue": 1, "retried": 0}
        assert health.workers == {
            "idle": 1,
            "initializing": 2,
            "ready": 2,
            "running": 1,
            "throttled": 1,
            "unhealthy": 2,
        }


@pytest.mark.requirement("platform.policy")
async def test_policies_override_the_endpoints_limits() -> None:
    async with world() as w:
        await w.register(generation=2, execution_timeout_ms=7_000, ttl_ms=30_000, max_attempts=5)
        job = (await w.status(await w.submit())).job
        assert (job.execution_timeout_ms, job.deadline - job.created_at, job.max) == (7_000, 30_000, 5)
        job = (await w.status(await w.submit(execution_timeout_ms=9_000, ttl_ms=20_000))).job
        assert (job.execution_timeout_ms, job.deadline - job.created_at) == (9_000, 20_000)


async def test_a_closed_gateway_accepts_nothing() -> None:
    async with world() as w:
        pass
    with pytest.raises(Unavailable):
        await w.submit()


def key(body: str = "one", principal: str = "somebody") -> SubmitKey:
    return SubmitKey(principal, "order-7", body)


async def test_a_submit_with_a_known_key_leads_to_the_job_it_made_before() -> None:
    async with world() as w:
        first = await w.gateway.clients.submit(ENDPOINT, NewJob(input=b"1", key=key()))
        await w.gateway.clients.cancel(ENDPOINT, first.id)
        again = await w.gateway.clients.submit(ENDPOINT, NewJob(input=b"1", key=key()))
        assert again == Submitted(first.id, JobState.CANCELLED)
        other = await w.gateway.clients.submit(ENDPOINT, NewJob(input=b"1", key=key(principal="another")))
        assert other.id != first.id


async def test_a_key_with_another_body_is_refused_and_stores_nothing() -> None:
    async with world() as w:
        await w.gateway.clients.submit(ENDPOINT, NewJob(input=b"1", key=key()))
        with pytest.raises(Conflict, match="another body"):
            await w.gateway.clients.submit(ENDPOINT, NewJob(input=b"2", key=key("two")))
        assert w.store.tally(ENDPOINT).arrived == 1


async def test_a_full_store_takes_no_more_jobs_and_says_so() -> None:
    async with world(MemoryStore(jobs_max=1)) as w:
        await w.submit()
        with pytest.raises(Overloaded, match="takes no more jobs"):
            await w.submit()


@pytest.mark.requirement("client.retry")
async def test_a_failed_job_runs_again_and_another_does_not() -> None:
    async with at_work() as (w, worker, job):
        with pytest.raises(Conflict, match="is IN_PROGRESS; only FAILED and TIMED_OUT"):
            await w.gateway.clients.retry(ENDPOINT, job.id)
        await worker.say(results=[Result(id=job.id, token=job.token, error="no luck")], running=[])
        assert (await w.gateway.clients.retry(ENDPOINT, job.id)).job.state is JobState.IN_QUEUE
        assert (await w.status(job.id)).error is None
        worker.held.clear()
        (again,) = await worker.take()
        await worker.finish(again, b"2")
        assert (await w.status(job.id)).output == b"2"
        with pytest.raises(NotFound):
            await w.gateway.clients.retry(ENDPOINT, "x")


async def test_a_job_that_is_forgotten_while_it_is_read_is_not_found_rather_than_empty() -> None:
    store = InterruptedReads()
    async with at_work(store) as (w, worker, job):
        await send(worker, job, 1, b"1")
        await worker.finish(job)
        store.between = lambda: w.pass_time(1_000 * limits.RESULT_TTL_ASYNC_SECONDS)
        with pytest.raises(NotFound):
            await w.status(job.id)


async def test_items_that_go_while_a_final_job_is_streamed_are_not_passed_over_in_silence() -> None:
    store = InterruptedReads()
    async with at_work(store) as (w, worker, job):
        await send(worker, job, 1, b"1")
        await worker.say(results=[Result(id=job.id, token=job.token, error="no")])
        store.between = lambda: w.gateway.clients.retry(ENDPOINT, job.id)
        part = await stream(w, job.id, 0)
        assert (part.job.state, part.job.gen, part.items) == (JobState.IN_QUEUE, 2, [])


async def test_a_job_that_is_retried_while_it_is_read_is_read_as_it_is_then() -> None:
    store = InterruptedReads()
    async with at_work(store) as (w, worker, job):
        await worker.say(results=[Result(id=job.id, token=job.token, error="no")])
        store.between = lambda: w.gateway.clients.retry(ENDPOINT, job.id)
        view = await w.status(job.id)
        assert (view.job.state, view.job.gen, view.error) == (JobState.IN_QUEUE, 2, None)


@pytest.mark.requirement("client.stream.once")
async def test_a_read_of_a_stream_that_another_one_overtakes_returns_nothing_twice() -> None:
    store = InterruptedReads()
    async with at_work(store) as (w, worker, job):
        await send(worker, job, 1, b"1")

        async def read_all() -> None:
            await send(worker, job, 2, b"2")
            assert (await stream(w, job.id)).items == [b"1", b"2"]

        store.after = read_all
        assert (await stream(w, job.id)).items == []
        await send(worker, job, 3, b"3")
        assert (await stream(w, job.id)).items == [b"3"]


async def test_jobs_of_a_higher_priority_go_first() -> None:
    async with world() as w:
        await w.submit(b'"low"', priority=-1)
        await w.submit(b'"plain"')
        await w.submit(b'"high"', priority=1)
        jobs = await Worker(w).take(3)
        assert [bytes(job.input) for job in jobs] == [b'"high"', b'"plain"', b'"low"']


@pytest.mark.requirement("client.requests")
async def test_jobs_are_listed_the_newest_first_page_by_page() -> None:
    async with world() as w:
        ids = [await w.submit() for _ in range(5)]
        await w.gateway.clients.cancel(ENDPOINT, ids[1])
        first = await w.gateway.clients.requests(ENDPOINT, None, 2)
        assert [job.id for job in first.jobs] == ids[:2:-1]
        rest = await w.gateway.clients.requests(ENDPOINT, first.next, 10)
        assert ([job.id for job in rest.jobs], rest.next) == (ids[2::-1], None)
        cancelled = await w.gateway.clients.requests(ENDPOINT, None, 10, [JobState.CANCELLED])
        assert [job.id for job in cancelled.jobs] == [ids[1]]


async def test_large_inputs_and_outputs_pass_unchanged_and_leave_with_their_job() -> None:
    large = b'"' + b"x" * (2 * base.BLOB_BYTES) + b'"'
    async with world() as w:
        id = await w.submit(large)
        worker = Worker(w)
        (job,) = await worker.take()
        assert bytes(job.input) == large
        await worker.finish(job, large)
        assert (await w.status(id)).output == large
        await w.pass_time(1_000 * limits.RESULT_TTL_ASYNC_SECONDS)
        with pytest.raises(NotFound):
            await w.status(id)


async def test_an_endpoint_whose_jobs_take_workers_down_is_held_back_and_says_so() -> None:
    async with world() as w:
        workers = [Worker(w, f"w-{number}") for number in range(6)]
        for worker in workers:
            await w.submit()
            await worker.take()
        gone = [GoneWorker(worker=worker.name, reason="OOMKilled") for worker in workers]
        await w.gateway.registry.gone(ENDPOINT, gone)
        assert "one at a time" in ((await w.gateway.clients.health(ENDPOINT)).warning or "")
        probe, other = Worker(w, "probe"), Worker(w, "other")
        (job,) = await probe.take(6)
        assert await other.take(6) == []
        await probe.finish(job)
        assert (await w.gateway.clients.health(ENDPOINT)).warning is None
        assert len(await other.take(6)) == 5


async def test_the_places_of_readers_are_bounded_also_when_another_gateway_forgets_the_jobs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "CURSORS_MAX", 2)
    async with world() as w:
        worker = Worker(w)
        ids = [await w.submit() for _ in range(3)]
        for job in await worker.take(3):
            await send(worker, job, 1, b"1")
            assert (await stream(w, job.id)).items == [b"1"]
        assert (await stream(w, ids[1])).items == []
        assert (await stream(w, ids[0])).items == [b"1"], "the place of the job that was read longest ago is not known"
        assert list(w.gateway.streams._cursors) == [ids[1], ids[0]]
