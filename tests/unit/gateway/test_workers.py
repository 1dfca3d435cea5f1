"""The worker exchange: what a request does, what it waits for, and what a worker hears."""

import asyncio

import msgspec
import pytest

from submodel.contract import limits
from submodel.contract.exchange import Chunks, ExchangeRequest, Held, Progress, Refused, Result, Startup
from submodel.contract.internal import GoneWorker
from submodel.contract.states import JobState, WorkerPhase
from submodel_gateway.errors import NotFound, OperationFailed, Unauthorized, Unavailable
from submodel_gateway.jobs.transition import CHUNK_BYTES_MAX
from submodel_gateway.store import base
from tests.support.gateway_world import ENDPOINT, TOKEN, FailingStore, Worker, at_work, here, presence, settle, world


async def test_a_waiting_worker_gets_a_job_as_soon_as_it_is_submitted() -> None:
    async with world() as w:
        worker = Worker(w)
        polls = asyncio.create_task(worker.take(wait_ms=20_000))
        await settle()
        assert not polls.done()
        id = await w.submit(b'{"x": 1}', extra=b'{"s3Config": {"a": 1}}')
        (job,) = await polls
        assert (job.id, bytes(job.input), bytes(job.extra["s3Config"])) == (id, b'{"x": 1}', b'{"a": 1}')
        assert job.policy.execution_timeout_ms == limits.EXECUTION_TIMEOUT_MS_DEFAULT


async def test_jobs_go_to_as_many_waiting_workers_as_there_are() -> None:
    async with world() as w:
        polls = [asyncio.create_task(Worker(w, f"w-{n}").take(wait_ms=20_000)) for n in range(3)]
        await settle()
        ids = await asyncio.gather(*(w.submit() for _ in range(3)))
        got = [jobs[0].id for jobs in await asyncio.gather(*polls)]
        assert sorted(got) == sorted(ids)


async def test_of_idle_workers_the_last_to_have_worked_gets_the_next_job_so_that_the_others_may_go() -> None:
    async with world() as w:
        workers = [Worker(w, f"w-{n}") for n in range(3)]
        for n in (0, 2, 1):  # so long have they been idle, the longest first
            await workers[n].say(capacity=0)
            w.clock.ms += 1000
        polls = [asyncio.create_task(worker.take(wait_ms=20_000)) for worker in workers]
        await settle()
        await w.submit()
        await settle()
        assert [poll.done() for poll in polls] == [False, True, False]
        await w.submit()
        await w.submit()
        assert all([await poll for poll in polls])


async def test_an_exchange_brings_at_most_its_capacity() -> None:
    async with world() as w:
        for _ in range(3):
            await w.submit()
        assert len(await Worker(w).take(capacity=2)) == 2
        assert (await w.snapshot()).queued == 1


@pytest.mark.parametrize("phase", [WorkerPhase.STARTING, WorkerPhase.DRAINING, WorkerPhase.UNHEALTHY])
async def test_only_a_ready_worker_gets_jobs(phase: WorkerPhase) -> None:
    async with world() as w:
        await w.submit()
        assert await Worker(w).take(phase=phase) == []


async def test_a_result_and_the_next_job_travel_in_one_exchange() -> None:
    async with world() as w:
        first, second = await w.submit(), await w.submit()
        worker = Worker(w)
        (job,) = await worker.take()
        answer = await worker.finish(job, b"42", capacity=1)
        assert [job.id for job in answer.jobs] == [second]
        view = await w.status(first)
        assert (view.job.state, view.output) == (JobState.COMPLETED, b"42")


