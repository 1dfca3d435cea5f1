"""How long the start of this worker took, step by step: what a cold start is made of. Used by `worker`."""

import os
import time
from pathlib import Path

from submodel.contract.exchange import Startup


class StartupClock:
    """Measures from the start of the process. Create it when the runtime is loaded."""

    def __init__(self) -> None:
        self._import_ms = _process_age_ms()
        now_ms = round(time.time() * 1000)  # noqa: TID251 # an instant that is compared with those of the node's kubelet
        self._process_at_ms = None if self._import_ms is None else now_ms - self._import_ms
        self._last = time.monotonic()
        self._load_ms = 0

    def loaded(self) -> None:
        """The handler's file has called `start`."""
        self._load_ms = self._lap_ms()

    def checked(self) -> Startup:
        """The fitness checks have passed: the worker asks for jobs now."""
        return Startup(
            import_ms=self._import_ms,
            load_ms=self._load_ms,
            check_ms=self._lap_ms(),
            process_at_ms=self._process_at_ms,
        )

    def _lap_ms(self) -> int:
        last, self._last = self._last, time.monotonic()
        return round((self._last - last) * 1000)


def _process_age_ms() -> int | None:
    """None where the system does not say when a process was started."""
    try:
        started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return max(0, round((uptime - started / os.sysconf("SC_CLK_TCK")) * 1000))
