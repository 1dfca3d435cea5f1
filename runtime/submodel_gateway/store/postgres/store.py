"""`PostgresStore`: the engine put together."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress

from submodel.contract.states import JobState
from submodel_gateway.errors import StoreUnreachable
from submodel_gateway.jobs.breaker import Breaker
from submodel_gateway.jobs.outbox import Webhook
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.store import base
from submodel_gateway.store.postgres import schema
from submodel_gateway.store.postgres import statements as sql
from submodel_gateway.store.postgres.asking import Desk
from submodel_gateway.store.postgres.blobs import Blobs
from submodel_gateway.store.postgres.board import PostgresBoard
from submodel_gateway.store.postgres.faults import ConnectionGone
from submodel_gateway.store.postgres.line import Line
from submodel_gateway.store.postgres.news import News
from submodel_gateway.store.postgres.reads import Reads
from submodel_gateway.store.postgres.server_clock import ServerClock
from submodel_gateway.store.postgres.session import conninfo, place
from submodel_gateway.store.postgres.tallies import Tallies
from submodel_gateway.store.postgres.writer import Writer

START_SECONDS = 10.0
"""How long a gateway that starts waits for its database."""

LOOK_SECONDS = 1.0

log = logging.getLogger(__name__)


class PostgresStore:
    """See `base.Store`. Several gateways, each with a store of its own, may use one database.

    A gateway keeps three connections: the writer's, one for reads, one that listens; and a fourth once a large
    payload came by.
    """

    blocking = True
    shared = True

    def __init__(self, url: str, quota_bytes: int | None = None) -> None:
        """Connects in `start`. Raises `StoreUnusable` for a URL that cannot be read.

        Args:
            quota_bytes: what all jobs together may take, roughly; no new ones are taken above 80 % of it.
        """
        self._conninfo = conninfo(url)
        self._place = place(url)
        self._tallies = Tallies()
        self._line = Line(self._conninfo)
        server_clock = ServerClock()
        self._writer = Writer(self._line, self._tallies, server_clock, quota_bytes, self._committed)
        self._desk = Desk(self._conninfo, relaxed=True)
        self._reads = Reads(self._desk, server_clock)
        self._blob_desk = Desk(self._conninfo)
        self._blobs = Blobs(self._blob_desk)
        self.board = PostgresBoard(self._desk, self._id)
        self._news = News(self._conninfo, self._desk, self._tallies, self._id, self.board.hinted)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._now = 0

    async def start(self, news: Callable[[Iterable[str]], None]) -> None:
        self._loop = asyncio.get_running_loop()
        watching = asyncio.create_task(self._watch())
        try:
            await self._open()
            await self._news.start(news, self._keep_up)
        except BaseException:
            watching.cancel()
            raise
        self._watching = watching

    async def close(self) -> None:
        self._closing.set()
        if self._watching is not None:
            await self._watching
        await self._desk.close()
        await self._blob_desk.close()
        await self._news.close()
        self._writer.close()

    def apply(self, operations: Sequence[base.Operation], now: int) -> list[base.Outcome]:
        outcomes = self._writer.apply(operations, now)
        self._now = now
        return outcomes

    async def stash(self, data: bytes) -> base.Blob:
        return await self._blobs.stash(data)

    async def discard(self, blob: base.Blob) -> None:
        await self._blobs.discard(blob)

    async def fetch(self, blob: base.Blob) -> bytes:
        return await self._blobs.fetch(blob)

    async def time(self) -> base.StoreTime:
        return await self._reads.time()

    async def job(self, endpoint: str, id: str) -> Job | None:
        return await self._reads.job(endpoint, id)

    async def content(self, job: Job) -> base.Content:
        return await self._reads.content(job)

    async def chunks(self, job: Job, after: int, limit: int) -> list[bytes]:
        return await self._reads.chunks(job, after, limit)

    async def requests(
        self, endpoint: str, before: int | None, limit: int, states: Collection[JobState] = ()
    ) -> base.Page:
        return await self._reads.requests(endpoint, before, limit, states)

    async def held(self, endpoint: str, worker: str) -> list[Job]:
        return await self._reads.held(endpoint, worker)

    async def holders(self, endpoint: str) -> dict[str, int]:
        return await self._reads.holders(endpoint)

    def tally(self, endpoint: str) -> Tally:
        return self._tallies.of(endpoint)

    async def backlogs(self, late_at: Mapping[str, int | None]) -> dict[str, base.Backlog]:
        return await self._reads.backlogs(late_at)

    async def ahead(self, job: Job) -> int:
        return await self._reads.ahead(job)

    async def breaker(self, endpoint: str) -> Breaker:
        return await self._reads.breaker(endpoint)

    async def endpoints(self) -> dict[str, bytes]:
        return await self._reads.endpoints()

    async def next_due(self) -> int | None:
        return await self._reads.next_due(self._now)

    async def next_webhook(self) -> int | None:
        return await self._reads.next_webhook()

    async def webhook(self, endpoint: str, id: str) -> Webhook | None:
        return await self._reads.webhook(endpoint, id)

    async def gateways(self) -> int:
        return await self._reads.gateways()

    async def last_seq(self) -> int:
        return await self._reads.last_seq()

    def _id(self) -> int:
        return self._writer.gateway or 0

    async def _open(self) -> None:
        """Tables and registration, as soon as the database is there."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                await asyncio.to_thread(schema.prepare, self._conninfo, self._place)
                await asyncio.to_thread(self._writer.open)
                return
            except ConnectionGone as gone:
                if time.monotonic() > deadline or self._closing.is_set():
                    raise StoreUnreachable(
                        f"the job store {self._place} cannot be reached: {gone}; "
                        "check host, port, database, user and password in its URL"
                    ) from gone
            await self._rest()

    async def _watch(self) -> None:
        """Give up a connection on which a group hangs."""
        while not self._closing.is_set():
            try:
                self._line.cut_if_hung()
            except Exception:
                # Without it a group that hangs would hang for ever: it goes on, whatever it was.
                log.exception("the store's connection was not looked at by a defect; it will be tried again")
            await self._rest()

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), LOOK_SECONDS)

    async def _keep_up(self) -> None:
        gateway = self._writer.gateway or 0
        await self._desk.fetch(sql.STAY, gateway)
        await self._desk.fetch(sql.FOLD, gateway)
        await self._desk.fetch(sql.DROP_OLD_WORDS)
        await self._desk.fetch(sql.DROP_OLD_READERS)
        await self._blobs.drop_orphans()

    def _committed(self, endpoints: frozenset[str]) -> None:
        """In the writer's thread, and in its last moments possibly without an event loop."""
        if endpoints and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._news.changed)
