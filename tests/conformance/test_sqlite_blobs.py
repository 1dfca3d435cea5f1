"""Files of large payloads beside the SQLite store: none is lost, and none stays behind."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from submodel_gateway.errors import StoreError
from submodel_gateway.store import base
from submodel_gateway.store.sqlite import SqliteStore
from tests.support.store_calls import NOW, applied, one, running, swept
from tests.support.store_operations import ENDPOINT, RETENTION_MS, finish, submit

Open = Callable[[], SqliteStore]

LARGE = b"x" * 1_100_000


def files(folder: Path) -> set[str]:
    return {path.name for path in (folder / "jobs.db.blobs").iterdir()}


def others_may(folder: Path) -> dict[str, int]:
    """What group and others may do with each file."""
    return {path.name: path.stat().st_mode & 0o077 for path in folder.iterdir()}


def inode(path: Path) -> int:
    return path.stat().st_ino


async def serve_once(store: SqliteStore) -> None:
    await store.start(lambda endpoints: None)
    await store.close()


async def test_a_payload_is_a_file_and_its_job_only_names_it(open_store: Open, tmp_path: Path) -> None:
    store = open_store()
    applied(store, finish(running(store, input=await store.stash(LARGE)), await store.stash(LARGE)))
    await store.close()
    assert len(files(tmp_path)) == 2
    assert (tmp_path / "jobs.db").stat().st_size < len(LARGE)


async def test_files_of_the_store_are_for_its_user_alone(open_store: Open, tmp_path: Path) -> None:
    store = open_store()
    applied(store, submit("a", input=await store.stash(LARGE)))
    modes = others_may(tmp_path)
    await store.close()
    assert modes.keys() >= {"jobs.db", "jobs.db-wal", "jobs.db.ballast", "jobs.db.blobs"}
    assert set(modes.values()) == {0}


async def test_a_payload_and_its_name_are_on_disk_before_anybody_refers_to_it(
    open_store: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    store = open_store()
    monkeypatch.setattr(os, "fsync", noted)
    blob = await store.stash(LARGE)
    folder = tmp_path / "jobs.db.blobs"
    assert synced == [inode(tmp_path), inode(folder / blob.name), inode(folder)]
    await store.close()


async def test_payloads_of_jobs_survive_and_go_with_them_after_a_restart(open_store: Open, tmp_path: Path) -> None:
    store = open_store()
    input, output = await store.stash(LARGE), await store.stash(LARGE)
    done = applied(store, finish(running(store, input=input), output))
    await store.close()
    await serve_once(open_store())
    assert files(tmp_path) == {input.name, output.name}
    store = open_store()
    assert (await store.content(done)).output == output
    assert await store.fetch(output) == LARGE
    assert swept(store, NOW + RETENTION_MS) == ["a"]
    assert files(tmp_path) == set()
    await store.close()


async def test_files_without_a_job_are_removed_at_the_start(
    open_store: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    store = open_store()
    owned, _ = await store.stash(LARGE), await store.stash(LARGE)
    applied(store, submit("a", input=owned))
    await store.close()
    (tmp_path / "jobs.db.blobs" / "1234.part").touch()
    await serve_once(open_store())
    assert files(tmp_path) == {owned.name}
    assert "removed 2 payloads that belonged to no job" in caplog.text


async def test_a_payload_of_a_failed_group_belongs_to_no_job(open_store: Open, tmp_path: Path) -> None:
    store = open_store()
    blob = await store.stash(LARGE)
    with pytest.raises(OverflowError):
        store.apply([submit("a", input=blob), submit("b", pri=2**70)], NOW)
    await store.discard(blob)
    assert files(tmp_path) == set()
    await store.close()


async def test_a_discarded_payload_that_has_a_job_stays(open_store: Open) -> None:
    store = open_store()
    blob = await store.stash(LARGE)
    applied(store, submit("a", input=blob))
    await store.discard(blob)
    assert await store.fetch(blob) == LARGE
    await store.close()


async def test_a_file_that_somebody_removed_is_an_error_of_its_reader_alone(open_store: Open, tmp_path: Path) -> None:
    store = open_store()
    blob = await store.stash(LARGE)
    applied(store, submit("a", input=blob, retention_ms=0))
    (tmp_path / "jobs.db.blobs" / blob.name).unlink()
    with pytest.raises(StoreError, match="gone"):
        await store.fetch(blob)
    one(store, base.Cancel(endpoint=ENDPOINT, id="a"))
    assert swept(store, NOW) == ["a"]
    await store.close()


async def test_a_directory_that_cannot_be_used_is_an_error_of_the_payload_alone(
    open_store: Open, tmp_path: Path
) -> None:
    (tmp_path / "jobs.db.blobs").touch()
    store = open_store()
    with pytest.raises(StoreError, match="a large payload could not be stored"):
        await store.stash(LARGE)
    applied(store, submit("a"))
    await store.close()
