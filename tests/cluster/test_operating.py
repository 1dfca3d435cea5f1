"""What a person who operates an installation does and sees: numbers set by hand, ids, protection, a standby."""

import pytest

from submodel_operator.api.conditions import Reason
from tests.cluster.endpoints import (
    LOOK,
    apply_spec,
    condition,
    inline,
    wait_for_reason,
    wait_not_ready,
    wait_ready,
    worker,
)
from tests.cluster.helm import RELEASE, upgrade
from tests.cluster.job_api import JobApi
from tests.cluster.kubernetes import get, kubectl, wait, wait_for_path
from tests.cluster.test_endpoint import GATED

PROTECTED = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
PHASES = ("scheduling", "pull", "start", "load", "check", "firstPoll")
"""Of a cold start, in their order."""

HUNGRY = """
import submodel

def handler(job):
    held = []
    while True:
        held.append(bytearray(16 * 1024 * 1024))

submodel.serverless.start({"handler": handler})
"""


def test_kubectl_scale_sets_the_number_until_it_is_taken_back(namespace: str) -> None:
    apply_spec(namespace, inline(LOOK, {"workersMax": 2}))
    wait_ready(namespace)
    kubectl("scale", "sme/it", "--replicas=2", "-n", namespace)
    wait_for_path("sme/it", ".status.workers.ready", "2", namespace)
    assert condition(namespace, "Autoscaling")["reason"] == "ManualReplicas"
    back = '[{"op": "remove", "path": "/spec/scaling/replicas"}]'
    kubectl("patch", "sme/it", "--type=json", "-p", back, "-n", namespace)
    wait_for_path("sme/it", ".status.phase", "Idle", namespace)
    assert condition(namespace, "Autoscaling")["reason"] == "Active"


@pytest.mark.parametrize("category", ["all", "submodel"])
def test_endpoints_are_listed_with_their_categories(namespace: str, category: str) -> None:
    apply_spec(namespace, inline(LOOK))
    listed = kubectl("get", category, "-n", namespace, "-o", "name").out.split()
    assert "submodelendpoint.serverless.submodel.ai/it" in listed


def test_the_wide_table_shows_how_long_jobs_wait_and_run(namespace: str, api: JobApi) -> None:
    endpoint = apply_spec(namespace, {**inline(GATED), "suspend": True})
    wait_ready(namespace)
    job = api.run(endpoint)
    wait_for_path("sme/it", ".status.jobs.queued", "1", namespace)
    assert wide(namespace)["OLDEST"].rstrip("s").isdecimal()
    kubectl("patch", "sme/it", "--type=merge", "-p", '{"spec": {"suspend": false}}', "-n", namespace)
    wait_for_path("sme/it", ".status.workers.busy", "1", namespace)
    pod = worker(namespace)["metadata"]["name"]
    kubectl("exec", "-n", namespace, pod, "-c", "worker", "--", "python", "-c", "open('/tmp/go', 'w').close()")
    assert api.finished(endpoint, job)["status"] == "COMPLETED"
    wait("sme/it", "jsonpath={.status.jobs.executionSecondsP95}", namespace)
    assert float(wide(namespace)["P95"]) > 0
    cold = get("sme/it", "-n", namespace)["status"]["coldStart"]
    assert cold["worker"] == pod
    steps = {name: cold[f"{name}Seconds"] for name in PHASES}
    assert steps["start"] > 0
    assert steps["firstPoll"] >= 0
    assert cold["totalSeconds"] == pytest.approx(sum(steps.values()), abs=0.05)


def wide(namespace: str) -> dict[str, str]:
    """The line of `kubectl get sme -o wide`, by column."""
    head, line = kubectl("get", "sme/it", "-n", namespace, "-o", "wide").out.splitlines()
    starts = [head.index(name) for name in head.split()]
    ends = [*starts[1:], len(line)]
    return {name: line[a:b].strip() for name, a, b in zip(head.split(), starts, ends, strict=True)}