async def test_a_result_that_asks_for_a_fresh_worker_gets_this_one_replaced_and_no_further_job() -> None:
    async with world() as w:
        await w.submit()
        await w.submit()
        worker = Worker(w)
        (job,) = await worker.take()
        result = Result(id=job.id, token=job.token, output=msgspec.Raw(b"1"), stop_worker=True)
        worker.held.clear()
        answer = await worker.say(results=[result], capacity=1)
        assert (answer.jobs, answer.drain) == ([], True)
        (view,) = (await w.snapshot()).workers
        assert (view.replace, view.draining, view.running) == (True, True, 0)
        assert view.reason == "a job asked for a fresh worker"


async def test_what_a_workers_start_was_made_of_is_in_the_snapshot() -> None:
    async with world() as w:
        worker = Worker(w)
        await worker.say(startup=Startup(import_ms=100, load_ms=9_000, check_ms=5))
        await worker.say()
        (view,) = (await w.snapshot()).workers
        assert view.startup == Startup(import_ms=100, load_ms=9_000, check_ms=5)


async def test_when_a_process_asked_for_jobs_first_is_in_the_snapshot_and_stays() -> None:
    async with world() as w:
        worker = Worker(w)
        await worker.say(phase=WorkerPhase.STARTING)
        (view,) = (await w.snapshot()).workers
        assert view.asked_ms is None
        w.clock.ms += 500
        asked_ms = w.clock.ms
        for _ in range(2):
            await worker.say()
            w.clock.ms += 1_000
        (view,) = (await w.snapshot()).workers
        assert view.asked_ms == asked_ms


async def test_a_request_that_was_overtaken_does_not_take_a_workers_phase_back() -> None:
    async with world() as w:
        worker = Worker(w)
        await worker.say(request=2, unanswered=[1])
        await worker.say(request=1, phase=WorkerPhase.STARTING)
        (view,) = (await w.snapshot()).workers
        assert view.phase is WorkerPhase.READY


async def test_a_job_whose_handler_failed_runs_again_where_its_endpoint_says_so_and_not_for_ever() -> None:
    async with world() as w:
        await w.register(max_attempts=2, retry_errors=True)
        id = await w.submit()
        worker = Worker(w)
        for state in (JobState.IN_QUEUE, JobState.FAILED):
            await w.pass_time(60_000)
            (job,) = await worker.take()
            worker.held.clear()
            await worker.say(results=[Result(id=job.id, token=job.token, error="it broke")])
            assert (await w.status(id)).job.state is state


async def test_a_result_can_be_read_for_as_long_as_its_endpoint_says() -> None:
    async with world() as w:
        await w.register(result_ttl_seconds=5)
        id = await w.submit()
        worker = Worker(w)
        (job,) = await worker.take()
        await worker.finish(job)
        await w.pass_time(4_000)
        assert (await w.status(id)).job.state is JobState.COMPLETED
        await w.pass_time(2_000)
        with pytest.raises(NotFound):
            await w.status(id)


async def test_jobs_that_a_process_completed_and_failed_are_in_the_snapshot_and_those_that_it_lost_are_not() -> None:
    async with world() as w:
        for _ in range(4):
            await w.submit()
        worker = Worker(w)
        done, failed, released, cancelled = await worker.take(capacity=4)
        await worker.finish(done)
        await worker.say(results=[Result(id=failed.id, token=failed.token, error="it broke")])
        await worker.say(released=[Held(id=released.id, token=released.token)])
        await w.gateway.clients.cancel(ENDPOINT, cancelled.id)
        (view,) = (await w.snapshot()).workers
        assert (view.completed, view.failed) == (1, 1)
        await Worker(w, session="another process").say()
        (view,) = (await w.snapshot()).workers
        assert (view.completed, view.failed) == (0, 0)


async def test_a_worker_that_hung_up_before_its_request_was_served_is_handed_nothing() -> None:
    async with world() as w:
        worker = Worker(w, "w-1")
        await worker.say()
        id = await w.submit()
        hangup = here()
        hangup.set_result(None)
        assert await worker.take(hangup=hangup) == []
        (job,) = await Worker(w, "w-2").take()
        assert (job.id, job.attempt) == (id, 1)


