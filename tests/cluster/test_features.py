"""Each part of the spec, seen from inside a worker that runs on a real node."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster.endpoints import LOOK, apply_ready, apply_spec, condition, inline, put, wait_for_reason, worker
from tests.cluster.job_api import JobApi
from tests.cluster.kubernetes import get, kubectl, wait_for_path

EXAMPLES = Path(__file__).parents[2] / "docs/examples"
GPU = "nvidia.com/gpu"
PRODUCT = "nvidia.com/gpu.product"
REGION = "topology.kubernetes.io/region"
TOKEN_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/token"


def test_a_worker_finds_its_environment_its_source_and_the_users_part_of_its_pod(namespace: str, api: JobApi) -> None:
    put(namespace, "Secret", "keys", stringData={"token": "s3cret"})
    put(namespace, "ConfigMap", "settings", data={"SIZE": "large", "COLOUR": "green"})
    put(namespace, "ConfigMap", "code", data={"main.py": LOOK})
    put(namespace, "ServiceAccount", "identity")
    extra = {"name": "worker", "volumeMounts": [{"name": "cache", "mountPath": "/cache"}]}
    spec = {
        "worker": {
            "handler": {"configMapRef": {"name": "code", "key": "main.py"}},
            "env": [
                {"name": "PLAIN", "value": "as it is"},
                {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
                {"name": "MY_COLOUR", "value": "of env, which wins"},
            ],
            "envFrom": [{"prefix": "MY_", "configMapRef": {"name": "settings"}}],
            "serviceAccountName": "identity",
            "resources": {"requests": {"cpu": "10m"}, "limits": {"memory": "256Mi"}},
            "podTemplate": {
                "metadata": {"labels": {"team": "search"}, "annotations": {"note": "of the user"}},
                "spec": {"containers": [extra], "volumes": [{"name": "cache", "emptyDir": {}}]},
            },
        },
        "scaling": {"workersMax": 1},
    }
    endpoint = apply_ready(namespace, spec)
    wish = {
        "env": ["PLAIN", "TOKEN", "MY_SIZE", "MY_COLOUR", "SUBMODEL_ENDPOINT_ID"],
        "write": {"/cache/note": "kept", "/tmp/note": "kept, too"},
        "files": ["/cache/note", "/tmp/note", TOKEN_FILE],
    }
    seen = api.finished(endpoint, api.run(endpoint, wish))["output"]
    assert seen["env"] == {
        "PLAIN": "as it is",
        "TOKEN": "s3cret",
        "MY_SIZE": "large",
        "MY_COLOUR": "of env, which wins",
        "SUBMODEL_ENDPOINT_ID": endpoint,
    }
    no_file = "No such file or directory"
    assert seen["files"] == {"/cache/note": "kept", "/tmp/note": "kept, too", TOKEN_FILE: no_file}
    pod = worker(namespace)
    assert pod["metadata"]["labels"]["team"] == "search"
    assert pod["metadata"]["annotations"]["note"] == "of the user"
    assert pod["spec"]["serviceAccountName"] == "identity"
    assert pod["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "10m", "memory": "256Mi"},
        "limits": {"memory": "256Mi"},
    }


def test_a_worker_is_nobody_and_writes_only_where_it_may(namespace: str, api: JobApi) -> None:
    endpoint = apply_ready(namespace, inline(LOOK))
    seen = api.finished(endpoint, api.run(endpoint))["output"]
    assert seen["ids"] == [65532, 65532]
    refused = api.finished(endpoint, api.run(endpoint, {"write": {"/note": "x"}}))
    assert refused["status"] == "FAILED"
    assert "Read-only file system" in str(refused["error"])
    pod = worker(namespace)["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def test_a_network_volume_is_where_the_hosted_platforms_mount_it(namespace: str, api: JobApi) -> None:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    put(namespace, "PersistentVolumeClaim", "models", spec=claim)
    endpoint = apply_ready(namespace, {**inline(LOOK), "networkVolume": {"claimName": "models"}})
    wish = {"write": {"/runpod-volume/model": "weights"}, "files": ["/workspace/model"]}
    assert api.finished(endpoint, api.run(endpoint, wish))["output"]["files"] == {"/workspace/model": "weights"}


@pytest.fixture
def node() -> Iterator[str]:
    """A node with two GPUs that are made up; without them and without labels of tests afterwards."""
    name: str = get("nodes")["items"][0]["metadata"]["name"]
    field = GPU.replace("/", "~1")
    kinds = ("capacity", "allocatable")

    def patch(operations: list[dict[str, str]]) -> None:
        words = yaml.safe_dump(operations)
        kubectl("patch", "node", name, "--subresource=status", "--type=json", "-p", words)

    patch([{"op": "add", "path": f"/status/{kind}/{field}", "value": "2"} for kind in kinds])
    yield name
    kubectl("label", "node", name, f"{PRODUCT}-", f"{REGION}-")
    patch([{"op": "remove", "path": f"/status/{kind}/{field}"} for kind in kinds])


def test_a_worker_gets_its_gpu_on_a_node_of_its_type_and_waits_while_there_is_none(
    namespace: str, api: JobApi, node: str
) -> None:
    kubectl("label", "node", node, f"{PRODUCT}=NVIDIA-L4")
    gpu = {"count": 2, "types": ["NVIDIA-L40S", "NVIDIA-A100-SXM4-80GB"]}
    endpoint = apply_ready(namespace, {**inline(LOOK), "gpu": gpu})
    job = api.run(endpoint)
    words = wait_for_reason(namespace, "CapacityAvailable", "Unschedulable")
    assert "didn't match Pod's node affinity" in words
    assert condition(namespace, "Ready")["status"] == "False"

    kubectl("label", "node", node, f"{PRODUCT}=NVIDIA-L40S", "--overwrite")
    assert api.finished(endpoint, job)["status"] == "COMPLETED"
    wait_for_reason(namespace, "CapacityAvailable", "Sufficient")
    pod = worker(namespace)
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {GPU: "2"}
    assert pod["spec"]["nodeName"] == node
    assert get("sme/it", "-n", namespace)["status"]["gpu"]["summary"] == "2 × NVIDIA-L40S +1"

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


def test_a_suspended_endpoint_runs_its_jobs_when_it_goes_on(namespace: str, api: JobApi) -> None:
    endpoint = apply_ready(namespace, {**inline(LOOK), "suspend": True})
    wait_for_path("sme/it", ".status.phase", "Suspended", namespace)
    job = api.run(endpoint)
    wait_for_path("sme/it", ".status.jobs.queued", "1", namespace)
    assert get("pods", "-n", namespace)["items"] == []
    apply_spec(namespace, inline(LOOK))
    assert api.finished(endpoint, job)["status"] == "COMPLETED"


def test_every_example_is_taken_by_the_cluster(namespace: str) -> None:
    manifests = [path for path in EXAMPLES.rglob("*.yaml") if "\nkind:" in path.read_text(encoding="utf-8")]
    assert len(manifests) > 10
    files = [f"--filename={path}" for path in sorted(manifests)]
    kubectl("apply", "--dry-run=server", "--validate=strict", "-n", namespace, *files)
