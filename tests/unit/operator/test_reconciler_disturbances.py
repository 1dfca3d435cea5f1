"""What others do to an endpoint behind the back of its operator: counts, deletion costs, clocks."""

from dataclasses import replace

import pytest

from submodel_operator.api.conditions import EventReason
from submodel_operator.reconcile import Reconciler
from tests.support.endpoints import KEY, manifest, signals, view, worker, worker_settings
from tests.support.operator_world import World


@pytest.fixture
def world() -> World:
    return World()


async def busy_and_idle(world: World) -> tuple[str, str]:
    """Two workers: one is to run a job, the other to be idle for long enough to go."""
    world.cluster.put(manifest(scaling={"workersMax": 5}))
    await world.step()
    world.gateway.say(signals(queued=2, late=2))
    for _ in range(2):
        await world.step()
    busy, idle = world.cluster.start_missing()
    return busy, idle


async def test_a_count_that_somebody_else_wrote_is_told_once_and_the_next_decision_starts_from_it(world: World) -> None:
    await world.step()
    world.gateway.say(signals(queued=1))
    await world.step()
    facts = world.cluster.endpoints[KEY]
    world.cluster.endpoints[KEY] = replace(facts, pools=(replace(facts.pools[0], replicas=7),))
    await world.step()
    await world.step()
    (told,) = (event for event in world.cluster.events if event.reason is EventReason.SCALED_BY_OTHERS)
    assert "was scaled from 1 to 7 by somebody else" in told.message
    assert "remove other autoscalers" in told.message


async def test_a_shrink_that_takes_another_worker_than_the_chosen_one_is_told_with_both_names(world: World) -> None:
    busy, idle = await busy_and_idle(world)
    revision = world.status["revision"]
    world.cluster.removes_instead = busy
    held = view(busy, revision, running=1, idle_since_ms=None)
    world.gateway.say(signals(held, view(idle, revision, draining=True, idle_since_ms=0), in_progress=1))
    for _ in range(2):
        await world.step()
    (told,) = (event for event in world.cluster.events if event.reason is EventReason.WRONG_WORKER_LEFT)
    assert told.message.startswith(f"{busy} left and {idle} stayed")
    assert told.worker == busy
    counted = {"namespace": "team-a", "name": "tokens", "reason": "WrongWorkerLeft"}
    assert world.metrics.registry.get_sample_value("submodel_endpoint_disturbances_total", counted) == 1
    world.cluster.endpoints.clear()
    await world.step()
    assert world.metrics.registry.get_sample_value("submodel_endpoint_disturbances_total", counted) is None


async def test_a_shrink_that_takes_the_chosen_worker_is_no_event(world: World) -> None:
    await world.step()
    world.gateway.say(signals(queued=1))
    await world.step()
    (name,) = world.cluster.start_missing()
    world.gateway.say(signals(view(name, world.status["revision"], draining=True, idle_since_ms=0)))
    for _ in range(3):
        await world.step()
    assert world.replicas == [0]
    odd = {EventReason.WRONG_WORKER_LEFT, EventReason.SCALED_BY_OTHERS}
    assert not odd & {event.reason for event in world.cluster.events}


async def test_others_who_write_the_count_are_a_condition_until_they_have_left_it_alone_for_ten_minutes() -> None:
    world = World()
    world.gateway.say(signals())
    await world.step()
    facts = world.cluster.endpoints[KEY]
    assert "Undisturbed" not in {each["type"] for each in world.status["conditions"]}
    by_hpa = replace(facts.pools[0], replicas=7, counted_by="kube-controller-manager")
    world.cluster.endpoints[KEY] = replace(facts, pools=(by_hpa,))
    outcome = await world.step()
    told = world.condition("Undisturbed")
    assert (told["status"], told["reason"]) == ("False", "ScaledByOthers")
    assert "was written by kube-controller-manager" in told["message"]
    world.cluster.endpoints[KEY] = replace(facts, pools=(replace(facts.pools[0], replicas=7),))
    world.clock.seconds += 590
    outcome = await world.step()
    assert world.condition("Undisturbed")["status"] == "False"
    assert outcome.again_after_seconds <= 8
    world.clock.seconds += 10
    await world.step()
    assert world.condition("Undisturbed")["reason"] == "LeftAlone"


async def test_a_writer_of_the_count_is_known_to_the_next_operator_too() -> None:
    world = World()
    world.gateway.say(signals())
    await world.step()
    facts = world.cluster.endpoints[KEY]
    world.cluster.endpoints[KEY] = replace(facts, pools=(replace(facts.pools[0], counted_by="kubectl"),))
    world.reconciler = Reconciler(world.cluster, world.gateway, world.clock, worker_settings())
    await world.step()
    assert "was written by kubectl" in world.condition("Undisturbed")["message"]


async def test_others_who_set_deletion_costs_are_told_once_and_stay_a_condition_while_they_do() -> None:
    world = World()
    world.gateway.say(signals())
    await world.step()
    revision = world.status["revision"]
    world.cluster.set_workers(worker("a", revision, foreign_cost=True), worker("b", revision))
    for _ in range(3):
        world.clock.seconds += 400
        await world.step()
    (told,) = (event for event in world.cluster.events if event.reason is EventReason.DELETION_COST_REWRITTEN)
    assert "such as a;" in told.message
    assert world.condition("Undisturbed")["reason"] == "DeletionCostByOthers"
    assert "Karpenter" not in world.condition("Undisturbed")["message"]


