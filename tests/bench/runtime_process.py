"""A worker under measurement, as a process of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

HANDLER = Path(__file__).parent / "measured" / "handler.py"
"""In a folder of its own: the folder of a program is where its imports are looked for first."""
OURS = [sys.executable, "-m", "submodel.serverless", str(HANDLER)]
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Running:
    """A context manager around the process.

    Args:
        kind: of the handler; see `measured/handler.py`.
    """

    def __init__(self, command: list[str], environment: dict[str, str], kind: str, concurrency: int) -> None:
        self._command = command
        self._environment = {
            "PATH": os.defpath,
            "HOME": "/nonexistent",
            "BENCH_KIND": kind,
            "BENCH_CONCURRENCY": str(concurrency),
            **environment,
        }

    def __enter__(self) -> Self:
        self.started_at = time.perf_counter()
        # A session of its own, like a container: runpod pings from a process that outlives a killed parent.
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/tmp",
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def resident_mb(self) -> float:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024

    def cpu_seconds(self) -> float:
        """Processor time so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS
