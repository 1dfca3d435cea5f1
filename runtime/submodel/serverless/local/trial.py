"""One job without a platform: `--test_input`, or `test_input.json` in the working directory; then the process ends.

The lines are those of the hosted platforms, where people and scripts look for them; chunks, progress and the traceback
of a failure are shown as well.
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from submodel.errors import ConfigurationError
from submodel.serverless import exits, outcome
from submodel.serverless.dialect import Flow, News
from submodel.serverless.executor import Executor
from submodel.serverless.local import shown
from submodel.serverless.local.arguments import job_of
from submodel.serverless.local.jobs import identity, leased
from submodel.serverless.modules.rp_logger import RunPodLogger
from submodel.serverless.outcome import Outcome
from submodel.serverless.serving import Handler, Serving

FILE = "test_input.json"


def find_job(given: str | None, folder: Path) -> dict[str, Any]:
    """The job to run: `given` on the command line (JSON, or `@file`), else that of the file in `folder`.

    Raises `ConfigurationError` when there is none, or it cannot be used.
    """
    if given is None:
        path = folder / FILE
        if not path.is_file():
            raise ConfigurationError(
                f'{FILE} not found, exiting. To try the handler put {{"input": …}} into {FILE}, give it with '
                "--test_input, serve it with --rp_serve_api, or run its endpoint with: submodel up -f endpoint.yaml. "
                "A worker is told by SUBMODEL_GATEWAY_URL where its jobs come from."
            )
        RunPodLogger().info(f"Using {FILE} as job input.")
        return job_of(_text(path), FILE)
    if given.startswith("@"):
        path = folder / given[1:]
        return job_of(_text(path), str(path))
    RunPodLogger().info("test_input set, using test_input as job input.")
    return job_of(given, "--test_input")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error


def run(handler: Handler, aggregate: bool, job: dict[str, Any], listen: Callable[["Trial"], None]) -> int:
    """Run one job and show what becomes of it; returns the exit code of the process.

    Args:
        listen: is given the trial before it begins, to tell it of progress.
    """
    trial = Trial(job)
    listen(trial)
    try:
        exit_code = asyncio.run(trial.run(handler, aggregate))
    except KeyboardInterrupt:
        RunPodLogger().error("Interrupted.", trial.id)
        return 130
    finally:
        exits.uninstall()
    return exit_code


class Trial:
    """The source of one job."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.id: str = job["id"]
        self._job = job
        self._log = RunPodLogger()
        self._chunks = 0
        self._outcome: Outcome | None = None
        self._ended: Callable[[], None] = _nothing

    async def run(self, handler: Handler, aggregate: bool) -> int:
        """Call the handler as a worker does; returns the exit code."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        self._ended = lambda: _told(loop, ended)
        executor = Executor(Serving(handler, aggregate), identity(), self, _nothing)
        self._log.debug(f"Retrieved local job: {json.dumps(self._job, ensure_ascii=False)}")
        exits.install(lambda status: self._on_exit(executor, status))
        executor.hear(News([leased(self.id, self.id, self._job)], []))
        await ended.wait()
        assert self._outcome is not None
        self._show(self._outcome)
        if executor.exit is not None:
            return executor.exit.code if isinstance(executor.exit.code, int) and executor.exit.code else 1
        return 0 if self._outcome.error is None else 1

    def _on_exit(self, executor: Executor, status: int) -> None:
        """The handler calls `os._exit`."""
        executor.abandon(outcome.of_exit(status))
        if self._outcome is not None:
            self._show(self._outcome)

    def progress(self, job_id: str, value: Any) -> None:
        """See `submodel.serverless.progress_update`."""
        text = outcome.progress(value)
        if job_id == self.id:
            self._log.info(f"Progress: {shown.value(text)}", self.id)

    # What the executor says:

    def begin(self, token: str) -> bool:
        self._log.info("Started.", self.id)
        return True

    def add_chunk(self, token: str, chunk: bytes) -> Flow:
        self._chunks += 1
        self._log.info(f"Chunk {self._chunks}: {shown.value(chunk)}", self.id)
        return Flow.ON

    def finish(self, token: str, outcome: Outcome, execution_ms: int) -> None:
        self._outcome = outcome
        self._ended()

    def limit(self, concurrency: int) -> bool:
        return False

    def wait_for_room(self) -> None:
        """Nothing is ever congested: lines are printed at once."""

    def _show(self, found: Outcome) -> None:
        shown.outcome(self._log, self.id, found)
        if found.error is None:
            self._log.info("Local testing complete, exiting.")


def _told(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    loop.call_soon_threadsafe(ended.set)


def _nothing() -> None:
    """Nobody waits."""
