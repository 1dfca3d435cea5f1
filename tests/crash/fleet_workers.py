"""Worker processes of a fleet; each writes down what it executes."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from submodel.contract import legacy_env
from tests.crash.fleet_history import Execution

TOKEN = "worker-token"
_DIALECT = "RUNPOD_"

HANDLER = """
import fcntl
import os
import time
import uuid

import submodel

log = os.open(os.environ["EXECUTIONS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
worker = os.environ["WORKER_NAME"]


def handler(job):
    execution = uuid.uuid4().hex
    os.write(log, f"{job['id']} {execution} {worker}\\n".encode())
    time.sleep(job["input"]["seconds"])
    if "gate" in job["input"]:
        with open(job["input"]["gate"]) as gate:
            fcntl.flock(gate, fcntl.LOCK_SH)
    return {"number": job["input"]["number"], "execution": execution}


submodel.serverless.start({"handler": handler})
"""


class WorkerProcesses:
    """Workers by name; `kill_all` at the end."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self._folder = folder
        self._endpoint = endpoint
        self._log = folder / "executions"
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        (folder / "handler.py").write_text(HANDLER, encoding="utf-8")

    def start(self, name: str, url: str, *, hosted: bool = False) -> None:
        """Start a worker of the gateway at `url`; `hosted` lets it speak as on a hosted platform."""
        environ = {"EXECUTIONS": str(self._log), "WORKER_NAME": name}
        environ |= self._hosted(name, url) if hosted else self._native(name, url)
        command = [sys.executable, "-m", "submodel.serverless", str(self._folder / "handler.py")]
        with (self._folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                command, env=environ, cwd=self._folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self._running[name].kill()
        self._running[name].wait()

    def kill_all(self) -> None:
        for name in self._running:
            self.kill(name)

    @property
    def names(self) -> list[str]:
        return sorted(self._running)

    def executions(self) -> list[Execution]:
        """In the order in which they began."""
        return [Execution(*line.split()) for line in self._log.read_text(encoding="utf-8").splitlines()]

    def _native(self, name: str, url: str) -> Mapping[str, str]:
        return {
            "SUBMODEL_GATEWAY_URL": url,
            "SUBMODEL_ENDPOINT_ID": self._endpoint,
            "SUBMODEL_WORKER_ID": name,
            "SUBMODEL_WORKER_TOKEN": TOKEN,
        }

    def _hosted(self, name: str, url: str) -> Mapping[str, str]:
        told = legacy_env.settings(_DIALECT, url, self._endpoint)
        return {**told, _DIALECT + legacy_env.API_KEY: TOKEN, _DIALECT + legacy_env.POD_ID: name}