async def test_a_worker_that_gave_up_while_the_gateway_stood_still_is_handed_nothing() -> None:
    """Its request is read before the end of its connection."""
    async with world() as w:
        await w.gateway.start()
        worker = Worker(w, "w-1")
        await worker.say()
        id = await w.submit()
        w.clock.ms += 30_000
        hangup = here()
        take = asyncio.create_task(worker.take(hangup=hangup))
        await settle()
        hangup.set_result(None)
        assert await take == []
        (job,) = await Worker(w, "w-2").take()
        assert (job.id, job.attempt) == (id, 1)


async def test_a_held_worker_that_gave_up_while_the_gateway_stood_still_is_handed_nothing() -> None:
    async with world() as w:
        await w.gateway.start()
        hangup = here()
        held = asyncio.create_task(Worker(w, "w-1").take(wait_ms=20_000, hangup=hangup))
        await settle()
        w.clock.ms += 30_000
        id = await w.submit()
        await settle()
        hangup.set_result(None)
        assert await held == []
        (job,) = await Worker(w, "w-2").take()
        assert (job.id, job.attempt) == (id, 1)


async def test_a_worker_that_gave_up_while_the_gateway_stood_still_in_its_take_leaves_the_job_to_others() -> None:
    store = FailingStore()
    async with world(store) as w:
        await w.gateway.start()
        worker = Worker(w, "w-1")
        await worker.say()
        id = await w.submit()
        store.meanwhile = {base.Take: lambda: setattr(w.clock, "ms", w.clock.ms + 30_000)}
        hangup = here()
        take = asyncio.create_task(worker.take(hangup=hangup))
        await settle()
        hangup.set_result(None)
        assert await take == []
        store.meanwhile.clear()
        (job,) = await Worker(w, "w-2").take()
        assert job.id == id


async def test_the_last_word_of_a_process_that_is_gone_ends_nothing_of_the_next_one() -> None:
    """Which speaks to another gateway: this one stood still meanwhile and knows neither."""
    async with world() as w:
        await w.gateway.start()
        id = await w.submit()
        (job,) = await Worker(w, "w-1", "s-2").take()
        w.gateway.endpoints.get(ENDPOINT).sessions.clear()
        w.clock.ms += 30_000
        hangup = here()
        late = asyncio.create_task(Worker(w, "w-1", "s-1").take(hangup=hangup))
        await settle()
        hangup.set_result(None)
        with pytest.raises(Unavailable):
            await late
        assert (await w.status(id)).job.token == job.token


async def test_a_worker_that_hangs_up_before_its_answer_leaves_the_job_to_others() -> None:
    store = FailingStore()
    async with world(store) as w:
        id = await w.submit()
        hangup = here()
        store.meanwhile = {base.Take: lambda: hangup.set_result(None)}
        assert await Worker(w, "w-1").take(hangup=hangup) == []
        store.meanwhile.clear()
        (job,) = await Worker(w, "w-2").take()
        assert job.id == id
        assert (job.attempt, (await w.status(id)).job.used) == (2, 1)


async def test_a_held_exchange_whose_take_fails_is_refused_at_once() -> None:
    store = FailingStore()
    async with world(store) as w:
        store.refused = {base.Take}
        poll = asyncio.create_task(Worker(w).take(wait_ms=20_000))
        await settle()
        await w.submit()
        await settle()
        assert poll.done()
        with pytest.raises(OperationFailed, match="the disk is full"):
            await poll


async def test_a_held_exchange_ends_with_its_caller() -> None:
    async with world() as w:
        hangup = here()
        poll = asyncio.create_task(Worker(w).take(wait_ms=20_000, hangup=hangup))
        await settle()
        hangup.set_result(None)
        await settle()
        assert poll.done()


