"""Workers of the legacy dialect ask for jobs: what they get, when they wait, and what their asking gives away."""

import asyncio

import pytest

from submodel.contract.internal import GoneWorker
from submodel.contract.states import JobState
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.service.legacy import LEAVING_WAIT_MS, Ask
from submodel_gateway.service.legacy_memory import UNCONFIRMED_MS, LegacyMemory
from submodel_gateway.store import base
from submodel_gateway.store.memory import MemoryStore
from tests.support.gateway_world import ENDPOINT, TOKEN, FailingStore, World, here, presence, settle, world
from tests.support.legacy_worker import Call, LegacyWorker, at_work


async def held(call: Call) -> bool:
    """Whether a request is still waiting once everything else has run."""
    await settle()
    return not call.done


@pytest.mark.requirement("worker.job.shape", "worker.job.reserved", "platform.s3")
async def test_a_worker_gets_a_job_with_its_input_and_the_clients_other_fields() -> None:
    async with world() as w:
        id = await w.submit(b'{"x": [1, "\xc3\xa9"]}', extra=b'{"s3Config": {"a": 1}, "self": 2, "id": "mine"}')
        job = await LegacyWorker(w).take()
        assert job == {"id": id, "input": {"x": [1, "é"]}, "s3Config": {"a": 1}}
        assert (await w.status(id)).job.worker == "w-1"


@pytest.mark.requirement("worker.auth.header")
async def test_the_key_is_taken_with_and_without_the_word_bearer() -> None:
    async with world() as w:
        for key in (TOKEN, f"Bearer {TOKEN}"):
            await w.submit()
            await LegacyWorker(w, key=key).take(running=True)


@pytest.mark.requirement("worker.auth.header")
async def test_a_key_in_the_url_goes_before_the_one_that_an_sdk_found_in_its_image() -> None:
    async with world() as w:
        id = await w.submit()
        worker = LegacyWorker(w, key="of the image", query=f"sdk=runpod&t={TOKEN}")
        assert (await worker.take())["id"] == id
        stopping = worker.call("GET", f"job-stop/{worker.name}?sdk=runpod&t={TOKEN}")
        answers = [await worker.ping(id), await worker.chunk(id, 1), await worker.done(id, {"output": 1})]
        assert [answer.status for answer in answers] == [200, 200, 200]
        assert (await w.status(id)).job.state is JobState.COMPLETED
        stopping.hang_up()
        assert (await stopping.answer()).status == 204
        assert (await LegacyWorker(w, query="sdk=runpod&t=unknown").ping()).status == 401


@pytest.mark.requirement("worker.take.batch")
async def test_a_batch_brings_what_is_there_up_to_its_size() -> None:
    async with world() as w:
        ids = [await w.submit() for _ in range(3)]
        worker = LegacyWorker(w)
        first = await worker.ask(batch=2).answer()
        assert [job["id"] for job in first.json] == ids[:2]
        second = await worker.ask(running=True, batch=5).answer()
        assert [job["id"] for job in second.json] == ids[2:]


@pytest.mark.requirement("worker.take.batch")
@pytest.mark.parametrize("size", ["", "0", "-1", "x", "99999"])
async def test_a_batch_of_an_odd_size_is_no_error(size: str) -> None:
    async with world() as w:
        id = await w.submit()
        answer = await LegacyWorker(w).call("GET", f"job-take-batch/w-1?batch_size={size}").answer()
        assert [job["id"] for job in answer.json] == [id]


@pytest.mark.requirement("worker.take.woken")
async def test_an_empty_ask_is_held_until_a_job_comes() -> None:
    async with world() as w:
        call = LegacyWorker(w).ask()
        assert await held(call)
        id = await w.submit()
        assert (await call.answer()).json["id"] == id


@pytest.mark.requirement("worker.take.abandoned", "worker.job.attempt")
async def test_a_worker_that_hangs_up_leaves_the_job_to_the_next_which_gets_it_under_another_id() -> None:
    store = FailingStore()
    async with world(store) as w:
        id = await w.submit()
        hangup = here()
        store.meanwhile = {base.Take: lambda: hangup.set_result(None)}
        assert await w.gateway.legacy.take(ENDPOINT, "w-1", TOKEN, Ask(1, running=False), hangup) == []
        store.meanwhile.clear()
        assert (await LegacyWorker(w, "w-2").take())["id"] == f"{id}-a2"
        assert (await w.status(id)).job.used == 1


async def test_a_worker_that_hung_up_before_its_ask_was_served_is_handed_nothing() -> None:
    async with world() as w:
        id = await w.submit()
        hangup = here()
        hangup.set_result(None)
        assert await w.gateway.legacy.take(ENDPOINT, "w-1", TOKEN, Ask(1, running=False), hangup) == []
        assert (await LegacyWorker(w, "w-2").take())["id"] == id


async def test_a_held_ask_ends_with_its_caller() -> None:
    async with world() as w:
        call = LegacyWorker(w).ask()
        assert await held(call)
        call.hang_up()
        assert (await call.answer()).status == 204


