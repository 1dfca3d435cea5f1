"""Watches that end, break, lie silent, or forgot too much: the operator catches up, or ends and is started again."""

from typing import Any

import pytest

from submodel_operator.handlers import PartFailed
from submodel_operator.kube.resources import DEPLOYMENTS, ENDPOINTS
from tests.component.world import World, condition, named, of_endpoint
from tests.support.fault_proxy import Answer, Call, Few
from tests.support.operator_thread import WATCHED

PLURAL = ENDPOINTS.plural


def failure(code: int) -> dict[str, Any]:
    """The last words of a watch that cannot go on."""
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "a fault of the test"}
    return {"type": "ERROR", "object": status}


@pytest.mark.slow
@pytest.mark.parametrize("last_words", [[], [failure(410)]], ids=["its time is over", "it is too old"])
async def test_a_watch_that_ends_is_opened_again(world: World, last_words: list[dict[str, Any]]) -> None:
    async with world.operating() as operator:
        for plural in WATCHED:
            await world.proxy.end_watches(plural, *last_words)
        await world.create("tokens")
        await world.settled("tokens")
        assert not operator.ended.is_set()


async def test_a_watch_that_breaks_in_the_middle_of_a_line_is_opened_again(world: World) -> None:
    async with world.operating() as operator:
        world.proxy.tear_watches(PLURAL)
        await world.create("tokens")
        await world.settled("tokens")
        assert not operator.ended.is_set()


@pytest.mark.slow
async def test_a_watch_that_lies_silent_delays_news_until_the_next_list_at_most(world: World) -> None:
    async with world.operating(resync_seconds=1):
        world.proxy.stall_watches(PLURAL)
        await world.create("tokens")
        await world.settled("tokens")
        world.proxy.resume_watches(PLURAL)


@pytest.mark.slow
async def test_a_watch_that_cannot_be_opened_is_tried_until_it_can(world: World) -> None:
    two = (Answer(503, "no leader"), Answer(429, "too many", {"Retry-After": "1"}))
    refusals = Few(lambda call: call.watches, *two, *two)
    async with world.operating() as operator:
        world.proxy.faults.append(refusals)
        world.proxy.cut_watches()
        await world.create("tokens")
        await world.settled("tokens")
        assert not operator.ended.is_set()
    assert not refusals.left


@pytest.mark.slow
@pytest.mark.parametrize("how", ["an error in the stream", "410 instead of a stream", "410 within its list"])
async def test_what_the_watches_cannot_survive_ends_the_operator_and_the_next_one_goes_on(
    world: World, how: str
) -> None:
    """Crash-only: a start makes no write that is not needed."""
    async with world.operating():
        for name in ("one", "two"):
            await world.create(name)
        await world.settled("one", "two")
    async with world.doomed() as operator:
        if how == "an error in the stream":
            await world.proxy.end_watches(PLURAL, failure(500))
        else:
            world.proxy.page_size = 1
            world.proxy.faults.append(lambda call: gone(call, listed=how == "410 within its list"))
            await world.proxy.end_watches(PLURAL, failure(410))
        await operator.run_out()
    assert isinstance(operator.error, PartFailed)
    assert "the watch of the cluster ended" in str(operator.error)

    world.proxy.calls.clear()
    async with world.operating():
        await world.change("one", scaling={"workersMax": 7})
        await world.settled("one", "two")
    assert [call for call in world.proxy.writes if not call.path.endswith("/one/status")] == []


def gone(call: Call, listed: bool) -> Answer | None:
    """410 to a watch of endpoints, or to the second page of the list before it."""
    chosen = call.by_kopf and call.path.endswith(PLURAL) and ("continue" in call.query if listed else call.watches)
    return Answer(410, "too old") if chosen else None


@pytest.mark.slow
async def test_an_endpoint_that_vanished_unseen_is_found_by_the_next_list_and_not_made_again(world: World) -> None:
    shut = [True]
    async with world.operating(resync_seconds=1):
        await world.create("tokens")
        await world.settled("tokens")
        world.proxy.faults.append(lambda call: Answer(503, "no leader") if shut and call.watches else None)
        world.proxy.cut_watches()
        world.proxy.calls.clear()
        await world.delete("tokens")
        await world.forgotten("tokens")
        shut.clear()
    assert [call for call in world.proxy.writes if call.method == "POST"] == []
    await world.until(DEPLOYMENTS, lambda found: not found)


@pytest.mark.slow
async def test_an_endpoint_that_was_made_anew_unseen_gets_children_of_its_own(world: World) -> None:
    shut = [True]
    async with world.operating(resync_seconds=1):
        await world.create("tokens")
        await world.settled("tokens")
        (first,) = await world.pools("tokens")
        world.proxy.faults.append(lambda call: Answer(503, "no leader") if shut and call.watches else None)
        world.proxy.cut_watches()
        await world.delete("tokens")
        await world.until(ENDPOINTS, lambda found: not found)
        fresh = await world.create("tokens")
        await world.settled("tokens")
        shut.clear()
    pools = await world.until(DEPLOYMENTS, lambda found: len(of_endpoint(found, "tokens")) == 1)
    (pool,) = of_endpoint(pools, "tokens")
    assert pool["metadata"]["ownerReferences"][0]["uid"] == fresh["metadata"]["uid"]
    assert pool["metadata"]["name"] != first["metadata"]["name"]


@pytest.mark.slow
async def test_news_that_are_older_than_an_own_write_change_nothing(world: World) -> None:
    async with world.operating():
        await world.create("tokens")
        await world.settled("tokens")
        (pool,) = await world.pools("tokens")
        world.proxy.stall_watches(DEPLOYMENTS.plural)
        older = {"metadata": {"annotations": {"note": "told after the count was written"}}}
        await world.api.merge(DEPLOYMENTS, world.namespace, pool["metadata"]["name"], older)
        await world.submit("tokens")
        await world.scaled("tokens", 1)
        await world.until(ENDPOINTS, lambda found: named(found, "tokens")["status"]["workers"]["desired"] == 1)
        world.proxy.resume_watches(DEPLOYMENTS.plural, lines=1)
        await world.create("later")
        await world.settled("later")
        world.proxy.resume_watches(DEPLOYMENTS.plural)
    scales = [call for call in world.proxy.writes if call.path.endswith("/scale")]
    assert len(scales) == 1


@pytest.mark.slow
async def test_a_definition_that_comes_late_is_waited_for(world: World) -> None:
    discovery = "/apis/serverless.submodel.ai/v1alpha1"
    missing = Answer(404, "the server could not find the requested resource")
    late = Few(lambda call: call.path == discovery, missing, missing)
    world.proxy.faults.append(late)
    async with world.operating():
        await world.create("tokens")
        (endpoint,) = await world.settled("tokens")
    assert condition(endpoint, "Ready")["status"] == "True"
    assert not late.left
