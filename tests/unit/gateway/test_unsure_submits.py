"""A submit that is answered with 503 names its job where that was stored, or may have been."""

import json

import pytest

from submodel.contract.states import JobState
from submodel_gateway.errors import StoreAway
from submodel_gateway.http.public import public_app
from submodel_gateway.jobs.record import Job
from submodel_gateway.service import unread
from submodel_gateway.service.access import Open
from submodel_gateway.service.unread import FREE_BYTES
from submodel_gateway.store import base
from submodel_gateway.store.memory import MemoryStore
from tests.support.gateway_world import ENDPOINT, TOKEN, FailingStore, UnsureStore, Worker, World, settle, world
from tests.support.legacy_worker import Answer, Call

BODY = b'{"input": 1}'
LARGE = b'"' + b"x" * 2 * FREE_BYTES + b'"'


class Unreadable(MemoryStore):
    """The store in memory, whose records cannot be read."""

    async def job(self, endpoint: str, id: str) -> Job | None:
        raise StoreAway("nobody answers")


def call(w: World, path: str, body: bytes = BODY, key: str = "") -> Call:
    sent = {"authorization": f"Bearer {TOKEN}", "idempotency-key": key}
    return Call(public_app(w.gateway, Open()), "POST", f"/v2/{ENDPOINT}/{path}", sent, body)


async def post(w: World, path: str, body: bytes = BODY, key: str = "") -> Answer:
    return await call(w, path, body, key).answer()


@pytest.mark.parametrize("path", ["run", "runsync"])
async def test_a_submit_whose_commit_nobody_confirmed_names_the_job_that_may_exist(path: str) -> None:
    store = UnsureStore(base.Submit)
    async with world(store) as w:
        refused = await post(w, path)
        assert (refused.status, refused.headers[b"retry-after"]) == (503, b"1")
        id = refused.json["id"]
        assert f"job {id} may or may not have been accepted" in refused.json["error"]
        store.arrives()
        assert (await w.status(id)).job.state is JobState.IN_QUEUE


async def test_the_same_idempotency_key_leads_to_the_job_that_was_accepted_after_all() -> None:
    store = UnsureStore(base.Submit)
    async with world(store) as w:
        refused = await post(w, "run", key="order-7")
        assert "repeat the request if it had an Idempotency-Key" in refused.json["error"]
        store.arrives()
        assert (await post(w, "run", key="order-7")).json == {"id": refused.json["id"], "status": "IN_QUEUE"}


@pytest.mark.parametrize("path", ["run", "runsync"])
async def test_a_submit_that_had_no_effect_names_no_job(path: str) -> None:
    store = FailingStore()
    async with world(store) as w:
        store.refused = {base.Submit}
        refused = await post(w, path)
        assert (refused.status, list(refused.json)) == (503, ["error"])


async def test_a_request_that_waits_names_its_job_when_the_store_goes_away() -> None:
    async with world(Unreadable()) as w:
        refused = await post(w, "runsync?wait=0")
        assert refused.status == 503
        assert f"job {refused.json['id']} was accepted" in refused.json["error"]
        assert [job.id for job in await Worker(w).take()] == [refused.json["id"]]


async def test_a_request_that_waits_names_its_job_when_there_is_no_room_for_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unread, "WAIT_SECONDS", 0.01)
    async with world() as w:
        w.gateway.unread.hold("another key", w.gateway.unread.total_bytes)
        asked = call(w, "runsync")
        worker = Worker(w)
        (job,) = await worker.take(wait_ms=1_000)
        await worker.finish(job, LARGE)
        refused = await asked.answer()
        assert (refused.status, refused.json["id"]) == (503, job.id)
        w.gateway.unread.leave("another key", w.gateway.unread.total_bytes)
        assert (await w.status(refused.json["id"])).output == LARGE


async def test_a_request_that_waits_for_the_job_of_its_key_names_that_one() -> None:
    store = FailingStore()
    async with world(store) as w:
        first = call(w, "runsync", key="order-7")
        await settle()
        (job,) = await Worker(w).take()
        unreadable = Unreadable()
        store.job = unreadable.job  # type: ignore[method-assign]  # reads fail from here on
        again = await post(w, "runsync?wait=0", key="order-7")
        assert (again.status, again.json["id"]) == (503, job.id)
        first.hang_up()
        await first.answer()


async def test_each_request_of_a_batch_names_the_job_that_may_exist() -> None:
    store = UnsureStore(base.Submit)
    async with world(store) as w:
        batch = json.dumps({"requests": [{"input": 1}, {"inptu": 2}]}).encode()
        unsure, wrong = (await post(w, "run-batch", batch)).json["requests"]
        assert (unsure["code"], wrong["code"], "id" in wrong) == (503, 400, False)
        store.arrives()
        assert (await w.status(unsure["id"])).job.state is JobState.IN_QUEUE


async def test_openais_clients_read_the_id_in_the_message() -> None:
    store = UnsureStore(base.Submit)
    async with world(store) as w:
        refused = await post(w, "openai/v1/chat/completions", b'{"messages": []}')
        assert refused.status == 503
        store.arrives()
        (job,) = await Worker(w).take()
        assert job.id in refused.json["error"]["message"]
