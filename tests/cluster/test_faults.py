"""Operator and gateway killed in the middle: nothing that was accepted is lost, and no worker that is there."""

from datetime import UTC, datetime
from typing import Any

from tests.cluster.endpoints import LOOK, apply_ready, inline, staying
from tests.cluster.helm import RELEASE
from tests.cluster.job_api import JobApi
from tests.cluster.killing import kill
from tests.cluster.kubernetes import get, kubectl, wait_for_path
from tests.cluster.test_endpoint import OUTPUTS, apply


def test_a_killed_operator_loses_nothing_and_goes_on(release: str, namespace: str, api: JobApi) -> None:
    endpoint = apply(namespace)
    first = api.run(endpoint)
    while not api.ok(f"/v2/{endpoint}/stream/{first}?offset=0")["stream"]:
        pass
    kill(release, "operator")
    later = [api.run(endpoint) for _ in range(3)]
    assert [api.finished(endpoint, job)["output"] for job in (first, *later)] == [OUTPUTS] * 4
    kubectl("rollout", "status", f"deployment/{RELEASE}-operator", "-n", release, "--timeout=60s")
    wait_for_path("sme/tokens", ".status.phase", "Idle", namespace)


def test_a_killed_gateway_comes_back_with_every_accepted_job(release: str, namespace: str, api: JobApi) -> None:
    endpoint = apply(namespace)
    jobs = [api.run(endpoint) for _ in range(4)]
    while not api.ok(f"/v2/{endpoint}/stream/{jobs[0]}?offset=0")["stream"]:
        pass
    kill(release, "gateway")
    kubectl("rollout", "status", f"statefulset/{RELEASE}-gateway", "-n", release, "--timeout=60s")
    results = [api.finished(endpoint, job) for job in jobs]
    assert [result["output"] for result in results] == [OUTPUTS] * 4
    wait_for_path("sme/tokens", ".status.phase", "Idle", namespace)


DEADLINE_SECONDS = 20


def test_a_killed_gateway_costs_no_worker_that_is_idle_for_longer_than_its_start_may_take(
    release: str, namespace: str, api: JobApi
) -> None:
    two = {"workersMin": 2, "workersMax": 2}
    endpoint = apply_ready(namespace, inline(LOOK, two, startupDeadlineSeconds=DEADLINE_SECONDS))
    wait_for_path("sme/it", ".status.workers.ready", "2", namespace)
    before = staying(namespace)
    while any(_age_seconds(pod) <= DEADLINE_SECONDS for pod in before):
        get("pods", "-n", namespace)
    kill(release, "gateway")
    kubectl("rollout", "status", f"statefulset/{RELEASE}-gateway", "-n", release, "--timeout=60s")
    finished = api.finished(endpoint, api.run(endpoint))
    assert finished["status"] == "COMPLETED"
    wait_for_path("sme/it", ".status.workers.ready", "2", namespace)
    assert _uids(staying(namespace)) == _uids(before)
    events = get("events", "-n", namespace, "--field-selector=reason=WorkerFailed")["items"]
    assert events == []


def _age_seconds(pod: Any) -> float:
    created = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
    return (datetime.now(UTC) - created).total_seconds()


def _uids(pods: list[dict[str, Any]]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}
