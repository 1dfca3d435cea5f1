"""What a unit of work is going to write, beside its jobs, and all of it as statements."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import msgspec

from submodel.contract.states import JobState
from submodel_gateway.jobs.breaker import Breaker
from submodel_gateway.jobs.outbox import Webhook
from submodel_gateway.jobs.record import Job
from submodel_gateway.store import base
from submodel_gateway.store.execute import KeyEntry, Mark
from submodel_gateway.store.postgres import statements as sql
from submodel_gateway.store.postgres.columns import (
    breaker_column,
    document,
    error_bytes,
    job_row,
    payload_columns,
    text,
    webhook_row,
)
from submodel_gateway.store.postgres.needs import Key
from submodel_gateway.store.postgres.overlay import Entry

Statement = tuple[str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Payload:
    """What a client sent with a job; `input` is None where it is large and not loaded."""

    input: base.Payload | None
    extra: bytes
    webhook: str | None


@dataclass(slots=True)
class Pending:
    """Buffered writes by kind. Deletions of a kind are written before its insertions."""

    forgotten: dict[str, bool] = field(default_factory=dict)
    """Job id -> whether it has a webhook."""

    payloads: dict[str, Payload] = field(default_factory=dict)
    voided: set[str] = field(default_factory=set)
    """Jobs whose result is void."""

    results: dict[str, base.Content] = field(default_factory=dict)
    progress: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """Job id -> attempt and value."""

    unstreamed: set[str] = field(default_factory=set)
    """Jobs whose streamed items are void."""

    chunks: dict[str, list[tuple[int, int, bytes]]] = field(default_factory=dict)
    """Job id -> attempt, sequence number and item of each."""

    webhooks: dict[str, Webhook] = field(default_factory=dict)
    unhooked: set[str] = field(default_factory=set)
    """Jobs whose webhook is void."""

    blobs: list[str] = field(default_factory=list)
    """Names of large payloads that no row will refer to."""

    def forget(self, id: str, stored: bool, hooked: bool) -> None:
        """Drop everything of a job, `stored` when its row is in the database."""
        if (payload := self.payloads.pop(id, None)) is not None:
            self._drop_blob(payload.input)
        self.drop_result(id)
        for table in (self.progress, self.chunks, self.webhooks):
            table.pop(id, None)
        if stored:
            self.forgotten[id] = hooked

    def drop_result(self, id: str) -> None:
        """Drop what was to become the result of a job."""
        if (content := self.results.pop(id, None)) is not None:
            self._drop_blob(content.output)

    def statements(self, entries: Mapping[str, Entry], changed: Iterable[str]) -> Iterator[Statement]:
        """Everything, jobs of the ids `changed` included, in the order in which it can be applied."""
        yield from self._deletions()
        yield from _jobs([entries[id] for id in changed])
        yield from self._payloads()
        yield from self._results()
        yield from self._streams()
        if self.webhooks:
            yield sql.PUT_WEBHOOKS, (document(map(webhook_row, self.webhooks.values())),)

    def _deletions(self) -> Iterator[Statement]:
        ids = list(self.forgotten)
        if ids:
            for statement in (sql.DROP_JOBS, sql.DROP_PAYLOADS, sql.DROP_PROGRESS):
                yield statement, (ids,)
        if ids or self.voided:
            yield sql.DROP_RESULTS, ([*ids, *self.voided],)
        hooked = [id for id, hooked in self.forgotten.items() if hooked]
        if hooked or self.unhooked:
            yield sql.DROP_WEBHOOKS, ([*hooked, *self.unhooked],)
        if self.unstreamed:
            yield sql.DROP_CHUNKS, (list(self.unstreamed),)
        if self.blobs:
            yield sql.DROP_BLOBS, (self.blobs,)

    def _drop_blob(self, payload: base.Payload | None) -> None:
        if isinstance(payload, base.Blob):
            self.blobs.append(payload.name)

    def _payloads(self) -> Iterator[Statement]:
        if self.payloads:
            rows = [(*payload_columns(each.input), each.extra, each.webhook) for each in self.payloads.values()]
            yield sql.INSERT_PAYLOADS, (list(self.payloads), *_columns(rows))

    def _results(self) -> Iterator[Statement]:
        if self.results:
            rows = [(*payload_columns(each.output), error_bytes(each.error)) for each in self.results.values()]
            yield sql.PUT_RESULTS, (list(self.results), *_columns(rows))

    def _streams(self) -> Iterator[Statement]:
        if self.progress:
            yield sql.PUT_PROGRESS, (list(self.progress), *_columns(list(self.progress.values())))
        if self.chunks:
            rows = [(id, *chunk) for id, chunks in self.chunks.items() for chunk in chunks]
            yield sql.APPEND_CHUNKS, _columns(rows)


@dataclass(slots=True)
class Last:
    """What no scan looks for. It is written once, in one order, because others may wait for these rows."""

    keys: dict[Key, KeyEntry] = field(default_factory=dict)
    replaced: dict[Key, str] = field(default_factory=dict)
    """Key that had an entry before -> the job that it led to."""

    settled: dict[str, JobState] = field(default_factory=dict)
    expired: tuple[int, int] | None = None
    """Entries that expired until this instant are to be dropped, up to this many."""

    breakers: dict[str, tuple[int, Breaker]] = field(default_factory=dict)
    """Endpoint -> the version that was read, 0 when there was none, and what to write."""

    endpoints: dict[str, bytes | None] = field(default_factory=dict)
    """Endpoint -> its registration, None to forget it."""

    cleared: set[str] = field(default_factory=set)
    """Endpoints whose breaker and idempotency keys of before are void."""

    mark: Mark | None = None

    def clear(self, endpoint: str) -> None:
        """Forget an endpoint, with its breaker and its idempotency keys."""
        self.endpoints[endpoint] = None
        self.cleared.add(endpoint)
        self.breakers.pop(endpoint, None)
        for table in (self.keys, self.replaced):
            for key in [key for key in table if key[0] == endpoint]:
                del table[key]

    def drop_key(self, key: Key) -> None:
        """Its entry is gone, and nothing is to take its place."""
        self.keys.pop(key, None)
        self.replaced.pop(key, None)

    def statements(self) -> Iterator[Statement]:
        """Everything, in the order in which it can be applied."""
        if self.mark is not None:
            yield sql.PUT_MARK, (self.mark.swept_at, self.mark.hold_until)
        for endpoint in sorted(self.cleared):
            yield sql.DROP_ENDPOINTS_BREAKER, (endpoint,)
            yield sql.DROP_ENDPOINTS_LAST_KEYS, (endpoint,)
        yield from self._keys()
        for endpoint, (version, breaker) in sorted(self.breakers.items()):
            # Whoever read the same version finds the other's row, collides with it, and looks again.
            if version:
                yield sql.DROP_BREAKER, (endpoint, version)
            yield sql.INSERT_BREAKER, (endpoint, breaker_column(breaker), version + 1)
        for endpoint, registration in sorted(self.endpoints.items()):
            if registration is None:
                yield sql.DROP_ENDPOINT, (endpoint,)
            else:
                yield sql.PUT_ENDPOINT, (endpoint, registration)

    def _keys(self) -> Iterator[Statement]:
        if self.settled:
            rows = [{"job": id, "state": state} for id, state in self.settled.items()]
            yield sql.SETTLE_KEYS, (document(rows),)
        if self.expired:
            yield sql.EXPIRE_KEYS, self.expired
        if self.replaced:
            # Whoever replaced the same entry before is found in its place, and collided with: both look again.
            rows = [{**key_row(key), "job": job} for key, job in sorted(self.replaced.items())]
            yield sql.DROP_KEYS, (document(rows),)
        if self.keys:
            rows = [{**key_row(key), **msgspec.structs.asdict(entry)} for key, entry in sorted(self.keys.items())]
            yield sql.INSERT_KEYS, (document(rows),)


def key_row(key: Key) -> dict[str, str]:
    """The columns of an idempotency key."""
    return dict(zip(("endpoint", "principal", "key"), map(text, key), strict=True))


def _jobs(entries: list[Entry]) -> Iterator[Statement]:
    new: list[dict[str, Any]] = []
    known: list[dict[str, Any]] = []
    streamed: list[tuple[str, int, int]] = []
    for entry in entries:
        if entry.job is None or entry.job is entry.saved:
            continue
        if _only_streamed(entry.saved, entry.job):
            streamed.append((entry.job.id, entry.job.chunks, entry.job.chunk_bytes))
        else:
            row = job_row(entry.job, entry.input_bytes, entry.result_bytes)
            (new if entry.saved is None else known).append(row)
    if new:
        new.sort(key=itemgetter("id"))  # the same id by two gateways: one waits for the other, and not both
        yield sql.INSERT_JOBS, (document(new),)
    if known:
        yield sql.UPDATE_JOBS, (document(known),)
    if streamed:
        yield sql.UPDATE_STREAMED, _columns(streamed)


def _only_streamed(saved: Job | None, job: Job) -> bool:
    """Whether all else in the row is as it was: of busy streams that is one row in a few milliseconds, all the time."""
    if saved is None or saved.chunks == job.chunks:
        return False
    return msgspec.structs.replace(saved, chunks=job.chunks, chunk_bytes=job.chunk_bytes) == job


def _columns(rows: list[tuple[Any, ...]]) -> tuple[list[Any], ...]:
    return tuple(list(column) for column in zip(*rows, strict=True))
