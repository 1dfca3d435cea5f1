"""The SQLite store on a volume that fills up: new jobs are refused in time, and what is there can always end."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from submodel.contract.states import JobState
from submodel_gateway.errors import StoreFull
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.jobs.transition import Reason
from submodel_gateway.store import base
from submodel_gateway.store.sqlite import SqliteStore
from submodel_gateway.store.sqlite_space import LOOK_MS, Space, Use, room
from tests.support.store_calls import NOW, applied, one, refused, running, state
from tests.support.store_operations import ENDPOINT, RETENTION_MS, finish, heartbeat, purge, submit, sweep
from tests.support.volume import fill, on_volume

MEBIBYTE = 1024 * 1024
BULK = b"x" * 100_000
LATER = NOW + LOOK_MS
NOTHING = Use(pages=0, log=0, blobs=0, reusable=0)


def small(volume: Path, quota_bytes: int | None = None) -> SqliteStore:
    return SqliteStore(volume / "jobs.db", quota_bytes, ballast_bytes=4 * MEBIBYTE)


def submit_until_full(store: SqliteStore, now: int = NOW) -> int:
    """How many jobs were taken."""
    for number in range(10_000):
        outcome = one(store, submit(f"bulk-{number}", input=BULK), now)
        if outcome == base.Refused(Reason.FULL):
            return number
        assert isinstance(outcome, base.Applied)
    raise AssertionError("it is never full")


@pytest.mark.parametrize(
    ("use", "free", "quota", "left"),
    [
        (NOTHING, 1_000, None, 800),
        (Use(pages=500, log=100, blobs=100, reusable=0), 300, None, 100),
        (Use(pages=500, log=100, blobs=300, reusable=0), 100, None, -100),
        (Use(pages=100, log=0, blobs=0, reusable=900), 0, None, 700),
        (Use(pages=100, log=0, blobs=0, reusable=0), 10**9, 1_000, 700),
        (Use(pages=100, log=500, blobs=300, reusable=0), 10**9, 1_000, -100),
    ],
)
def test_room_is_80_percent_of_what_there_is_or_of_the_quota(use: Use, free: int, quota: int | None, left: int) -> None:
    assert room(use, free, quota) == left


def test_a_look_is_due_after_a_second_or_when_its_answer_may_have_changed(tmp_path: Path) -> None:
    space = Space(tmp_path / "jobs.db", quota_bytes=10 * MEBIBYTE, ballast_bytes=MEBIBYTE)
    assert looked(space, NOTHING, NOW)
    assert not space.is_due(NOW + LOOK_MS - 1)
    assert space.is_due(NOW + LOOK_MS)
    space.note(3 * MEBIBYTE, freed=False)
    assert space.is_due(NOW + 1)
    assert not looked(space, Use(pages=9 * MEBIBYTE, log=0, blobs=0, reusable=0), NOW + 1)
    assert not space.is_due(NOW + 2)
    space.note(0, freed=True)
    assert space.is_due(NOW + 2)


def looked(space: Space, use: Use, now: int) -> bool:
    space.look(use, now)
    return space.admits


async def test_the_quota_counts_rows_and_log_and_what_was_let_go_is_free_again(tmp_path: Path) -> None:
    store = small(tmp_path, quota_bytes=10 * MEBIBYTE)
    assert 60 < submit_until_full(store) < 85
    await store.close()
    store = small(tmp_path, quota_bytes=10 * MEBIBYTE)
    assert refused(store, submit("more"), LATER) is Reason.FULL
    one(store, purge(), LATER)
    one(store, sweep(LATER + RETENTION_MS), LATER + RETENTION_MS)
    applied(store, submit("more"), LATER + RETENTION_MS)
    await store.close()


async def test_the_quota_counts_files_of_large_payloads_as_long_as_they_have_a_job(tmp_path: Path) -> None:
    store = small(tmp_path, quota_bytes=10 * MEBIBYTE)
    applied(store, submit("large", input=await store.stash(b"x" * 9 * MEBIBYTE)))
    await store.close()
    store = small(tmp_path, quota_bytes=10 * MEBIBYTE)
    assert refused(store, submit("more"), LATER) is Reason.FULL
    one(store, purge(), LATER)
    one(store, sweep(LATER + RETENTION_MS), LATER + RETENTION_MS)
    applied(store, submit("more"), LATER + RETENTION_MS)
    await store.close()


@on_volume(mib=24)
async def test_on_a_full_volume_jobs_end_and_new_ones_are_refused_until_there_is_space(volume: Path) -> None:
    store = small(volume)
    jobs = [running(store, f"job-{number}") for number in range(20)]
    filler = fill(volume)
    # The second has not passed, and yet the first write that fails is enough.
    outcomes = store.apply([finish(jobs[0], BULK), submit("new", input=BULK), heartbeat(jobs[1])], NOW + 1)
    assert outcomes[1] == base.Refused(Reason.FULL)
    assert [type(outcome) for outcome in outcomes] == [base.Applied, base.Refused, base.Applied]
    assert not (volume / "jobs.db.ballast").exists()
    for job in jobs[1:]:
        applied(store, finish(job, BULK), NOW + 2)
    assert refused(store, submit("new"), LATER + 2) is Reason.FULL
    filler.unlink()
    assert refused(store, submit("new"), LATER + 3) is Reason.FULL
    applied(store, submit("new"), LATER + 2 + LOOK_MS)
    assert (volume / "jobs.db.ballast").stat().st_size == 4 * MEBIBYTE
    await store.close()
    store = small(volume)
    assert [await state(store, job.id) for job in jobs] == [JobState.COMPLETED] * 20
    await store.close()


@on_volume(mib=24)
async def test_jobs_are_refused_before_the_volume_is_full(volume: Path) -> None:
    store = small(volume)
    # Rows are in the log first and in the file later; it is moved before it counts against new jobs.
    assert 100 < submit_until_full(store) < 170
    assert (volume / "jobs.db.ballast").exists()
    await store.close()


@on_volume(mib=24)
async def test_what_cannot_be_written_even_then_did_not_happen(volume: Path) -> None:
    store = small(volume)
    job, other = running(store, "a"), running(store, "b")
    fill(volume)
    applied(store, heartbeat(job), NOW + 1)
    fill(volume, "more")
    before = await store.job(ENDPOINT, "a")
    with raises_full():
        one(store, finish(job, b"x" * MEBIBYTE), NOW + 2)
    assert await store.job(ENDPOINT, "a") == before
    assert await store.content(job) == base.Content()
    assert store.tally(ENDPOINT) == Tally(in_progress=2, arrived=2)
    with raises_full():
        await store.stash(b"x" * MEBIBYTE)
    assert list((volume / "jobs.db.blobs").iterdir()) == []
    (volume / "filler").unlink()
    (volume / "more").unlink()
    applied(store, finish(job, b"x" * MEBIBYTE), NOW + 3)
    applied(store, finish(other, await store.stash(b"x" * MEBIBYTE)), NOW + 3)
    await store.close()


@on_volume(mib=24)
async def test_a_large_result_takes_the_reserve_too(volume: Path) -> None:
    store = small(volume)
    job = running(store)
    fill(volume)
    applied(store, finish(job, await store.stash(b"x" * 2 * MEBIBYTE)), NOW + 1)
    assert refused(store, submit("new"), NOW + 2) is Reason.FULL
    await store.close()


@on_volume(mib=24)
async def test_the_log_does_not_use_up_the_reserve(volume: Path) -> None:
    store = small(volume)
    job = running(store)
    fill(volume)
    for number in range(400):
        applied(store, heartbeat(job), NOW + number)
    await store.close()


@on_volume(mib=24)
async def test_a_gateway_that_was_killed_comes_back_on_a_full_volume(volume: Path) -> None:
    store = small(volume)
    job = running(store)
    # As a kill leaves it: the files as they are, and no lock.
    for name in ("jobs.db", "jobs.db-wal", "jobs.db.ballast"):
        shutil.copy(volume / name, volume / name.replace("jobs", "killed"))
    await store.close()
    fill(volume)
    store = SqliteStore(volume / "killed.db", ballast_bytes=4 * MEBIBYTE)
    assert await store.job(ENDPOINT, "a") == job
    assert refused(store, submit("new")) is Reason.FULL
    applied(store, finish(job))
    await store.close()


@contextmanager
def raises_full() -> Iterator[None]:
    with pytest.raises(StoreFull, match=r"full|No space left"):
        yield