async def test_a_wrong_token_is_unauthorized_and_an_unknown_endpoint_unknown() -> None:
    async with world() as w:
        request = ExchangeRequest(session="s", request=1, phase=WorkerPhase.READY)
        with pytest.raises(Unauthorized):
            await w.gateway.workers.exchange(ENDPOINT, "w", "wrong", request, here())
        with pytest.raises(NotFound):
            await w.gateway.workers.exchange("other", "w", TOKEN, request, here())


async def test_a_stale_result_is_refused_and_the_rest_goes_through() -> None:
    async with world() as w:
        ids = [await w.submit(), await w.submit()]
        worker = Worker(w)
        jobs = await worker.take(capacity=2)
        results = [
            Result(id=jobs[0].id, token="1-stale", output=msgspec.Raw(b"1")),
            Result(id=jobs[1].id, token=jobs[1].token, error="boom"),
        ]
        answer = await worker.say(results=results)
        assert answer.refused == [Refused(id=jobs[0].id, reason="stale", token="1-stale")]
        assert [(await w.status(id)).job.state for id in ids] == [JobState.IN_PROGRESS, JobState.FAILED]


async def test_a_cancelled_job_stops_its_worker_at_once() -> None:
    async with world() as w:
        id = await w.submit()
        worker = Worker(w)
        await worker.take()
        poll = asyncio.create_task(worker.say(wait_ms=20_000))
        await settle()
        await w.gateway.clients.cancel(ENDPOINT, id)
        answer = await poll
        assert (answer.stop, answer.stop_tokens) == ([id], [worker.held[id].token])


async def test_a_stop_names_the_lease_that_ended_even_when_the_worker_has_the_job_again() -> None:
    async with world() as w:
        id = await w.submit()
        worker = Worker(w)
        (first,) = await worker.take()
        lost = GoneWorker(worker="w-1", reason="a mistake", charged=False)
        await w.gateway.registry.gone(ENDPOINT, [lost])
        await w.gateway.registry.put_workers(ENDPOINT, [presence("w-1")], w.clock.ms)
        answer = await worker.say(capacity=1)
        assert ([job.id for job in answer.jobs], answer.stop) == ([id], [])
        assert answer.stop_tokens == [first.token]


async def test_a_stop_that_was_told_is_repeated_without_hurry() -> None:
    async with world() as w:
        id = await w.submit()
        worker = Worker(w)
        await worker.take()
        await w.gateway.clients.cancel(ENDPOINT, id)
        assert (await worker.say()).stop == [id]
        poll = asyncio.create_task(worker.say(wait_ms=20_000))
        await settle()
        assert not poll.done()
        w.gateway.workers.close()
        assert (await poll).stop == [id]


async def test_a_job_over_its_execution_limit_stops_its_worker() -> None:
    async with world() as w:
        id = await w.submit(execution_timeout_ms=5_000)
        worker = Worker(w)
        await worker.take()
        poll = asyncio.create_task(worker.say(wait_ms=20_000))
        await settle()
        await w.pass_time(5_000)
        assert (await poll).stop == [id]
        assert (await w.status(id)).job.state is JobState.TIMED_OUT


async def test_draining_tells_the_worker_and_keeps_jobs_from_it() -> None:
    async with world() as w:
        worker = Worker(w)
        poll = asyncio.create_task(worker.say(capacity=1, wait_ms=20_000))
        await settle()
        await w.gateway.registry.drain(ENDPOINT, ["w-1"])
        assert (await poll).drain
        await w.submit()
        assert await worker.take() == []
        await w.gateway.registry.undrain(ENDPOINT, ["w-1"])
        answer = await worker.say(capacity=1)
        assert (answer.drain, len(answer.jobs)) == (False, 1)


async def test_released_jobs_go_back_uncharged() -> None:
    async with at_work() as (w, worker, job):
        worker.held.clear()
        await worker.say(released=[Held(id=job.id, token=job.token)])
        job_now = (await w.status(job.id)).job
        assert (job_now.state, job_now.used) == (JobState.IN_QUEUE, 0)


