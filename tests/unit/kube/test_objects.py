"""What the operator reads from raw Kubernetes objects."""

from typing import Any

import pytest

from submodel_operator.kube.objects import LAST_LINES_LENGTH, endpoint_view, pod_phase, pod_view, pool_view, worker_end
from submodel_operator.ports import Key, PodStart, WorkerEnd

LABELS = {"serverless.submodel.ai/endpoint": "tokens", "serverless.submodel.ai/revision": "r1"}


def container(state: dict[str, Any], last: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"phase": "Running", "containerStatuses": [{"state": state, "lastState": last or {}}]}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def terminated(reason: str, code: int, message: str = "") -> dict[str, Any]:
    return {"terminated": {"reason": reason, "exitCode": code, "message": message}}


UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: no GPU"}


@pytest.mark.parametrize(
    ("status", "phase", "message"),
    [
        ({}, "Pending", ""),
        ({"phase": "Running"}, "Running", ""),
        (container({"running": {}}), "Running", ""),
        ({"phase": "Pending", **{"containerStatuses": [{"state": waiting("ContainerCreating")}]}}, "Pending", ""),
        ({"phase": "Pending", "conditions": [UNSCHEDULABLE]}, "Unschedulable", "0/1 nodes: no GPU"),
        (container(waiting("ImagePullBackOff", "no such image")), "ImagePullBackOff", "no such image"),
        (
            container(waiting("CreateContainerConfigError", "image will run as root")),
            "CreateContainerConfigError",
            "image will run as root",
        ),
        (
            container(waiting("CrashLoopBackOff", "back-off 10s"), terminated("Error", 1, "Trace\n\nKeyError: 'x'\n")),
            "CrashLoopBackOff",
            "KeyError: 'x'",
        ),
        (
            container(waiting("CrashLoopBackOff", "back-off 10s"), terminated("Error", 3)),
            "CrashLoopBackOff",
            "Error (exit code 3)",
        ),
        (
            container(waiting("CrashLoopBackOff"), terminated("OOMKilled", 137)),
            "CrashLoopBackOff",
            "OOMKilled: it used more memory than worker.resources.limits allows",
        ),
        (container(terminated("Error", 1, "bye")), "Error", "bye"),
        (container(terminated("Completed", 0)), "Running", ""),
        ({"phase": "Failed", "reason": "Evicted", "message": "low on disk"}, "Evicted", "low on disk"),
    ],
)
def test_a_pod_says_how_it_is_and_why(status: dict[str, Any], phase: str, message: str) -> None:
    assert pod_phase(status) == (phase, message)


def test_long_words_are_cut() -> None:
    _, message = pod_phase(container(waiting("ImagePullBackOff", "x" * 10_000)))
    assert len(message) == 500
    assert message.endswith("…")


@pytest.mark.parametrize(
    "message",
    [
        "rpc error: not found",
        'Back-off pulling image "x": ErrImagePull: rpc error: not found',
    ],
)
def test_a_failed_pull_says_the_same_while_it_waits_and_while_it_tries(message: str) -> None:
    assert pod_phase(container(waiting("ImagePullBackOff", message)))[1] == "rpc error: not found"


def test_the_last_run_of_a_worker_is_kept_with_its_last_lines() -> None:
    long = "x" * 5000 + "\nKeyError: 'y'"
    crashed = container({"running": {}}, terminated("Error", 1, long))
    crashed["containerStatuses"][0]["restartCount"] = 4
    end = worker_end(crashed)
    assert end is not None
    assert (end.reason, end.exit_code, end.count, len(end.lines)) == ("Error", 1, 4, LAST_LINES_LENGTH)
    assert end.lines.endswith("KeyError: 'y'")


def test_a_worker_in_its_first_run_has_not_ended() -> None:
    assert worker_end(container({"running": {}})) is None
    assert worker_end({}) is None


def test_a_run_that_just_ended_counts_before_the_one_ahead_of_it() -> None:
    both = container(terminated("OOMKilled", 137), terminated("Error", 1))
    assert worker_end(both) == WorkerEnd("OOMKilled", 137, "", 0)


def test_a_worker_runs_from_when_its_container_was_started_last() -> None:
    running = {"running": {"startedAt": "1970-01-01T00:05:00Z"}}
    view = pod_view({**pod(), "status": container(running)})
    assert view is not None
    assert view.start.ran_at == 300.0
    waits = pod_view({**pod(), "status": container(waiting("CrashLoopBackOff"))})
    assert waits is not None
    assert waits.start.ran_at is None


