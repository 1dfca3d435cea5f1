"""Where handlers are run: the executor on the loop of the main thread, with all that may end a handler or the process.

Whoever has jobs sets it up once: a worker, a development server, a test with hooks.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from submodel.serverless import exits
from submodel.serverless.dialect import News
from submodel.serverless.executor import Executor
from submodel.serverless.outcome import Identity
from submodel.serverless.serving import Serving
from submodel.serverless.source import JobSource
from submodel.serverless.stopper import Stopper

if TYPE_CHECKING:
    from submodel.serverless.tracing import Tracing


class Owner(Protocol):
    """Whoever has the jobs; called from any thread."""

    def on_leave(self) -> None:
        """The process is to end: a handler asked for it. Its job has its outcome."""

    def on_expired(self, token: str) -> None:
        """A job has run for longer than it may, and nobody has said so."""

    def on_stuck(self, token: str) -> None:
        """A handler that shall end does not."""

    def on_exit(self, status: int) -> None:
        """Something of the user's calls `os._exit`, which ends the process when this returns."""


class Stage:
    """Made on the loop of the main thread; everything else may be called from any thread.

    Args:
        tracing: as the executor's.
    """

    def __init__(
        self,
        serving: Serving,
        identity: Identity,
        source: JobSource,
        owner: Owner,
        tracing: "Tracing | None" = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self.executor = Executor(serving, identity, source, owner.on_leave, tracing)
        self._stopper = Stopper(
            self.executor.inside,
            self.executor.runs,
            lambda token: self._call(self.executor.cancel, token),
            owner.on_expired,
            owner.on_stuck,
        )
        self._stopper.install()
        self.executor.limits = self._stopper.limits
        exits.install(owner.on_exit)

    def hear(self, news: News) -> None:
        """Start jobs and stop others."""
        self._call(self.executor.hear, news)
        if news.stops:
            self._stopper.stop(news.stops)

    def end(self) -> None:
        """There is nothing left to run."""
        self._call(self._ended.set)

    async def run(self) -> SystemExit | None:
        """Run handlers until `end`; gives what one of them ended the process with."""
        await self._ended.wait()
        return self.executor.exit

    def _call(self, function: Callable[..., object], *arguments: object) -> None:
        """Run `function` on the loop, unless the loop has ended with the process."""
        with contextlib.suppress(RuntimeError):  # what asyncio raises when the loop is closed
            self._loop.call_soon_threadsafe(function, *arguments)
