"""What a durable store promises beyond the common suite: it comes back, alone, and never half."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from submodel.contract.states import JobState
from submodel_gateway.errors import StoreUnusable
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.store import base
from submodel_gateway.store.sqlite import SqliteStore
from submodel_gateway.store.sqlite_schema import SCHEMA
from tests.support.store_operations import ENDPOINT, append, finish, submit, take

Open = Callable[[], SqliteStore]


async def test_everything_is_there_after_opening_again(open_store: Open) -> None:
    store = open_store()
    outcomes = store.apply([submit("a"), submit("b"), take()], 5)
    assert isinstance(outcomes[2], base.Taken)
    job = outcomes[2].leases[0].job
    store.apply([append(job, 1, b"1"), base.PutEndpoint(endpoint=ENDPOINT, registration=b"{}")], 6)
    await store.close()

    store = open_store()
    assert await store.job(ENDPOINT, "a") == (await store.held(ENDPOINT, "w"))[0]
    assert store.tally(ENDPOINT) == Tally(queued=1, in_progress=1, arrived=2)
    assert (await store.last_seq(), await store.endpoints()) == (2, {ENDPOINT: b"{}"})
    assert (await store.time()).mark_ms == 6
    assert isinstance(store.apply([finish(job)], 7)[0], base.Applied)
    assert await store.chunks(job, 0, 9) == [b"1"]
    await store.close()


async def test_a_group_with_a_failing_operation_leaves_nothing_behind(open_store: Open) -> None:
    store = open_store()
    unstorable = submit("b", pri=2**70)
    with pytest.raises(OverflowError):
        store.apply([submit("a"), unstorable], 5)
    assert await store.job(ENDPOINT, "a") is None
    assert (store.tally(ENDPOINT), await store.last_seq()) == (Tally(), 0)
    store.apply([submit("a")], 6)
    job = await store.job(ENDPOINT, "a")
    assert job is not None
    assert (job.state, job.seq) == (JobState.IN_QUEUE, 1)
    await store.close()


async def test_a_log_that_cannot_be_looked_after_does_not_fail_what_is_committed(
    open_store: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store()
    store.apply([submit("a")], 5)
    (tmp_path / "jobs.db-wal").unlink()
    (outcome,) = store.apply([submit("b")], 6)
    assert isinstance(outcome, base.Applied)
    assert store.tally(ENDPOINT).queued == 2
    assert "log cannot be read" in caplog.text
    await store.close()


async def test_a_second_owner_is_refused_with_a_sentence(open_store: Open) -> None:
    store = open_store()
    with pytest.raises(StoreUnusable, match="is in use by another gateway process"):
        open_store()
    await store.close()
    await open_store().close()


async def test_a_newer_schema_is_refused_with_a_sentence(open_store: Open, tmp_path: Path) -> None:
    await open_store().close()
    connection = sqlite3.connect(tmp_path / "jobs.db")
    connection.execute("UPDATE meta SET value = ? WHERE name = 'schema'", (SCHEMA + 1,))
    connection.commit()
    connection.close()
    with pytest.raises(StoreUnusable, match=f"has schema {SCHEMA + 1}, this gateway knows up to {SCHEMA}"):
        open_store()


async def test_a_file_that_is_no_database_is_refused_with_a_sentence(open_store: Open, tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_text("not a database, but long enough to be taken for one" * 20)
    with pytest.raises(StoreUnusable, match="is no SQLite database"):
        open_store()


async def test_a_place_that_cannot_be_written_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="cannot be written"):
        SqliteStore(tmp_path / "missing" / "jobs.db")


async def test_takes_and_sweeps_use_their_indexes(open_store: Open, tmp_path: Path) -> None:
    await open_store().close()
    connection = sqlite3.connect(tmp_path / "jobs.db")

    def plan(where: str) -> str:
        return " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN SELECT id FROM job WHERE {where}"))

    ready = plan(
        "endpoint = 'e' AND state = 'IN_QUEUE' AND run_at <= 1 AND deadline > 1 ORDER BY place, seq LIMIT 5"
    )
    assert "ready" in ready
    assert "TEMP B-TREE" not in ready
    due = plan("due_at <= 1 ORDER BY due_at, seq LIMIT 5")
    assert "due" in due
    assert "TEMP B-TREE" not in due
    assert "waiting" in plan("endpoint = 'e' AND state = 'IN_QUEUE' AND queued_at <= 5")
    assert "holder" in plan("endpoint = 'e' AND worker = 'w' AND state = 'IN_PROGRESS'")
    assert "delayed" in plan("state = 'IN_QUEUE' AND run_at > 0 AND run_at > 7")
    connection.close()
