"""The controllers and the node behind the fake API server: Deployments get pods, and lose them in the real order."""

import copy
import itertools
from collections.abc import Callable
from typing import Any

from tests.support.fake_apiserver.store import Store

COST = "controller.kubernetes.io/pod-deletion-cost"


class Kubelet:
    """Keeps as many pods as each Deployment asks for.

    Args:
        lingering: pods that must go stay terminating until `bury` is called.
    """

    def __init__(self, store: Store, lingering: bool = False) -> None:
        self._store = store
        self._lingering = lingering
        self._names = itertools.count(1)
        self.started: Callable[[dict[str, Any]], None] = lambda pod: None
        """Called with each pod that begins to run."""

        store.reactions.append(self._react)

    def alive(self, namespace: str, deployment: str) -> list[dict[str, Any]]:
        """Pods of the Deployment that do not terminate."""
        return [
            pod
            for pod in self._store.all("pods", namespace)
            if pod["metadata"]["generateName"] == f"{deployment}-" and "deletionTimestamp" not in pod["metadata"]
        ]

    def set_status(self, namespace: str, name: str, status: dict[str, Any]) -> None:
        """The node reports the pod's status."""
        pod = copy.deepcopy(self._store.get("pods", namespace, name))
        pod["status"] = status
        self._store.replace("pods", pod)

    def bury(self) -> None:
        """Terminating pods are gone."""
        for pod in self._store.all("pods"):
            if "deletionTimestamp" in pod["metadata"]:
                self._store.delete("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])

    def _react(self, plural: str, kind: str, changed: dict[str, Any]) -> None:
        if plural != "deployments":
            return
        metadata = changed["metadata"]
        alive = self.alive(metadata["namespace"], metadata["name"])
        wanted = 0 if kind == "DELETED" else changed["spec"]["replicas"]
        for _ in range(wanted - len(alive)):
            self._start(changed)
        for pod in sorted(alive, key=_first_to_go)[: max(0, len(alive) - wanted)]:
            self._end(pod)

    def _start(self, deployment: dict[str, Any]) -> None:
        metadata = deployment["metadata"]
        name = f"{metadata['name']}-{next(self._names)}"
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        pod = self._store.create(
            "pods",
            metadata["namespace"],
            {
                "metadata": {"name": name, "generateName": f"{metadata['name']}-", "labels": labels},
                "spec": {},
                "status": {"phase": "Running"},
            },
        )
        self.started(pod)

    def _end(self, pod: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        if not self._lingering:
            self._store.delete("pods", metadata["namespace"], metadata["name"])
            return
        ending = copy.deepcopy(pod)
        ending["metadata"]["deletionTimestamp"] = "2026-01-01T01:00:00Z"
        self._store.replace("pods", ending)


def _first_to_go(pod: dict[str, Any]) -> tuple[bool, int, str]:
    """Not running first, then the lowest deletion cost; among equals the last name, so that luck hides no mistake."""
    annotations = pod["metadata"].get("annotations") or {}
    running = pod["status"]["phase"] == "Running"
    return running, int(annotations.get(COST, "0")), "".join(chr(255 - ord(each)) for each in pod["metadata"]["name"])
