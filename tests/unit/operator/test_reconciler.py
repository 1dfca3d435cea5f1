"""Reconciling an endpoint over its whole life, with the ports in memory."""

from dataclasses import replace

import pytest

from submodel.contract.internal import TERMINATING
from submodel_operator.errors import (
    ClusterUnavailable,
    GatewayRefused,
    GatewayUnavailable,
    NameConflict,
)
from submodel_operator.reconcile import Reconciler
from tests.support.endpoints import KEY, manifest, signals, view, worker, worker_settings
from tests.support.operator_world import World


@pytest.fixture
def world() -> World:
    return World()


async def test_a_new_endpoint_is_registered_and_gets_its_children_but_no_worker(world: World) -> None:
    world.gateway.say(signals())
    await world.step()
    assert world.cluster.applied == ["ConfigMap", "Secret", "Deployment"]
    assert world.replicas == [0]
    assert [each.endpoint_id for each in world.gateway.registrations] == ["team-a.tokens"]
    assert world.ready()["status"] == "True"


async def test_the_first_status_waits_for_the_gateways_first_word_so_that_it_is_written_once(world: World) -> None:
    outcome = await world.step()
    assert (world.cluster.statuses, outcome.again_after_seconds) == ([], 1.0)
    world.gateway.say(signals())
    await world.reconciler.reconcile(KEY)
    assert [world.condition("ScalerHealthy")["status"] for _ in world.cluster.statuses] == ["True"]


async def test_a_gateway_that_says_nothing_holds_up_the_first_status_for_a_second(world: World) -> None:
    await world.step()
    await world.step()
    assert world.ready()["status"] == "True"
    assert world.condition("ScalerHealthy")["status"] == "Unknown"


async def test_a_job_at_zero_workers_starts_one_and_after_the_idle_timeout_it_goes(world: World) -> None:
    await world.step()
    world.gateway.say(signals(queued=1))
    await world.step()
    assert world.replicas == [1]
    assert world.status["autoscaling"]["lastDecision"]["reason"] == "FirstJob"

    (name,) = world.cluster.start_missing()
    revision = world.status["revision"]
    world.gateway.say(signals(view(name, revision, running=1, idle_since_ms=None), in_progress=1))
    await world.step()
    assert (world.replicas, world.gateway.drained) == ([1], [])

    world.gateway.say(signals(view(name, revision, idle_since_ms=90_000)))
    await world.step()
    assert (world.replicas, world.gateway.drained) == ([1], [name])

    world.gateway.say(signals(view(name, revision, draining=True, idle_since_ms=90_000)))
    await world.step()
    assert (world.replicas, world.cluster.endpoints[KEY].workers) == ([0], ())


async def test_at_rest_nothing_is_written(world: World) -> None:
    world.gateway.say(signals())
    await world.step()
    await world.step()
    applied, statuses = len(world.cluster.applied), len(world.cluster.statuses)
    for _ in range(3):
        await world.step()
    assert (len(world.cluster.applied), len(world.cluster.statuses)) == (applied, statuses)


async def test_status_is_written_at_most_once_a_second_and_the_rest_is_not_lost(world: World) -> None:
    world.gateway.say(signals())
    await world.step()
    written = len(world.cluster.statuses)
    world.gateway.say(signals(queued=0, in_progress=3))
    outcome = await world.reconciler.reconcile(KEY)
    assert len(world.cluster.statuses) == written
    assert outcome.again_after_seconds == pytest.approx(1.0)
    await world.step()
    assert world.status["jobs"]["inProgress"] == 3


async def test_a_decision_whose_status_came_too_early_is_told_with_the_next(world: World) -> None:
    world.gateway.say(signals())
    await world.step()
    world.gateway.say(signals(queued=1))
    await world.reconciler.reconcile(KEY)
    assert world.replicas == [1]
    assert "autoscaling" not in world.status
    await world.step()
    assert world.status["autoscaling"]["lastDecision"]["reason"] == "FirstJob"


