"""A place where the SQLite store cannot live is refused with a remedy, and left as it was."""

import logging
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from submodel_gateway.errors import StoreUnusable
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.store import base
from submodel_gateway.store.sqlite import SqliteStore, tell_of_library
from submodel_gateway.store.sqlite_schema import SCHEMA
from tests.support.store_operations import ENDPOINT, submit
from tests.support.volume import fill, make_read_only, on_volume

NOBODY = 65_534

Open = Callable[[], SqliteStore]


def found(folder: Path) -> dict[str, bytes]:
    """Everything in a directory."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root may write everywhere; somebody else may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory on a path that everybody may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def write_foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE meta (name TEXT)")
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
        connection.commit()


async def write_store(path: Path) -> None:
    store = SqliteStore(path)
    store.apply([submit(f"job-{number}", input=b"x" * 3_000) for number in range(200)], 5)
    await store.close()


async def test_a_new_file_and_an_empty_one_become_stores(open_store: Open, tmp_path: Path) -> None:
    (tmp_path / "jobs.db").touch()
    store = open_store()
    store.apply([submit("a")], 5)
    await store.close()
    store = open_store()
    assert store.tally(ENDPOINT) == Tally(queued=1, arrived=1)
    await store.close()


async def test_the_database_of_another_program_is_refused(open_store: Open, tmp_path: Path) -> None:
    write_foreign(tmp_path / "jobs.db")
    before = found(tmp_path)
    with pytest.raises(StoreUnusable, match="is a database of another program; choose another path"):
        open_store()
    assert found(tmp_path) == before


@pytest.mark.parametrize(
    "meta",
    [
        "CREATE TABLE meta (id INTEGER)",
        "CREATE TABLE meta (name TEXT, value INTEGER)",
        "CREATE TABLE meta AS SELECT 'schema' AS name, 'public' AS value",
        "CREATE TABLE meta AS SELECT 'schema' AS name, 0 AS value",
    ],
)
@pytest.mark.parametrize("in_log", [False, True])
async def test_tables_of_another_program_that_are_named_like_ours_are_no_store(
    open_store: Open, tmp_path: Path, meta: str, in_log: bool
) -> None:
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as other:
        other.execute(f"PRAGMA journal_mode={'WAL' if in_log else 'DELETE'}")
        for statement in (meta, "CREATE TABLE job (id TEXT)", "CREATE TABLE tally (id TEXT)"):
            other.execute(statement)
        other.commit()
        before = found(tmp_path)
        with pytest.raises(StoreUnusable, match="is a database of another program; choose another path"):
            open_store()
        assert found(tmp_path)["jobs.db"] == before["jobs.db"]


async def test_a_database_in_use_by_another_program_is_refused_with_its_log(open_store: Open, tmp_path: Path) -> None:
    write_foreign(tmp_path / "jobs.db")
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("INSERT INTO bookmarks VALUES ('x')")
        other.commit()
        before = found(tmp_path)
        with pytest.raises(StoreUnusable, match="another program"):
            open_store()
        assert found(tmp_path) == before


async def test_a_file_that_is_no_database_is_refused(open_store: Open, tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_text("not a database, but long enough to be taken for one" * 20)
    before = found(tmp_path)
    with pytest.raises(StoreUnusable, match="is no SQLite database; choose another path"):
        open_store()
    assert found(tmp_path) == before


async def test_a_newer_schema_is_refused(open_store: Open, tmp_path: Path) -> None:
    await open_store().close()
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
        connection.execute("UPDATE meta SET value = ? WHERE name = 'schema'", (SCHEMA + 1,))
        connection.commit()
    before = found(tmp_path)
    with pytest.raises(StoreUnusable, match=f"has schema {SCHEMA + 1}, this gateway knows up to {SCHEMA}; run a newer"):
        open_store()
    assert found(tmp_path) == before


@pytest.mark.parametrize("damage", ["garbage", "truncated"])
async def test_a_damaged_file_is_refused(open_store: Open, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "jobs.db"
    await write_store(path)
    content = path.read_bytes()
    # All but the header, so that it looks like a database; or so little that most of its pages are missing.
    path.write_bytes(content[:100] + os.urandom(len(content) - 100) if damage == "garbage" else content[:8_192])
    before = path.read_bytes()
    with pytest.raises(StoreUnusable, match=r"cannot be opened: .*malformed; restore a copy of it, or move it"):
        open_store()
    assert path.read_bytes() == before


async def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="cannot be written: No such file or directory; create its directory"):
        SqliteStore(tmp_path / "missing" / "jobs.db")
    assert found(tmp_path) == {}


async def test_a_path_that_is_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    with pytest.raises(StoreUnusable, match="is a directory; give the path of a file in it"):
        SqliteStore(tmp_path / "jobs")
    assert found(tmp_path) == {}


@pytest.mark.parametrize("mode", [0o555, 0])
def test_a_directory_that_may_not_be_written_or_entered_is_refused(public: Path, mode: int) -> None:
    public.chmod(mode)
    with unprivileged(), pytest.raises(StoreUnusable, match="Permission denied; let the gateway's user write it"):
        SqliteStore(public / "jobs.db")
    public.chmod(0o755)
    assert found(public) == {}


async def test_a_file_that_may_not_be_read_is_refused(public: Path) -> None:
    await write_store(public / "jobs.db")
    (public / "jobs.db").chmod(0)
    with unprivileged(), pytest.raises(StoreUnusable, match="Permission denied; let the gateway's user write it"):
        SqliteStore(public / "jobs.db")
    (public / "jobs.db").chmod(0o600)


async def test_a_file_that_may_only_be_read_is_refused(public: Path) -> None:
    await write_store(public / "jobs.db")
    for path, mode in ((public / "jobs.db", 0o444), (public / "jobs.db.owner", 0o666), (public, 0o777)):
        os.chmod(path, mode)
    before = found(public)["jobs.db"]
    with (
        unprivileged(),
        pytest.raises(StoreUnusable, match="cannot be written: Permission denied; let the gateway's user write it"),
    ):
        SqliteStore(public / "jobs.db")
    assert found(public)["jobs.db"] == before


@on_volume(mib=8)
async def test_a_volume_that_cannot_be_written_is_refused(volume: Path) -> None:
    await write_store(volume / "jobs.db")
    make_read_only(volume)
    for name in ("jobs.db", "new.db"):
        with pytest.raises(StoreUnusable, match="Read-only file system; choose a path on a volume that can be written"):
            SqliteStore(volume / name)


@on_volume(mib=1)
async def test_a_volume_without_any_space_is_refused(volume: Path) -> None:
    fill(volume)
    with pytest.raises(StoreUnusable, match="make space on its volume"):
        SqliteStore(volume / "jobs.db")


async def test_a_second_gateway_is_refused_while_the_first_one_lives(open_store: Open) -> None:
    store = open_store()
    with pytest.raises(StoreUnusable, match="is in use by another gateway process; end it first"):
        open_store()
    store.apply([submit("a")], 5)
    await store.close()
    await open_store().close()


async def test_without_locks_the_gateway_that_came_first_writes_nothing_more(open_store: Open, tmp_path: Path) -> None:
    first = open_store()
    first.apply([submit("a")], 5)
    (tmp_path / "jobs.db.owner").unlink()
    second = open_store()
    for operation in (submit("b"), base.PutEndpoint(endpoint=ENDPOINT, registration=b"{}")):
        with pytest.raises(StoreUnusable, match="was opened by another gateway after this one"):
            first.apply([operation], 6)
    second.apply([submit("c")], 7)
    await first.close()
    assert (tmp_path / "jobs.db.ballast").stat().st_size
    second.apply([submit("d")], 8)
    await second.close()
    store = open_store()
    there = [(await store.job(ENDPOINT, id)) is not None for id in "abcd"]
    assert there == [True, False, True, True]
    assert await store.endpoints() == {}
    await store.close()


async def test_an_old_library_is_told_once_and_warned_of_never(
    open_store: Open, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 2))
    caplog.set_level(logging.INFO)
    tell_of_library.cache_clear()
    for _ in range(2):
        store = open_store()
        await store.start(lambda endpoints: None)
        await store.close()
    told = [record.levelno for record in caplog.records if "older than 3.51.3" in record.getMessage()]
    assert told == [logging.INFO]
