"""A copy of the SQLite store that was made while it was used is a store of that moment."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from submodel.contract.states import JobState
from submodel_gateway.jobs.transition import Reason
from submodel_gateway.store import base
from submodel_gateway.store.sqlite import SqliteStore
from tests.support.store_calls import NOW, applied, one, read, refused, running, state, swept, taken
from tests.support.store_operations import ENDPOINT, LEASE_MS, finish, submit, sweep, take

Open = Callable[[], SqliteStore]

LARGE = b"x" * 1_100_000


def copy_of(path: Path, name: str) -> Path:
    """As the page tells: the file first, then what it names."""
    copy = path.with_name(name)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as reader:
        reader.execute("VACUUM INTO ?", (str(copy),))
    if Path(f"{path}.blobs").is_dir():
        shutil.copytree(f"{path}.blobs", f"{copy}.blobs")
    return copy


async def test_a_copy_of_a_store_in_use_has_all_that_was_acknowledged_before(open_store: Open, tmp_path: Path) -> None:
    store = open_store()
    held = running(store)
    applied(store, submit("queued", input=await store.stash(LARGE)))
    copy = copy_of(tmp_path / "jobs.db", "copy.db")
    applied(store, submit("later"))
    (late,) = taken(store)
    assert late.id == "queued"
    await store.close()

    copied = SqliteStore(copy)
    assert await copied.job(ENDPOINT, "later") is None
    assert applied(copied, finish(held)).state is JobState.COMPLETED
    outcome = one(copied, take(limit=9, nonce=late.nonce + 1))
    assert isinstance(outcome, base.Taken)
    (lease,) = outcome.leases
    assert (lease.job.id, lease.job.attempt) == (late.id, late.attempt)
    assert isinstance(lease.input, base.Blob)
    assert await copied.fetch(lease.input) == LARGE
    assert refused(copied, finish(late)) is Reason.STALE
    await copied.close()


async def test_what_ran_in_a_copy_of_long_ago_waits_for_its_worker_and_then_counts_as_lost(
    open_store: Open, tmp_path: Path
) -> None:
    store = open_store()
    store.apply([submit("back"), submit("again", execution_timeout_ms=0), submit("timed")], NOW)
    back, _, _ = taken(store, take(limit=9))
    one(store, sweep(NOW))
    copy = copy_of(tmp_path / "jobs.db", "copy.db")
    await store.close()

    copied = SqliteStore(copy)
    restored = NOW + 3_600_000
    one(copied, base.Sweep(hold_ms=LEASE_MS), restored)
    assert applied(copied, finish(back), restored + LEASE_MS - 1).state is JobState.COMPLETED
    assert sorted(swept(copied, restored + LEASE_MS)) == ["again", "timed"]
    again = await read(copied, "again")
    assert (again.state, again.used) == (JobState.IN_QUEUE, 1)
    assert await state(copied, "timed") is JobState.TIMED_OUT
    await copied.close()