async def test_an_oversized_output_fails_the_job_and_says_so() -> None:
    async with at_work() as (w, worker, job):
        answer = await worker.finish(job, b'"' + b"x" * limits.RUN_BODY_BYTES + b'"')
        assert answer.refused == [Refused(id=job.id, reason="too-large", token=job.token)]
        view = await w.status(job.id)
        assert view.job.state is JobState.FAILED
        assert "the limit is" in (view.error or "")


async def test_an_oversized_error_fails_the_job_with_a_shorter_one() -> None:
    async with at_work() as (w, worker, job):
        result = Result(id=job.id, token=job.token, error="x" * (limits.RUN_BODY_BYTES + 1))
        assert (await worker.say(results=[result], running=[])).refused[0].reason == "too-large"
        view = await w.status(job.id)
        assert view.job.state is JobState.FAILED
        assert f"its error has {limits.RUN_BODY_BYTES + 1} characters" in str(view.error)


async def test_an_oversized_chunk_fails_the_job() -> None:
    async with at_work() as (w, worker, job):
        big = msgspec.Raw(b'"' + b"x" * limits.CHUNK_BYTES + b'"')
        answer = await worker.say(chunks=[Chunks(id=job.id, token=job.token, seq=1, items=[big])])
        assert Refused(id=job.id, reason="too-large", token=job.token) in answer.refused
        assert (await w.status(job.id)).job.state is JobState.FAILED


async def test_an_oversized_progress_fails_the_job() -> None:
    async with at_work() as (w, worker, job):
        value = msgspec.Raw(b'"' + b"x" * limits.CHUNK_BYTES + b'"')
        refused = (await worker.say(progress=[Progress(id=job.id, token=job.token, value=value)])).refused
        assert [item.reason for item in refused] == ["too-large"]
        view = await w.status(job.id)
        assert (view.job.state, view.output) == (JobState.FAILED, None)
        assert "a progress value is larger" in str(view.error)


async def test_a_stale_output_of_a_job_takes_nothing_of_its_live_one_along() -> None:
    async with at_work() as (w, worker, job):
        outputs = [b'"' + letter * base.BLOB_BYTES + b'"' for letter in (b"s", b"l")]
        results = [
            Result(id=job.id, token=token, output=msgspec.Raw(output))
            for token, output in zip(("1-stale", job.token), outputs, strict=True)
        ]
        answer = await worker.say(results=results, running=[])
        assert answer.refused == [Refused(id=job.id, reason="stale", token="1-stale")]
        assert (await w.status(job.id)).output == outputs[1]


async def test_a_stream_over_its_total_fails_the_job() -> None:
    async with at_work() as (w, worker, job):
        item = msgspec.Raw(b'"' + b"x" * (limits.CHUNK_BYTES - 2) + b'"')
        items = [item] * (CHUNK_BYTES_MAX // limits.CHUNK_BYTES + 1)
        answer = await worker.say(chunks=[Chunks(id=job.id, token=job.token, seq=1, items=items)])
        assert answer.refused == [Refused(id=job.id, reason="too-large", token=job.token)]
        assert (await w.status(job.id)).job.state is JobState.FAILED


async def test_progress_is_readable_while_the_job_runs() -> None:
    async with at_work() as (w, worker, job):
        await worker.say(progress=[Progress(id=job.id, token=job.token, value=msgspec.Raw(b'"50%"'))])
        assert (await w.status(job.id)).output == b'"50%"'


async def test_a_gateway_that_goes_down_answers_held_exchanges_and_asks_to_come_back() -> None:
    async with world() as w:
        worker = Worker(w)
        poll = asyncio.create_task(worker.say(capacity=1, wait_ms=20_000))
        await settle()
        w.gateway.drain()
        answer = await poll
        assert (answer.jobs, answer.drain, answer.retry_after_ms > 0) == ([], False, True)