async def test_a_changed_handler_starts_a_new_pool_and_retires_the_old_one(world: World) -> None:
    await world.step()
    world.gateway.say(signals(queued=1))
    await world.step()
    (old,) = world.cluster.start_missing()
    old_revision = world.status["revision"]
    world.cluster.put(manifest({"handler": {"inline": "print()"}}), generation=2)
    world.gateway.say(signals(view(old, old_revision, running=1, idle_since_ms=None), in_progress=1))
    await world.step()
    assert world.gateway.drained == [old]
    assert [each.revision for each in world.gateway.registrations[-1].worker_tokens].count(old_revision) == 1

    world.gateway.say(signals(view(old, old_revision, draining=True)))
    await world.step()
    assert sorted(world.replicas) == [0, 0]
    await world.step()
    assert world.cluster.deleted == [f"tokens-{old_revision}"]
    assert len(world.cluster.endpoints[KEY].pools) == 1


async def test_an_invalid_spec_shows_as_a_condition_and_touches_nothing(world: World) -> None:
    world.cluster.put(manifest(scaling={"workersMin": 9}))
    outcome = await world.step()
    assert outcome.failure is None
    assert world.ready()["reason"] == "InvalidSpec"
    assert "workersMin must not exceed" in world.ready()["message"]
    assert world.cluster.applied == []


async def test_a_name_that_is_taken_shows_as_a_condition_and_is_tried_again(world: World) -> None:
    world.cluster.refuse_applies = NameConflict("Deployment tokens-x belongs to somebody else")
    outcome = await world.step()
    assert isinstance(outcome.failure, NameConflict)
    assert world.ready()["reason"] == "NameConflict"


async def test_a_silent_gateway_holds_the_workers_and_shows_as_a_condition(world: World) -> None:
    await world.step()
    world.gateway.say(signals(queued=1))
    await world.step()
    world.gateway.silent = GatewayUnavailable("connection refused")
    outcome = await world.step()
    assert isinstance(outcome.failure, GatewayUnavailable)
    assert world.replicas == [1]
    assert world.ready()["reason"] == "GatewayUnreachable"
    assert world.status["workers"]["outdated"] == 0


async def test_a_refused_registration_shows_as_a_condition(world: World) -> None:
    world.gateway.silent = GatewayRefused("401 the internal token is wrong")
    outcome = await world.step()
    assert isinstance(outcome.failure, GatewayRefused)
    assert world.ready()["reason"] == "GatewayRefused"


async def test_an_evicted_worker_is_reported_as_no_fault_of_its_job(world: World) -> None:
    lost = (worker("a", phase="Evicted", message="low on disk"), worker("b", phase="OOMKilled"))
    world.cluster.endpoints[KEY] = replace(world.cluster.endpoints[KEY], finished=lost)
    await world.step()
    assert [(gone.worker, gone.reason, gone.charged) for gone in world.gateway.gone] == [
        ("a", "Evicted: low on disk", False)
    ]


async def test_a_worker_that_asks_for_it_is_replaced() -> None:
    world = World(scaling={"workersMin": 1})
    world.gateway.say(signals())
    await world.step()
    (name,) = world.cluster.start_missing()
    asking = view(name, world.status["revision"], draining=True, replace=True, idle_since_ms=99_000)
    world.gateway.say(signals(asking))
    await world.step()
    assert (world.cluster.replaced, world.gateway.undrained, world.replicas) == ([name], [], [1])


async def test_the_gateway_is_told_which_workers_are_on_their_way_out(world: World) -> None:
    world.cluster.set_workers(worker("a"), worker("b", terminating=True))
    await world.step()
    assert [(each.worker, each.phase) for each in world.gateway.presence[-1]] == [("a", "Running"), ("b", TERMINATING)]


