"""GPUs and node labels: where workers run, how long they wait for it, and what is said meanwhile."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import yaml

from submodel_operator.api.conditions import Reason
from tests.cluster.endpoints import LOOK, apply_ready, apply_spec, inline, wait_for_reason, wait_not_ready, worker
from tests.cluster.helm import reset, upgrade
from tests.cluster.job_api import JobApi
from tests.cluster.kubernetes import get, kubectl, wait, wait_for_path

GPU = "nvidia.com/gpu"
SLICE = "nvidia.com/mig-1g.5gb"
PRODUCT = "nvidia.com/gpu.product"
CUDA = "nvidia.com/cuda.version"
REGION = "topology.kubernetes.io/region"


@pytest.fixture
def node() -> Iterator[str]:
    """A node with two GPUs and two slices that are made up; without them and without labels of tests afterwards."""
    name: str = get("nodes")["items"][0]["metadata"]["name"]
    fields = [f"{kind}/{name.replace('/', '~1')}" for kind in ("capacity", "allocatable") for name in (GPU, SLICE)]

    def patch(operations: list[dict[str, str]]) -> None:
        words = yaml.safe_dump(operations)
        kubectl("patch", "node", name, "--subresource=status", "--type=json", "-p", words)

    patch([{"op": "add", "path": f"/status/{field}", "value": "2"} for field in fields])
    yield name
    kubectl("label", "node", name, f"{PRODUCT}-", f"{CUDA}-", f"{REGION}-")
    patch([{"op": "remove", "path": f"/status/{field}"} for field in fields])


def test_a_worker_gets_its_gpu_on_a_node_of_its_type_and_waits_while_there_is_none(
    namespace: str, api: JobApi, node: str
) -> None:
    kubectl("label", "node", node, f"{PRODUCT}=NVIDIA-L4")
    gpu = {"count": 2, "types": ["NVIDIA-L40S", "NVIDIA-A100-SXM4-80GB"]}
    endpoint = apply_ready(namespace, {**inline(LOOK), "gpu": gpu})
    job = api.run(endpoint)
    words = wait_for_reason(namespace, "CapacityAvailable", "Unschedulable")
    assert "didn't match Pod's node affinity" in words
    assert wait_not_ready(namespace, Reason.UNSCHEDULABLE) == words

    other = apply_ready(namespace, inline(LOOK), "other")
    assert api.finished(other, api.run(other))["status"] == "COMPLETED", "who waits holds up no other"
    kubectl("label", "node", node, f"{PRODUCT}=NVIDIA-L40S", "--overwrite")
    assert api.finished(endpoint, job)["status"] == "COMPLETED"
    wait_for_reason(namespace, "CapacityAvailable", "Sufficient")
    pod = worker(namespace)
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {GPU: "2"}
    assert pod["spec"]["nodeName"] == node
    assert get("sme/it", "-n", namespace)["status"]["gpu"]["summary"] == "2 × NVIDIA-L40S +1"

    wait_for_path("sme/it", ".status.coldStart.worker", pod["metadata"]["name"], namespace)
    cold = get("sme/it", "-n", namespace)["status"]["coldStart"]
    assert cold["schedulingSeconds"] == seconds_to_schedule(pod) > 0

    apply_spec(namespace, {**inline(LOOK, {"workersMin": 1}), "gpu": {"count": 1}}, "second")
    words = wait_for_reason(namespace, "CapacityAvailable", "Unschedulable", "second")
    assert f"Insufficient {GPU}" in words


def test_a_worker_runs_in_the_data_center_that_is_asked_for(namespace: str, api: JobApi, node: str) -> None:
    spec = {**inline(LOOK), "placement": {"dataCenters": ["eu-central-1"]}}
    endpoint = apply_ready(namespace, spec)
    job = api.run(endpoint)
    wait_for_reason(namespace, "CapacityAvailable", "Unschedulable")
    kubectl("label", "node", node, f"{REGION}=eu-central-1")
    assert api.finished(endpoint, job)["status"] == "COMPLETED"


def seconds_to_schedule(pod: dict[str, Any]) -> float:
    """From the pod's own instants, which are whole seconds."""
    (scheduled,) = (each for each in pod["status"]["conditions"] if each["type"] == "PodScheduled")
    between = datetime.fromisoformat(scheduled["lastTransitionTime"]) - datetime.fromisoformat(
        pod["metadata"]["creationTimestamp"]
    )
    return between.total_seconds()


def test_names_of_gpus_and_labels_of_cuda_are_those_of_the_installation(
    release: str, namespace: str, api: JobApi, node: str
) -> None:
    kubectl("label", "node", node, f"{PRODUCT}=NVIDIA-A100-SXM4-80GB", f"{CUDA}=12.6")
    cuda = {"allowedCudaVersions": ["12.4", "12.6"]}
    names = ("AMPERE_80={NVIDIA-A100-SXM4-80GB}", "ADA_24={NVIDIA-L4}")
    upgrade(release, *(f"--set=nodes.gpuTypes.{each}" for each in names), f"--set=nodes.cudaLabel={CUDA}")
    try:
        sliced = {"count": 1, "resourceName": SLICE, "types": ["AMPERE_80"], "excludedTypes": ["ADA_24"], **cuda}
        endpoint = apply_ready(namespace, {**inline(LOOK), "gpu": sliced})
        assert api.finished(endpoint, api.run(endpoint))["status"] == "COMPLETED"
        pod = worker(namespace)["spec"]
        assert pod["containers"][0]["resources"]["limits"] == {SLICE: "1"}
        required = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert required["nodeSelectorTerms"][0]["matchExpressions"] == [
            {"key": PRODUCT, "operator": "In", "values": ["NVIDIA-A100-SXM4-80GB"]},
            {"key": PRODUCT, "operator": "NotIn", "values": ["NVIDIA-L4"]},
            {"key": CUDA, "operator": "In", "values": cuda["allowedCudaVersions"]},
        ]
        apply_spec(namespace, {**inline(LOOK), "gpu": {"count": 1, "types": ["NVIDIA-L4"], **cuda}}, "unknown")
        words = wait_for_reason(namespace, "Ready", Reason.INVALID_SPEC, "unknown")
        assert "NVIDIA-L4 is no GPU type of this installation; use one of ADA_24, AMPERE_80" in words
    finally:
        reset(release)
    wait("sme/unknown", "condition=Ready", namespace)
    (warning,) = get("sme/unknown", "-n", namespace)["status"]["warnings"]
    assert "names no node label that tells CUDA versions" in warning
