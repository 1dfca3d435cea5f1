"""Each part of the spec, seen from inside a worker that runs on a real node."""

from contextlib import closing

import pytest

from submodel_operator.api.conditions import Reason
from tests.cluster.endpoints import LOOK, apply_ready, apply_spec, inline, put, wait_not_ready, worker
from tests.cluster.helm import IMAGE_PREFIX, IMAGE_TAG, RELEASE
from tests.cluster.job_api import JobApi
from tests.cluster.kubernetes import get, kubectl, wait_for_path

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


@pytest.mark.requirement("platform.volume")
def test_a_network_volume_is_where_the_hosted_platforms_mount_it(namespace: str, api: JobApi) -> None:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    put(namespace, "PersistentVolumeClaim", "models", spec=claim)
    endpoint = apply_ready(namespace, {**inline(LOOK), "networkVolume": {"claimName": "models"}})
    others = ["/submodel-volume/model", "/workspace/model"]
    wish = {"write": {"/runpod-volume/model": "weights"}, "files": others}
    assert api.finished(endpoint, api.run(endpoint, wish))["output"]["files"] == dict.fromkeys(others, "weights")


TOGETHER = """
import asyncio, os, pathlib
import submodel

running = []

async def handler(job):
    running.append(job["id"])
    while len(running) < 2:
        await asyncio.sleep(0.02)
    try:
        pathlib.Path("/models/note").write_text("x")
    except OSError as error:
        refused = error.strerror
    return {**{name: os.environ.get(name) for name in job["input"]["env"]}, "refused": refused}

submodel.serverless.start({"handler": handler})
"""
"""A handler that ends only together with another job in the same process."""


def test_an_image_of_ones_own_runs_its_command_and_several_jobs_at_once_beside_a_volume_to_read_from(
    namespace: str, api: JobApi
) -> None:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    put(namespace, "PersistentVolumeClaim", "models", spec=claim)
    put(namespace, "Secret", "keys", stringData={"TOKEN": "s3cret"})
    put(namespace, "Secret", "registry", type="kubernetes.io/dockerconfigjson", stringData={".dockerconfigjson": "{}"})
    put(namespace, "ConfigMap", "code", data={"main.py": TOGETHER, "SIZE": "large"})
    missing = {"name": "not-there", "key": "x", "optional": True}
    spec = {
        "displayName": "Two at once",
        "worker": {
            "image": f"{IMAGE_PREFIX}submodel-worker:{IMAGE_TAG}",
            "command": ["python", "-m"],
            "args": ["submodel.serverless", "/code/main.py"],
            "imagePullSecrets": [{"name": "registry"}],
            "env": [
                {"name": "SIZE", "valueFrom": {"configMapKeyRef": {"name": "code", "key": "SIZE"}}},
                {"name": "ABSENT", "valueFrom": {"secretKeyRef": missing}},
                {"name": "NOWHERE", "valueFrom": {"configMapKeyRef": missing}},
            ],
            "envFrom": [
                {"prefix": "MY_", "secretRef": {"name": "keys"}},
                {"secretRef": {"name": "not-there", "optional": True}},
                {"configMapRef": {"name": "not-there", "optional": True}},
            ],
            "concurrency": 2,
            "podTemplate": {
                "spec": {
                    "containers": [{"name": "worker", "volumeMounts": [{"name": "code", "mountPath": "/code"}]}],
                    "volumes": [{"name": "code", "configMap": {"name": "code"}}],
                }
            },
        },
        "networkVolume": {"claimName": "models", "mountPath": "/models", "readOnly": True},
        "scaling": {"workersMax": 1, "idleTimeout": 60},
        "jobs": {"executionTimeoutMs": 90_000},
    }
    endpoint = apply_ready(namespace, spec)
    wish = {"env": ["SIZE", "MY_TOKEN", "ABSENT", "NOWHERE", "RUNPOD_ENDPOINT_ID"]}
    outputs = [api.finished(endpoint, job)["output"] for job in [api.run(endpoint, wish) for _ in range(2)]]
    seen = {"SIZE": "large", "MY_TOKEN": "s3cret", "ABSENT": None, "NOWHERE": None, "RUNPOD_ENDPOINT_ID": endpoint}
    assert outputs == [{**seen, "refused": "Read-only file system"}] * 2
    pod = worker(namespace)["spec"]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["terminationGracePeriodSeconds"] == 90 + 30
    assert "Two at once" in kubectl("get", "sme/it", "-n", namespace, "-o", "wide").out


SLOW = """
import submodel, time

def handler(job):
    time.sleep(600)

submodel.serverless.start({"handler": handler})
"""


