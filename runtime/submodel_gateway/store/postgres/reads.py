"""What the service reads: single rows in batches, everything else by a statement of its own."""

from collections.abc import Collection, Mapping, Sequence

from psycopg import AsyncConnection

from submodel.contract.states import JobState
from submodel_gateway.jobs.breaker import CLOSED, Breaker
from submodel_gateway.jobs.outbox import Webhook
from submodel_gateway.jobs.record import Job
from submodel_gateway.store import base
from submodel_gateway.store.batch import Batch
from submodel_gateway.store.postgres import statements as sql
from submodel_gateway.store.postgres.asking import Desk, rows_of
from submodel_gateway.store.postgres.columns import breaker_of, content_of, job_of, text, webhook_of
from submodel_gateway.store.postgres.server_clock import ServerClock
from submodel_gateway.store.postgres.transaction import Row

JOBS_TOGETHER = 200
CONTENTS_TOGETHER = 16
"""Ids per statement: a record is narrow, a result may have a megabyte."""

_Numbered = tuple[str, int]
"""A job's id with a generation, or with an attempt."""

_Unread = tuple[str, int, int]
"""A job's id with an attempt, and the number of its last item that is known."""


class Reads:
    """The reading half of `base.Store`; each method sees the last commit. `server_clock` hears each reading of it."""

    def __init__(self, desk: Desk, server_clock: ServerClock) -> None:
        self._desk = desk
        self._server_clock = server_clock
        self._jobs: Batch[str, Job] = Batch(self._fetch_jobs, JOBS_TOGETHER)
        self._results: Batch[_Numbered, base.Content] = Batch(self._fetch_results, CONTENTS_TOGETHER)
        self._progress: Batch[_Numbered, base.Content] = Batch(self._fetch_progress, CONTENTS_TOGETHER)
        self._chunks: Batch[_Unread, list[bytes | None]] = Batch(self._fetch_chunks, JOBS_TOGETHER)

    async def time(self) -> base.StoreTime:
        # Timed within its turn: the wait for other statements, or for a new connection, is all on the way there, and
        # the reading would be wrong by half of it.
        async def read(connection: AsyncConnection[Row]) -> Row:
            asked_ms = self._server_clock.asking()
            (row,) = await rows_of(connection, sql.TIME)
            self._server_clock.hear(asked_ms, row[0])
            return row

        wall_ms, mark_ms, mark_wall_ms = await self._desk.run(read)
        return base.StoreTime(wall_ms=wall_ms, mark_ms=mark_ms or 0, mark_wall_ms=mark_wall_ms)

    async def job(self, endpoint: str, id: str) -> Job | None:
        job = await self._jobs.get(text(id))
        return job if job and job.endpoint == endpoint else None

    async def content(self, job: Job) -> base.Content:
        if job.state is JobState.IN_PROGRESS:
            found = await self._progress.get((job.id, job.attempt))
        else:
            found = await self._results.get((job.id, job.gen))
        return found or base.Content()

    async def chunks(self, job: Job, after: int, limit: int) -> list[bytes]:
        # Readers of many streams ask for a few small items each, all at the same moment.
        if min(limit, job.chunks - after) <= sql.SOME_CHUNKS:
            found = (await self._chunks.get((job.id, job.attempt, after)) or [])[:limit]
            items = [item for item in found if item is not None]
            if len(items) == len(found) and (len(found) == limit or len(found) < sql.SOME_CHUNKS):
                return items
        rows = await self._desk.fetch(sql.CHUNKS, job.id, job.attempt, after, limit)
        return [item for (item,) in rows]

    async def requests(self, endpoint: str, before: int | None, limit: int, states: Collection[JobState]) -> base.Page:
        place = (text(endpoint), sql.SEQ_MAX if before is None else before)
        wanted = [state.value for state in states or JobState]
        rows = await self._desk.fetch(sql.NEWEST, *place, wanted, limit + 1)
        jobs = tuple(map(job_of, rows[:limit]))
        if len(rows) > limit:
            return base.Page(jobs, jobs[-1].seq)
        edge = await self._desk.fetch(sql.NEWEST_EDGE, *place)
        return base.Page(jobs, edge[0][0] if len(edge) == 2 else None)

    async def held(self, endpoint: str, worker: str) -> list[Job]:
        return [job_of(row) for row in await self._desk.fetch(sql.READ_HELD, text(endpoint), text(worker))]

    async def holders(self, endpoint: str) -> dict[str, int]:
        return dict(await self._desk.fetch(sql.HOLDERS, text(endpoint)))

    async def backlogs(self, late_at: Mapping[str, int | None]) -> dict[str, base.Backlog]:
        rows = await self._desk.fetch(sql.BACKLOGS, [text(endpoint) for endpoint in late_at], [*late_at.values()])
        return {endpoint: base.Backlog(*row) for endpoint, row in zip(late_at, rows, strict=True)}

    async def ahead(self, job: Job) -> int:
        ((count,),) = await self._desk.fetch(sql.AHEAD, text(job.endpoint), job.place, job.seq)
        return int(count)

    async def breaker(self, endpoint: str) -> Breaker:
        rows = await self._desk.fetch(sql.BREAKERS, [text(endpoint)])
        return breaker_of(rows[0][1]) if rows else CLOSED

    async def endpoints(self) -> dict[str, bytes]:
        return dict(await self._desk.fetch(sql.ENDPOINTS))

    async def next_due(self, now: int) -> int | None:
        ((due,),) = await self._desk.fetch(sql.NEXT_DUE, now)
        return None if due is None else int(due)

    async def next_webhook(self) -> int | None:
        ((due,),) = await self._desk.fetch(sql.NEXT_WEBHOOK)
        return None if due is None else int(due)

    async def webhook(self, endpoint: str, id: str) -> Webhook | None:
        rows = await self._desk.fetch(sql.READ_WEBHOOK, text(id), text(endpoint))
        return webhook_of(rows[0]) if rows else None

    async def last_seq(self) -> int:
        ((seq,),) = await self._desk.fetch(sql.LAST_SEQ)
        return int(seq)

    async def gateways(self) -> int:
        ((listening,),) = await self._desk.fetch(sql.PRESENT, sql.PRESENCE)
        # This one is not among them while its own ear is away.
        return max(1, int(listening))

    async def _fetch_jobs(self, ids: Sequence[str]) -> Mapping[str, Job]:
        rows = await self._desk.fetch(sql.READ_JOBS, list(ids))
        return {row[0]: job_of(row) for row in rows}

    async def _fetch_results(self, generations: Sequence[_Numbered]) -> Mapping[_Numbered, base.Content]:
        rows = await self._desk.fetch(sql.RESULTS, [id for id, _ in generations])
        return {(id, gen): content_of(content) for id, gen, *content in rows}

    async def _fetch_progress(self, attempts: Sequence[_Numbered]) -> Mapping[_Numbered, base.Content]:
        rows = await self._desk.fetch(sql.READ_PROGRESS, [id for id, _ in attempts])
        return {(id, attempt): base.Content(value) for id, attempt, value in rows}

    async def _fetch_chunks(self, asked: Sequence[_Unread]) -> Mapping[_Unread, list[bytes | None]]:
        ids, attempts, afters = (list(column) for column in zip(*asked, strict=True))
        found: dict[_Unread, list[bytes | None]] = {}
        for place, item in await self._desk.fetch(sql.CHUNKS_OF_MANY, ids, attempts, afters):
            found.setdefault(asked[place - 1], []).append(item)
        return found
