"""The cluster adapter against a fake API server: what it writes, in which order, and what it refuses to touch."""

import copy
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from submodel_operator.api.conditions import EventReason
from submodel_operator.desired import DesiredPool, desired_pool
from submodel_operator.errors import ClusterRefused, Conflict, NameConflict
from submodel_operator.kube import Caches, KubeCluster, open_client, preload
from submodel_operator.ports import REFERENCES_PERIOD_SECONDS, Event, Observed, Reference
from tests.support.endpoints import KEY, manifest, resolved
from tests.support.fake_apiserver import FakeApiServer, Kubelet
from tests.support.memory_world import ManualClock

COST = "controller.kubernetes.io/pod-deletion-cost"


@dataclass
class World:
    """An endpoint in the API server, known to the adapter's caches."""

    server: FakeApiServer
    cluster: KubeCluster
    kubelet: Kubelet
    desired: DesiredPool
    clock: ManualClock

    def observe(self, now: float = 0.0) -> Observed:
        observed = self.cluster.observe(KEY, now)
        assert observed is not None
        return observed

    async def apply_all(self) -> None:
        observed = self.observe()
        for child in self.desired.children:
            await self.cluster.apply(observed, child)

    def pods(self) -> list[str]:
        return [pod["metadata"]["name"] for pod in self.kubelet.alive(KEY.namespace, self.desired.name)]

    def marked(self) -> set[str]:
        pods = self.kubelet.alive(KEY.namespace, self.desired.name)
        return {pod["metadata"]["name"] for pod in pods if COST in (pod["metadata"].get("annotations") or {})}

    async def scale(self, replicas: int, victims: Sequence[str]) -> None:
        """Scale from the count that is known now."""
        (pool,) = self.observe().pools
        await self.cluster.scale(KEY, pool.name, pool.replicas, replicas, victims)

    def deployment(self) -> dict[str, Any]:
        return self.server.store.get("deployments", KEY.namespace, self.desired.name)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with FakeApiServer().running() as server:
        endpoint = server.store.create("submodelendpoints", KEY.namespace, copy.deepcopy(manifest()))
        async with open_client({"KUBECONFIG": server.kubeconfig(tmp_path)}) as client:
            caches = Caches()
            await preload(client, caches, [])
            kubelet = Kubelet(server.store)
            # The watches' part: what the node does reaches the caches at once.
            server.store.reactions.append(lambda plural, kind, raw: watch(caches, plural, kind, raw))
            desired = desired_pool(resolved(uid=endpoint["metadata"]["uid"]))
            clock = ManualClock()
            yield World(server, KubeCluster(client, caches, clock), kubelet, desired, clock)


def watch(caches: Caches, plural: str, kind: str, raw: dict[str, Any]) -> None:
    for resource in caches.by_resource():
        if resource.plural == plural == "pods":
            caches.take_event(resource, kind, copy.deepcopy(raw))


async def test_children_are_created_with_no_replicas_and_one_look_at_the_endpoint(world: World) -> None:
    world.server.requests.clear()
    await world.apply_all()
    assert [method for method, _ in world.server.requests] == ["GET", "POST", "POST", "POST"]
    assert world.deployment()["spec"]["replicas"] == 0
    (pool,) = world.observe().pools
    assert (pool.replicas, pool.desired_hash) == (0, world.desired.hash)


async def test_an_apply_before_the_first_scale_write_leaves_the_count_at_zero(world: World) -> None:
    await world.apply_all()
    changed = copy.deepcopy(dict(world.desired.children[-1]))
    changed["metadata"]["annotations"] = {"serverless.submodel.ai/desired-hash": "of a newer release"}
    await world.cluster.apply(world.observe(), changed)
    assert world.deployment()["spec"]["replicas"] == 0
    (pool,) = world.observe().pools
    assert (pool.replicas, pool.desired_hash) == (0, "of a newer release")


