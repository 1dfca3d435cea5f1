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
from collections.abc import Callable, Collection, Iterable, Sequence
from importlib import resources
from pathlib import Path

from submodel.contract.states import JobState
from submodel_gateway.errors import StoreError, StoreUnusable
from submodel_gateway.jobs.breaker import CLOSED, Breaker
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.store import base
from submodel_gateway.store.execute import execute
from submodel_gateway.store.owner import OwnerLock
from submodel_gateway.store.sqlite_blobs import BlobFiles
from submodel_gateway.store.sqlite_reads import Reads
from submodel_gateway.store.sqlite_rows import Writes

SCHEMA = 2
CHECKPOINT_ROWS = 8_000
WAL_BYTES_MAX = 64 * 1024 * 1024

log = logging.getLogger(__name__)


class SqliteStore:
    """See `base.Store`. Open it once per file: the owner lock refuses a second process."""

    blocking = True

    def __init__(self, path: Path, quota_bytes: int | None = None, *, wall_ms: Callable[[], int] | None = None) -> None:
        """Open or create the file. Raises `StoreUnusable` with a sentence for the operator."""
        self._wall_ms = wall_ms or (lambda: time.time_ns() // 1_000_000)
        self._blobs = BlobFiles(path.with_name(path.name + ".blobs"))
        self._lock = OwnerLock(path)
        try:
            self._open(path)
        except sqlite3.Error as error:
            self._lock.release()
            raise StoreUnusable(f"the job store {path} cannot be opened: {error}") from error
        except StoreUnusable:
            self._lock.release()
            raise

    def _open(self, path: Path) -> None:
        self._wal = path.with_name(path.name + "-wal")
        self._writer = _connect(path)
        pragmas = ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=0", "cache_size=-65536")
        for pragma in (*pragmas, "secure_delete=OFF"):
            self._writer.execute(f"PRAGMA {pragma}")
        _prepare(self._writer, path)
        self._reader = _connect(path)
        for pragma in ("query_only=1", "wal_autocheckpoint=0", "cache_size=-32768"):
            self._reader.execute(f"PRAGMA {pragma}")
        self._reads = Reads(self._reader)
        self._rows = Writes(self._writer, dict(self._writer.execute("SELECT name, value FROM meta").fetchall()))
        self._now = self._rows.meta["now"]
        self._checkpointed = 0

    async def start(self, news: Callable[[Iterable[str]], None]) -> None:
        try:
            removed = await asyncio.to_thread(self._blobs.remove_orphans, self._reads.owns)
        except OSError as error:
            log.warning("payloads that belong to no job could not be removed: %s", error)
        else:
            if removed:
                log.info("removed %d payloads that belonged to no job", removed)

    async def close(self) -> None:
        self._reader.close()
        self._move_log("TRUNCATE")
        self._writer.close()
        self._lock.release()

    def apply(self, operations: Sequence[base.Operation], now: int) -> list[base.Outcome]:
        before = self._writer.total_changes
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            outcomes = [execute(self._rows, operation, now) for operation in operations]
            if self._writer.total_changes != before or self._rows.marked:
                self._rows.flush(now)
            self._writer.execute("COMMIT")
        except Exception as error:
            self._roll_back()
            if isinstance(error, sqlite3.Error):
                raise StoreError(f"the job store refused a transaction: {error}") from error
            raise
        dropped = self._rows.committed(now)
        self._now = now
        self._checkpoint()
        self._remove(dropped)
        return outcomes

    async def stash(self, data: bytes) -> base.Blob:
        try:
            return await asyncio.to_thread(self._blobs.write, data)
        except OSError as error:
            raise StoreError(f"the job store cannot keep a large payload: {error.strerror}") from error

    async def discard(self, blob: base.Blob) -> None:
        if not self._reads.owns(blob.name):
            await asyncio.to_thread(self._remove, [blob.name])

    async def fetch(self, blob: base.Blob) -> bytes:
        return await asyncio.to_thread(self._blobs.read, blob)

    async def time(self) -> base.StoreTime:
        return base.StoreTime(wall_ms=self._wall_ms(), mark_ms=self._now)

    async def job(self, endpoint: str, id: str) -> Job | None:
        return self._reads.load(endpoint, id)

    async def content(self, job: Job) -> base.Content:
        return self._reads.content(job)

    async def chunks(self, job: Job, after: int, limit: int) -> list[bytes]:
        return self._reads.chunks(job, after, limit)

    async def requests(
        self, endpoint: str, before: int | None, limit: int, states: Collection[JobState] = ()
    ) -> base.Page:
        return self._reads.requests(endpoint, before, limit, states)

    async def held(self, endpoint: str, worker: str) -> list[Job]:
        return self._reads.held(endpoint, worker)

    async def holders(self, endpoint: str) -> dict[str, int]:
        return self._reads.holders(endpoint)

    def tally(self, endpoint: str) -> Tally:
        return self._rows.tallies.get(endpoint, Tally())

    async def backlog(self, endpoint: str, late_at: int | None) -> base.Backlog:
        return self._reads.backlog(endpoint, late_at)

    async def breaker(self, endpoint: str) -> Breaker:
        return self._rows.breakers.get(endpoint, CLOSED)

    async def endpoints(self) -> dict[str, bytes]:
        return self._reads.endpoints()

    async def next_due(self) -> int | None:
        return self._reads.next_due(self._now)

    async def next_webhook(self) -> int | None:
        return self._reads.next_webhook()

    async def last_seq(self) -> int:
        return self._rows.meta["seq"]

    def _roll_back(self) -> None:
        self._rows.rolled_back()
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")

    def _remove(self, names: Sequence[str]) -> None:
        """Never raises: a file that stays is removed by its age."""
        try:
            self._blobs.remove(names)
        except OSError as error:
            log.warning("a payload that is not needed any more could not be removed: %s", error)

    def _checkpoint(self) -> None:
        """Move the log into the file before it gets long."""
        rows = self._writer.total_changes - self._checkpointed
        try:
            long = self._wal.stat().st_size > WAL_BYTES_MAX
        except OSError as error:
            log.error("the size of the job store's log cannot be read: %s", error)
            long = False
        if long or rows > CHECKPOINT_ROWS:
            self._checkpointed = self._writer.total_changes
            self._move_log("TRUNCATE" if long else "PASSIVE")

    def _move_log(self, mode: str) -> None:
        """Never raises: what the log holds is durable where it is, and an error would take back a commit's answer."""
        try:
            self._writer.execute(f"PRAGMA wal_checkpoint({mode})")
        except sqlite3.Error as error:
            log.error("the job store's log could not be moved into its file, it will be tried again: %s", error)


def _connect(path: Path) -> sqlite3.Connection:
    # The writer is opened here and used by the group commit's thread, one call at a time.
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0, cached_statements=256)


def _prepare(writer: sqlite3.Connection, path: Path) -> None:
    """Create the tables of a new file, or check that this version understands an old one."""
    known = writer.execute("SELECT count(*) FROM sqlite_master WHERE name = 'meta'").fetchone()[0]
    if not known:
        script = resources.files("submodel_gateway.store").joinpath("schema.sql").read_text()
        names = ("owner_epoch", "seq", "now", "swept_at", "hold_until", "blob_bytes")
        zeros = ", ".join(f"('{name}', 0)" for name in names)
        marks = f"INSERT INTO meta (name, value) VALUES ('schema', {SCHEMA}), {zeros};"
        writer.executescript(f"BEGIN IMMEDIATE;\n{script}\n{marks}\nCOMMIT;")
    (version,) = writer.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
    if version > SCHEMA:
        raise StoreUnusable(
            f"the job store {path} has schema {version}, this gateway knows up to {SCHEMA}; run a newer version"
        )