def test_a_start_a_run_and_a_wait_end_at_their_limits(namespace: str, api: JobApi) -> None:
    never = inline("import time\ntime.sleep(600)", {"workersMin": 1}, startupDeadlineSeconds=10)
    apply_spec(namespace, never, "never")
    parked = apply_ready(namespace, {**inline(LOOK, {"workersMax": 0}), "jobs": _limits(5_000, 10_000)}, "parked")
    waiting = api.run(parked)
    endpoint = apply_ready(namespace, {**inline(SLOW), "jobs": _limits(5_000, 600_000)}, "slow")
    ended = api.finished(endpoint, api.run(endpoint))
    # A gateway that was started less than a lease ago ends no job that runs; then its worker does, a moment later.
    assert ended["status"] == "TIMED_OUT" or "longer than its execution timeout" in ended["error"]
    assert api.finished(parked, waiting)["status"] == "TIMED_OUT"
    words = wait_not_ready(namespace, Reason.STARTUP_DEADLINE, "never")
    assert "it did not ask for a job within 10 s of its start" in words


FAILS_ONCE = """
import os
import submodel

def handler(job):
    if not os.path.exists("/tmp/once"):
        open("/tmp/once", "w").close()
        raise ValueError("the first time")
    return "the second time"

submodel.serverless.start({"handler": handler})
"""


def test_how_often_a_job_runs_how_long_it_is_kept_and_how_many_wait_is_said_by_the_endpoint(
    namespace: str, api: JobApi
) -> None:
    repeated = {"maxAttempts": 2, "retryErrors": True, "resultTtlSeconds": 10, "syncResultTtlSeconds": 1}
    endpoint = apply_ready(namespace, {**inline(FAILS_ONCE), "jobs": repeated})
    parked = apply_ready(namespace, {**inline(LOOK, {"workersMax": 0}), "jobs": {"maxQueued": 1}}, "parked")
    taken = [api.call(f"/v2/{parked}/run", {"input": {}})[0] for _ in range(3)]
    assert taken == [200, 200, 429], "the first above the limit is still taken"

    job = api.run(endpoint)
    answer = api.finished(endpoint, job)
    assert (answer["status"], answer["output"], answer["retries"]) == ("COMPLETED", "the second time", 1)
    again = api.ok(f"/v2/{endpoint}/runsync", {"input": {}})
    assert again["status"] == "COMPLETED"
    for kept in (again["id"], job):
        while (status := api.call(f"/v2/{endpoint}/status/{kept}")[0]) == 200:
            kubectl("get", "--raw", "/readyz")
        assert status == 404


def _limits(execution_ms: int, ttl_ms: int) -> dict[str, int]:
    return {"executionTimeoutMs": execution_ms, "ttlMs": ttl_ms}


def test_who_may_send_jobs_and_which_models_there_are_is_said_by_the_endpoint(
    release: str, namespace: str, api: JobApi
) -> None:
    put(namespace, "Secret", "team", stringData={"ci": f"smk_ci_{'k' * 64}"})
    keyed = apply_ready(namespace, {**inline(LOOK), "auth": {"keySecrets": [{"name": "team"}]}}, "keyed")
    opened = apply_ready(
        namespace, {**inline(LOOK), "auth": {"mode": "None"}, "openai": {"models": ["parrot"]}}, "open"
    )
    with closing(JobApi(release, f"{RELEASE}-gateway", f"smk_ci_{'k' * 64}")) as team:
        assert team.finished(keyed, team.run(keyed))["status"] == "COMPLETED"
    with closing(JobApi(release, f"{RELEASE}-gateway", "nobody's")) as stranger:
        assert stranger.call(f"/v2/{keyed}/run", {"input": {}})[0] in (401, 404)
        models = stranger.ok(f"/v2/{opened}/openai/v1/models")["data"]
    assert [each["id"] for each in models] == ["parrot"]
    assert get("pods", "-n", namespace, "-l=serverless.submodel.ai/endpoint=open")["items"] == []


def test_a_suspended_endpoint_runs_its_jobs_when_it_goes_on(namespace: str, api: JobApi) -> None:
    endpoint = apply_ready(namespace, {**inline(LOOK), "suspend": True})
    wait_for_path("sme/it", ".status.phase", "Suspended", namespace)
    job = api.run(endpoint)
    wait_for_path("sme/it", ".status.jobs.queued", "1", namespace)
    assert get("pods", "-n", namespace)["items"] == []
    apply_spec(namespace, inline(LOOK))
    assert api.finished(endpoint, job)["status"] == "COMPLETED"