async def test_nothing_is_created_for_an_endpoint_that_is_gone(world: World) -> None:
    world.server.store.delete("submodelendpoints", *KEY)
    with pytest.raises(Conflict):
        await world.apply_all()
    assert world.server.writes == []
    assert world.cluster.observe(KEY, 0.0) is None


async def test_nothing_is_created_for_a_namesake_that_came_after(world: World) -> None:
    world.server.store.delete("submodelendpoints", *KEY)
    world.server.store.create("submodelendpoints", KEY.namespace, copy.deepcopy(manifest()))
    with pytest.raises(Conflict):
        await world.apply_all()
    assert world.server.writes == []


async def test_an_apply_to_a_deployment_that_was_deleted_meanwhile_does_not_create_it(world: World) -> None:
    await world.apply_all()
    world.server.store.delete("deployments", KEY.namespace, world.desired.name)
    with pytest.raises(Conflict):
        await world.cluster.apply(world.observe(), world.desired.children[-1])
    assert world.server.store.all("deployments") == []
    assert world.observe().pools == ()


async def test_a_name_that_somebody_else_has_is_left_to_them(world: World) -> None:
    owner = {"kind": "Release", "name": "shop", "uid": "x", "controller": True}
    body = {"metadata": {"name": world.desired.name, "ownerReferences": [owner]}, "spec": {}}
    world.server.store.reactions.clear()
    world.server.store.create("pods", KEY.namespace, {"metadata": {"name": "owner", "generateName": ""}})
    owner["uid"] = world.server.store.get("pods", KEY.namespace, "owner")["metadata"]["uid"]
    world.server.store.create("secrets", KEY.namespace, body)
    with pytest.raises(NameConflict, match=f"Secret {KEY.namespace}/{world.desired.name} belongs to Release shop"):
        await world.apply_all()


async def test_an_attempt_that_broke_off_is_completed(world: World) -> None:
    observed = world.observe()
    await world.cluster.apply(observed, world.desired.children[0])
    await world.apply_all()
    assert len(world.observe().pools) == 1


async def test_exactly_the_victims_leave(world: World) -> None:
    await world.apply_all()
    await world.scale(5, ())
    first, *others = world.pods()
    await world.scale(3, (first, others[2]))
    assert world.pods() == [others[0], others[1], others[3]]
    assert world.marked() == set()


async def test_the_marks_are_there_before_the_count_shrinks(world: World) -> None:
    await world.apply_all()
    await world.scale(4, ())
    victims = set(world.pods()[:2])
    seen: list[set[str]] = []

    def look(request: web.Request) -> None:
        if request.path.endswith("/scale"):
            seen.append(world.marked())

    world.server.faults.append(look)
    await world.scale(2, tuple(victims))
    assert seen == [victims]


async def test_a_mark_that_was_not_used_does_not_decide_the_next_shrink(world: World) -> None:
    await world.apply_all()
    await world.scale(3, ())
    unready, marked, victim = world.pods()
    world.kubelet.set_status(KEY.namespace, unready, {"phase": "Pending"})
    await world.scale(2, (marked,))
    assert world.pods() == [marked, victim], "the ReplicaSet takes a pod that is not ready first"
    assert world.marked() == {marked}
    await world.scale(1, (victim,))
    assert world.pods() == [marked]
    assert world.marked() == set()


async def test_growth_removes_marks_that_were_not_used(world: World) -> None:
    await world.apply_all()
    await world.scale(2, ())
    unready, marked = world.pods()
    world.kubelet.set_status(KEY.namespace, unready, {"phase": "Pending"})
    await world.scale(1, (marked,))
    assert world.marked() == {marked}
    await world.scale(2, ())
    assert world.marked() == set()


