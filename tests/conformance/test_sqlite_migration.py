"""A file of an older schema is brought up to date with everything in it."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from submodel.contract.states import JobState
from submodel_gateway.jobs.record import AGING_MS, WebhookState
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.store import base
from submodel_gateway.store.sqlite import SqliteStore
from tests.support.store_operations import ENDPOINT, append, finish, retry, submit, sweep, take

Open = Callable[[], SqliteStore]

CREATED = 1_700_000_000_000
NOW = CREATED + 10_000
DAY_MS = 86_400_000

SCHEMA_1 = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE endpoint (id TEXT PRIMARY KEY, registration BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE tally (
    endpoint TEXT PRIMARY KEY,
    queued INTEGER NOT NULL, in_progress INTEGER NOT NULL, arrived INTEGER NOT NULL, completed INTEGER NOT NULL,
    failed INTEGER NOT NULL, cancelled INTEGER NOT NULL, timed_out INTEGER NOT NULL, retried INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE job (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    endpoint TEXT NOT NULL,
    state TEXT NOT NULL,
    seq INTEGER NOT NULL,
    pri INTEGER NOT NULL,
    gen INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    nonce INTEGER NOT NULL,
    used INTEGER NOT NULL,
    max INTEGER NOT NULL,
    worker TEXT,
    session TEXT,
    lease_until INTEGER,
    taken_at INTEGER,
    run_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    execution_timeout_ms INTEGER NOT NULL,
    exec_limit INTEGER,
    retention_ms INTEGER NOT NULL,
    finished_at INTEGER,
    keep_until INTEGER,
    result_attempt INTEGER,
    execution_ms INTEGER,
    chunks INTEGER NOT NULL,
    chunk_bytes INTEGER NOT NULL,
    due_at INTEGER NOT NULL
);
CREATE INDEX ready ON job (endpoint, pri DESC, seq) WHERE state = 'IN_QUEUE';
CREATE INDEX waiting ON job (endpoint, created_at) WHERE state = 'IN_QUEUE';
CREATE INDEX delayed ON job (run_at) WHERE state = 'IN_QUEUE' AND run_at > 0;
CREATE INDEX holder ON job (endpoint, worker) WHERE state = 'IN_PROGRESS';
CREATE INDEX due ON job (due_at, seq);
CREATE TABLE payload (key INTEGER PRIMARY KEY, input BLOB NOT NULL, extra BLOB NOT NULL);
CREATE TABLE result (key INTEGER PRIMARY KEY, output BLOB, error TEXT);
CREATE TABLE progress (key INTEGER PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE chunk (key INTEGER, seq INTEGER, item BLOB NOT NULL, PRIMARY KEY (key, seq));
INSERT INTO meta (name, value) VALUES ('schema', 1), ('seq', 5), ('now', 1700000005000);
"""


def write_schema_1(path: Path) -> None:
    """Two queued jobs of different urgency, a running one with what it streamed, a failed and a completed one."""
    common = {
        "endpoint": ENDPOINT,
        "state": "IN_QUEUE",
        "pri": 0,
        "gen": 1,
        "attempt": 0,
        "nonce": 0,
        "used": 0,
        "max": 3,
        "run_at": 0,
        "created_at": CREATED,
        "deadline": CREATED + DAY_MS,
        "execution_timeout_ms": 0,
        "retention_ms": DAY_MS,
        "chunks": 0,
        "chunk_bytes": 0,
        "due_at": CREATED + DAY_MS,
    }
    ended = {
        "attempt": 1,
        "nonce": 9,
        "used": 1,
        "worker": "w",
        "session": "s",
        "taken_at": CREATED + 1,
        "finished_at": CREATED + 2,
        "keep_until": CREATED + DAY_MS + 2,
        "due_at": CREATED + DAY_MS + 2,
        "result_attempt": 1,
    }
    leased = {
        "state": "IN_PROGRESS",
        "attempt": 1,
        "nonce": 7,
        "used": 1,
        "worker": "w",
        "session": "s",
        "taken_at": CREATED + 4_000,
        "lease_until": CREATED + 49_000,
        "chunks": 2,
        "chunk_bytes": 2,
        "due_at": CREATED + 49_000,
    }
    jobs = [
        {"id": "slow", "seq": 1},
        {"id": "urgent", "seq": 2, "pri": 1},
        {"id": "running", "seq": 3, **leased},
        {"id": "failed", "seq": 4, "state": "FAILED", **ended},
        {"id": "completed", "seq": 5, "state": "COMPLETED", **ended, "execution_ms": 12},
    ]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(SCHEMA_1)
        for key, job in enumerate(jobs, 1):
            row = {"key": key, **common, **job}
            names = ", ".join(row)
            connection.execute(f"INSERT INTO job ({names}) VALUES ({', '.join('?' * len(row))})", list(row.values()))
            connection.execute("INSERT INTO payload VALUES (?, ?, ?)", (key, b"input %d" % key, b"{}"))
        connection.execute("INSERT INTO tally VALUES (?, 2, 1, 5, 1, 1, 0, 0, 0)", (ENDPOINT,))
        connection.execute("INSERT INTO endpoint VALUES (?, ?)", (ENDPOINT, b"{}"))
        connection.executemany("INSERT INTO chunk VALUES (3, ?, ?)", [(1, b"1"), (2, b"2")])
        connection.execute("INSERT INTO progress VALUES (3, ?)", (b"0.5",))
        connection.execute("INSERT INTO result VALUES (4, NULL, 'boom'), (5, ?, NULL)", (b'"done"',))
        connection.commit()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    write_schema_1(tmp_path / "jobs.db")
    return tmp_path / "jobs.db"