@pytest.mark.requirement("worker.take.held")
@pytest.mark.parametrize("path", ["job-take/w-1?sdk=runpod", "job-take-batch/w-1?batch_size=3", "job-stop/w-1?x"])
async def test_an_answer_that_brings_nothing_has_no_body(path: str) -> None:
    async with world() as w:
        call = LegacyWorker(w).call("GET", path)
        assert await held(call)
        w.gateway.drain()
        answer = await call.answer()
        assert (answer.status, answer.body) == (204, b"")
        assert set(answer.headers) == {b"x-request-id"}


@pytest.mark.requirement("worker.drain.released")
async def test_a_draining_worker_is_answered_at_once_and_gets_no_more_jobs() -> None:
    async with world() as w:
        worker = LegacyWorker(w)
        call, stops = worker.ask(), worker.ask_stops()
        assert await held(call)
        await w.gateway.registry.drain(ENDPOINT, ["w-1"])
        assert (await call.answer()).status == 204
        assert (await stops.answer()).status == 204
        await w.submit()
        again = worker.ask()
        assert await held(again)
        (view,) = (await w.snapshot()).workers
        assert (view.draining, view.running) == (True, 0)
        await w.gateway.registry.undrain(ENDPOINT, ["w-1"])
        assert (await again.answer()).status == 204
        await worker.take()


async def test_what_a_worker_asks_that_gets_nothing_more_is_not_held_for_long() -> None:
    async with world() as w:
        worker = LegacyWorker(w)
        await w.gateway.registry.drain(ENDPOINT, ["w-1"])
        assert await held(worker.ask())
        assert await held(worker.ask_stops())
        session = w.gateway.endpoints.get(ENDPOINT).sessions["w-1"]
        assert [hold._wait_ms for hold in session.polls] == [LEAVING_WAIT_MS] * 2


@pytest.mark.requirement("worker.drain.released")
async def test_a_worker_whose_pod_terminates_is_let_go_by_whomever_it_was_ended() -> None:
    async with world() as w:
        worker = LegacyWorker(w)
        call = worker.ask()
        assert await held(call)
        await w.gateway.registry.put_workers(ENDPOINT, [presence("w-1", "Terminating")], w.clock.ms)
        assert (await call.answer()).status == 204
        await w.submit()
        assert await held(worker.ask())


@pytest.mark.requirement("worker.lost.gone")
async def test_a_worker_that_is_gone_gives_its_job_to_another_and_gets_nothing() -> None:
    async with at_work() as (w, worker, id):
        await w.gateway.registry.gone(ENDPOINT, [GoneWorker(worker="w-1", reason="exit 3")])
        assert await held(worker.ask())
        assert (await LegacyWorker(w, "w-2").take())["id"] == f"{id}-a2"


@pytest.mark.requirement("worker.lost.idle")
async def test_a_job_that_a_worker_says_it_does_not_run_goes_to_the_next() -> None:
    async with at_work() as (w, worker, id):
        await w.pass_time(6_000)
        job = await worker.take()
        assert (job["id"], (await w.status(id)).job.used) == (f"{id}-a2", 2)


@pytest.mark.requirement("worker.lost.idle", "worker.take.unconfirmed")
async def test_a_job_handed_out_a_moment_ago_is_lost_while_the_next_ask_is_held() -> None:
    async with at_work() as (w, worker, id):
        w.clock.ms += 5_000
        call = worker.ask()
        assert await held(call)
        assert (await w.status(id)).job.state is JobState.IN_PROGRESS
        w.clock.ms += 1
        assert (await call.answer()).json["id"] == f"{id}-a2"


class Watched(MemoryStore):
    """The store in memory: `looked` is set when it is asked who holds a job; `behind`, it counts nothing yet."""

    def __init__(self) -> None:
        super().__init__()
        self.looked = asyncio.Event()
        self.behind = False

    async def held(self, endpoint: str, worker: str) -> list[Job]:
        self.looked.set()
        return await super().held(endpoint, worker)

    def tally(self, endpoint: str) -> Tally:
        return Tally() if self.behind else super().tally(endpoint)


async def test_where_no_job_runs_it_is_not_looked_which_ones_a_worker_holds() -> None:
    store = Watched()
    async with at_work(store) as (_, worker, id):
        await worker.done(id, {"output": 1})
        store.looked.clear()
        assert await held(worker.ask())
        assert not store.looked.is_set()


@pytest.mark.requirement("worker.lost.idle")
async def test_what_another_gateway_handed_out_a_moment_ago_is_looked_for_while_the_ask_is_held() -> None:
    store = Watched()
    async with at_work(store) as (w, _, _):
        worker = LegacyWorker(w, sdk="runpod/1.7.4")
        store.behind = True
        early = worker.ask()
        assert await held(early)
        early.hang_up()
        await early.answer()
        w.clock.ms += UNCONFIRMED_MS - 1
        store.looked.clear()
        late = worker.ask()
        assert await held(late)
        assert not store.looked.is_set()
        store.behind = False
        w.clock.ms += 1
        await store.looked.wait()
        late.hang_up()
        await late.answer()