async def test_costs_that_others_write_neither_save_a_victim_nor_choose_one_and_are_left_alone(world: World) -> None:
    await world.apply_all()
    await world.scale(3, ())
    cheap, victim, other = world.pods()
    for name, cost in ((cheap, "-2147483647"), (other, "100")):
        world.server.store.replace("pods", _with_cost(world.server.store.get("pods", KEY.namespace, name), cost))
    await world.scale(2, (victim,))
    assert world.pods() == [cheap, other]
    assert world.marked() == {cheap, other}


async def test_a_victim_that_left_by_itself_stops_the_shrink(world: World) -> None:
    """Its ReplicaSet has replaced it: a smaller count would take another pod, which may be busy."""
    await world.apply_all()
    await world.scale(2, ())
    gone, stays = world.pods()
    world.server.store.delete("pods", KEY.namespace, gone)
    with pytest.raises(Conflict, match="has left by itself"):
        await world.scale(1, (gone,))
    assert world.deployment()["spec"]["replicas"] == 2
    assert stays in world.pods()


async def test_a_victim_that_was_evicted_stops_the_shrink(world: World) -> None:
    """It is still there, and replaced all the same."""
    await world.apply_all()
    await world.scale(2, ())
    evicted = world.pods()[0]
    world.server.store.reactions.pop()  # nobody has told yet
    world.kubelet.set_status(KEY.namespace, evicted, {"phase": "Failed", "reason": "Evicted"})
    with pytest.raises(Conflict, match="has left by itself"):
        await world.scale(1, (evicted,))
    assert world.deployment()["spec"]["replicas"] == 2


async def test_a_mark_is_taken_off_when_its_worker_stays_and_that_of_a_pod_that_is_gone_is_no_trouble(
    world: World,
) -> None:
    await world.apply_all()
    await world.scale(3, ())
    unready, marked, _ = world.pods()
    world.kubelet.set_status(KEY.namespace, unready, {"phase": "Pending"})
    await world.scale(2, (marked,))
    assert [each.name for each in world.observe().workers if each.marked] == [marked]
    await world.cluster.unmark(KEY, (marked, "gone"))
    assert world.marked() == set()
    assert not any(each.marked for each in world.observe().workers)


async def test_where_all_go_one_look_takes_the_place_of_the_marks(world: World) -> None:
    await world.apply_all()
    await world.scale(3, ())
    world.server.requests.clear()
    await world.scale(0, tuple(world.pods()))
    assert world.pods() == []
    assert [method for method, _ in world.server.requests] == ["GET", "PATCH"]


@pytest.mark.parametrize("told", [True, False], ids=["and it is known", "and nobody has told yet"])
async def test_where_all_go_a_pod_that_took_the_place_of_another_stops_the_shrink(world: World, told: bool) -> None:
    await world.apply_all()
    await world.scale(2, ())
    chosen = world.pods()
    if not told:
        world.server.store.reactions.pop()
    world.server.store.delete("pods", KEY.namespace, chosen[0])
    world.kubelet._react("deployments", "MODIFIED", world.deployment())
    assert len(world.pods()) == 2
    with pytest.raises(Conflict, match="are others by now"):
        await world.scale(0, tuple(chosen))
    assert world.deployment()["spec"]["replicas"] == 2
    assert {each.name for each in world.observe().workers} == set(world.pods()), "the look is news"
    await world.scale(0, tuple(world.pods()))
    assert world.pods() == []


async def test_a_victim_that_is_terminating_stops_the_shrink(world: World) -> None:
    await world.apply_all()
    await world.scale(2, ())
    ending = copy.deepcopy(world.server.store.get("pods", KEY.namespace, world.pods()[0]))
    ending["metadata"]["deletionTimestamp"] = "2999-01-01T00:00:00Z"
    world.server.store.replace("pods", ending)
    with pytest.raises(Conflict, match="has left by itself"):
        await world.scale(1, (ending["metadata"]["name"],))
    assert world.deployment()["spec"]["replicas"] == 2


