"""How the SQLite store writes: whole groups, by indexes, and with a log that is looked after."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from submodel.contract.states import JobState
from submodel_gateway.errors import StoreAway
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.store import base
from submodel_gateway.store.sqlite import SqliteStore
from submodel_gateway.store.sqlite_log import BYTES_MAX
from tests.support.store_calls import NOW, applied, backlog, leased_webhooks, one, read, running, taken
from tests.support.store_operations import (
    ENDPOINT,
    append,
    finish,
    gone,
    keyed,
    lease_webhooks,
    progress,
    purge,
    release,
    retry,
    settle,
    submit,
    sweep,
    take,
)

Open = Callable[[], SqliteStore]


async def test_a_group_with_an_operation_that_cannot_be_stored_leaves_nothing_behind(open_store: Open) -> None:
    store = open_store()
    with pytest.raises(OverflowError):
        store.apply([submit("a"), submit("b", pri=2**70)], NOW)
    assert await store.job(ENDPOINT, "a") is None
    assert (store.tally(ENDPOINT), await store.last_seq()) == (Tally(), 0)
    job = applied(store, submit("a"))
    assert (job.state, job.seq) == (JobState.IN_QUEUE, 1)
    await store.close()


async def test_while_somebody_else_writes_the_store_is_away_for_the_whole_group(
    open_store: Open, tmp_path: Path
) -> None:
    store = open_store()
    with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreAway, match="locked"):
            store.apply([submit("a")], NOW)
        other.execute("ROLLBACK")
    applied(store, submit("a"))
    await store.close()


async def test_what_a_job_leaves_is_not_shown_under_an_older_record(open_store: Open) -> None:
    store = open_store()
    job = running(store)
    store.apply([progress(job, b"0.5"), append(job, 1, b"1")], NOW)
    held = await read(store)
    assert (await store.content(held), await store.chunks(held, 0, 9)) == (base.Content(b"0.5"), [b"1"])
    failed = applied(store, finish(job, b"2", "boom"))
    assert await store.content(held) == base.Content()
    assert (await store.content(failed), await store.chunks(failed, 0, 9)) == (base.Content(b"2", "boom"), [b"1"])
    applied(store, retry(failed))
    (again,) = taken(store, take(nonce=8))
    applied(store, append(again, 1, b"other"))
    assert (await store.content(failed), await store.chunks(failed, 0, 9)) == (base.Content(), [])
    await store.close()


async def test_a_log_that_cannot_be_looked_after_does_not_fail_what_is_committed(
    open_store: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store()
    applied(store, submit("a"))
    (tmp_path / "jobs.db-wal").unlink()
    applied(store, submit("b"))
    assert store.tally(ENDPOINT).queued == 2
    assert "log cannot be read" in caplog.text
    await store.close()


async def test_the_log_stays_short(open_store: Open, tmp_path: Path) -> None:
    store = open_store()
    for number in range(80):
        applied(store, submit(f"job-{number}", input=b"x" * 1_000_000))
    assert (tmp_path / "jobs.db-wal").stat().st_size < BYTES_MAX
    await store.close()
    assert not (tmp_path / "jobs.db-wal").exists()


async def test_the_log_is_moved_when_nobody_writes(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    store = SqliteStore(path, idle_seconds=0.01)
    await store.start(lambda endpoints: None)
    applied(store, submit("a"))
    while await asyncio.to_thread(jobs_in_file, path) != 1:
        continue
    await store.close()


def jobs_in_file(path: Path) -> int:
    """Jobs in the file alone, without its log."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM job").fetchone()[0])
        except sqlite3.Error:
            return 0


async def test_every_statement_of_a_jobs_life_uses_an_index(open_store: Open, tmp_path: Path) -> None:
    store = open_store()
    statements: set[str] = set()
    for connection in (store._writer, store._reader):
        connection.set_trace_callback(statements.add)
    await live(store)
    await store.close()
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
        plans = {
            statement: [step for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
            for statement in statements
            if statement.startswith(("SELECT", "UPDATE", "DELETE", "INSERT"))
        }
        indexes = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
    steps = {step for plan in plans.values() for step in plan}
    assert {statement for statement, plan in plans.items() if is_slow(plan)} == set()
    assert {index for index in indexes if not any(f"INDEX {index} " in f"{step} " for step in steps)} == set()


FEW = ("SCAN endpoint", "SCAN (subquery-", "SCAN CONSTANT ROW", "SCAN json_each")


def is_slow(plan: list[str]) -> bool:
    """Whether it looks at, or sorts, more rows than those of one worker or one instant."""
    if any(step.startswith("SCAN") and not step.startswith(FEW) for step in plan):
        return True
    sorts = any("TEMP B-TREE FOR ORDER" in step for step in plan)
    return sorts and not any("INDEX holder" in step for step in plan)


async def live(store: SqliteStore) -> None:
    """Everything that a store does, once."""
    job = running(store, webhook="https://x.example", idempotency=keyed())
    store.apply([submit("b", idempotency=keyed()), append(job, 1, b"1"), progress(job, b"1"), release(job)], NOW)
    (job,) = taken(store, take(nonce=8))
    failed = applied(store, finish(job, error="boom"))
    (webhook,) = leased_webhooks(store)
    one(store, settle(webhook))
    applied(store, retry(failed))
    store.apply([take(nonce=9), gone(), purge(running=True), lease_webhooks()], NOW)
    applied(store, submit("c", retention_ms=0))
    store.apply([base.Cancel(endpoint=ENDPOINT, id="c"), sweep(NOW), sweep(NOW + 10**9)], NOW + 10**9)
    applied(store, submit("d"), NOW + 10**9)
    store.apply([base.PutEndpoint(endpoint=ENDPOINT, registration=b"1"), base.DeleteEndpoint(endpoint="e")], NOW)
    job = await read(store, "d")
    for state in ((), (JobState.FAILED,)):
        await store.requests(ENDPOINT, None, 9, state)
    await store.content(job)
    await store.chunks(job, 0, 9)
    await store.held(ENDPOINT, "w")
    await store.holders(ENDPOINT)
    await backlog(store, ENDPOINT, NOW + 10**9)
    await store.endpoints()
    await store.next_due()
    await store.next_webhook()
