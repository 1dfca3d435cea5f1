"""Ends handlers that shall end: those of jobs that were stopped, and of jobs that run for longer than they may.

A coroutine is cancelled by the executor, a generator ends at its next item. What does neither after a moment blocks the
main thread: it gets `TimeLimitExceeded` there, by a signal, which also wakes it from a sleep or a lock. Code that runs
outside the interpreter hears of it when it returns; when it does not return, the process has to leave.
"""

import contextvars
import heapq
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from types import FrameType, TracebackType

from submodel.errors import TimeLimitExceeded
from submodel.serverless.exits import end_child
from submodel.serverless.log import logger

GRACE_SECONDS = 0.5
AGAIN_SECONDS = 1.0
TRIES = 10
LATE_SECONDS = 5.0
"""The gateway ends a job at its execution timeout; the worker does by itself when it has not heard so by then."""

SIGNAL: signal.Signals | int = getattr(signal, "SIGRTMIN", signal.SIGURG - 5) + 5
"""One that nobody else uses."""

current_job: contextvars.ContextVar[str] = contextvars.ContextVar("submodel_job")
"""Token of the job whose code runs; tasks of the handler's own inherit it."""


class Undisturbed:
    """The runtime's own code that a handler calls: an exception in the middle of it would leave a lock locked for ever.

    One that comes in the main thread meanwhile is raised at its end.
    """

    def __init__(self) -> None:
        self._now = False
        self._missed = False

    def postpones(self) -> bool:
        """Whether what is to be raised has to wait; if so, it is not forgotten. In the main thread."""
        self._missed = self._now
        return self._now

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._now = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        self._now = False
        missed, self._missed = self._missed, False
        if missed:
            raise _interruption()


undisturbed = Undisturbed()


class Inside:
    """The jobs whose handlers' own code is being run. Only there may an exception come out of nowhere, and a forked
    child comes no further."""

    def __init__(self) -> None:
        self.tokens: set[str] = set()
        self._process = os.getpid()

    def of(self, token: str) -> "_Section":
        return _Section(self.tokens, token, self._process)


class _Section:
    __slots__ = ("_process", "_token", "_tokens")

    def __init__(self, tokens: set[str], token: str, process: int) -> None:
        self._tokens = tokens
        self._token = token
        self._process = process

    def __enter__(self) -> None:
        self._tokens.add(self._token)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._tokens.discard(self._token)
        if os.getpid() != self._process:
            end_child(error)


class Limits:
    """Until when each job may run. Begun and ended without a lock: that is done for every job."""

    def __init__(self, earlier: Callable[[], None]) -> None:
        self._earlier = earlier
        self._at: dict[str, float] = {}
        self.looks_at = math.inf
        """When somebody looks next; `earlier` is called when that is too late."""

    def begin(self, token: str, limit_seconds: float) -> None:
        at = time.monotonic() + limit_seconds + LATE_SECONDS
        self._at[token] = at
        if at < self.looks_at:
            self._earlier()

    def end(self, token: str) -> None:
        self._at.pop(token, None)

    def over(self, now: float) -> list[str]:
        """Jobs that are over their time, each once; sets when to look again."""
        at = list(self._at.items())
        over = [token for token, until in at if until <= now]
        for token in over:
            self.end(token)
        self.looks_at = min((until for _, until in at if until > now), default=math.inf)
        return over


class Stopper:
    """Watches jobs from a thread of its own, which is started with the first of them. Create it in the main thread.

    Args:
        inside: whose code runs in the main thread.
        runs: whether the handler of a job has not returned yet.
        cancel: cancel its coroutine, if it is one; called from the thread, again and again.
        expired: a job is over its time, and the gateway has not said so.
        give_up: a handler cannot be ended.
    """

    def __init__(
        self,
        inside: Inside,
        runs: Callable[[str], bool],
        cancel: Callable[[str], None],
        expired: Callable[[str], None],
        give_up: Callable[[str], None],
    ) -> None:
        self._inside = inside
        self._runs = runs
        self._cancel = cancel
        self._expired = expired
        self._give_up = give_up
        self._main = threading.main_thread().ident or 0
        self._ending: set[str] = set()
        self._due: list[tuple[float, str, int]] = []
        """When to look at which job that shall end, and how often it was told so by then."""

        self._changed = threading.Condition()
        self._started = False
        self.limits = Limits(self._look)

    def install(self) -> None:
        signal.signal(SIGNAL, self._raise)

    def stop(self, tokens: Iterable[str]) -> None:
        """These jobs shall end; they were cancelled already."""
        for token in tokens:
            self._add(time.monotonic() + GRACE_SECONDS, token, 0)

    def _add(self, at: float, token: str, tries: int) -> None:
        with self._changed:
            heapq.heappush(self._due, (at, token, tries))
        self._look()

    def _look(self) -> None:
        with self._changed:
            if not self._started:
                self._started = True
                threading.Thread(target=self._watch, name="submodel-stopper", daemon=True).start()
            self._changed.notify()

    def _watch(self) -> None:
        while True:
            over, due = self._next()
            for token in over:
                self._expired(token)
                self._cancel(token)
            self.stop(over)
            for token, tries in due:
                self._end(token, tries)

    def _end(self, token: str, tries: int) -> None:
        if not self._runs(token):
            self._ending.discard(token)
        elif tries < TRIES:
            self._ending.add(token)
            self._cancel(token)
            signal.pthread_kill(self._main, SIGNAL)
            self._add(time.monotonic() + AGAIN_SECONDS, token, tries + 1)
        else:
            self._give_up(token)

    def _next(self) -> tuple[list[str], list[tuple[str, int]]]:
        """Wait for jobs whose time is over, or that were told to end and are to be looked at."""
        with self._changed:
            while True:
                now = time.monotonic()
                over = self.limits.over(now)
                due = []
                while self._due and self._due[0][0] <= now:
                    _, token, tries = heapq.heappop(self._due)
                    due.append((token, tries))
                if over or due:
                    return over, due
                at = min(self.limits.looks_at, self._due[0][0] if self._due else math.inf)
                self._changed.wait(min(at - now, threading.TIMEOUT_MAX))

    def _raise(self, number: int, frame: FrameType | None) -> None:
        """In the main thread, between two instructions of whatever runs there."""
        token = current_job.get("")
        if token in self._ending and token in self._inside.tokens and not undisturbed.postpones():
            raise _interruption()


def _interruption() -> TimeLimitExceeded:
    logger.warning("A handler that shall end is interrupted.")
    return TimeLimitExceeded("the job was stopped, or has run for longer than it may")
