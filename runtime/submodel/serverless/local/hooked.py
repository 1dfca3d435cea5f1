"""A worker whose jobs come from functions of the user's own.

They are called on the loop that runs handlers: while a handler blocks, none of them is.
"""

import asyncio
import contextlib
import inspect
from collections.abc import Callable
from typing import Any

from submodel import http_client
from submodel.contract.exchange import LeasedJob
from submodel.errors import ConfigurationError
from submodel.serverless import exits, fitness, outcome
from submodel.serverless.backoff import longer_pause
from submodel.serverless.dialect import Concurrency, Flow, News
from submodel.serverless.lifecycle import Lifecycle
from submodel.serverless.local import hooks, shown
from submodel.serverless.local.hooks import Function, Hooks
from submodel.serverless.local.jobs import identity, leased
from submodel.serverless.modifier import Modifier
from submodel.serverless.modules.rp_logger import RunPodLogger
from submodel.serverless.outcome import Outcome
from submodel.serverless.serving import Serving
from submodel.serverless.stage import Stage

DRAIN_SECONDS = 25.0


def run(config: dict[str, Any], serving: Serving, listen: Callable[[Callable[[str, Any], None]], None]) -> None:
    """Run jobs until a signal comes.

    Args:
        listen: is given whom to tell of progress.

    Raises:
        ConfigurationError: a hook cannot be used.
        SystemExit: a handler asked the process to end.
    """
    worker = _Worker(hooks.read(config))
    listen(worker.progress)
    worker.lifecycle.install()
    try:
        ending = asyncio.run(worker.run(config, serving))
    finally:
        worker.lifecycle.uninstall()
        exits.uninstall()
    if ending is not None:
        raise ending