def structure(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Columns of all tables and indexes, and the conditions of the indexes."""
    with closing(sqlite3.connect(path)) as connection:
        objects = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
        columns: dict[str, list[tuple[object, ...]]] = {
            name: connection.execute(f"PRAGMA {kind}_xinfo({name})").fetchall() for kind, name, _ in objects
        }
        conditions = [(name, str(sql).partition(" WHERE ")[2]) for kind, name, sql in objects if kind == "index"]
    return {**columns, "conditions": [*conditions]}


async def test_a_migrated_file_looks_like_a_new_one(open_store: Open, old: Path, tmp_path: Path) -> None:
    await open_store().close()
    await SqliteStore(tmp_path / "new.db").close()
    assert structure(old) == structure(tmp_path / "new.db")


async def test_a_migration_keeps_all_that_the_old_file_held(open_store: Open, old: Path) -> None:
    store = open_store()
    assert store.tally(ENDPOINT) == Tally(queued=2, in_progress=1, arrived=5, completed=1, failed=1)
    assert (await store.last_seq(), (await store.time()).mark_ms) == (5, CREATED + 5_000)
    assert await store.endpoints() == {ENDPOINT: b"{}"}
    page = await store.requests(ENDPOINT, None, 9)
    assert [job.id for job in page.jobs] == ["completed", "failed", "running", "urgent", "slow"]
    completed, failed, running, urgent, _ = page.jobs
    assert await store.content(completed) == base.Content(b'"done"')
    assert await store.content(failed) == base.Content(None, "boom")
    assert await store.content(running) == base.Content(b"0.5")
    assert await store.chunks(running, 0, 9) == [b"1", b"2"]
    assert (completed.state, completed.execution_ms) == (JobState.COMPLETED, 12)
    assert (urgent.queued_at, urgent.ttl_ms, urgent.deadline) == (CREATED, DAY_MS, CREATED + DAY_MS)
    assert (urgent.retry_errors, urgent.keyed, urgent.webhook) == (False, False, WebhookState.NONE)
    assert urgent.place == CREATED - AGING_MS
    await store.close()


async def test_queued_jobs_run_in_their_order_before_new_ones(open_store: Open, old: Path) -> None:
    store = open_store()
    (new, taken) = store.apply([submit("new"), take(limit=9)], NOW)
    assert isinstance(new, base.Applied)
    assert isinstance(taken, base.Taken)
    assert [lease.job.id for lease in taken.leases] == ["urgent", "slow", "new"]
    assert [lease.input for lease in taken.leases[:2]] == [b"input 2", b"input 1"]
    assert isinstance(store.apply([finish(taken.leases[1].job)], NOW)[0], base.Applied)
    await store.close()


async def test_a_running_job_goes_on_under_its_lease(open_store: Open, old: Path) -> None:
    store = open_store()
    assert [change.before for change in base.changes(store.apply([sweep(NOW)], NOW)[0])] == []
    (job,) = await store.held(ENDPOINT, "w")
    outcomes = store.apply([append(job, 3, b"3"), finish(job)], NOW)
    assert [type(outcome) for outcome in outcomes] == [base.Applied, base.Applied]
    assert await store.chunks(job, 0, 9) == [b"1", b"2", b"3"]
    await store.close()


async def test_a_failed_job_may_be_retried(open_store: Open, old: Path) -> None:
    store = open_store()
    failed = await store.job(ENDPOINT, "failed")
    assert failed is not None
    (outcome,) = store.apply([retry(failed)], NOW)
    assert isinstance(outcome, base.Applied)
    assert outcome.change.after is not None
    assert (outcome.change.after.seq, outcome.change.after.deadline) == (6, NOW + DAY_MS)
    await store.close()


async def test_a_second_opening_migrates_nothing_again(open_store: Open, old: Path) -> None:
    await open_store().close()
    store = open_store()
    assert store.tally(ENDPOINT).arrived == 5
    await store.close()


async def test_a_migration_that_fails_leaves_the_old_file(open_store: Open, old: Path) -> None:
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("CREATE TABLE outbox (id TEXT)")
    with pytest.raises(Exception, match="outbox already exists"):
        open_store()
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM job").fetchone() == (5,)
