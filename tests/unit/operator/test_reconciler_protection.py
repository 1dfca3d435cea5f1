"""Workers at work are kept from node autoscalers, as far as the user and the cluster let them be."""

import pytest

from submodel_operator.errors import (
    ClusterRefused,
)
from submodel_operator.protection import ANNOTATIONS
from tests.support.endpoints import signals, view
from tests.support.operator_world import World


async def test_a_worker_with_a_long_job_is_protected_from_node_autoscalers_until_it_rests() -> None:
    world = World(scaling={"workersMin": 1})
    world.gateway.say(signals())
    await world.step()
    (name,) = world.cluster.start_missing()
    for busy, wanted in ((True, [{name: True}]), (False, [{name: True}, {name: False}])):
        word = view(name, world.status["revision"], running=int(busy), idle_since_ms=None if busy else 99_000)
        world.gateway.say(signals(word, in_progress=int(busy)))
        for _ in range(5):
            await world.step()
        assert world.cluster.protections == wanted


@pytest.mark.parametrize("annotation", sorted(ANNOTATIONS))
async def test_what_the_user_says_of_eviction_stands(annotation: str) -> None:
    template = {"metadata": {"annotations": {annotation: "true"}}}
    world = World({"handler": {"inline": "pass"}, "podTemplate": template}, scaling={"workersMin": 1})
    world.gateway.say(signals())
    await world.step()
    (name,) = world.cluster.start_missing()
    world.gateway.say(signals(view(name, world.status["revision"], running=1), in_progress=1))
    for _ in range(5):
        await world.step()
    assert world.cluster.protections == []


async def test_a_silent_gateway_changes_no_protection() -> None:
    world = World(scaling={"workersMin": 1})
    world.gateway.say(signals())
    await world.step()
    (name,) = world.cluster.start_missing()
    world.gateway.say(signals(view(name, world.status["revision"], running=1), age_seconds=60.0))
    for _ in range(5):
        await world.step()
    assert world.cluster.protections == []


async def test_a_cluster_that_forbids_protection_is_asked_once_and_all_else_goes_on() -> None:
    world = World(scaling={"workersMin": 1})
    world.gateway.say(signals())
    await world.step()
    (name,) = world.cluster.start_missing()
    world.gateway.say(signals(view(name, world.status["revision"], running=1), in_progress=1))
    world.cluster.refuse_protection = ClusterRefused("policy: safe-to-evict must not be false")
    for _ in range(5):
        await world.step()
    assert world.ready()["status"] == "True"
    world.cluster.refuse_protection = None
    for _ in range(5):
        await world.step()
    assert world.cluster.protections == []
