"""The whole operator in a thread with an event loop of its own, against a server in the test's loop.

At its end Kopf waits for everything that was started in its loop meanwhile; the server's connections must not be among
that.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from submodel_operator.clock import SystemClock
from submodel_operator.handlers import Operator
from submodel_operator.settings import OperatorSettings
from tests.support.endpoints import worker_settings

WATCHED = ("submodelendpoints", "deployments", "pods")
STOP_SECONDS = 30.0
"""How long one may take to end. A test that failed must not keep all others from theirs."""


class Front(Protocol):
    """The server that the operator talks to: the fake one, or a proxy before a real one."""

    async def until(self, holds: Callable[[], object]) -> None:
        """Returns when `holds()` is true; looked at after every request. Raises once nothing more will come."""

    def watching(self, plural: str) -> bool:
        """Whether a watch of this kind is open."""

    def operator_ended(self, error: BaseException | None) -> None:
        """Nothing more will come, if there is an error."""


class OperatorThread:
    """One run; `error` is what it ended with."""

    def __init__(
        self, server: Front, kubeconfig: str, settings: OperatorSettings, crd_patience_seconds: float = 30.0
    ) -> None:
        self._server = server
        self._kubeconfig = kubeconfig
        self._settings = settings
        self._crd_patience_seconds = crd_patience_seconds
        self._test_loop = asyncio.get_running_loop()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self.error: BaseException | None = None
        self.ended = asyncio.Event()
        # The process of the tests must come to its end even when a test that failed could not stop it.
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    async def watching(self) -> None:
        """Returns when all watches are open, or the run has ended."""
        server = self._server
        await server.until(lambda: self.ended.is_set() or all(server.watching(each) for each in WATCHED))

    async def stop(self) -> None:
        """End it, as SIGTERM would. Raises `AssertionError` when it goes on."""
        if self._loop and self._stop and not self.ended.is_set():
            self._loop.call_soon_threadsafe(self._stop.set)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.run_out()
        except TimeoutError as error:
            tasks = asyncio.all_tasks(self._loop) if self._loop else ()
            raise AssertionError("the operator does not end; left are " + "\n".join(map(repr, tasks))) from error

    async def run_out(self) -> None:
        """Returns when it has ended by itself."""
        await self.ended.wait()
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # the test looks at it
            self.error = error
        self._test_loop.call_soon_threadsafe(self._announce_end)

    def _announce_end(self) -> None:
        self.ended.set()
        self._server.operator_ended(self.error)

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        env = {"KUBECONFIG": self._kubeconfig}
        await Operator(self._settings, env, SystemClock(), self._stop, self._crd_patience_seconds).run()


@asynccontextmanager
async def operating(server: Front, kubeconfig: str, settings: OperatorSettings) -> AsyncIterator[OperatorThread]:
    """A running operator whose watches are open; it must end without an error."""
    operator = OperatorThread(server, kubeconfig, settings)
    try:
        await operator.watching()
        yield operator
    finally:
        await operator.stop()
    if operator.error:
        raise operator.error


def settings_for(gateway_url: str, gateway_token: str, **changes: Any) -> OperatorSettings:
    """Settings of a test's operator."""
    values: dict[str, Any] = {
        "gateway_url": gateway_url,
        "gateway_token": gateway_token,
        "worker": worker_settings(),
        "probe_listen": "127.0.0.1:0",
    }
    return OperatorSettings(**(values | changes))
