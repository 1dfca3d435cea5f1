"""`helm test`: makes an endpoint, has it run one job, and removes it. Runs in a pod of the release.

Its image is the operator's, because clients of Kubernetes and of the job API are in it.

Ends with 0, or with 1 after what went wrong and what the endpoint says of itself. Its environment:

| Variable | |
|---|---|
| `TEST_NAMESPACE`, `TEST_NAME` | the endpoint that is made; one of that name from before is removed first |
| `TEST_SECONDS` | what all of it may take |
| `TEST_PULL_SECRETS` | Secrets for the registry of the worker's image, separated by commas; may be empty |
| `KUBECONFIG` | where there is no service account, as out of a cluster |
| `SUBMODEL_ENDPOINT_BASE_URL`, `SUBMODEL_API_KEY` | of the job API |
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kubernetes import client, config

import submodel
from submodel.errors import JobNotFinished, SubModelError, Unauthorized

API = ("serverless.submodel.ai", "v1alpha1")
PLURAL = "submodelendpoints"
SAID = "hello"
HANDLER = """\
import submodel

def handler(job):
    return {"heard": job["input"]["say"]}

submodel.serverless.start({"handler": handler})
"""
PAUSE_SECONDS = 0.5
JOB_SECONDS = 2.0
"""How long the job is waited for before the endpoint is asked how it does."""

Document = dict[str, Any]


class Failed(Exception):
    """What to tell whoever ran the test."""


class Trial:
    """One endpoint from its making to its removal.

    Args:
        objects: `kubernetes.client.CustomObjectsApi`.
        seconds: after which every wait gives up.
    """

    def __init__(self, objects: Any, namespace: str, name: str, seconds: float) -> None:
        self._objects = objects
        self._place = (*API, namespace, PLURAL)
        self._namespace = namespace
        self._name = name
        self._began_at = time.monotonic()
        self._seconds = seconds
        self._told: dict[str, str] = {}

    def run(self, pull_secrets: list[str]) -> None:
        """Everything, with a line for each step. Raises `Failed`, and `SubModelError` for what the job API refuses."""
        self.remove()
        self._wait("an endpoint from before is gone", lambda found: found is None)
        self._objects.create_namespaced_custom_object(*self._place, self._manifest(pull_secrets))
        self.tell(f"endpoint {self._namespace}.{self._name} made")
        self._wait("it is Ready", is_ready)
        self._run_job()

    def remove(self) -> None:
        """Delete the endpoint, with its workers, if it is there."""
        try:
            self._objects.delete_namespaced_custom_object(*self._place, self._name)
        except client.ApiException as error:
            if error.status != 404:
                raise

    def find(self) -> Document | None:
        """The endpoint as it is now."""
        try:
            found: Document = self._objects.get_namespaced_custom_object(*self._place, self._name)
        except client.ApiException as error:
            if error.status == 404:
                return None
            raise
        return found

    def tell(self, text: str) -> None:
        """A line with the time since the start."""
        print(f"{time.monotonic() - self._began_at:6.1f} s  {text}", flush=True)

    def _run_job(self) -> None:
        with submodel.Endpoint(f"{self._namespace}.{self._name}") as endpoint:
            job = endpoint.run({"say": SAID})
            self.tell(f"job {job.job_id} accepted; no worker runs yet, so it waits for one to start")
            while True:
                try:
                    output = job.output(timeout=JOB_SECONDS)
                    break
                except JobNotFinished as error:
                    self._tell_changes(self.find())
                    self._give_up_late(f"the job is still {error.status}")
        if output != {"heard": SAID}:
            raise Failed(f"the job's output is {output!r} instead of {{'heard': {SAID!r}}}")
        self.tell("job COMPLETED, with the output it should have")

    def _wait(self, what: str, holds: Callable[[Document | None], bool]) -> None:
        while not holds(found := self.find()):
            self._tell_changes(found)
            self._give_up_late(f"this did not come true: {what}")
            time.sleep(PAUSE_SECONDS)

    def _give_up_late(self, what: str) -> None:
        if time.monotonic() - self._began_at > self._seconds:
            raise Failed(f"after {self._seconds:g} seconds {what}")

    def _tell_changes(self, endpoint: Document | None) -> None:
        for name, line in troubles(endpoint):
            if self._told.get(name) != line:
                self._told[name] = line
                self.tell(line)

    def _manifest(self, pull_secrets: list[str]) -> Document:
        worker = {"handler": {"inline": HANDLER}, "imagePullSecrets": [{"name": name} for name in pull_secrets]}
        return {
            "apiVersion": "/".join(API),
            "kind": "SubModelEndpoint",
            "metadata": {"name": self._name},
            "spec": {"worker": worker, "scaling": {"workersMax": 1}},
        }


def is_ready(endpoint: Document | None) -> bool:
    """Whether the operator calls it Ready, and means the manifest as it is now."""
    return endpoint is not None and any(
        (each["type"], each["status"]) == ("Ready", "True")
        and each.get("observedGeneration") == endpoint["metadata"]["generation"]
        for each in conditions(endpoint)
    )


def conditions(endpoint: Document) -> list[Document]:
    """The endpoint's conditions; none before the operator has looked at it."""
    found: list[Document] = (endpoint.get("status") or {}).get("conditions") or []
    return found


def troubles(endpoint: Document | None) -> Iterator[tuple[str, str]]:
    """What does not hold, each by the name of its condition, and the last worker that failed."""
    if endpoint is None:
        return
    for each in conditions(endpoint):
        if each["status"] != "True":
            yield each["type"], f"{each['type']} is {each['status']}, {each['reason']}: {each.get('message', '')}"
    for failure in ((endpoint.get("status") or {}).get("failures") or [])[-1:]:
        yield "failure", f"worker {failure['worker']} failed, {failure['reason']}: {failure['message']}"


def explanation(endpoint: Document | None) -> str:
    """How the endpoint was when the test failed."""
    if endpoint is None:
        return "The endpoint is not there."
    if not conditions(endpoint):
        return "The operator has not looked at the endpoint: is it running, and does it serve this namespace?"
    return "\n".join(["The endpoint says:", *(f"  {line}" for _, line in troubles(endpoint))])


def remedy(error: Exception) -> str:
    """The sentence for an error."""
    if isinstance(error, client.ApiException):
        try:
            said = json.loads(error.body or "")["message"]
        except (TypeError, ValueError, KeyError):
            said = error.reason
        return f"the Kubernetes API refuses ({error.status}): {said}"
    if isinstance(error, Unauthorized):
        return f"{error}; name a Secret with a key in the chart's value test.apiKeySecret"
    return str(error)


def main(environ: Mapping[str, str]) -> int:
    """Run the test; returns the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    # Not load_config, which says in a pod that it might not work.
    (config.load_kube_config if "KUBECONFIG" in environ else config.load_incluster_config)()
    place = (environ["TEST_NAMESPACE"], environ["TEST_NAME"])
    trial = Trial(client.CustomObjectsApi(), *place, float(environ["TEST_SECONDS"]))
    try:
        trial.run([name for name in environ.get("TEST_PULL_SECRETS", "").split(",") if name])
    except (Failed, SubModelError, client.ApiException) as error:
        print(f"\nFAILED: {remedy(error)}", flush=True)
        if not isinstance(error, client.ApiException):
            print(explanation(trial.find()), flush=True)
        return 1
    finally:
        trial.remove()
    trial.tell("endpoint removed; the installation works")
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
