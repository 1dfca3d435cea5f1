"""Others who write what the scaler writes are named, and no job is lost to them."""

from tests.cluster.endpoints import LOOK, apply_spec, condition, inline, wait_for_reason, wait_ready
from tests.cluster.job_api import JobApi
from tests.cluster.kubernetes import get, kubectl


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