@pytest.mark.requirement("worker.lost.idle")
async def test_a_worker_that_runs_another_job_keeps_both() -> None:
    async with world() as w:
        await w.submit()
        worker = LegacyWorker(w)
        await worker.take()
        await w.pass_time(6_000)
        assert await held(worker.ask(running=True))
        assert (await w.snapshot()).in_progress == 1


@pytest.mark.requirement("worker.lost.idle")
async def test_an_sdk_that_does_not_say_whether_it_runs_a_job_loses_none_by_asking() -> None:
    async with world() as w:
        await w.submit()
        worker = LegacyWorker(w, sdk="")
        await worker.take(running=None)
        await w.pass_time(6_000)
        assert await held(worker.ask(running=None))
        assert (await w.snapshot()).in_progress == 1


async def test_an_sdk_that_fetches_ahead_must_say_for_a_while_that_it_runs_none() -> None:
    async with world() as w:
        id = await w.submit()
        worker = LegacyWorker(w, sdk="runpod/1.7.4")
        await worker.take()
        await w.pass_time(20_000)
        first = worker.ask()
        assert await held(first)
        assert (await w.status(id)).job.state is JobState.IN_PROGRESS
        first.hang_up()
        await first.answer()
        await w.pass_time(16_000)
        assert (await worker.take())["id"] == f"{id}-a2"


async def test_a_job_taken_meanwhile_is_not_lost_by_what_was_said_before() -> None:
    async with world() as w:
        worker = LegacyWorker(w, sdk="runpod/1.7.4")
        early = worker.ask()
        assert await held(early)
        early.hang_up()
        await early.answer()
        await w.submit()
        await worker.take()
        await w.pass_time(30_000)
        assert await held(worker.ask())
        assert (await w.snapshot()).in_progress == 1


def test_what_was_said_before_a_take_is_not_about_it() -> None:
    memory = LegacyMemory(sdk="runpod/1.12.0")
    memory.hear_ask(running=False, now=100, store_now=100)
    assert memory.lost_at(101) is None
    assert memory.lost_at(100) == 100 + UNCONFIRMED_MS
    memory.hear_ask(running=True, now=200, store_now=200)
    assert memory.lost_at(100) is None


async def test_a_result_on_its_way_to_the_store_is_no_lost_job() -> None:
    store = FailingStore()
    async with at_work(store) as (w, worker, id):
        store.refused = {base.Finish}
        post = worker.send_done(id, {"output": 1})
        assert await held(post)
        await w.pass_time(6_000)
        assert await held(worker.ask())
        store.refused = set()
        assert (await post.answer()).status == 200
        assert (await w.status(id)).job.state is JobState.COMPLETED


@pytest.mark.requirement("worker.take.refused")
async def test_an_ask_that_the_store_cannot_serve_is_held_and_brings_nothing() -> None:
    store = FailingStore()
    async with world(store) as w:
        store.refused = {base.Take}
        await w.submit()
        call = LegacyWorker(w).ask()
        assert await held(call)
        call.hang_up()
        assert (await call.answer()).status == 204


@pytest.mark.requirement("worker.take.refused")
async def test_a_defect_of_the_gateway_does_not_make_its_workers_storm_it() -> None:
    class Broken(MemoryStore):
        async def held(self, endpoint: str, worker: str) -> list[Job]:
            raise RuntimeError("a defect")

    async with world(Broken()) as w:
        call = LegacyWorker(w).ask()
        assert await held(call)
        call.hang_up()
        assert (await call.answer()).status == 500


@pytest.mark.requirement("worker.take.refused")
@pytest.mark.parametrize(("key", "endpoint", "status"), [("wrong", ENDPOINT, 401), (TOKEN, "ns.other", 404)])
async def test_an_ask_that_is_refused_is_held_before(key: str, endpoint: str, status: int) -> None:
    async with world() as w:
        for operation in ("job-take", "job-take-batch", "job-stop"):
            call = LegacyWorker(w, key=key).call("GET", f"{operation}/w-1?sdk=x", endpoint=endpoint)
            assert await held(call)
            call.hang_up()
            assert (await call.answer()).status == status


async def test_a_new_gateway_knows_what_a_worker_holds() -> None:
    async with world() as before:
        id = await before.submit()
        await LegacyWorker(before).take()
        after = World(before.store)
        after.clock.ms = before.clock.ms
        await after.gateway.start()
        worker = LegacyWorker(after)
        await worker.ping(id)
        (view,) = (await after.snapshot()).workers
        assert (view.running, view.phase) == (1, "ready")
        assert (await worker.done(id, {"output": 1})).status == 200
        assert (await after.status(id)).output == b"1"
        await after.gateway.close()