class _Worker:
    """The source of jobs. Everything but what the lifecycle calls is done on the loop."""

    def __init__(self, given: Hooks) -> None:
        self._hooks = given
        self._log = RunPodLogger()
        self._jobs: dict[str, str] = {}
        """Ids of the jobs that are here, by token."""

        self._begun: set[str] = set()

        self._tokens = 0
        self._concurrency = Concurrency(1)
        self._leaving = False
        self._changed: Callable[[], None] = _nothing
        self._leave: Callable[[], None] = _nothing
        self._stage: Stage | None = None
        self.lifecycle = Lifecycle(DRAIN_SECONDS, lambda: self._leave(), lambda: len(self._jobs))

    async def run(self, config: dict[str, Any], serving: Serving) -> SystemExit | None:
        """Returns what a handler ended the process with."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()
        self._changed = changed.set
        async with _session() as session:
            if (handle := self._hooks.handle) is not None:
                serving = serving.by(lambda job: handle(session, config, job))
            self._stage = stage = Stage(serving, identity(), self, self)
            if serving.concurrency_modifier is not None:
                Modifier(serving.concurrency_modifier, 1, self._set_concurrency).run()
            if await fitness.first_failure():
                return SystemExit(1)
            asking = [loop.create_task(self._fetch(session, changed))]
            if self._hooks.stops is not None:
                asking.append(loop.create_task(self._fetch_stops(self._hooks.stops, session)))
            self._leave = lambda: _on(loop, self._begin_leaving, asking)
            self.lifecycle.serving = True
            ending = await stage.run()
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
            return ending

    async def _fetch(self, session: object, changed: asyncio.Event) -> None:
        pause = 0.0
        while True:
            changed.clear()
            free = self._concurrency.concurrency - len(self._jobs)
            if free <= 0:
                await changed.wait()
                continue
            found = await self._asked("jobs_fetcher", self._hooks.fetch_seconds, self._hooks.fetch, session, free)
            accepted = self._accept(found)
            if accepted and self._stage is not None:
                self._stage.hear(News(accepted, []))
            pause = 0.0 if accepted else longer_pause(pause)
            await _wait(pause)

    async def _fetch_stops(self, stops: Function, session: object) -> None:
        pause, told = 0.0, set[str]()
        while True:
            found = await self._asked("stop_signals_fetcher", self._hooks.stops_seconds, stops, session)
            ids = found if isinstance(found, list) else []
            named = [token for token, name in self._jobs.items() if name in ids and token not in told]
            if named:
                self._stop(named)
            told = (told | {*named}) & self._jobs.keys()
            pause = 0.0 if named else longer_pause(pause)
            await _wait(pause)

    def _stop(self, tokens: list[str]) -> None:
        """End these jobs; one whose handler was not called yet never begins."""
        if self._stage is not None:
            self._stage.hear(News([], [token for token in tokens if token in self._begun]))
        for token in tokens:
            if token not in self._begun:
                self._log.info("Stopped before it began.", self._jobs.pop(token))
        self._changed()

    async def _asked(self, name: str, seconds: float, function: Function, *arguments: object) -> Any:
        """What a hook gives; None when it takes too long or fails, which must not end the worker."""
        try:
            found = function(*arguments)
            return await asyncio.wait_for(found, seconds) if inspect.isawaitable(found) else found
        except asyncio.TimeoutError:
            return None
        except Exception as error:
            self._log.error(f"{name} failed: {type(error).__name__}: {error}")
            return None

    def _accept(self, found: Any) -> list[LeasedJob]:
        """What was fetched as jobs; what is none is left out, and said."""
        accepted = []
        for item in found if isinstance(found, list | tuple) else [found] if found is not None else []:
            if not isinstance(item, dict) or not isinstance(item.get("id"), str) or "input" not in item:
                self._log.error('jobs_fetcher gave something that is no job: {"id": "a text", "input": …} is one')
                continue
            self._tokens += 1
            token = f"{self._tokens}"
            try:
                accepted.append(leased(item["id"], token, item))
            except (TypeError, ValueError) as error:
                self._log.error(f"jobs_fetcher gave a job that JSON cannot hold: {error}", item["id"])
                continue
            self._jobs[token] = item["id"]
        return accepted

    def _set_concurrency(self, concurrency: int) -> None:
        self._concurrency.set_concurrency(concurrency)
        self._changed()

    def progress(self, job_id: str, value: Any) -> None:
        """See `submodel.serverless.progress_update`."""
        self._log.info(f"Progress: {shown.value(outcome.progress(value))}", job_id)

    # What the executor says:

    def begin(self, token: str) -> bool:
        if token not in self._jobs:
            return False
        self._begun.add(token)
        self._log.info("Started.", self._jobs[token])
        return True

    def add_chunk(self, token: str, chunk: bytes) -> Flow:
        self._log.info(f"Chunk: {shown.value(chunk)}", self._jobs[token])
        return Flow.ON

    def finish(self, token: str, outcome: Outcome, execution_ms: int) -> None:
        self._begun.discard(token)
        name = self._jobs.pop(token, None)
        if name is not None and (self._hooks.handle is None or outcome.error is not None):
            shown.outcome(self._log, name, outcome)
        self._changed()
        self._check_settled()

    def limit(self, concurrency: int) -> bool:
        return self._concurrency.limit(concurrency)

    def wait_for_room(self) -> None:
        """Nothing is ever congested: lines are printed at once."""

    # What the stage tells, and the end:

    def on_leave(self) -> None:
        self.lifecycle.request_leave()

    def on_expired(self, token: str) -> None:
        """Jobs of a fetcher have no limits."""

    def on_stuck(self, token: str) -> None:
        self._log.error("The handler does not end. Ctrl-C twice ends the process.", self._jobs.get(token))

    def on_exit(self, status: int) -> None:
        if self._stage is not None:
            self._stage.executor.abandon(outcome.of_exit(status))

    def _begin_leaving(self, asking: list[asyncio.Task[None]]) -> None:
        self._leaving = True
        for task in asking:
            task.cancel()
        self._check_settled()

    def _check_settled(self) -> None:
        if self._leaving and not self._jobs and self._stage is not None:
            self.lifecycle.settled()
            self._stage.end()


def _session() -> contextlib.AbstractAsyncContextManager[Any]:
    """What the platforms' own functions make their requests with; None where its library is missing."""
    try:
        return http_client.AsyncClientSession()
    except ConfigurationError:
        return contextlib.nullcontext()


async def _wait(seconds: float) -> None:
    """A turn of the loop at least."""
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), max(seconds, 0.001))


def _on(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *arguments: object) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended with the process
        loop.call_soon_threadsafe(function, *arguments)


def _nothing() -> None:
    """Nobody waits yet."""
