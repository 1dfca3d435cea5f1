"""An endpoint's life on a real Kubernetes: applied, woken, scaled, rolled, deleted."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tests.cluster.endpoints import OURS
from tests.cluster.job_api import JobApi
from tests.cluster.kubernetes import get, kubectl, wait, wait_for_path

EXAMPLE = Path(__file__).parents[2] / "docs/examples/async-generator/endpoint.yaml"
OUTPUTS = [f"Generated async token output {i}" for i in range(5)]
COLUMNS = ["NAME", "READY", "PHASE", "WORKERS", "DESIRED", "MIN", "MAX", "QUEUED", "RUNNING", "SCALER", "GPU", "AGE"]
CHILDREN = "deployments,replicasets,pods,configmaps,secrets"

ECHO = """
import submodel

def handler(job):
    return {greeting!r}

submodel.serverless.start({{"handler": handler}})
"""

GATED = """
import os, time
import submodel

def handler(job):
    yield "started"
    while not os.path.exists("/tmp/go"):
        time.sleep(0.1)
    yield "went on"

submodel.serverless.start({"handler": handler, "return_aggregate_stream": True})
"""


def apply(namespace: str, source: str | None = None, name: str = "tokens", **scaling: object) -> str:
    """Apply the example, or an endpoint with `source`; returns its id once it is ready."""
    document = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    document["metadata"]["name"] = name
    if source:
        document["spec"]["worker"]["handler"]["inline"] = source
    document["spec"]["scaling"] |= scaling
    kubectl("apply", "-n", namespace, "-f", "-", stdin=yaml.safe_dump(document))
    wait(f"sme/{name}", "condition=Ready", namespace)
    return f"{namespace}.{name}"


def test_the_example_scales_from_zero_streams_completes_and_scales_back(namespace: str, api: JobApi) -> None:
    endpoint = apply(namespace)
    assert get("pods", "-n", namespace)["items"] == []

    job = api.run(endpoint)
    seen: list[object] = []
    while len(seen) < 2:
        answer = api.ok(f"/v2/{endpoint}/stream/{job}")
        assert answer["status"] in ("IN_QUEUE", "IN_PROGRESS")
        seen += [chunk["output"] for chunk in answer["stream"]]
    assert seen[:2] == OUTPUTS[:2]

    result = api.finished(endpoint, job)
    assert (result["status"], result["output"]) == ("COMPLETED", OUTPUTS)
    wait_for_path("sme/tokens", ".status.phase", "Idle", namespace)
    kubectl("wait", "pods", "--all", "--for=delete", "-n", namespace, "--timeout=60s")


def test_kubectl_get_shows_the_columns(namespace: str, api: JobApi) -> None:
    apply(namespace)
    wait("sme/tokens", "condition=ScalerHealthy", namespace)  # before that the queue is unknown, and shown as blank
    header, row = kubectl("get", "submodelendpoints", "-n", namespace).out.splitlines()
    assert header.split() == COLUMNS
    assert row.split()[:-1] == ["tokens", "True", "Idle", "0", "0", "0", "3", "0", "0", "QUEUE_DELAY"]


def test_ten_jobs_scale_to_workers_max_and_back_to_zero(namespace: str, api: JobApi) -> None:
    endpoint = apply(namespace, scalerType="REQUEST_COUNT", scalerValue=1)
    jobs = [api.run(endpoint) for _ in range(10)]
    wait_for_path("sme/tokens", ".status.workers.ready", "3", namespace)
    assert get("sme/tokens", "-n", namespace)["status"]["autoscaling"]["lastDecision"]["reason"] == "WorkersMax"
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(lambda job: api.finished(endpoint, job), jobs))
    assert [result["output"] for result in results] == [OUTPUTS] * 10
    wait_for_path("sme/tokens", ".status.phase", "Idle", namespace)


@pytest.mark.requirement("platform.rollout")
def test_a_changed_manifest_rolls_over_and_the_running_job_ends_where_it_runs(namespace: str, api: JobApi) -> None:
    endpoint = apply(namespace, GATED)
    job = api.run(endpoint)
    while not api.ok(f"/v2/{endpoint}/stream/{job}?offset=0")["stream"]:
        pass
    (pod,) = (item["metadata"]["name"] for item in get("pods", "-n", namespace)["items"])

    apply(namespace, ECHO.format(greeting="new"))
    assert api.finished(endpoint, api.run(endpoint))["output"] == "new"

    kubectl("exec", "-n", namespace, pod, "-c", "worker", "--", "python", "-c", "open('/tmp/go', 'w').close()")
    result = api.finished(endpoint, job)
    assert (result["status"], result["output"]) == ("COMPLETED", ["started", "went on"])
    kubectl("wait", f"pod/{pod}", "--for=delete", "-n", namespace, "--timeout=60s")
    wait_for_path("sme/tokens", ".status.workers.outdated", "0", namespace)
    revision = get("sme/tokens", "-n", namespace)["status"]["revision"]
    kubectl(
        "wait", "deployments", "-l", f"serverless.submodel.ai/revision!={revision}", "--for=delete", "-n", namespace
    )
    (deployment,) = get("deployments", "-n", namespace, OURS)["items"]
    assert deployment["metadata"]["labels"]["serverless.submodel.ai/revision"] == revision


def test_a_deleted_endpoint_leaves_nothing(namespace: str, api: JobApi) -> None:
    endpoint = apply(namespace, ECHO.format(greeting="hello"), workersMin=1)
    assert api.finished(endpoint, api.run(endpoint))["output"] == "hello"
    kubectl("delete", "sme/tokens", "-n", namespace)
    kubectl("wait", CHILDREN, OURS, "--for=delete", "-n", namespace, "--timeout=60s")
    assert get(CHILDREN, OURS, "-n", namespace)["items"] == []
    while (status := api.call(f"/v2/{endpoint}/run", {"input": {}})[0]) == 200:
        pass
    assert status == 404


def test_a_handler_that_fails_at_import_is_told_in_its_own_words(namespace: str, api: JobApi) -> None:
    apply(namespace, "import torch_that_is_not_there\n", workersMin=1)
    wait("sme/tokens", "condition=Ready=false", namespace)
    ready = next(c for c in get("sme/tokens", "-n", namespace)["status"]["conditions"] if c["type"] == "Ready")
    assert ready["reason"] == "WorkerUnfit"
    assert "No module named 'torch_that_is_not_there'" in ready["message"]