async def test_deletion_costs_of_the_users_own_pod_template_are_nobody_elses() -> None:
    annotations = {"controller.kubernetes.io/pod-deletion-cost": "10"}
    world = World({"handler": {"inline": "pass"}, "podTemplate": {"metadata": {"annotations": annotations}}})
    world.gateway.say(signals())
    await world.step()
    world.cluster.set_workers(worker("a", world.status["revision"], foreign_cost=True))
    await world.step()
    assert "Undisturbed" not in {each["type"] for each in world.status["conditions"]}


@pytest.mark.parametrize(("jump", "way"), [(3_600.0, "forward by 3600 s"), (-86_400.0, "back by 86400 s")])
async def test_while_the_clock_has_just_jumped_no_worker_goes_and_none_is_replaced(jump: float, way: str) -> None:
    world = World()
    await world.step()
    world.gateway.say(signals(queued=2, late=2))
    for _ in range(2):
        await world.step()
    idle, starting = world.cluster.start_missing()
    revision = world.status["revision"]
    facts = world.cluster.endpoints[KEY].workers
    late = [replace(each, running_seconds=9_999.0) if each.name == starting else each for each in facts]
    world.cluster.set_workers(*late)
    world.clock.set_by += jump
    world.gateway.say(signals(view(idle, revision, idle_since_ms=0)))
    for _ in range(3):
        await world.step()
    assert (world.replicas, world.cluster.replaced, world.gateway.drained) == ([2], [], [])
    told = world.condition("Undisturbed")
    assert (told["status"], told["reason"]) == ("False", "ClockJumped")
    assert f"was set {way}: no worker goes for a minute" in told["message"]
    assert [event.reason for event in world.cluster.events].count(EventReason.CLOCK_JUMPED) == 1
    world.clock.seconds += 60
    await world.step()
    assert world.condition("Undisturbed")["reason"] == "LeftAlone"
    assert starting in [*world.cluster.replaced, *world.gateway.drained]


async def test_a_scale_in_that_the_operator_before_has_decided_is_not_told_again() -> None:
    world = World()
    busy, idle = await busy_and_idle(world)
    held = view(busy, world.status["revision"], running=1, idle_since_ms=None)
    world.gateway.say(signals(held, view(idle, world.status["revision"], idle_since_ms=0), in_progress=1))
    await world.step()
    assert world.gateway.drained == [idle]
    told = [event.reason for event in world.cluster.events]
    assert told.count(EventReason.SCALED_DOWN) == 1
    decided = world.status["autoscaling"]["lastDecision"]
    world.reconciler = Reconciler(world.cluster, world.gateway, world.clock, worker_settings())
    world.gateway.say(
        signals(held, view(idle, world.status["revision"], draining=True, idle_since_ms=0), in_progress=1)
    )
    for _ in range(2):
        await world.step()
    assert world.replicas == [1]
    assert [event.reason for event in world.cluster.events] == told
    assert world.status["autoscaling"]["lastDecision"] == decided


async def test_a_scale_in_that_was_taken_back_is_told_anew_when_it_is_decided_again() -> None:
    world = World()
    busy, idle = await busy_and_idle(world)
    revision = world.status["revision"]
    held = view(busy, revision, running=1, idle_since_ms=None)
    world.gateway.say(signals(held, view(idle, revision, idle_since_ms=0), in_progress=1))
    await world.step()
    world.gateway.say(signals(held, view(idle, revision, draining=True), in_progress=1, queued=1))
    await world.step()
    assert world.gateway.undrained == [idle]
    world.gateway.say(signals(held, view(idle, revision, idle_since_ms=0), in_progress=1))
    await world.step()
    told = [event.reason for event in world.cluster.events]
    assert (world.gateway.drained, told.count(EventReason.SCALED_DOWN)) == ([idle, idle], 2)


async def test_a_mark_that_the_operator_before_has_left_goes_as_soon_as_its_worker_is_needed_again() -> None:
    world = World()
    busy, idle = await busy_and_idle(world)
    revision = world.status["revision"]
    facts = world.cluster.endpoints[KEY].workers
    world.cluster.set_workers(*(replace(each, marked=each.name == idle) for each in facts))
    world.reconciler = Reconciler(world.cluster, world.gateway, world.clock, worker_settings())
    held = view(busy, revision, running=1, idle_since_ms=None)
    world.gateway.say(signals(held, view(idle, revision, draining=True), in_progress=1, queued=1))
    for _ in range(2):
        await world.step()
    assert (world.cluster.unmarked, set(world.gateway.undrained), world.replicas) == ([idle], {idle}, [2])


async def test_a_worker_that_the_cluster_calls_not_ready_keeps_others_from_leaving_and_is_told_while_it_does() -> None:
    world = World()
    busy, idle = await busy_and_idle(world)
    revision = world.status["revision"]
    facts = world.cluster.endpoints[KEY].workers
    world.cluster.set_workers(*(replace(each, unready=each.name == busy) for each in facts))
    held = view(busy, revision, running=1, idle_since_ms=None)
    world.gateway.say(signals(held, view(idle, revision, idle_since_ms=0), in_progress=1))
    await world.step()
    assert (world.replicas, world.gateway.drained) == ([2], [])
    told = world.condition("Undisturbed")
    assert (told["status"], told["reason"]) == ("False", "UnreadyWorker")
    assert f"worker {busy} is to stay" in told["message"]
    world.cluster.set_workers(*facts)
    await world.step()
    assert (world.gateway.drained, world.condition("Undisturbed")["status"]) == ([idle], "True")
