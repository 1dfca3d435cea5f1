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
from tests.support.store_calls import applied, one, refused, running, taken
from tests.support.store_operations import ENDPOINT, finish, submit, take

Open = Callable[[], SqliteStore]

LARGE = b"x" * 1_100_000


def copy_of(path: Path, name: str) -> Path:
    """As the page tells: the file first, then what it names."""
    copy = path.with_name(name)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as reader:
        reader.execute("VACUUM INTO ?", (str(copy),))
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
