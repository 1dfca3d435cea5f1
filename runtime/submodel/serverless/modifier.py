"""Asks the handler's author how many jobs may run at once: `concurrency_modifier`. Used by `worker`."""

import asyncio
from collections.abc import Callable

from submodel.serverless.log import logger
from submodel.serverless.serving import ConcurrencyModifier

ASK_SECONDS = 1.0
"""On the hosted platforms the function is called before every question for jobs: about as often."""


class Modifier:
    """Calls the function now and then, on the loop of the main thread, where everything of the user's runs.

    Args:
        concurrency: what it is told first.
        change: takes a new number into account; jobs that run go on.
    """

    def __init__(self, function: ConcurrencyModifier, concurrency: int, change: Callable[[int], None]) -> None:
        self._function = function
        self._concurrency = concurrency
        self._change = change
        self._complained = False

    def run(self) -> None:
        """Ask now and from now on."""
        self.ask()
        asyncio.get_running_loop().call_later(ASK_SECONDS, self.run)

    def ask(self) -> None:
        """Ask once. A function that fails changes nothing, and does not end the worker."""
        try:
            wished = max(1, int(self._function(self._concurrency)))
        except Exception as error:
            if not self._complained:
                self._complained = True
                logger.error("concurrency_modifier failed, %d job(s) at once stay: %r", self._concurrency, error)
            return
        if wished != self._concurrency:
            self._concurrency = wished
            self._change(wished)
