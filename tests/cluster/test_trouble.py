"""What goes wrong with workers is told with its reason and its remedy, and ends by itself when the cause is gone."""

from submodel_operator.api.conditions import Reason
from tests.cluster.endpoints import (
    LOOK,
    OURS,
    apply_ready,
    apply_spec,
    condition,
    inline,
    put,
    wait_for_reason,
    wait_not_ready,
    wait_ready,
)
from tests.cluster.job_api import JobApi
from tests.cluster.kubernetes import get, kubectl, wait

GONE = ("--for=delete", "--timeout=120s")
LAST_WORDS = "the model file is broken in line 7"
CRASHING = f"""
import sys
print("loading")
sys.exit({LAST_WORDS!r})
"""


def test_a_worker_that_crashes_again_and_again_is_told_with_its_last_words(namespace: str, api: JobApi) -> None:
    endpoint = apply_spec(namespace, inline(CRASHING, {"workersMin": 1}))
    wait("sme/it", "condition=Ready=false", namespace)
    wait("sme/it", "condition=WorkersHealthy=false", namespace)
    assert LAST_WORDS in condition(namespace, "WorkersHealthy")["message"]
    # The worker says so itself if it can, and its container's end is seen too: one of them, or both by now.
    failures = get("sme/it", "-n", namespace)["status"]["failures"]
    assert failures
    assert all(LAST_WORDS in each["message"] for each in failures)
    events = get("events", "-n", namespace, "--field-selector=reason=WorkerFailed")["items"]
    assert LAST_WORDS in events[0]["message"]

    apply_spec(namespace, inline(LOOK, {"workersMin": 1}))
    wait_ready(namespace)
    assert api.finished(endpoint, api.run(endpoint))["status"] == "COMPLETED"
    wait("sme/it", "condition=WorkersHealthy", namespace)


def test_an_image_that_is_not_there_is_told_and_the_revision_before_goes_on(namespace: str, api: JobApi) -> None:
    endpoint = apply_ready(namespace, inline(LOOK, {"workersMin": 1}))
    assert api.finished(endpoint, api.run(endpoint))["status"] == "COMPLETED"

    image = "localhost/nobody-built-this:1"
    apply_spec(namespace, {"worker": {"image": image}, "scaling": {"workersMin": 1, "workersMax": 1}})
    assert image in wait_for_reason(namespace, "WorkersHealthy", "ImagePullFailed")
    assert "the workers of the one before stay" in wait_for_reason(namespace, "RolloutComplete", "RolloutFailed")
    assert api.finished(endpoint, api.run(endpoint))["status"] == "COMPLETED"

    apply_spec(namespace, inline(LOOK, {"workersMin": 1}))
    wait_for_reason(namespace, "RolloutComplete", "Complete")
    wait("sme/it", "condition=WorkersHealthy", namespace)


def test_broken_revisions_do_not_pile_up_beside_the_one_that_works(namespace: str, api: JobApi) -> None:
    endpoint = apply_ready(namespace, inline(LOOK, {"workersMin": 1}))
    good = get("sme/it", "-n", namespace)["status"]["revision"]
    for number in range(3):
        image = f"localhost/nobody-built-this:{number}"
        apply_spec(namespace, {"worker": {"image": image}, "scaling": {"workersMin": 1, "workersMax": 1}})
        while image not in wait_for_reason(namespace, "WorkersHealthy", "ImagePullFailed"):
            pass
    newest = get("sme/it", "-n", namespace)["status"]["revision"]
    others = f"serverless.submodel.ai/revision notin ({good},{newest})"
    kubectl("wait", "deployments", "-n", namespace, "-l", f"{OURS.removeprefix('-l=')},{others}", *GONE)
    left = get("deployments", OURS, "-n", namespace)["items"]
    assert {each["metadata"]["labels"]["serverless.submodel.ai/revision"] for each in left} == {good, newest}
    assert api.finished(endpoint, api.run(endpoint))["status"] == "COMPLETED"


def test_pods_that_the_namespace_refuses_are_told_with_the_rule_that_refuses_them(namespace: str) -> None:
    root = {"securityContext": {"runAsUser": 0, "runAsNonRoot": False}}
    apply_spec(namespace, inline(LOOK, {"workersMin": 1}, podTemplate={"spec": root}))
    words = wait_for_reason(namespace, "CapacityAvailable", "ObjectRefused")
    assert 'violates PodSecurity "restricted' in words
    assert wait_not_ready(namespace, Reason.REFUSED) == words

    apply_spec(namespace, inline(LOOK, {"workersMin": 1}))
    wait_for_reason(namespace, "CapacityAvailable", "Sufficient")
    wait("sme/it", "condition=Available", namespace)


def test_a_quota_that_is_used_up_is_told_and_waited_for(namespace: str, api: JobApi) -> None:
    put(namespace, "ResourceQuota", "small", spec={"hard": {"pods": "0"}})
    endpoint = apply_ready(namespace, inline(LOOK))
    job = api.run(endpoint)
    assert "exceeded quota: small" in wait_for_reason(namespace, "CapacityAvailable", "QuotaExceeded")
    assert "exceeded quota: small" in wait_not_ready(namespace, Reason.QUOTA_EXCEEDED)
    put(namespace, "ResourceQuota", "small", spec={"hard": {"pods": "5"}})
    assert api.finished(endpoint, job)["status"] == "COMPLETED"
    wait_ready(namespace)


def test_a_missing_claim_is_told_and_waited_for(namespace: str, api: JobApi) -> None:
    endpoint = apply_ready(namespace, {**inline(LOOK), "networkVolume": {"claimName": "models"}})
    job = api.run(endpoint)
    assert "models" in wait_for_reason(namespace, "CapacityAvailable", "VolumeMissing")
    assert "models" in wait_not_ready(namespace, Reason.VOLUME_MISSING)
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    put(namespace, "PersistentVolumeClaim", "models", spec=claim)
    assert api.finished(endpoint, job)["status"] == "COMPLETED"
    wait_ready(namespace)


def test_a_missing_secret_is_told_and_a_changed_one_starts_new_workers(namespace: str, api: JobApi) -> None:
    source = {"secretKeyRef": {"name": "keys", "key": "token"}}
    endpoint = apply_spec(namespace, inline(LOOK, env=[{"name": "TOKEN", "valueFrom": source}]))
    assert "Secret keys" in wait_not_ready(namespace, Reason.REFERENCE_MISSING)

    put(namespace, "Secret", "keys", stringData={"token": "one"})
    wait_ready(namespace)
    assert api.finished(endpoint, api.run(endpoint, {"env": ["TOKEN"]}))["output"]["env"] == {"TOKEN": "one"}
    first = get("sme/it", "-n", namespace)["status"]["revision"]

    put(namespace, "Secret", "keys", stringData={"token": "two"})
    kubectl("wait", "deployments", "-n", namespace, "-l", f"serverless.submodel.ai/revision={first}", *GONE)
    assert api.finished(endpoint, api.run(endpoint, {"env": ["TOKEN"]}))["output"]["env"] == {"TOKEN": "two"}
