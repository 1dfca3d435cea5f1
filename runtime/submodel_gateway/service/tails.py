"""The end of a running job's stream as commits tell it, so that who follows the stream need not read it back.

A store says what a commit added to a stream. As long as that joins what was heard before, it is all that there is; what
does not join, and what other gateways did, is for the store to say.
"""

from dataclasses import dataclass

from submodel_gateway.jobs.record import Job
from submodel_gateway.store.base import Content

TAIL_ITEMS = 1_000
TAIL_BYTES = 65_536
"""What is kept for one reader that is slower than its stream; it reads the rest from the store."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A reader's place in a stream: items after `offset` of `attempt` are new to it."""

    attempt: int
    offset: int


class Tail:
    """What one reader may still have to read: the last items of a stream, none where only the store knows.

    A watcher of the job for as long as its stream is followed.
    """

    def __init__(self) -> None:
        self._job: Job | None = None
        self._items: list[bytes] = []
        """Those up to the last one of `_job`."""

        self._bytes = 0

    def hear(self, job: Job | None, content: Content | None, items: tuple[bytes, ...]) -> None:
        """A commit made the job what it is, and added these items to its stream."""
        before, self._job = self._job, job
        if job is None or before is None or (before.attempt, before.chunks + len(items)) != (job.attempt, job.chunks):
            self._clear()
        self._items += items
        self._bytes += sum(map(len, items))
        if len(self._items) > TAIL_ITEMS or self._bytes > TAIL_BYTES:
            self._clear()

    def end(self) -> None:
        """Nobody is held here."""

    def take(self, place: Place) -> tuple[Job, list[bytes]] | None:
        """The job, and all its items after `place`, which are let go; None where only the store knows."""
        job = self._job
        if job is None or job.attempt != place.attempt:
            return None
        new = job.chunks - place.offset
        if not 0 <= new <= len(self._items):
            return None
        items = self._items[len(self._items) - new :]
        self._clear()
        return job, items

    def _clear(self) -> None:
        self._items, self._bytes = [], 0
