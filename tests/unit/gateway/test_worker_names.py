"""How many workers an endpoint may have at once: a token that goes from name to name is refused, workers are not."""

import asyncio

import pytest

from submodel.contract import limits
from submodel_gateway.errors import Overloaded
from submodel_gateway.service import sessions
from submodel_operator.api.v1alpha1 import Scaling
from tests.support.gateway_world import ENDPOINT, Worker, World, presence, settle, world
from tests.support.legacy_worker import LegacyWorker

MOST = 3


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "WORKERS_MAX", MOST)


async def crowd(w: World) -> None:
    for number in range(MOST):
        await LegacyWorker(w, f"made-up-{number}").ping()


def names(w: World) -> set[str]:
    return set(w.gateway.endpoints.get(ENDPOINT).sessions)


def test_the_bound_is_far_above_what_an_endpoint_may_ask_for() -> None:
    fields = Scaling.model_json_schema()["properties"]
    most = fields["workersMax"]["maximum"] + fields["maxSurge"]["anyOf"][0]["maximum"]
    assert 2 * most <= limits.ENDPOINT_WORKERS_MAX


async def test_one_name_too_many_is_refused_with_what_to_do_and_the_log_says_it_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with world() as w:
        await crowd(w)
        for number in range(2):
            answer = await LegacyWorker(w, f"another-{number}").ping()
            assert (answer.status, answer.headers[b"retry-after"]) == (429, b"45")
            assert f"{MOST} workers" in answer.json["error"]
            assert "keep their names" in answer.json["error"]
        with pytest.raises(Overloaded):
            await Worker(w, "native").say()
        assert len(names(w)) == MOST
        (said,) = [record for record in caplog.records if "workers" in record.getMessage()]
        assert ENDPOINT in said.getMessage()


async def test_workers_that_are_known_go_on_where_there_are_too_many() -> None:
    async with world() as w:
        worker, native = LegacyWorker(w), Worker(w, "native")
        await native.say()
        await worker.ping()
        await LegacyWorker(w, "made-up").ping()
        id = await w.submit()
        assert (await worker.take())["id"].startswith(id)
        await Worker(w, "native", "s-2").say()  # started again under its name
        assert (await worker.ping()).status == 200


async def test_a_worker_that_the_operator_lists_is_let_in_all_the_same() -> None:
    async with world() as w:
        await crowd(w)
        await w.gateway.registry.put_workers(ENDPOINT, [presence("real")], w.clock.ms)
        assert (await LegacyWorker(w, "real").ping()).status == 200
        await Worker(w, "real", "s-2").say()


async def test_a_worker_that_holds_a_job_is_let_in_all_the_same() -> None:
    async with world() as w:
        id = await w.submit()
        worker = LegacyWorker(w)
        job = await worker.take()
        del w.gateway.endpoints.get(ENDPOINT).sessions[worker.name]  # as after a restart of the gateway
        await crowd(w)
        assert (await worker.done(job["id"], {"output": 1})).status == 200
        assert (await w.status(id)).job.state == "COMPLETED"


async def test_names_that_are_silent_make_room() -> None:
    async with world() as w:
        await crowd(w)
        await w.pass_time(limits.LEASE_MS + 2_000)
        assert names(w) == set()
        assert (await LegacyWorker(w, "another").ping()).status == 200


async def test_newcomers_at_the_same_moment_are_counted_one_after_the_other() -> None:
    async with world() as w:
        answers = await asyncio.gather(*(LegacyWorker(w, f"made-up-{number}").ping() for number in range(4 * MOST)))
        await settle()
        assert sorted(answer.status for answer in answers) == [200] * MOST + [429] * 3 * MOST
        assert len(names(w)) == MOST