async def test_a_count_that_is_not_the_decisions_any_more_is_left_alone(world: World) -> None:
    await world.apply_all()
    await world.scale(3, ())
    victim = world.pods()[0]
    with pytest.raises(Conflict, match="was scaled to 3 meanwhile"):
        await world.cluster.scale(KEY, world.desired.name, 2, 1, (victim,))
    assert len(world.pods()) == 3


async def test_a_mark_that_cannot_be_written_stops_the_shrink(world: World) -> None:
    await world.apply_all()
    await world.scale(2, ())
    refused = world.pods()[0]
    world.server.faults.append(lambda request: (409, "conflict") if request.path.endswith(refused) else None)
    with pytest.raises(Conflict):
        await world.scale(1, (refused,))
    assert world.deployment()["spec"]["replicas"] == 2


async def test_a_count_that_somebody_else_changed_is_read_again_and_not_overwritten(world: World) -> None:
    await world.apply_all()
    await world.scale(2, ())
    changed = copy.deepcopy(world.deployment())
    changed["spec"]["replicas"] = 5
    world.server.store.replace("deployments", changed)
    with pytest.raises(Conflict, match="scaled by somebody else"):
        await world.scale(3, ())
    assert world.deployment()["spec"]["replicas"] == 5
    (pool,) = world.observe().pools
    assert pool.replicas == 5


async def test_a_pool_goes_with_all_its_parts(world: World) -> None:
    await world.apply_all()
    await world.cluster.delete_pool(KEY, world.desired.name)
    assert [world.server.store.all(kind) for kind in ("deployments", "configmaps", "secrets")] == [[], [], []]
    assert world.observe().pools == ()
    await world.cluster.delete_pool(KEY, world.desired.name)


async def test_what_has_not_our_labels_stays(world: World) -> None:
    await world.apply_all()
    world.server.store.delete("configmaps", KEY.namespace, world.desired.name)
    world.server.store.create("configmaps", KEY.namespace, {"metadata": {"name": world.desired.name}, "data": {}})
    await world.cluster.delete_pool(KEY, world.desired.name)
    assert len(world.server.store.all("configmaps")) == 1


async def test_the_deployment_goes_last_so_that_a_failure_is_tried_again(world: World) -> None:
    await world.apply_all()
    await world.cluster.delete_pool(KEY, world.desired.name)
    deleted = [path.split("/")[-2] for method, path in world.server.writes if method == "DELETE"]
    assert deleted == ["configmaps", "secrets", "deployments"]


async def test_a_status_is_held_as_the_server_has_it(world: World) -> None:
    await world.cluster.write_status(world.observe(), {"phase": "Idle"})
    assert world.observe().manifest["status"] == {"phase": "Idle"}


async def test_a_status_of_an_endpoint_that_changed_is_a_conflict_and_the_change_is_seen(world: World) -> None:
    observed = world.observe()
    changed = copy.deepcopy(world.server.store.get("submodelendpoints", *KEY))
    changed["spec"]["scaling"] = {"workersMax": 9}
    world.server.store.replace("submodelendpoints", changed)
    with pytest.raises(Conflict):
        await world.cluster.write_status(observed, {"phase": "Idle"})
    assert world.observe().generation == 2
    await world.cluster.write_status(world.observe(), {"phase": "Idle"})


async def test_a_pod_is_half_a_second_younger_than_the_whole_second_that_the_cluster_tells(world: World) -> None:
    await world.apply_all()
    await world.scale(1, ())
    created_at = 1_767_225_600.0  # which the fake server tells of every object
    ages = [world.observe(created_at + seconds).workers[0].age_seconds for seconds in (0.2, 2.0)]
    assert ages == [0.0, 1.5]