def test_of_two_endpoints_that_ask_for_one_id_the_older_has_it_until_it_is_gone(namespace: str, api: JobApi) -> None:
    wanted = f"speech-{namespace}"
    spec = {**inline(LOOK), "endpointId": wanted}
    apply_spec(namespace, spec, "elder")
    wait_ready(namespace, "elder")
    first = api.finished(wanted, api.run(wanted, {"env": ["SUBMODEL_ENDPOINT_ID", "RUNPOD_ENDPOINT_ID"]}))
    assert first["output"]["env"]["SUBMODEL_ENDPOINT_ID"] == wanted

    apply_spec(namespace, spec, "younger")
    words = wait_for_reason(namespace, "Ready", "EndpointIdTaken", "younger")
    assert f"{wanted} belongs to endpoint elder, which is older" in words
    kubectl("delete", "sme/elder", "-n", namespace)
    wait_ready(namespace, "younger")
    assert api.finished(wanted, api.run(wanted))["status"] == "COMPLETED"


def test_a_worker_with_a_long_job_is_protected_from_node_autoscalers_until_it_rests(
    namespace: str, api: JobApi
) -> None:
    endpoint = apply_spec(namespace, inline(GATED, {"idleTimeout": 600}))
    wait_ready(namespace)
    job = api.run(endpoint)
    wait_for_path("sme/it", ".status.workers.busy", "1", namespace)
    pod = worker(namespace)["metadata"]["name"]
    for name, value in PROTECTED.items():
        wait_for_path(f"pod/{pod}", f".metadata.annotations.{name.replace('.', chr(92) + '.')}", value, namespace)
    kubectl("exec", "-n", namespace, pod, "-c", "worker", "--", "python", "-c", "open('/tmp/go', 'w').close()")
    assert api.finished(endpoint, job)["status"] == "COMPLETED"
    while set(PROTECTED) & set(worker(namespace)["metadata"].get("annotations") or {}):
        wait_for_path("sme/it", ".status.workers.idle", "1", namespace)


def test_a_job_that_takes_its_workers_memory_fails_with_that_as_its_error(namespace: str, api: JobApi) -> None:
    endpoint = apply_spec(namespace, inline(HUNGRY, resources={"limits": {"memory": "160Mi"}}))
    wait_ready(namespace)
    answer = api.finished(endpoint, api.run(endpoint))
    assert answer["status"] == "FAILED"
    assert "it used more memory than worker.resources.limits allows" in answer["error"]
    failures = get("sme/it", "-n", namespace)["status"]["failures"]
    assert {each["reason"] for each in failures} == {"OutOfMemory"}


def test_a_standby_takes_over_from_a_killed_operator_and_writes_nothing_anew(
    release: str, namespace: str, api: JobApi
) -> None:
    endpoint = apply_spec(namespace, inline(LOOK))
    wait_ready(namespace)
    upgrade(release, "--set=operator.replicas=2")
    try:
        while not (first := holder(release)):
            kubectl("get", "--raw", "/readyz")
        before = get("sme/it", "-n", namespace)["metadata"]["resourceVersion"]
        kubectl("delete", "pod", first.partition("_")[0], "-n", release, "--grace-period=0", "--force")
        while holder(release) in ("", first):
            kubectl("get", "--raw", "/readyz")
        assert api.finished(endpoint, api.run(endpoint))["status"] == "COMPLETED"
        wait_for_path("sme/it", ".status.phase", "Idle", namespace)
        assert get("sme/it", "-n", namespace)["metadata"]["resourceVersion"] != before
    finally:
        upgrade(release, "--set=operator.replicas=1")


def holder(release: str) -> str:
    """Who holds the Lease of the operators; empty while nobody does."""
    leases = get("leases", "-n", release)["items"]
    holders = [each["spec"].get("holderIdentity") for each in leases if each["metadata"]["name"].startswith(RELEASE)]
    return str(next(iter(holders), None) or "")


def test_a_source_that_does_not_compile_is_told_before_any_job(namespace: str) -> None:
    apply_spec(namespace, inline("def handler(job:\n    return 1\n"))
    words = wait_not_ready(namespace, Reason.HANDLER_INVALID)
    assert words.startswith("spec.worker.handler does not compile with Python 3.")
    assert "line 1" in words
    apply_spec(namespace, inline(LOOK))
    wait_ready(namespace)
