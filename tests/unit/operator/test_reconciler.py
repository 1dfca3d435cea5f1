"""Reconciling an endpoint over its whole life, with the ports in memory."""

from dataclasses import replace
from typing import Any

import pytest

from submodel.contract.internal import TERMINATING
from submodel_operator.api.conditions import EventReason
from submodel_operator.errors import (
    ClusterRefused,
    ClusterUnavailable,
    GatewayRefused,
    GatewayUnavailable,
    NameConflict,
)
from submodel_operator.ports import REFERENCES_PERIOD_SECONDS, Key, Reference
from submodel_operator.protection import ANNOTATIONS
from submodel_operator.reconcile import Reconciler
from submodel_operator.reconcile.endpoint import MISSING_PERIOD_SECONDS
from tests.support.endpoints import KEY, manifest, signals, view, worker, worker_settings
from tests.support.memory_world import ManualClock, MemoryCluster, MemoryGateway


class World:
    """An operator with a cluster and a gateway of its own."""

    def __init__(self, worker_spec: dict[str, Any] | None = None, **spec: Any) -> None:
        self.cluster, self.gateway, self.clock = MemoryCluster(), MemoryGateway(), ManualClock()
        self.reconciler = Reconciler(self.cluster, self.gateway, self.clock, worker_settings())
        self.cluster.put(manifest(worker_spec, **spec))

    async def step(self) -> Any:
        """One reconcile, a while after the one before."""
        self.clock.seconds += 2
        return await self.reconciler.reconcile(KEY)

    @property
    def replicas(self) -> list[int]:
        return [pool.replicas for pool in self.cluster.endpoints[KEY].pools]

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.cluster.endpoints[KEY].manifest["status"])

    def ready(self) -> dict[str, Any]:
        return self.condition("Ready")

    def condition(self, kind: str) -> dict[str, Any]:
        return next(dict(each) for each in self.status["conditions"] if each["type"] == kind)


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
    world.cluster.put(manifest(scaling={"workersMax": 5}))
    await world.step()
    world.gateway.say(signals(queued=2, late=2))
    for _ in range(2):
        await world.step()
    idle, busy = world.cluster.start_missing()
    revision = world.status["revision"]
    world.cluster.removes_instead = busy
    held = view(busy, revision, running=1, idle_since_ms=None)
    world.gateway.say(signals(held, view(idle, revision, draining=True, idle_since_ms=0), in_progress=1))
    for _ in range(2):
        await world.step()
    (told,) = (event for event in world.cluster.events if event.reason is EventReason.WRONG_WORKER_LEFT)
    assert told.message.startswith(f"{busy} left and {idle} stayed")
    assert told.worker == busy


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


async def test_a_worker_that_does_not_come_to_work_is_replaced_at_its_deadline() -> None:
    world = World({"image": "x", "startupDeadlineSeconds": 10}, scaling={"workersMin": 1})
    world.gateway.say(signals())
    await world.step()
    revision = world.status["revision"]
    world.cluster.set_workers(worker("slow", revision, running_seconds=4.0))
    outcome = await world.step()
    assert (world.cluster.replaced, outcome.again_after_seconds) == ([], 6.0)
    world.cluster.set_workers(worker("slow", revision, running_seconds=10.0))
    await world.step()
    assert world.cluster.replaced == ["slow"]
    assert world.status["failures"][0]["reason"] == "StartupDeadline"


async def test_a_silent_gateway_says_nothing_about_who_came_to_work() -> None:
    world = World({"image": "x", "startupDeadlineSeconds": 10}, scaling={"workersMin": 1})
    world.gateway.say(signals(age_seconds=60))
    await world.step()
    world.cluster.set_workers(worker("a", world.status["revision"], running_seconds=99.0))
    await world.step()
    assert world.cluster.replaced == []


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
    ("phase", "age_seconds", "looked_for"),
    [
        ("Pending", 5.0, []),
        ("Pending", 30.0, ["ConfigMap", "Secret"]),
        ("CreateContainerConfigError", 5.0, ["ConfigMap", "Secret"]),
        ("Running", 99.0, []),
    ],
)
async def test_a_worker_that_does_not_come_up_has_the_objects_looked_for_that_it_mounts(
    phase: str, age_seconds: float, looked_for: list[str]
) -> None:
    world = World(scaling={"workersMin": 1})
    world.gateway.say(signals())
    await world.step()
    world.cluster.set_workers(worker("a", world.status["revision"], phase=phase, age_seconds=age_seconds))
    outcome = await world.step()
    assert world.cluster.ensured == looked_for
    assert phase != "Pending" or age_seconds > 20 or outcome.again_after_seconds == 15.0


async def test_an_id_of_its_own_is_in_registration_url_and_every_call_to_the_gateway() -> None:
    world = World(endpointId="speech")
    world.gateway.say(signals(endpoint_id="speech", owner="team-a.tokens"))
    world.cluster.holders["speech"] = KEY
    await world.step()
    (registration,) = world.gateway.registrations
    assert (registration.endpoint_id, registration.owner) == ("speech", "team-a.tokens")
    assert world.status["url"] == "https://jobs.example/v2/speech"
    world.gateway.say(signals(endpoint_id="speech", owner="team-a.tokens", queued=1))
    await world.step()
    assert world.replicas == [1]


async def test_an_id_that_an_older_endpoint_has_is_told_and_taken_when_it_is_free() -> None:
    world = World(endpointId="speech")
    world.cluster.holders["speech"] = Key("team-a", "elder")
    outcome = await world.step()
    assert (outcome.failure, outcome.again_after_seconds) == (None, MISSING_PERIOD_SECONDS)
    ready = world.ready()
    assert (ready["status"], ready["reason"]) == ("False", "EndpointIdTaken")
    assert "speech belongs to endpoint elder, which is older; create it anew with another id" in ready["message"]
    assert (world.gateway.registrations, world.cluster.applied) == ([], [])
    world.gateway.say(signals(endpoint_id="speech", owner="team-a.tokens"))
    world.cluster.holders["speech"] = KEY
    await world.step()
    assert world.ready()["status"] == "True"


async def test_an_id_that_a_stranger_has_is_told_without_the_strangers_name() -> None:
    world = World(endpointId="speech")
    world.cluster.holders["speech"] = Key("team-b", "secret-plans")
    await world.step()
    assert "an endpoint of another namespace" in world.ready()["message"]
    assert "secret-plans" not in world.ready()["message"]


async def test_who_waits_for_an_id_is_looked_at_as_soon_as_its_owner_is_forgotten() -> None:
    world = World(endpointId="speech")
    elder = Key("team-a", "elder")
    world.cluster.holders["speech"] = elder
    await world.step()
    world.gateway.say(signals(endpoint_id="speech", owner="team-a.elder"))
    outcome = await world.reconciler.reconcile(elder)
    assert world.gateway.forgotten == ["speech"]
    assert outcome.others == {KEY}


async def test_an_id_of_a_namesake_before_is_given_up() -> None:
    world = World(endpointId="speech")
    world.gateway.say(signals(endpoint_id="text", owner="team-a.tokens"))
    await world.step()
    assert world.gateway.forgotten == ["text"]


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
