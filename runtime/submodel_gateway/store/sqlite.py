"""The durable store on one machine: SQLite in WAL mode with `synchronous=FULL`, one fsync per group.

One connection writes, used by one thread at a time. A second, `query_only` connection serves the reads on the event
loop's thread: WAL readers never wait for the writer, and a record costs 10 µs, less than handing the read to another
thread would. Payloads that would take longer are files, read and written in threads; see `sqlite_blobs`.

SQLite before 3.51.3 can damage a WAL when two connections write or checkpoint at the same moment. That cannot happen
here: only the writer checkpoints (automatic checkpoints are off), and the reader is closed first.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import ParamSpec, TypeVar

from submodel.contract.states import JobState
from submodel_gateway.errors import OperationFailed, StoreAway, StoreError, StoreFull, StoreUnusable
from submodel_gateway.jobs.breaker import CLOSED, Breaker
from submodel_gateway.jobs.outbox import Webhook
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.store import base
from submodel_gateway.store.execute import execute
from submodel_gateway.store.owner import OwnerLock
from submodel_gateway.store.sqlite_blobs import BlobFiles
from submodel_gateway.store.sqlite_log import BYTES_MAX, WriteAheadLog
from submodel_gateway.store.sqlite_reads import Reads
from submodel_gateway.store.sqlite_rows import Writes
from submodel_gateway.store.sqlite_schema import check, create, prepare, primary_code, unreadable, unusable
from submodel_gateway.store.sqlite_space import BALLAST_BYTES, Space, Use, is_full

WRITER = (
    "synchronous=FULL",
    "wal_autocheckpoint=0",
    "cache_size=-65536",
    "temp_store=MEMORY",
    # Debian's library overwrites what it frees: forgetting 50 results of 100 KB cost 5 MB of log instead of 32 KB.
    "secure_delete=OFF",
)
READER = ("query_only=1", "wal_autocheckpoint=0", "cache_size=-32768")
BUSY_SECONDS = 1.0
"""Nobody else writes, unless somebody looks into the file by hand."""

IDLE_SECONDS = 1.0
SAFE_SQLITE = (3, 51, 3)

log = logging.getLogger(__name__)

Given = ParamSpec("Given")
Found = TypeVar("Found")


class SqliteStore:
    """See `base.Store`. Open it once per file: the owner lock refuses a second process."""

    blocking = True
    shared = False
    board = None

    def __init__(
        self,
        path: Path,
        quota_bytes: int | None = None,
        *,
        ballast_bytes: int = BALLAST_BYTES,
        idle_seconds: float = IDLE_SECONDS,
        wall_ms: Callable[[], int] | None = None,
    ) -> None:
        """Open or create the file. Raises `StoreUnusable` with a sentence for the operator.

        Args:
            quota_bytes: what the file, its log and its blobs may grow to; None for no bound.
            ballast_bytes: reserve for the end of jobs on a full volume.
            idle_seconds: the log is moved when nothing was written for so long.
            wall_ms: the wall clock.
        """
        self._path = path
        self._wall_ms = wall_ms or (lambda: time.time_ns() // 1_000_000)
        self._blobs = BlobFiles(path.with_name(path.name + ".blobs"))
        self._idle_seconds = idle_seconds
        self._space = Space(path, quota_bytes, ballast_bytes)
        self._writing = Lock()
        self._closing = asyncio.Event()
        self._tidying: asyncio.Task[None] | None = None
        check(path)
        with ExitStack() as opened:
            self._owner = OwnerLock(path)
            opened.callback(self._owner.release)
            try:
                self._open(opened)
            except sqlite3.Error as error:
                raise unusable(path, error) from error
            opened.pop_all()

    def _open(self, opened: ExitStack) -> None:
        create(self._path)
        self._writer = opened.enter_context(closing(_connect(self._path)))
        try:
            self._epoch = self._prepared()
        except sqlite3.Error as error:
            if not (is_full(error) and self._space.give_up_ballast()):
                raise
            self._epoch = self._prepared()
        self._reader = opened.enter_context(closing(_connect(self._path)))
        for pragma in READER:
            self._reader.execute(f"PRAGMA {pragma}")
        self._reads = Reads(self._reader)
        self._rows = Writes(self._writer, self._space)
        self._log = WriteAheadLog(self._writer, self._path)
        self._now = self._rows.meta["now"]
        self._look(self._now)

    def _prepared(self) -> int:
        """The epoch of this owner, once the file is as it should be."""
        (mode,) = self._writer.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise StoreUnusable(
                f"the job store {self._path} cannot have a write-ahead log where it is; "
                "put it on a local disk or a block volume"
            )
        for pragma in WRITER:
            self._writer.execute(f"PRAGMA {pragma}")
        return prepare(self._writer, self._path)

    async def start(self, news: Callable[[Iterable[str]], None]) -> None:
        tell_of_library()
        try:
            removed = await asyncio.to_thread(self._blobs.remove_orphans, self._reads.owns)
        except (OSError, sqlite3.Error) as error:
            log.warning("payloads that belong to no job could not be removed: %s", error)
        else:
            if removed:
                log.info("removed %d payloads that belonged to no job", removed)
        self._tidying = asyncio.create_task(self._tidy())

    async def close(self) -> None:
        self._closing.set()
        if self._tidying is not None:
            await self._tidying
        self._reader.close()
        try:
            if self._is_owner():
                self._log.move("TRUNCATE")
                self._space.close()
        except sqlite3.Error as error:
            log.error("the job store could not be put in order when it was closed: %s", error)
        self._writer.close()
        self._owner.release()

    def apply(self, operations: Sequence[base.Operation], now: int) -> list[base.Outcome]:
        with self._writing:
            if self._space.is_due(now):
                self._look(now)
            try:
                outcomes = self._commit(operations, now)
            except StoreFull:
                if not self._space.give_up_ballast():
                    raise
                outcomes = self._commit(operations, now)
            written = sum(map(base.payload_bytes, operations)) + self._rows.new_blob_bytes
            self._space.note(written, freed=self._rows.forgot)
            dropped = self._rows.committed(now)
            self._now = now
            self._log.look_after(BYTES_MAX if self._space.admits else self._space.short_bytes)
        self._remove(dropped)
        return outcomes

    async def stash(self, data: bytes) -> base.Blob:
        return await asyncio.to_thread(self._stash, data)

    async def discard(self, blob: base.Blob) -> None:
        try:
            owned = self._read(self._reads.owns, blob.name)
        except StoreError as error:
            log.warning("a payload that may not be needed any more stays: %s", error)
            return
        if not owned:
            await asyncio.to_thread(self._remove, [blob.name])

    async def fetch(self, blob: base.Blob) -> bytes:
        return await asyncio.to_thread(self._blobs.read, blob)

    async def time(self) -> base.StoreTime:
        return base.StoreTime(wall_ms=self._wall_ms(), mark_ms=self._now)

    async def job(self, endpoint: str, id: str) -> Job | None:
        return self._read(self._reads.load, endpoint, id)

    async def content(self, job: Job) -> base.Content:
        return self._read(self._reads.content, job)

    async def chunks(self, job: Job, after: int, limit: int) -> list[bytes]:
        return self._read(self._reads.chunks, job, after, limit)

    async def requests(
        self, endpoint: str, before: int | None, limit: int, states: Collection[JobState] = ()
    ) -> base.Page:
        return self._read(self._reads.requests, endpoint, before, limit, states)

    async def held(self, endpoint: str, worker: str) -> list[Job]:
        return self._read(self._reads.held, endpoint, worker)

    async def holders(self, endpoint: str) -> dict[str, int]:
        return self._read(self._reads.holders, endpoint)

    def tally(self, endpoint: str) -> Tally:
        return self._rows.tallies.get(endpoint, Tally())

    async def backlogs(self, late_at: Mapping[str, int | None]) -> dict[str, base.Backlog]:
        return {endpoint: self._read(self._reads.backlog, endpoint, at) for endpoint, at in late_at.items()}

    async def ahead(self, job: Job) -> int:
        return self._read(self._reads.ahead, job)

    async def breaker(self, endpoint: str) -> Breaker:
        return self._rows.breakers.get(endpoint, CLOSED)

    async def endpoints(self) -> dict[str, bytes]:
        return self._read(self._reads.endpoints)

    async def next_due(self) -> int | None:
        return self._read(self._reads.next_due, self._now)

    async def next_webhook(self) -> int | None:
        return self._read(self._reads.next_webhook)

    async def webhook(self, endpoint: str, id: str) -> Webhook | None:
        return self._read(self._reads.webhook, endpoint, id)

    async def last_seq(self) -> int:
        return self._rows.meta["seq"]

    async def gateways(self) -> int:
        return 1  # a second one finds the file owned

    def _read(self, read: Callable[Given, Found], *args: Given.args, **named: Given.kwargs) -> Found:
        try:
            return read(*args, **named)
        except sqlite3.Error as error:
            raise unreadable(self._path, error) from error

    def _commit(self, operations: Sequence[base.Operation], now: int) -> list[base.Outcome]:
        before = self._writer.total_changes
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            self._check_owner()
            self._rows.foresee(operations)
            outcomes = [execute(self._rows, operation, now) for operation in operations]
            if self._writer.total_changes != before or self._rows.changed or self._rows.marked:
                self._rows.flush(now)
            self._writer.execute("COMMIT")
        except Exception as error:
            self._roll_back()
            if isinstance(error, sqlite3.Error):
                raise _kind(error)(f"the job store {self._path} refused a transaction: {error}") from error
            raise
        return outcomes

    def _check_owner(self) -> None:
        if not self._is_owner():
            raise StoreUnusable(
                f"the job store {self._path} was opened by another gateway after this one; end one of them, "
                "and put the file on a volume whose file system has locks"
            )

    def _is_owner(self) -> bool:
        sql = "SELECT value FROM meta WHERE name = 'owner_epoch'"
        return bool(self._writer.execute(sql).fetchone() == (self._epoch,))

    def _roll_back(self) -> None:
        self._rows.rolled_back()
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        except sqlite3.Error as error:
            log.error("a transaction could not be rolled back: %s", error)

    def _look(self, now: int) -> None:
        """Is there room for new jobs? A long log is moved before it counts against them."""
        try:
            self._space.look(self._use(), now)
            if not self._space.admits and self._log.size:
                self._log.move("TRUNCATE")
                self._space.look(self._use(), now)
        except sqlite3.Error as error:
            log.error("the size of the job store cannot be read: %s", error)

    def _use(self) -> Use:
        size, pages, free = (
            self._writer.execute(f"PRAGMA {what}").fetchone()[0]
            for what in ("page_size", "page_count", "freelist_count")
        )
        return Use(
            pages=size * (pages - free), log=self._log.size, blobs=self._rows.meta["blob_bytes"], reusable=size * free
        )

    def _stash(self, data: bytes) -> base.Blob:
        try:
            return self._blobs.write(data)
        except OSError as error:
            if not is_full(error):
                raise StoreError(f"a large payload could not be stored: {error.strerror}") from error
        self._space.give_up_ballast()
        try:
            return self._blobs.write(data)
        except OSError as error:
            kind = StoreFull if is_full(error) else StoreError
            raise kind(f"a large payload could not be stored: {error.strerror}") from error

    def _remove(self, names: Sequence[str]) -> None:
        """Never raises: a file that stays is removed at the next start."""
        try:
            self._blobs.remove(names)
        except OSError as error:
            log.warning("a payload that is not needed any more could not be removed: %s", error)

    async def _tidy(self) -> None:
        """Move the log while nobody waits for the writer."""
        seen = 0
        while not self._closing.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._idle_seconds)
            if self._log.rows and self._log.rows == seen:
                await asyncio.to_thread(self._move_log)
            seen = self._log.rows

    def _move_log(self) -> None:
        with self._writing:
            self._log.move()


def _kind(error: sqlite3.Error) -> type[StoreError]:
    if isinstance(error, sqlite3.IntegrityError):
        return OperationFailed
    if primary_code(error) == sqlite3.SQLITE_BUSY:
        return StoreAway
    return StoreFull if is_full(error) else StoreError


@cache
def tell_of_library() -> None:
    """Once per process, for people who read about that defect and ask; nobody has to do anything."""
    if sqlite3.sqlite_version_info < SAFE_SQLITE:
        log.info(
            "SQLite %s is older than 3.51.3, which mends a rare damage of databases that several connections write; "
            "it cannot happen here, for one connection alone writes and moves the log",
            sqlite3.sqlite_version,
        )


def _connect(path: Path) -> sqlite3.Connection:
    # Opened here and used by the group commit's thread, one call at a time. The path is absolute, for some relative
    # ones mean something else to SQLite.
    return sqlite3.connect(
        path.absolute(), isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS, cached_statements=256
    )
