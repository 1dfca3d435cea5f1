"""An engine on its own: the rows that a job's life leaves in the store's tables, written by bare statements.

Tables, indexes and values are the store's. Three moments of one job's life are compared to learn them, so this needs
no knowledge of the schema. Nothing is decided here, nothing is counted, and nobody waits for an answer.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from submodel_gateway.store import base
from tests.bench.driving import ENDPOINT, KIBIBYTE, LEASE_MS, driving, id_of, new_job

NOW = 1_700_000_000_000
FIRST = id_of(0)

Moment = dict[str, dict[str, Any]]
"""The job's row in each table that has one."""

RawJob = tuple[int, str]
"""Number and id."""


@dataclass(frozen=True)
class Change:
    """What a step of the job's life does to one table: a new row, or new values in these columns."""

    table: str
    columns: Sequence[str]
    row: dict[str, Any]
    is_new: bool

    def values(self, column: str, jobs: Sequence[RawJob]) -> list[Any]:
        """The column for other jobs: they differ in key, place in the queue, and id."""
        if column == "id":
            return [id for _, id in jobs]
        return [number for number, _ in jobs] if column in ("key", "seq") else [self.row[column]] * len(jobs)


class RawQueue(ABC):
    """Each call is one durable transaction."""

    def __init__(self, moments: Sequence[Moment]) -> None:
        queued, running, ended = moments
        self._submit = _between({}, queued)
        self._take = _between(queued, running)
        self._finish = _between(running, ended)
        self._last = 0

    def submit(self, ids: Sequence[str]) -> None:
        self._write(self._submit, list(enumerate(ids, self._last + 1)))
        self._last += len(ids)

    def take(self, count: int) -> list[RawJob]:
        """The next jobs; their inputs are read too."""
        jobs = self._next(count)
        self._write(self._take, jobs)
        return jobs

    def finish(self, jobs: Sequence[RawJob]) -> None:
        self._write(self._finish, jobs)

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def _next(self, count: int) -> list[RawJob]: ...

    @abstractmethod
    def _write(self, changes: Sequence[Change], jobs: Sequence[RawJob]) -> None: ...


async def life(url: str, look: Callable[[], Moment]) -> list[Moment]:
    """A job queued, running and ended in a store of its own, as `look` sees it."""
    async with driving(url) as driver:
        store = driver.store
        store.apply([new_job(FIRST)], NOW)
        moments = [look()]
        take = base.Take(endpoint=ENDPOINT, worker="w", session="s", limit=1, nonce=2**62, lease_ms=LEASE_MS)
        (taken,) = store.apply([take], NOW + 1)
        moments.append(look())
        assert isinstance(taken, base.Taken)
        token = taken.leases[0].job.token
        store.apply([base.Finish(endpoint=ENDPOINT, id=FIRST, token=token, output=KIBIBYTE)], NOW + 2)
        return [*moments, look()]


def _between(before: Moment, after: Moment) -> list[Change]:
    changes = []
    for table, row in after.items():
        known = before.get(table)
        columns = [column for column in row if known is None or row[column] != known[column]]
        if columns:
            changes.append(Change(table, columns, row, known is None))
    return changes
