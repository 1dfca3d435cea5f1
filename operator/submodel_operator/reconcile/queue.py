"""A work queue of keys: each key waits once, is processed by one worker at a time, and fails with growing delays.

The semantics are those of Kubernetes' own controllers: an add while the key is processed runs it once more
afterwards; a delayed add keeps the earliest instant; a failure delays the key by itself and no other.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 60.0
"""A refusal whose cause is gone, as of an admission policy or a quota, gives no news: this long it may still count."""


class KeyedQueue(Generic[K]):
    """Keys to process. All methods belong to the event loop's thread."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._ready: deque[K] = deque()
        self._waiting: set[K] = set()
        self._processing: set[K] = set()
        self._delayed: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._available = asyncio.Event()
        self._jitter = jitter

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: K) -> None:
        """Process `key` soon; once, however often it is added before that."""
        if key in self._waiting:
            return
        self._cancel_delay(key)
        self._waiting.add(key)
        if key not in self._processing:
            self._offer(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Process `key` after `seconds` at the latest; an earlier instant that is planned already stays."""
        loop = asyncio.get_running_loop()
        planned = self._delayed.get(key)
        if key in self._waiting or (planned and planned.when() <= loop.time() + seconds):
            return
        self._cancel_delay(key)
        self._delayed[key] = loop.call_later(seconds, self._delay_passed, key)

    def fail(self, key: K, at_least_seconds: float = 0.0) -> float:
        """Process `key` again after a delay that doubles with each failure; returns the delay in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay: float = min(FIRST_DELAY_SECONDS * 2.0 ** min(failures, 16), LONGEST_DELAY_SECONDS)
        delay = max(delay * (0.8 + 0.4 * self._jitter()), at_least_seconds)
        self.add_after(key, delay)
        return delay

    def succeed(self, key: K) -> None:
        """Forget the failures of `key`."""
        self._failures.pop(key, None)

    async def take(self) -> K:
        """The next key; the caller must call `done` for it."""
        while not self._ready:
            self._available.clear()
            await self._available.wait()
        key = self._ready.popleft()
        self._waiting.discard(key)
        self._processing.add(key)
        return key

    def done(self, key: K) -> None:
        """The key was processed; if it was added meanwhile, it waits again."""
        self._processing.discard(key)
        if key in self._waiting:
            self._offer(key)

    def close(self) -> None:
        """Cancel all planned adds."""
        for timer in self._delayed.values():
            timer.cancel()
        self._delayed.clear()

    def _offer(self, key: K) -> None:
        self._ready.append(key)
        self._available.set()

    def _delay_passed(self, key: K) -> None:
        self._delayed.pop(key, None)
        self.add(key)

    def _cancel_delay(self, key: K) -> None:
        if timer := self._delayed.pop(key, None):
            timer.cancel()