def test_the_instants_of_a_start_are_the_clusters_own() -> None:
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "1970-01-01T00:02:00Z"}
    view = pod_view({**pod(), "status": {"conditions": [scheduled]}})
    assert view is not None
    assert view.observed.start == view.start == PodStart(created_at=60.0, scheduled_at=120.0, ran_at=None)
    waits = {"type": "PodScheduled", "status": "False", "lastTransitionTime": "1970-01-01T00:02:00Z"}
    view = pod_view({**pod(), "status": {"conditions": [waits]}})
    assert view is not None
    assert view.start.scheduled_at is None


def pod(**metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "team-a",
            "name": "tokens-r1-x",
            "uid": "u",
            "resourceVersion": "5",
            "creationTimestamp": "1970-01-01T00:01:00Z",
            "labels": LABELS,
            **metadata,
        },
        "status": {"phase": "Running"},
    }


def test_a_pod_belongs_to_the_endpoint_and_pool_of_its_labels() -> None:
    view = pod_view(pod())
    assert view is not None
    assert (view.owner, view.pool) == (Key("team-a", "tokens"), "tokens-r1")
    assert not view.observed.terminating
    assert not view.observed.marked


def test_a_pod_terminates_as_soon_as_a_deletion_is_planned_even_in_the_future() -> None:
    view = pod_view(pod(deletionTimestamp="2999-01-01T00:00:00Z"))
    assert view is not None
    assert view.observed.terminating


def test_objects_without_our_labels_are_not_ours() -> None:
    assert pod_view(pod(labels={})) is None
    assert pool_view(pod(labels=None)) is None


def test_a_deployment_tells_its_owner_count_hash_and_refusal() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
    raw = pod(
        ownerReferences=[{"uid": "other"}, {"uid": "e", "controller": True}],
        annotations={"serverless.submodel.ai/desired-hash": "h"},
    )
    view = pool_view({**raw, "spec": {"replicas": 2}, "status": {"conditions": [failure]}})
    assert view is not None
    assert (view.owner_uid, view.observed.replicas, view.observed.desired_hash) == ("e", 2, "h")
    assert view.observed.refusal == "exceeded quota"


def test_an_endpoint_is_kept_without_what_only_the_server_needs() -> None:
    metadata = {"namespace": "n", "name": "e", "uid": "u", "resourceVersion": "1", "generation": 3}
    metadata["creationTimestamp"] = "2026-01-01T00:00:00Z"
    view = endpoint_view({"metadata": {**metadata, "managedFields": [1]}, "spec": {"worker": {}}, "status": {"a": 1}})
    assert (view.generation, view.deleting) == (3, False)
    assert view.manifest["metadata"] == {"namespace": "n", "name": "e"}
    assert (view.manifest["spec"], view.manifest["status"]) == ({"worker": {}}, {"a": 1})


@pytest.mark.parametrize(
    ("phase", "ready", "unready"),
    [("Running", "False", True), ("Running", "Unknown", True), ("Running", "True", False), ("Pending", "False", False)],
)
def test_a_worker_that_runs_is_not_ready_when_the_cluster_says_so(phase: str, ready: str, unready: bool) -> None:
    status = {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}
    view = pod_view({**pod(), "status": status})
    assert view is not None
    assert view.observed.unready is unready
    silent = pod_view({**pod(), "status": {"phase": phase}})
    assert silent is not None
    assert not silent.observed.unready


def test_a_deletion_cost_is_ours_or_somebody_elses() -> None:
    for cost, marked, foreign in (("-2147483648", True, False), ("-100", False, True), ("7", False, True)):
        view = pod_view(pod(annotations={"controller.kubernetes.io/pod-deletion-cost": cost}))
        assert view is not None
        assert (view.observed.marked, view.observed.foreign_cost) == (marked, foreign)
    view = pod_view(pod())
    assert view is not None
    assert not view.observed.foreign_cost


def test_a_deployment_tells_who_else_wrote_its_count() -> None:
    def written_by(*managers: str) -> str:
        fields = [{"manager": "other", "fieldsV1": {"f:metadata": {}}}]
        fields += [{"manager": each, "fieldsV1": {"f:spec": {"f:replicas": {}}}} for each in managers]
        view = pool_view({**pod(managedFields=fields), "spec": {"replicas": 3}})
        assert view is not None
        return view.observed.counted_by

    assert written_by() == written_by("submodel-operator-scale") == ""
    assert written_by("submodel-operator-scale", "kubectl") == "kubectl"
