"""A worker of local mode: a process that is started again when it ends by itself, like a container in a pod."""

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence

from submodel_operator.diagnosis import CRASHING
from submodel_operator.local.processes import Announce, ChildProcess
from submodel_operator.local.repeats import Repeats
from submodel_operator.ports import ObservedWorker, WorkerEnd

RESTART_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""Pauses between starts of a worker that keeps failing; the last one stays."""


class LocalWorker:
    """Supervises one worker process until it is asked to leave."""

    def __init__(
        self,
        name: str,
        revision: str,
        command: Sequence[str],
        env: Mapping[str, str],
        announce: Announce,
        changed: Callable[["LocalWorker"], None],
    ) -> None:
        self.name = name
        self.revision = revision
        self._command = command
        self._env = env
        self._announce = announce
        self._lines = Repeats(lambda line: announce(f"  {name.rpartition('-')[2]} | {line}"))
        self._changed = changed
        self._phase = "Pending"
        self._message = ""
        self._end: WorkerEnd | None = None
        self._started_at: float | None = None
        self._child: ChildProcess | None = None
        self._leaving = asyncio.Event()
        self._killed = False
        self._created_at = asyncio.get_running_loop().time()
        self._task = asyncio.create_task(self._supervise())

    @property
    def ended(self) -> bool:
        """Whether it left and will not come back."""
        return self._task.done()

    @property
    def left(self) -> bool:
        """Whether its process has ended as it was asked to."""
        return self._phase == "Succeeded"

    def observe(self, now: float) -> ObservedWorker:
        """The worker as the operator sees it; `now` is the event loop's time."""
        return ObservedWorker(
            name=self.name,
            uid=f"{self.name}/{id(self):x}",
            revision=self.revision,
            phase=self._phase,
            age_seconds=now - self._created_at,
            terminating=self._leaving.is_set(),
            message=self._message,
            ended=self._end,
            running_seconds=None if self._started_at is None else now - self._started_at,
        )

    def leave(self) -> None:
        """Ask it to finish what it holds and end."""
        self._leaving.set()
        if self._child:
            self._child.terminate()

    def kill(self) -> None:
        """End it at once."""
        self._killed = True
        self.leave()
        if self._child:
            self._child.kill()

    async def gone(self) -> None:
        """Returns once the process has ended for good."""
        await asyncio.wait([self._task])

    async def _supervise(self) -> None:
        failures = 0
        while not self._leaving.is_set():
            self._lines.begin()
            code, lines, how = await self._try()
            repeated = self._lines.end()
            if self._leaving.is_set():
                break
            failures += 1
            self._end = WorkerEnd("Error", code, lines, failures)
            last = lines.strip().rpartition("\n")[2].strip()
            # After one end it may be well, and why it ended may be told by the gateway, which is behind by a moment.
            self._enter("Error" if failures == 1 else CRASHING, f"{last} ({how})" if last else how)
            pause = RESTART_SECONDS[min(failures, len(RESTART_SECONDS)) - 1]
            ended = "ended as before" if repeated else "ended"
            self._announce(f"worker {self.name} {ended} ({how}); next start in {pause:g} s")
            await self._pause(pause)
        self._enter("Succeeded", "")
        self._announce(f"worker {self.name} left")

    async def _try(self) -> tuple[int, str, str]:
        """One run: its exit code, its last lines, and how it ended."""
        try:
            code = await self._run_once()
        except OSError as error:
            line = f"{self._command[0]}: {error.strerror}"
            self._lines.hear(line)
            return 1, line, "it cannot be started"
        lines = "\n".join(self._child.last_lines) if self._child else ""
        return code, lines, f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    async def _run_once(self) -> int:
        self._child = await ChildProcess.start(self._command, self._env, self._lines.hear)
        if self._leaving.is_set():
            self._child.kill() if self._killed else self._child.terminate()
        self._announce(f"worker {self.name} started (pid {self._child.pid})")
        self._enter("Running", "")
        return await self._child.wait()

    def _enter(self, phase: str, message: str) -> None:
        self._phase, self._message = phase, message
        self._started_at = asyncio.get_running_loop().time() if phase == "Running" else None
        self._changed(self)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._leaving.wait()
        except TimeoutError:
            return
