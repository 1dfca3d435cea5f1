"""The counters of all endpoints: what this gateway added, exactly, and what the others did, as of a moment ago."""

from collections.abc import Mapping

from submodel_gateway.jobs.tally import Tally
from submodel_gateway.store.postgres.columns import NOTHING, Count, added, tally_of
from submodel_gateway.store.postgres.overlay import JOB_OVERHEAD_BYTES


class Tallies:
    """Written by the writer thread (`restart`, `add`) and the event loop (`learn`), each its own half."""

    def __init__(self) -> None:
        self._own: dict[str, Count] = {}
        self._others: dict[int, dict[str, Count]] = {}
        self._others_sum: dict[str, Count] = {}
        self._own_bytes = self._others_bytes = 0

    def of(self, endpoint: str) -> Tally:
        own, others = self._own.get(endpoint), self._others_sum.get(endpoint)
        if own is None or others is None:
            return tally_of(own or others or NOTHING)
        return tally_of(added(own, others))

    @property
    def used_bytes(self) -> int:
        """Roughly what all stored jobs take."""
        return self._own_bytes + self._others_bytes

    def restart(self, own: Mapping[str, Count]) -> None:
        """This gateway's counts, as the database has them."""
        self._own = dict(own)
        self._own_bytes = sum(map(_bytes, own.values()))

    def add(self, counts: Mapping[str, Count]) -> None:
        """A group of this gateway is committed."""
        for endpoint, count in counts.items():
            self._own[endpoint] = added(self._own.get(endpoint, NOTHING), count)
            self._own_bytes += _bytes(count)

    def learn(self, gateways: set[int], known: Mapping[int, Mapping[str, Count]]) -> set[str]:
        """What the other gateways have counted: all that there are, and counts of theirs.

        Returns the endpoints at which something is different.
        """
        news: set[str] = set()
        for gone in self._others.keys() - gateways:
            news |= self._others.pop(gone).keys()
        for gateway, counts in known.items():
            before = self._others.setdefault(gateway, {})
            news |= {endpoint for endpoint, count in counts.items() if before.get(endpoint) != count}
            before.update(counts)
        self._sum(news)
        return news

    def _sum(self, endpoints: set[str]) -> None:
        for endpoint in endpoints:
            total = NOTHING
            for counts in self._others.values():
                total = added(total, counts.get(endpoint, NOTHING))
            self._others_bytes += _bytes(total) - _bytes(self._others_sum.get(endpoint, NOTHING))
            self._others_sum[endpoint] = total


def _bytes(count: Count) -> int:
    *_, kept, size = count
    return kept * JOB_OVERHEAD_BYTES + size
