"""Objects that workers need beside their Deployment: looked for, missed, changed."""

import pytest

from submodel_operator.ports import REFERENCES_PERIOD_SECONDS, Reference
from submodel_operator.reconcile.endpoint import MISSING_PERIOD_SECONDS
from tests.support.endpoints import signals, worker
from tests.support.operator_world import World

KEYS = Reference("Secret", "keys")


FROM_SECRET = {"image": "x", "envFrom": [{"secretRef": {"name": "keys"}}]}


async def test_a_missing_secret_is_told_with_its_remedy_and_the_endpoint_goes_on_when_it_comes() -> None:
    world = World(FROM_SECRET)
    outcome = await world.step()
    assert (world.ready()["status"], world.ready()["reason"]) == ("False", "ReferenceMissing")
    assert world.ready()["message"].endswith("create it; the endpoint goes on by itself")
    assert outcome.failure is None
    assert outcome.again_after_seconds == MISSING_PERIOD_SECONDS
    world.cluster.held[KEYS] = {"a": "1"}
    world.gateway.say(signals())
    await world.step()
    assert world.ready()["status"] == "True"


async def test_a_changed_secret_is_a_new_revision_and_is_looked_for_again_and_again() -> None:
    world = World(FROM_SECRET)
    world.cluster.held[KEYS] = {"a": "1"}
    world.gateway.say(signals())
    outcome = await world.step()
    assert outcome.again_after_seconds == REFERENCES_PERIOD_SECONDS
    first = world.status["revision"]
    await world.step()
    assert world.status["revision"] == first
    world.cluster.held[KEYS] = {"a": "2"}
    await world.step()
    assert world.status["revision"] != first


@pytest.mark.parametrize(
    ("phase", "age_seconds", "looked_for", "again_within_seconds"),
    [
        ("Pending", 5.0, [], 15.0),
        ("Pending", 30.0, ["ConfigMap", "Secret"], None),
        ("CreateContainerConfigError", 5.0, ["ConfigMap", "Secret"], None),
        ("Running", 99.0, [], None),
    ],
)
async def test_a_worker_that_does_not_come_up_has_the_objects_looked_for_that_it_mounts(
    phase: str, age_seconds: float, looked_for: list[str], again_within_seconds: float | None
) -> None:
    world = World(scaling={"workersMin": 1})
    world.gateway.say(signals())
    await world.step()
    world.cluster.set_workers(worker("a", world.status["revision"], phase=phase, age_seconds=age_seconds))
    outcome = await world.step()
    assert world.cluster.ensured == looked_for
    assert again_within_seconds in (None, outcome.again_after_seconds)