async def test_finished_pods_are_no_workers_and_terminating_ones_are(world: World) -> None:
    await world.apply_all()
    await world.scale(2, ())
    evicted, alive = world.pods()
    world.kubelet.set_status(KEY.namespace, evicted, {"phase": "Failed", "reason": "Evicted"})
    ending = copy.deepcopy(world.server.store.get("pods", KEY.namespace, alive))
    ending["metadata"]["deletionTimestamp"] = "2999-01-01T00:00:00Z"
    world.server.store.replace("pods", ending)
    (worker,) = world.observe().workers
    assert (worker.name, worker.terminating) == (alive, True)


async def test_a_replaced_worker_is_deleted_and_the_count_stays(world: World) -> None:
    await world.apply_all()
    await world.scale(2, ())
    first, second = world.observe().workers
    await world.cluster.replace(KEY, first.name, first.uid)
    await world.cluster.replace(KEY, first.name, first.uid)
    assert world.pods() == [second.name]
    assert world.deployment()["spec"]["replicas"] == 2
    with pytest.raises(Conflict):
        await world.cluster.replace(KEY, second.name, first.uid)


async def test_the_children_of_an_earlier_namesake_are_not_its_pools(world: World) -> None:
    await world.apply_all()
    first = world.desired.name
    world.server.store.delete("submodelendpoints", *KEY)
    world.server.store.create("submodelendpoints", KEY.namespace, copy.deepcopy(manifest()))
    assert await world.cluster.exists(KEY)
    assert world.observe().pools == (), f"{first} belongs to the endpoint that was deleted"


async def test_an_event_that_happens_again_is_counted_with_its_newest_words(world: World) -> None:
    observed = world.observe()
    await world.cluster.record(observed, Event(EventReason.SCALED_UP, "workers 1 → 2"))
    await world.cluster.record(observed, Event(EventReason.SCALED_UP, "workers 2 → 3"))
    await world.cluster.record(observed, Event(EventReason.WORKER_FAILED, "worker a: Evicted", "a"))
    told = {(each["reason"], each["type"], each["count"]): each for each in world.server.store.all("events")}
    assert sorted(told) == [("ScaledUp", "Normal", 2), ("WorkerFailed", "Warning", 1)]
    scaled = told["ScaledUp", "Normal", 2]
    assert scaled["message"] == "workers 2 → 3"
    assert scaled["involvedObject"]["uid"] == observed.uid


async def test_an_event_whose_object_has_expired_is_told_anew(world: World) -> None:
    observed = world.observe()
    event = Event(EventReason.SCALED_UP, "workers 1 → 2")
    await world.cluster.record(observed, event)
    (first,) = world.server.store.all("events")
    world.server.store.delete("events", KEY.namespace, first["metadata"]["name"])
    await world.cluster.record(observed, event)
    assert [each["count"] for each in world.server.store.all("events")] == [2]


async def test_a_child_that_somebody_deleted_is_created_again(world: World) -> None:
    await world.apply_all()
    world.server.store.delete("secrets", KEY.namespace, world.desired.name)
    world.server.writes.clear()
    for child in world.desired.children[:-1]:
        await world.cluster.ensure(world.observe(), child)
    assert [path.rpartition("/")[2] for _, path in world.server.writes] == ["secrets"]
    assert world.server.store.get("secrets", KEY.namespace, world.desired.name)["data"]["token"]


async def test_of_a_secret_only_digests_are_kept_and_of_a_config_map_its_text(world: World) -> None:
    secret, config = Reference("Secret", "keys"), Reference("ConfigMap", "config")
    body = {"metadata": {"name": "keys"}, "data": {"a": "aHVudGVyMg=="}}
    world.server.store.create("secrets", KEY.namespace, body)
    world.server.store.create("configmaps", KEY.namespace, {"metadata": {"name": "config"}, "data": {"b": "text"}})
    found = await world.cluster.look_up(KEY, [secret, config])
    assert found[config] == {"b": "text"}
    digests = found[secret]
    assert digests is not None
    assert list(digests) == ["a"]
    assert "aHVudGVyMg" not in repr(world.cluster.__dict__)


