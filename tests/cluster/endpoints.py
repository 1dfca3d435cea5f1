"""Endpoints as a person applies them, and what can be read of them afterwards."""

from collections.abc import Mapping
from typing import Any

import yaml

from submodel_operator.api.conditions import REMEDIES, Reason
from tests.cluster.kubernetes import get, kubectl, wait, wait_for_path

OURS = "-l=app.kubernetes.io/managed-by=submodel-operator"

LOOK = """
import os, pathlib
import submodel

def handler(job):
    wish = job["input"]
    for path, text in wish.get("write", {}).items():
        pathlib.Path(path).write_text(text)
    return {
        "env": {name: os.environ.get(name) for name in wish.get("env", [])},
        "files": {path: read(path) for path in wish.get("files", [])},
        "ids": [os.getuid(), os.getgid()],
    }

def read(path):
    try:
        return pathlib.Path(path).read_text()
    except OSError as error:
        return error.strerror

submodel.serverless.start({"handler": handler})
"""
"""A handler that tells what it finds where it runs."""

WAIT = """
import asyncio, os, socket
import submodel

async def handler(job):
    while not os.path.exists("/tmp/" + job["input"]["until"]):
        await asyncio.sleep(0.05)
    return socket.gethostname()

submodel.serverless.start({"handler": handler})
"""
"""A handler whose jobs end when a file is there in their pod; they tell which pod it was."""


def staying(namespace: str) -> list[dict[str, Any]]:
    """The worker pods that are not on their way out."""
    pods = get("pods", OURS, "-n", namespace)["items"]
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def touch(file: str, *pods: str, namespace: str) -> None:
    """Let the jobs of `WAIT` end that wait for this file in these pods."""
    for pod in pods:
        kubectl("exec", pod, "-n", namespace, "--", "python", "-c", f"open('/tmp/{file}', 'w')")


def touch_all(file: str, namespace: str) -> None:
    """Let them end in all workers that are not on their way out."""
    touch(file, *(pod["metadata"]["name"] for pod in staying(namespace)), namespace=namespace)


def put(namespace: str, kind: str, name: str, api_version: str = "v1", **fields: Any) -> None:
    """Apply an object."""
    document = {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **fields}
    kubectl("apply", "-n", namespace, "-f", "-", stdin=yaml.safe_dump(document))


def apply_spec(namespace: str, spec: Mapping[str, Any], name: str = "it") -> str:
    """Apply an endpoint; returns its id."""
    put(namespace, "SubModelEndpoint", name, "serverless.submodel.ai/v1alpha1", spec=dict(spec))
    return f"{namespace}.{name}"


def apply_ready(namespace: str, spec: Mapping[str, Any], name: str = "it") -> str:
    """Apply an endpoint and wait until it takes jobs; returns its id."""
    endpoint = apply_spec(namespace, spec, name)
    wait_ready(namespace, name)
    return endpoint


def inline(source: str, scaling: Mapping[str, Any] | None = None, **worker: Any) -> dict[str, Any]:
    """A spec with this handler."""
    return {"worker": {"handler": {"inline": source}, **worker}, "scaling": {"workersMax": 1, **(scaling or {})}}


def condition(namespace: str, kind: str, name: str = "it") -> dict[str, Any]:
    """A condition of an endpoint."""
    conditions = get(f"sme/{name}", "-n", namespace)["status"]["conditions"]
    return next(dict(each) for each in conditions if each["type"] == kind)


def wait_for_reason(namespace: str, kind: str, reason: str, name: str = "it") -> str:
    """Wait until a condition has this reason; returns its message."""
    wait_for_path(f"sme/{name}", f'.status.conditions[?(@.type=="{kind}")].reason', reason, namespace)
    message: str = condition(namespace, kind, name)["message"]
    return message


def wait_not_ready(namespace: str, reason: Reason, name: str = "it") -> str:
    """Wait until Ready is false for this reason and says what to do about it; returns the message."""
    message = wait_for_reason(namespace, "Ready", reason, name)
    assert condition(namespace, "Ready", name)["status"] == "False"
    assert REMEDIES[reason] in message
    return message


def wait_ready(namespace: str, name: str = "it") -> None:
    """Wait until an endpoint is ready."""
    wait(f"sme/{name}", "condition=Ready", namespace)


def worker(namespace: str, name: str = "it") -> dict[str, Any]:
    """The only worker pod of an endpoint."""
    (pod,) = get("pods", "-n", namespace, f"-l=serverless.submodel.ai/endpoint={name}")["items"]
    return dict(pod)
