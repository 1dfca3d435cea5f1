"""The operator under measurement: a process of its own, looked at from outside."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from submodel_operator.clock import pause
from tests.support.free_ports import free_port
from tests.support.live_gateway import INTERNAL_TOKEN, LiveGateway

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_COUNT = re.compile(r'^submodel_operator_reconcile_total\{result="done"\} (\S+)', re.M)
_DEPTH = re.compile(r"^submodel_operator_workqueue_depth (\S+)", re.M)
LOOK_SECONDS = 0.25


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def memory_mib(pid: int, line: str = "VmRSS") -> float:
    """Resident memory of a process, or with `VmHWM` the most it ever was."""
    found = re.search(rf"^{line}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)
    return int(found[1]) / 1024 if found else 0.0


class OperatorProcess:
    """`python -m submodel_operator`; a context manager, its log is in `folder`."""

    def __init__(self, kubeconfig: str, gateway: LiveGateway, folder: Path) -> None:
        self._port = free_port()
        self.log = folder / "operator.log"
        self._env = {
            "PATH": os.defpath,
            "KUBECONFIG": kubeconfig,
            "SUBMODEL_OPERATOR_GATEWAY_URL": gateway.internal,
            "SUBMODEL_OPERATOR_GATEWAY_TOKEN": INTERNAL_TOKEN,
            "SUBMODEL_OPERATOR_WORKER_GATEWAY_URL": gateway.public,
            "SUBMODEL_OPERATOR_RUNTIME_IMAGE": "localhost/submodel-worker:dev",
            "SUBMODEL_OPERATOR_WORKER_TOKEN_KEY": "0123456789abcdef",
            "SUBMODEL_OPERATOR_PROBE_LISTEN": f"127.0.0.1:{self._port}",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "OperatorProcess":
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "submodel_operator"]
            self._process = subprocess.Popen(command, env=self._env, stderr=log)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def cpu_seconds(self) -> float:
        """Processor time since its start."""
        return cpu_seconds(self.pid)

    async def ready(self) -> None:
        """Returns once its watches are open."""
        while not self._get("readyz"):
            await self._look_again()

    async def looked_at(self, endpoints: int) -> None:
        """Returns once as many reconciles as there are endpoints were done, and none waits."""
        while True:
            text = self._get("metrics")
            done, depth = _COUNT.search(text), _DEPTH.search(text)
            if done and depth and float(done[1]) >= endpoints and float(depth[1]) == 0:
                return
            await self._look_again()

    def _get(self, path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/{path}", timeout=10) as answer:
                text: str = answer.read().decode()
                return text
        except OSError:
            return ""

    async def _look_again(self) -> None:
        assert self._process is not None
        if self._process.poll() is not None:
            raise SystemExit(f"the operator ended with {self._process.returncode}:\n{self.log.read_text()[-3000:]}")
        await pause(LOOK_SECONDS)