ELSEWHERE = [
    "../../victim/secrets/theirs",
    "../../../namespaces/victim/secrets/theirs",
    "..%2f..%2fvictim%2fsecrets%2ftheirs",
    "%2e%2e/%2e%2e/victim/secrets/theirs",
    "theirs/../../../victim/secrets/theirs",
    "theirs?fieldManager=x",
    "theirs#",
    "theirs/status",
    "..",
    ".",
    "a b",
    "a\nb",
    "théirs",
]


@pytest.mark.parametrize("name", ELSEWHERE)
@pytest.mark.parametrize("kind", ["Secret", "ConfigMap"])
async def test_a_name_leads_nowhere_but_into_the_namespace_of_the_endpoint(world: World, kind: str, name: str) -> None:
    body = {"metadata": {"name": "theirs"}, "data": {"a": "aHVudGVyMg=="}}
    world.server.store.create("secrets", "victim", body)
    world.server.requests.clear()
    with pytest.raises(ClusterRefused, match="cannot be the name of an object"):
        await world.cluster.look_up(KEY, [Reference(kind, name)])
    with pytest.raises(ClusterRefused, match="cannot be the name of an object"):
        await world.cluster.read_secret(KEY.namespace, name)
    assert world.server.requests == []


async def test_references_are_read_once_a_minute_and_missing_ones_each_time(world: World) -> None:
    there, missing = Reference("ConfigMap", "config"), Reference("ConfigMap", "missing")
    world.server.store.create("configmaps", KEY.namespace, {"metadata": {"name": "config"}, "data": {"b": "1"}})
    world.server.requests.clear()
    for _ in range(3):
        assert await world.cluster.look_up(KEY, [there, missing]) == {there: {"b": "1"}, missing: None}
    asked = [path.rpartition("/")[2] for _, path in world.server.requests]
    assert (asked.count("config"), asked.count("missing")) == (1, 3)
    world.clock.seconds += REFERENCES_PERIOD_SECONDS
    await world.cluster.look_up(KEY, [there])
    assert [path.rpartition("/")[2] for _, path in world.server.requests].count("config") == 2


async def test_an_endpoint_comes_round_when_what_it_names_is_to_be_read_again(world: World) -> None:
    """Counted from the reading: an endpoint under load, which is looked at all the time, must not put it off."""
    there, missing = Reference("ConfigMap", "config"), Reference("ConfigMap", "missing")
    world.server.store.create("configmaps", KEY.namespace, {"metadata": {"name": "config"}, "data": {"b": "1"}})
    await world.cluster.look_up(KEY, [there, missing])
    first = world.cluster.look_up_again_after(KEY, [there, missing])
    world.clock.seconds += 40
    await world.cluster.look_up(KEY, [there, missing])
    assert first is not None
    assert first <= REFERENCES_PERIOD_SECONDS
    assert world.cluster.look_up_again_after(KEY, [there, missing]) == pytest.approx(first - 40)
    assert world.cluster.look_up_again_after(KEY, [missing]) is None


async def test_busy_workers_are_protected_from_node_autoscalers_and_idle_ones_are_not(world: World) -> None:
    await world.apply_all()
    await world.scale(2, [])
    first, second = world.pods()
    await world.cluster.protect(KEY, {first: True, "gone": True})
    assert {each.name: each.protected for each in world.observe().workers} == {first: True, second: False}
    pod = world.server.store.get("pods", KEY.namespace, first)
    assert pod["metadata"]["annotations"] == {
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        "karpenter.sh/do-not-disrupt": "true",
    }
    await world.cluster.protect(KEY, {first: False})
    assert world.server.store.get("pods", KEY.namespace, first)["metadata"]["annotations"] == {}


def _with_cost(pod: dict[str, Any], cost: str) -> dict[str, Any]:
    return {**pod, "metadata": {**pod["metadata"], "annotations": {COST: cost}}}
