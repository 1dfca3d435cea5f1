"""What a process writes that is started again and again: told once, as long as it writes the same.

A person at a terminal reads why a handler cannot be loaded once, and not at every try. Called by `worker`.
"""

import asyncio

from submodel_operator.local.processes import Announce

HELD_SECONDS = 2.0
"""How long lines wait to be told that may turn out to be all that was written the last time, too."""

LINES_COMPARED = 200


class Repeats:
    """Hands lines on to `announce`, unless a run ends that wrote just what the one before did."""

    def __init__(self, announce: Announce) -> None:
        self._announce = announce
        self._before: list[str] = []
        self._now: list[str] = []
        self._held: list[str] | None = None
        """Lines that are not told yet; None when this run is another than the one before."""

        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """The process is started, for the first time or again."""
        self._before, self._now = self._now, []
        self._held = [] if self._before else None

    def hear(self, line: str) -> None:
        """A line that it wrote."""
        place = len(self._now)
        if place < LINES_COMPARED:
            self._now.append(line)
        if self._held is None or self._before[place : place + 1] != [line]:
            self._tell()
            self._announce(line)
            return
        self._held.append(line)
        self._timer = self._timer or asyncio.get_running_loop().call_later(HELD_SECONDS, self._tell)

    def end(self) -> bool:
        """Whether this run, which is over, wrote just what the one before did: then nothing of it was told."""
        same = self._held == self._before and bool(self._before)
        if same:
            self._held = None
        self._tell()
        return same

    def _tell(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        held, self._held = self._held or [], None
        for line in held:
            self._announce(line)
