"""Child processes of local mode: started apart from the terminal, ended politely, never left behind.

A child gets a session of its own, so that Ctrl-C reaches `submodel up` alone and it can end its children in order.
Should `submodel up` itself be killed, the kernel ends the children at once (Linux): with nobody left to report to, a
worker that drained would stay for the whole grace of its job.
"""

import asyncio
import ctypes
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence

Announce = Callable[[str], None]
"""Takes one line for the person at the terminal."""

LAST_LINES = 30
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class ChildProcess:
    """One running child whose output goes line by line to `announce`."""

    def __init__(self, process: asyncio.subprocess.Process, announce: Announce) -> None:
        self._process = process
        self._announce = announce
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, command: Sequence[str], env: Mapping[str, str], announce: Announce) -> "ChildProcess":
        """Start `command` with `env` and the person's own variables, less those that speak to our processes.

        Raises:
            OSError: it cannot be started.
        """
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**_inherited(), "PYTHONUNBUFFERED": "1", **env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        return cls(process, announce)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    async def wait(self) -> int:
        """Exit code, once the process has ended and its output is read."""
        code = await self._process.wait()
        await self._reader
        return code

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._process.returncode is None:
            self._process.send_signal(number)

    async def _read(self) -> None:
        stream = self._process.stdout
        if stream is None:
            return
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # a line longer than the reader's buffer; its rest follows
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            self.last_lines.append(text)
            self._announce(text)


def _inherited() -> dict[str, str]:
    """A `SUBMODEL_…` left over in the shell would configure the gateway or a worker behind the manifest's back."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SUBMODEL_")}


def _end_with_parent() -> None:
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