async def test_old_signals_never_shrink(world: World) -> None:
    await world.step()
    world.gateway.say(signals(queued=1))
    await world.step()
    (name,) = world.cluster.start_missing()
    world.gateway.say(signals(view(name, world.status["revision"], idle_since_ms=0), age_seconds=60))
    await world.step()
    assert (world.replicas, world.gateway.drained) == ([1], [])


async def test_what_the_scaler_remembers_survives_a_restart_of_the_operator() -> None:
    world = World(scaling={"scalerType": "REQUEST_COUNT", "scalerValue": 1, "stabilizationSeconds": 60})
    await world.step()
    world.gateway.say(signals(queued=2))
    await world.step()
    names = world.cluster.start_missing()
    revision = world.status["revision"]
    world.gateway.say(signals(*(view(name, revision, idle_since_ms=0) for name in names)))
    await world.step()
    world.reconciler = Reconciler(world.cluster, world.gateway, world.clock, worker_settings())
    await world.step()
    assert (world.replicas, world.gateway.drained) == ([2], [])
    world.clock.seconds += 60
    await world.step()
    assert sorted(world.gateway.drained) == sorted(names)


async def test_a_shrink_in_several_steps_is_told_once(world: World) -> None:
    await world.step()
    world.gateway.say(signals(queued=1))
    await world.step()
    (name,) = world.cluster.start_missing()
    world.gateway.say(signals(view(name, world.status["revision"], idle_since_ms=0)))
    await world.step()
    told = world.status["autoscaling"]["lastDecision"]
    await world.step()
    assert world.status["autoscaling"]["lastDecision"] == told
    assert (told["current"], told["desired"], told["reason"]) == (1, 0, "IdleTimeout")


async def test_pods_without_room_and_refused_pods_start_no_further_ones() -> None:
    world = World(scaling={"workersMax": 20})
    await world.step()
    world.gateway.say(signals(queued=1))
    await world.step()
    (name,) = world.cluster.start_missing()
    revision = world.status["revision"]
    world.cluster.set_workers(worker(name, revision, phase="Unschedulable"))
    world.gateway.say(signals(queued=9, late=9))
    await world.step()
    assert world.replicas == [1]
    world.cluster.set_workers(worker(name, revision))
    await world.step()
    assert world.replicas == [9]


async def test_an_unreadable_schedule_shows_as_a_condition_that_names_it() -> None:
    entry = {"cron": "0 8 * * NEVER", "timeZone": "Mars/Olympus", "workersMin": 1}
    world = World(scaling={"schedules": [entry]})
    await world.step()
    assert world.ready()["reason"] == "InvalidSpec"
    for words in ("schedules[0].cron: '0 8 * * NEVER' never comes", "schedules[0].timeZone: there is no time zone"):
        assert words in world.ready()["message"]


async def test_a_deleted_endpoint_is_forgotten_by_the_gateway(world: World) -> None:
    await world.step()
    world.gateway.say(signals())
    world.cluster.endpoints.clear()
    world.cluster.alive.clear()
    await world.step()
    assert world.gateway.forgotten == ["team-a.tokens"]


async def test_an_endpoint_that_only_the_cache_misses_keeps_its_jobs(world: World) -> None:
    await world.step()
    world.gateway.say(signals(queued=5))
    world.cluster.endpoints.clear()
    await world.step()
    assert world.gateway.forgotten == []


async def test_an_unavailable_cluster_is_left_to_the_queue(world: World) -> None:
    world.cluster.refuse_applies = ClusterUnavailable("etcd leader changed")
    with pytest.raises(ClusterUnavailable):
        await world.step()


async def test_workers_of_other_revisions_keep_their_credentials_while_they_live(world: World) -> None:
    world.cluster.set_workers(worker("old", "r0", terminating=True))
    await world.step()
    assert "r0" in {each.revision for each in world.gateway.registrations[-1].worker_tokens}


