"""Requests of the operator that fail, are refused, get lost or hang: each is repeated, and nothing is done twice."""

import pytest

from submodel_operator.kube.resources import DEPLOYMENTS, ENDPOINTS
from tests.component.world import World, condition, named
from tests.support.fault_proxy import Answer, Before, Call, Few, Hang, LostAnswer, Trouble

pytestmark = pytest.mark.slow

FOUR_WRITES = {
    "handler": ("POST", "/configmaps"),
    "token": ("POST", "/secrets"),
    "deployment": ("POST", "/deployments"),
    "status": ("PATCH", "/status"),
}


def once(trouble: Trouble, method: str, ending: str) -> Few:
    """The first request of a kind."""
    return Few(lambda call: call.of(method, ending), trouble)


@pytest.mark.parametrize("write", FOUR_WRITES.values(), ids=FOUR_WRITES)
@pytest.mark.parametrize(
    "trouble",
    [
        Answer(409, "the object has been modified"),
        Answer(429, "too many requests", {"Retry-After": "1"}),
        Answer(500, "etcdserver: leader changed"),
        Answer(401, "Unauthorized"),
        LostAnswer(),
    ],
    ids=["conflict", "too many", "error", "unauthorized", "lost answer"],
)
async def test_a_write_that_fails_is_made_again_and_never_twice(
    world: World, write: tuple[str, str], trouble: Trouble
) -> None:
    world.proxy.faults.append(once(trouble, *write))
    async with world.operating():
        await world.create("tokens")
        await world.settled("tokens")
    (pool,) = await world.pools("tokens")
    assert list((await world.children("tokens")).values()) == [[pool["metadata"]["name"]]] * 3
    assert pool["spec"]["replicas"] == 0


@pytest.mark.parametrize(
    "trouble",
    [Answer(409, "the object has been modified"), Answer(503, "no leader"), LostAnswer()],
    ids=["conflict", "error", "lost answer"],
)
async def test_a_count_that_may_not_have_arrived_is_written_again(world: World, trouble: Trouble) -> None:
    async with world.operating():
        await world.create("tokens")
        await world.settled("tokens")
        world.proxy.faults.append(once(trouble, "PATCH", "/scale"))
        await world.submit("tokens")
        await world.scaled("tokens", 1)
        await world.until(ENDPOINTS, lambda found: named(found, "tokens")["status"]["workers"]["desired"] == 1)
    (pool,) = await world.pools("tokens")
    assert pool["spec"]["replicas"] == 1


async def test_an_endpoint_whose_request_hangs_holds_up_no_other(world: World) -> None:
    hang = Hang()
    world.proxy.faults.append(lambda call: hang if call.path.endswith("/stuck/status") else None)
    async with world.operating():
        await world.create("stuck")
        await world.proxy.until(lambda: any(call.path.endswith("/stuck/status") for call in world.proxy.calls))
        await world.create("other")
        await world.settled("other")
        assert not condition(await world.api.get(ENDPOINTS, world.namespace, "stuck"), "Ready")
        hang.released.set()
        await world.settled("stuck")


async def test_an_api_server_that_is_away_for_a_while_is_waited_for(world: World) -> None:
    failures = Few(lambda call: True, *[Answer(503, "no leader")] * 8)
    async with world.operating() as operator:
        world.proxy.faults.append(failures)
        world.proxy.cut_watches()
        await world.create("tokens")
        await world.settled("tokens")
        assert not operator.ended.is_set()
    assert not failures.left


async def test_a_status_never_lands_on_an_endpoint_that_was_created_anew_meanwhile(world: World) -> None:
    fresh: list[str] = []

    async def recreate() -> None:
        await world.delete("tokens")
        await world.until(ENDPOINTS, lambda found: not found)
        fresh.append((await world.create("tokens", workersMax=0))["metadata"]["uid"])

    world.proxy.faults.append(once(Before(recreate), "PATCH", "/tokens/status"))
    async with world.operating():
        await world.create("tokens")
        (endpoint,) = await world.settled("tokens")
    assert endpoint["metadata"]["uid"] == fresh[0]
    assert endpoint["status"]["phase"] == "Parked", "of the first one it would say Idle"


async def test_a_child_is_not_made_for_an_endpoint_that_vanished_meanwhile(world: World) -> None:
    async def vanish() -> None:
        await world.delete("tokens")
        await world.until(ENDPOINTS, lambda found: not found)

    world.proxy.faults.append(once(Before(vanish), "GET", "/submodelendpoints/tokens"))
    async with world.operating():
        await world.create("tokens")
        await world.forgotten("tokens")
        await world.create("other")
        await world.settled("other")
    assert list((await world.children("tokens")).values()) == [[], [], []]
    assert len(await world.api.all(DEPLOYMENTS, world.namespace)) == 1


def goes_on(call: Call) -> bool:
    """Whether it asks for a page of the operator's own lists after the first."""
    return call.method == "GET" and "continue" in call.query and not call.by_kopf


async def test_a_list_that_expires_midway_starts_over(world: World) -> None:
    names = ["one", "two", "three"]
    async with world.operating():
        for name in names:
            await world.create(name)
        await world.settled(*names)
    world.proxy.calls.clear()
    world.proxy.page_size = 1
    expired = Few(goes_on, Answer(410, "The provided continue parameter is too old"))
    world.proxy.faults.append(expired)
    async with world.operating():
        await world.change("three", scaling={"workersMax": 7})
        await world.settled(*names)
    assert not expired.left
    assert all("/three/" in call.path for call in world.proxy.writes)
