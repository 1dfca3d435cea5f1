"""Ends components of the installation as a crash would, without a last word."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from tests.cluster.helm import RELEASE
from tests.cluster.kubernetes import get, kubectl

FORCE = ("--force", "--grace-period=0", "--wait=false")


def kill(release: str, component: str) -> None:
    """End the pod of a component without any grace."""
    kubectl("delete", "pod", "-n", release, "-l", f"app.kubernetes.io/component={component}", *FORCE)


class Operator:
    """The one that acts now. Its processes are looked up beforehand, so that `kill` takes no time."""

    def __init__(self, release: str) -> None:
        kubectl("rollout", "status", f"deployment/{RELEASE}-operator", "-n", release, "--timeout=60s")
        self._release = release
        self._pids = [pid for container in _containers(release, "operator") for pid in _processes(container)]

    def kill(self) -> None:
        """SIGKILL where its process can be seen from here, as on the test bed; and another pod takes its place, because
        a container that is started again waits longer each time.
        """
        for pid in self._pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        kill(self._release, "operator")


def _containers(release: str, component: str) -> list[str]:
    pods = get("pods", "-n", release, f"-l=app.kubernetes.io/component={component}")["items"]
    statuses = (status for pod in pods for status in pod["status"].get("containerStatuses", ()))
    return [status["containerID"].rpartition("/")[2] for status in statuses if "running" in status["state"]]


def _processes(container: str) -> list[int]:
    """Those whose control group bears the container's id."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cgroup"):
        with suppress(OSError):
            if container in path.read_text():
                found.append(int(path.parent.name))
    return found