async def test_what_happens_is_told_once(world: World) -> None:
    await world.step()
    world.gateway.say(signals(queued=1))
    await world.step()
    for _ in range(3):
        await world.step()
    assert [event.reason for event in world.cluster.events] == ["ScaledFromZero"]


async def test_events_that_cannot_be_written_stop_nothing(world: World) -> None:
    world.cluster.refuse_events = ClusterUnavailable("events are down")
    await world.step()
    world.gateway.say(signals(queued=1))
    await world.step()
    assert world.replicas == [1]
    assert world.status["autoscaling"]["lastDecision"]["reason"] == "FirstJob"


async def test_a_number_of_workers_that_the_user_set_wins_over_the_load_and_never_ends_a_busy_one() -> None:
    world = World(scaling={"replicas": 2})
    world.gateway.say(signals(queued=9))
    await world.step()
    assert world.replicas == [2]
    busy, idle = world.cluster.start_missing()
    revision = world.status["revision"]
    world.cluster.put(manifest(scaling={"replicas": 0}), generation=2)
    for draining in (False, True):
        held = view(busy, revision, running=1, idle_since_ms=None)
        world.gateway.say(signals(held, view(idle, revision, draining=draining, idle_since_ms=99_900), in_progress=1))
        await world.step()
    assert (world.replicas, world.gateway.drained) == ([1], [idle])
    assert [each.name for each in world.cluster.endpoints[KEY].workers] == [busy]


async def test_a_suspended_endpoint_starts_no_worker_for_its_jobs() -> None:
    world = World(suspend=True)
    world.gateway.say(signals(queued=9))
    await world.step()
    assert world.replicas == [0]
    assert world.status["phase"] == "Suspended"


@pytest.mark.requirement("platform.start")
async def test_a_worker_that_does_not_come_to_work_is_replaced_at_its_deadline() -> None:
    world = World({"image": "x", "startupDeadlineSeconds": 10}, scaling={"workersMin": 1})
    world.gateway.say(signals())
    await world.step()
    revision = world.status["revision"]
    world.cluster.set_workers(worker("slow", revision, running_seconds=0.0))
    outcome = await world.step()
    assert (world.cluster.replaced, outcome.again_after_seconds) == ([], 10.0)
    world.clock.seconds += 8
    world.cluster.set_workers(worker("slow", revision, running_seconds=10.0))
    await world.step()
    assert world.cluster.replaced == ["slow"]
    assert world.status["failures"][0]["reason"] == "StartupDeadline"


@pytest.mark.parametrize("restarted", ["gateway", "both"])
async def test_a_worker_that_worked_before_the_gateway_was_started_again_gets_time_to_come_back(restarted: str) -> None:
    world = World({"image": "x"}, scaling={"workersMin": 1})
    world.gateway.say(signals())
    await world.step()
    revision = world.status["revision"]
    world.cluster.set_workers(worker("warm", revision, running_seconds=9_999.0))
    world.gateway.say(signals(view("warm", revision)))
    await world.step()
    if restarted == "both":
        world.reconciler = Reconciler(world.cluster, world.gateway, world.clock, worker_settings())
    world.gateway.say(signals())
    await world.step()
    world.clock.seconds += 40
    await world.step()
    world.gateway.say(signals(view("warm", revision)))
    await world.step()
    world.gateway.say(signals())
    await world.step()
    world.clock.seconds += 40
    await world.step()
    assert world.cluster.replaced == [], "it was away for less than a minute each time"
    world.clock.seconds += 20
    await world.step()
    assert world.cluster.replaced == ["warm"], "it did not come back"


async def test_a_silent_gateway_says_nothing_about_who_came_to_work() -> None:
    world = World({"image": "x", "startupDeadlineSeconds": 10}, scaling={"workersMin": 1})
    world.gateway.say(signals(age_seconds=60))
    await world.step()
    world.cluster.set_workers(worker("a", world.status["revision"], running_seconds=99.0))
    await world.step()
    assert world.cluster.replaced == []
