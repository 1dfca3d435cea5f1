"""Lets requests of clients in at the rate that their key has, and counts what is under way.

Gateways that share a store share the limits: each lets its part through. They do not compare counts, for a round trip
per request would cost more than the limit is worth; how many they are is known from the store.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from submodel_gateway.errors import Overloaded
from submodel_gateway.ratelimit import bucket
from submodel_gateway.ratelimit.figures import ALL, Figures
from submodel_gateway.service.access import visitors
from submodel_gateway.service.clock import Clock
from submodel_gateway.service.endpoints import Endpoints

REFRESH_MS = 1_000
"""How old the number of workers behind a limit may be."""

FORGET_MS = 10_000
"""How often idle keys are forgotten."""

RETRY_CONCURRENT_SECONDS = 1

_Name = tuple[str, str, str]
"""Endpoint, group and account."""


@dataclass(slots=True, eq=False)
class _Account:
    """What one account has under way, wherever."""

    under_way: int = 0


@dataclass(slots=True, eq=False)
class _Counter:
    """What is known of one endpoint, group and account."""

    endpoint: str
    group: str
    figures: Figures
    account: _Account
    full_at_ns: int = bucket.FULL
    under_way: int = 0
    limit: int | None = None
    limit_until_ms: int = 0
    """When the limit is due to be computed again."""


class Pass:
    """A request that was let in; it is under way until `end`."""

    __slots__ = ("counter", "decision")

    def __init__(self, counter: _Counter | None, decision: bucket.Decision | None) -> None:
        self.counter = counter
        """What it counts in, None where nothing is limited, and once it has ended."""

        self.decision = decision
        """What the bucket said last; None where no rate is set."""

        if counter is not None:
            counter.under_way += 1
            counter.account.under_way += 1

    def end(self) -> None:
        """The request was answered. A second call has no effect."""
        counter, self.counter = self.counter, None
        if counter is not None:
            counter.under_way -= 1
            counter.account.under_way -= 1


class NotAdmitted(Overloaded):
    """A request that is not let in now; `decision` is what the bucket says, for the answer, None without a rate."""

    def __init__(self, sentence: str, retry_seconds: int, decision: bucket.Decision | None) -> None:
        super().__init__(sentence, retry_seconds)
        self.decision = decision


class RateExceeded(NotAdmitted):
    """Refused by a bucket."""


class Admission:
    """The counters of all keys.

    Args:
        figures: the limits per group; a group that is missing has none.
        endpoints: those that are registered.
        clock: the gateway's own.
        gateways: how many share the store of an endpoint.
    """

    def __init__(
        self, figures: Mapping[str, Figures], endpoints: Endpoints, clock: Clock, gateways: Callable[[str], int]
    ) -> None:
        self._figures = figures
        self._endpoints = endpoints
        self._clock = clock
        self._gateways = gateways
        self._overall = figures.get(ALL, _UNLIMITED).concurrent
        self._counters: dict[_Name, _Counter] = {}
        self._accounts: dict[str, _Account] = {}
        self._forget_at = 0

    def enter(self, endpoint: str, group: str, account: str) -> Pass:
        """Let a request in.

        Args:
            group: the operations that share a limit, a name of `figures`.
            account: whose limits count.

        Raises `NotFound` for an endpoint that is not registered, so that names made up by callers leave nothing
        behind, and `NotAdmitted`.
        """
        self._endpoints.get(endpoint)
        if not self._figures:
            return _FREE
        now = self._clock.now_ms()
        if now >= self._forget_at:
            self._forget(now)
        counter = self._counters.get((endpoint, group, account)) or self._new(endpoint, group, account)
        if self._overall is not None and counter.account.under_way >= self._overall:
            whose = "callers without a key" if account in ("", visitors(endpoint)) else "this API key"
            raise self._too_many(counter, now, self._overall, whose)
        at_once = counter.figures.concurrent
        if at_once is not None and counter.under_way >= at_once:
            raise self._too_many(counter, now, at_once, f"{group} at this endpoint")
        return Pass(counter, self._take(counter, now))

    def count(self, admitted: Pass) -> None:
        """A request that is under way counts once more. Raises `RateExceeded`; `NotFound` once the endpoint is gone."""
        if admitted.counter is not None:
            admitted.decision = self._take(admitted.counter, self._clock.now_ms())

    def _take(self, counter: _Counter, now: int) -> bucket.Decision | None:
        limit = self._limit(counter, now)
        if limit is None:
            return None
        decision, counter.full_at_ns = bucket.take(counter.full_at_ns, limit, 1, now * bucket.MS_NS)
        if not decision.allowed:
            raise RateExceeded(
                f"more than {limit} requests of {counter.group} in {bucket.seconds(bucket.WINDOW_NS)} s "
                "at this endpoint; come back later",
                max(1, bucket.seconds(decision.retry_in_ns)),
                decision,
            )
        return decision

    def _limit(self, counter: _Counter, now: int) -> int | None:
        if now >= counter.limit_until_ms:
            workers = self._endpoints.get(counter.endpoint).working()
            counter.limit = counter.figures.effective(workers, self._gateways(counter.endpoint))
            counter.limit_until_ms = now + REFRESH_MS
        return counter.limit

    def _too_many(self, counter: _Counter, now: int, most: int, whose: str) -> NotAdmitted:
        limit = self._limit(counter, now)
        decision = None if limit is None else bucket.take(counter.full_at_ns, limit, 0, now * bucket.MS_NS)[0]
        sentence = f"{most} requests of {whose} are under way; wait for one of them"
        return NotAdmitted(sentence, RETRY_CONCURRENT_SECONDS, decision)

    def __len__(self) -> int:
        """How many counters are kept."""
        return len(self._counters)

    def _new(self, endpoint: str, group: str, account: str) -> _Counter:
        overall = self._accounts.setdefault(account, _Account())
        figures = self._figures.get(group, _UNLIMITED)
        counter = self._counters[endpoint, group, account] = _Counter(endpoint, group, figures, overall)
        return counter

    def _forget(self, now: int) -> None:
        """An idle counter is as good as a new one. What others still count on stays."""
        self._forget_at = now + FORGET_MS
        self._counters = {
            name: counter
            for name, counter in self._counters.items()
            if counter.under_way or counter.full_at_ns > now * bucket.MS_NS
        }
        self._accounts = {name[2]: counter.account for name, counter in self._counters.items()}


_UNLIMITED = Figures(None, None)
_FREE = Pass(None, None)
