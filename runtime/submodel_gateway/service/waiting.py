"""Waiting without polling: requests that are held until something happens, and readers of a job that changes."""

import asyncio
from collections import defaultdict
from typing import Protocol, Self

from submodel_gateway.jobs.record import Job
from submodel_gateway.store.base import Content

Hangup = asyncio.Future[None]
"""Done as soon as the caller of a held request has gone away; nobody reads the answer then."""


class Hold:
    """A held request: `wake` lets it look again, `end` lets it answer with what there is.

    Use as a context manager; it ends by itself after `wait_ms`, or when the caller hangs up.
    """

    def __init__(self, wait_ms: int, hangup: Hangup) -> None:
        self.ended = wait_ms <= 0 or hangup.done()
        self._wait_ms = wait_ms
        self._hangup = hangup
        # Asking for the running one is a system call each time.
        self._loop = hangup.get_loop()
        self._woken = False
        self._waiter: asyncio.Future[None] | None = None

    def __enter__(self) -> Self:
        self._timer = self._loop.call_later(self._wait_ms / 1000, self.end)
        self._hangup.add_done_callback(self._hung_up)
        return self

    def __exit__(self, *exc: object) -> None:
        self._timer.cancel()
        self._hangup.remove_done_callback(self._hung_up)

    def wake(self) -> None:
        """There may be news; counts also while nobody waits."""
        self._woken = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def end(self) -> None:
        """Answer now: the time is up, the client has gone, or the gateway goes down."""
        self.ended = True
        self.wake()

    async def woken(self) -> None:
        """Wait for the next wake or the end; one at a time."""
        if self.ended:
            return
        if not self._woken:
            self._waiter = self._loop.create_future()
            await self._waiter
        self._woken = False

    def hear(self, job: Job | None, content: Content | None, items: tuple[bytes, ...]) -> None:
        """See `Watcher`."""
        self.wake()

    def _hung_up(self, hangup: Hangup) -> None:
        self.end()


class OutcomeHold(Hold):
    """A held request that waits for the end of a job and sleeps through everything before it."""

    job: Job | None = None
    """The job as it ended; None while it has not, or while only its store knows."""

    content: Content | None = None
    """What it ended with; None while only its store knows."""

    def hear(self, job: Job | None, content: Content | None, items: tuple[bytes, ...]) -> None:
        if job is None or job.state.terminal:
            self.job, self.content = job, content
            self.wake()

    def take_content(self, job: Job) -> Content | None:
        """What `job` ended with, where that was heard; it is the caller's alone from then on."""
        content, self.content = self.content, None
        return content if job is self.job else None


class Watcher(Protocol):
    """Hears what becomes of one job."""

    def hear(self, job: Job | None, content: Content | None, items: tuple[bytes, ...]) -> None:
        """The watched job has changed, to `job`; None when only that is known, or when it is gone.

        `content` is what it ended with, where that is known; `items` are those that were added to its stream.
        """

    def end(self) -> None:
        """The gateway goes down."""


class JobWatchers:
    """Readers that wait for a change of one job; they hear of it in the order in which they came."""

    def __init__(self) -> None:
        self._of: defaultdict[str, defaultdict[str, dict[Watcher, None]]] = defaultdict(lambda: defaultdict(dict))

    def add(self, endpoint: str, job: str, watcher: Watcher) -> None:
        """Let `watcher` hear of the job until `remove`."""
        self._of[endpoint][job][watcher] = None

    def remove(self, endpoint: str, job: str, watcher: Watcher) -> None:
        """The other end of an `add`; its endpoint leaves no trace with its last reader."""
        jobs = self._of[endpoint]
        jobs[job].pop(watcher, None)
        if not jobs[job]:
            del jobs[job]
        if not jobs:
            del self._of[endpoint]

    def tell(
        self, endpoint: str, id: str, job: Job | None, content: Content | None, items: tuple[bytes, ...] = ()
    ) -> None:
        """As `Watcher.hear`, to all of the job."""
        if (jobs := self._of.get(endpoint)) is not None:
            for watcher in jobs.get(id, ()):
                watcher.hear(job, content, items)

    def tell_all_of(self, endpoint: str) -> None:
        """Some jobs of the endpoint have changed elsewhere."""
        for watchers in self._of.get(endpoint, {}).values():
            for watcher in watchers:
                watcher.hear(None, None, ())

    def end_all(self) -> None:
        """Answer all of them: the gateway goes down."""
        for jobs in self._of.values():
            for watchers in jobs.values():
                for watcher in watchers:
                    watcher.end()
