"""The whole operator on an API server: what an endpoint gets, what a restart writes, what others may do."""

from collections.abc import Sequence

import pytest

from submodel_operator.kube.resources import CONFIG_MAPS, DEPLOYMENTS, ENDPOINTS, SECRETS
from tests.component.world import World, condition, named
from tests.support.kube_api import Object


async def test_an_endpoint_gets_its_children_and_a_status_in_four_writes(world: World) -> None:
    async with world.operating():
        await world.create("tokens")
        await world.settled("tokens")
    (pool,) = await world.pools("tokens")
    name = pool["metadata"]["name"]
    assert pool["spec"]["replicas"] == 0
    assert (await world.api.get(CONFIG_MAPS, world.namespace, name))["data"]["handler.py"] == "pass"
    assert (await world.api.get(SECRETS, world.namespace, name))["data"]["token"]
    assert (await world.api.get(ENDPOINTS, world.namespace, "tokens"))["status"]["phase"] == "Idle"
    assert [(call.method, call.path.rpartition("/")[2]) for call in world.proxy.writes] == [
        ("POST", "configmaps"),
        ("POST", "secrets"),
        ("POST", "deployments"),
        ("PATCH", "status"),
    ]


async def test_a_restart_writes_nothing(world: World) -> None:
    async with world.operating():
        for name in ("one", "two"):
            await world.create(name)
        await world.settled("one", "two")
    world.proxy.calls.clear()
    async with world.operating():
        await world.create("new")
        await world.settled("new")
    assert [call for call in world.proxy.writes if "/new" not in call.path and call.method != "POST"] == []
    assert sum(call.method == "POST" for call in world.proxy.writes) == 3, "the children of the new endpoint"


async def test_a_job_at_zero_workers_starts_one(world: World) -> None:
    async with world.operating():
        await world.create("tokens")
        await world.settled("tokens")
        await world.submit("tokens")
        await world.scaled("tokens", 1)


@pytest.mark.slow
async def test_a_changed_handler_starts_a_second_pool_and_the_first_one_goes(world: World) -> None:
    async with world.operating():
        await world.create("tokens")
        await world.settled("tokens")
        (first,) = await world.pools("tokens")
        await world.change("tokens", worker={"handler": {"inline": "print()"}})
        await world.until(DEPLOYMENTS, lambda found: found and not named(found, first["metadata"]["name"]))
        await world.settled("tokens")
    (second,) = await world.pools("tokens")
    name = second["metadata"]["name"]
    assert await world.children("tokens") == {"configmaps": [name], "secrets": [name], "deployments": [name]}


async def test_a_count_that_somebody_else_wrote_is_brought_back(world: World) -> None:
    async with world.operating():
        await world.create("tokens", workersMin=1)
        await world.scaled("tokens", 1)
        (pool,) = await world.pools("tokens")
        await world.api.merge(DEPLOYMENTS, world.namespace, pool["metadata"]["name"], {"spec": {"replicas": 0}})
        await world.scaled("tokens", 1)


async def test_a_deleted_child_is_made_again(world: World) -> None:
    async with world.operating():
        await world.create("tokens")
        await world.settled("tokens")
        (first,) = await world.pools("tokens")
        await world.api.delete(DEPLOYMENTS, world.namespace, first["metadata"]["name"])
        await world.until(DEPLOYMENTS, lambda found: is_another(found, first))
    assert list((await world.children("tokens")).values()) == [[first["metadata"]["name"]]] * 3


def is_another(found: Sequence[Object], first: Object) -> bool:
    """Whether there is one with the same name and another uid."""
    same = named(found, first["metadata"]["name"])
    return bool(same) and same["metadata"]["uid"] != first["metadata"]["uid"]


async def test_a_deployment_that_somebody_else_made_is_left_to_them(world: World) -> None:
    theirs: Object = {
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "theirs"}},
            "template": {
                "metadata": {"labels": {"app": "theirs"}},
                "spec": {"containers": [{"name": "c", "image": "theirs:1"}]},
            },
        }
    }
    async with world.operating():
        await world.create("tokens")
        await world.settled("tokens")
        (pool,) = await world.pools("tokens")
    name = pool["metadata"]["name"]
    await world.api.delete(DEPLOYMENTS, world.namespace, name)
    await world.until(DEPLOYMENTS, lambda found: not found)
    made = await world.api.create(DEPLOYMENTS, world.namespace, {"metadata": {"name": name}, **theirs})
    async with world.operating():
        found = await world.until(
            ENDPOINTS, lambda found: condition(named(found, "tokens"), "Ready").get("reason") == "NameConflict"
        )
    words = condition(named(found, "tokens"), "Ready")["message"]
    assert f"Deployment {world.namespace}/{name} is not managed by this operator" in words
    kept = await world.api.get(DEPLOYMENTS, world.namespace, name)
    assert (kept["metadata"]["uid"], kept["spec"]["replicas"]) == (made["metadata"]["uid"], 0)
