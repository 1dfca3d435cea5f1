"""What the gateway remembers of a worker with an SDK of the hosted platforms, beside its session.

Such a worker has no session id, no request numbers and no lease tokens. Whether it still has a job is concluded from
what it says in passing: that it runs nothing when it asks for a job, and which jobs its pings list. This module holds
the rules; it reads no clock and no store.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

UNCONFIRMED_MS = 5_000
"""An answer may still be on its way to a worker that says it runs nothing."""

PREFETCHED_MS = 15_000
"""Some SDKs fetch a job ahead and count it only when it starts: they must say for so long that they run nothing."""

MISSES_MAX = 3
"""A held job that this many pings in a row do not list is lost."""

OVERDUE_MS = 30_000
"""A job that has ended may be listed for this long after its time, until its worker is given up."""

REPEAT_MS = 10_000
"""A chunk whose answer failed may be sent again for this long; SDKs try three times within five seconds."""

_PREFETCHES = ((1, 7, 0), (1, 7, 6))
"""First version of runpod that fetches ahead, and the first that no longer does."""

_SDK = re.compile(r"(runpod|submodel)[^/]*/(\d+)\.(\d+)\.(\d+)", re.IGNORECASE)


@dataclass(slots=True)
class LegacyStream:
    """The stream of a job whose worker does not number its chunks: they come one after the other."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    body: bytes = b""
    """The last chunk whose answer failed."""

    seq: int = 0
    """Its number."""

    until: int = 0

    def failed(self, body: bytes, seq: int, now: int) -> None:
        """The worker did not get the answer to this chunk."""
        self.body, self.seq, self.until = body, seq, now + REPEAT_MS

    def repeats(self, body: bytes, stored: int, now: int) -> bool:
        """Whether `body` is that chunk again, and it is among the `stored` ones; asked once per chunk."""
        repeated = body == self.body and now < self.until and self.seq <= stored
        self.body, self.until = b"", 0
        return repeated


@dataclass(slots=True)
class LegacyMemory:
    """Facts about one worker. Jobs go by their delivery ids here, as the worker knows them; instants are `*_at`."""

    sdk: str = ""
    """Such as `runpod/1.7.4`; empty while unknown, which very old ones stay."""

    pinged: bool = False
    lists: bool = False
    """Whether a ping has ever listed a job. Where an SDK cannot write to its folder, all its lists are empty."""

    asked_at: int = 0
    """When it last asked for a job."""

    idle_at: int | None = None
    """Since when it has said that it runs nothing; in the store's time. None when it does not say so."""

    ended: dict[str, int] = field(default_factory=dict)
    """Jobs that ended without the worker, and when it is given up if it lists them still."""

    strangers: dict[str, int] = field(default_factory=dict)
    """Jobs that it lists and never had here, by the time of the first such ping."""

    delivering: Counter[str] = field(default_factory=Counter)
    """Results on their way to the store, by job."""

    @property
    def prefetches(self) -> bool:
        """Whether it may have a job that it does not list yet."""
        found = _SDK.match(self.sdk)
        if found is None or found[1].lower() != "runpod":
            return False
        first, after = _PREFETCHES
        return first <= (int(found[2]), int(found[3]), int(found[4])) < after

    @property
    def lists_all(self) -> bool:
        """Whether a job that a ping leaves out is not with the worker."""
        return self.lists and bool(self.sdk) and not self.prefetches

    def hear_ask(self, running: bool | None, now: int, store_now: int) -> None:
        """It asks for a job, and says whether it runs one (None: it does not say)."""
        self.asked_at = now
        if running is not False:
            self.idle_at = None
        elif self.idle_at is None or not self.prefetches:
            self.idle_at = store_now

    def lost_at(self, taken_at: int) -> int | None:
        """From when a job taken at `taken_at` is lost if the worker goes on like this; None when it may have it."""
        if self.idle_at is None or taken_at > self.idle_at:
            return None
        return max(taken_at + UNCONFIRMED_MS, self.idle_at + PREFETCHED_MS if self.prefetches else 0)

    def hear_list(self, listed: Collection[str]) -> None:
        """A ping listed these jobs."""
        self.pinged = True
        self.lists = self.lists or bool(listed)
        self.ended = {name: at for name, at in self.ended.items() if name in listed}
        self.strangers = {name: at for name, at in self.strangers.items() if name in listed}

    def renews(self, listed: Collection[str]) -> bool:
        """Whether a ping that listed these jobs keeps a held one that it left out."""
        if self.lists_all:
            return False
        return bool(self.sdk) or bool(listed)

    def end(self, name: str, limit_at: int, now: int) -> None:
        """A job ended without the worker, which may run it until its limit and a little longer."""
        self.ended[name] = max(now, limit_at) + OVERDUE_MS

    def given_up(self, not_its_own: Collection[str], now: int, *, holds_nothing: bool) -> str:
        """Why the worker must be replaced, as a sentence; empty when it need not.

        Args:
            not_its_own: listed jobs that the store says it does not have.
        """
        for name in not_its_own:
            if name in self.ended:
                if self.ended[name] <= now:
                    return f"it still runs job {name}, which has ended"
                continue
            since = self.strangers.setdefault(name, now)
            if holds_nothing and since + OVERDUE_MS <= now and self.asked_at < since:
                return f"it lists job {name}, which it was not given, and asks for no other"
        return ""
