"""Others who write what the scaler writes are named, and no job is lost to them."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.endpoints import (
    LOOK,
    OURS,
    WAIT,
    apply_ready,
    apply_spec,
    condition,
    inline,
    put,
    touch,
    wait_for_reason,
    wait_ready,
)
from tests.cluster.job_api import JobApi
from tests.cluster.kubernetes import get, kubectl, wait_for_path

EACH = {"scalerType": "REQUEST_COUNT", "scalerValue": 1, "idleTimeout": 1, "workersMax": 3}
"""A worker for each job, which leaves a second after its last one."""


def test_who_else_scales_the_deployment_is_named_and_the_scaler_goes_on_from_there(namespace: str, api: JobApi) -> None:
    endpoint = apply_spec(namespace, inline(LOOK, {"workersMin": 1, "workersMax": 2, "idleTimeout": 1}))
    wait_ready(namespace)
    assert api.finished(endpoint, api.run(endpoint))["status"] == "COMPLETED"
    (deployment,) = get("deployments", "-n", namespace)["items"]
    kubectl("scale", "deployment", deployment["metadata"]["name"], "-n", namespace, "--replicas=3")
    assert "kubectl" in wait_for_reason(namespace, "Undisturbed", "ScaledByOthers")
    assert condition(namespace, "Undisturbed")["status"] == "False"
    kubectl("wait", "sme/it", "-n", namespace, "--for=jsonpath={.status.workers.total}=1", "--timeout=120s")
    assert api.finished(endpoint, api.run(endpoint))["status"] == "COMPLETED"
    events = get("events", "-n", namespace, "--field-selector=reason=ScaledByOthers")["items"]
    assert [event["type"] for event in events] == ["Warning"]


@contextmanager
def two_busy_workers(namespace: str, api: JobApi) -> Iterator[str]:
    """Gives the name of their Deployment. Whatever is done to it, their jobs end where they began, and run once."""
    endpoint = apply_ready(namespace, inline(WAIT, EACH))
    jobs = [api.run(endpoint, {"until": "the-end"}) for _ in range(2)]
    wait_for_path("sme/it", ".status.workers.busy", "2", namespace)
    busy = {pod["metadata"]["name"] for pod in get("pods", OURS, "-n", namespace)["items"]}
    (deployment,) = get("deployments", OURS, "-n", namespace)["items"]
    yield deployment["metadata"]["name"]
    touch("the-end", *busy, namespace=namespace)
    results = [api.finished(endpoint, job) for job in jobs]
    assert [(each["status"], each["retries"]) for each in results] == [("COMPLETED", 0)] * 2
    assert {each["output"] for each in results} == busy, "they were given the time that their jobs took"


def test_who_scales_down_by_hand_ends_no_job(namespace: str, api: JobApi) -> None:
    with two_busy_workers(namespace, api) as deployment:
        kubectl("scale", "deployment", deployment, "-n", namespace, "--replicas=0")
        assert "was scaled from 2 to 0 by" in wait_for_reason(namespace, "Undisturbed", "ScaledByOthers")


def test_an_autoscaler_of_somebody_else_on_the_deployment_is_named_and_ends_no_job(namespace: str, api: JobApi) -> None:
    bounds = {"minReplicas": 1, "maxReplicas": 1}  # which it keeps without any metric
    with two_busy_workers(namespace, api) as deployment:
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment}
        put(namespace, "HorizontalPodAutoscaler", "theirs", "autoscaling/v2", spec={"scaleTargetRef": target, **bounds})
        assert "kube-controller-manager" in wait_for_reason(namespace, "Undisturbed", "ScaledByOthers")
        kubectl("delete", "hpa", "theirs", "-n", namespace)


def test_a_schedule_that_nobody_can_read_is_told_and_the_job_that_runs_goes_on(namespace: str, api: JobApi) -> None:
    endpoint = apply_ready(namespace, inline(WAIT, EACH))
    job = api.run(endpoint, {"until": "the-end"})
    wait_for_path("sme/it", ".status.workers.busy", "1", namespace)
    (pod,) = get("pods", OURS, "-n", namespace)["items"]
    nonsense = [{"cron": "61 25 * * NEVER", "timeZone": "Mars/Olympus", "workersMin": 1}]
    apply_spec(namespace, inline(WAIT, {**EACH, "schedules": nonsense}))
    words = wait_for_reason(namespace, "Ready", "InvalidSpec")
    assert "schedules[0].cron" in words
    assert "Mars/Olympus" in words
    touch("the-end", pod["metadata"]["name"], namespace=namespace)
    result = api.finished(endpoint, job)
    assert (result["status"], result["retries"], result["output"]) == ("COMPLETED", 0, pod["metadata"]["name"])
    apply_ready(namespace, inline(WAIT, EACH))
    wait_for_path("sme/it", ".status.phase", "Idle", namespace)


def test_a_deletion_cost_of_somebody_else_is_told_and_sends_no_other_worker(namespace: str, api: JobApi) -> None:
    endpoint = apply_spec(namespace, inline(LOOK, {"workersMin": 1}))
    wait_ready(namespace)
    (pod,) = get("pods", "-n", namespace)["items"]
    cost = "controller.kubernetes.io/pod-deletion-cost=-2147483647"
    kubectl("annotate", "pod", pod["metadata"]["name"], "-n", namespace, cost)
    assert pod["metadata"]["name"] in wait_for_reason(namespace, "Undisturbed", "DeletionCostByOthers")
    assert api.finished(endpoint, api.run(endpoint))["status"] == "COMPLETED"


def test_a_job_of_low_priority_starts_no_worker_and_runs_beside_another(namespace: str, api: JobApi) -> None:
    endpoint = apply_spec(namespace, inline(LOOK))
    wait_ready(namespace)
    low = api.run(endpoint, policy={"lowPriority": True})
    kubectl("wait", "sme/it", "-n", namespace, "--for=jsonpath={.status.jobs.queuedLowPriority}=1", "--timeout=60s")
    assert get("sme/it", "-n", namespace)["status"]["workers"]["desired"] == 0
    assert api.finished(endpoint, api.run(endpoint))["status"] == "COMPLETED"
    assert api.finished(endpoint, low)["status"] == "COMPLETED"
