"""The file of the SQLite store: is it ours, does this version understand it, and which tables does it have.

What is not ours is left as it is: no byte of it is written before `check` has looked at it.
"""

import os
import sqlite3
from contextlib import closing
from importlib import resources
from pathlib import Path

from submodel_gateway.errors import StoreAway, StoreError, StoreUnusable
from submodel_gateway.store.owner import unwritable

SCHEMA = 3
_HEADER = b"SQLite format 3\0"
_MIGRATIONS = {1: "schema_1_to_2.sql", 2: "schema_2_to_3.sql"}
"""How a file of each older version becomes one of the next."""

OLDEST = min(_MIGRATIONS)


def check(path: Path) -> None:
    """Raises `StoreUnusable` when the file is there and is no store of ours."""
    try:
        with path.open("rb") as file:
            header = file.read(len(_HEADER))
    except FileNotFoundError:
        return
    except IsADirectoryError as error:
        raise StoreUnusable(f"the job store {path} is a directory; give the path of a file in it") from error
    except OSError as error:
        raise unwritable(path, error) from error
    if not header:
        return
    if header != _HEADER:
        raise StoreUnusable(f"the job store {path} is no SQLite database; choose another path")
    _check_tables(path)


def _check_tables(path: Path) -> None:
    # Immutable: no lock, no log and no index of one are made beside a file that may belong to another program.
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        try:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not tables:
                return
            version = _version(connection) if {"meta", "job", "tally"} <= tables else None
        except sqlite3.Error:
            # Not a statement about the file as a whole: part of it may be in a log that a crash has left behind.
            return
    _check_version(path, version)


def create(path: Path) -> None:
    """Make an empty file where there is none, for this user alone: payloads are in it. Raises `StoreUnusable`."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise unwritable(path, error) from error


def prepare(writer: sqlite3.Connection, path: Path) -> int:
    """Create the tables of a new file or bring those of an older one up to date; returns the epoch of this owner."""
    writer.execute("BEGIN IMMEDIATE")
    try:
        if not writer.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            _run(writer, "schema.sql")
        for step in range(_check_version(path, _version(writer)), SCHEMA):
            _run(writer, _MIGRATIONS[step])
        (epoch,) = writer.execute(
            "UPDATE meta SET value = value + 1 WHERE name = 'owner_epoch' RETURNING value"
        ).fetchone()
        writer.execute("COMMIT")
    except BaseException:
        if writer.in_transaction:
            writer.execute("ROLLBACK")
        raise
    return int(epoch)


def unusable(path: Path, error: sqlite3.Error) -> StoreUnusable:
    """What SQLite's refusal to open the file means to the operator."""
    remedy = _REMEDIES.get(primary_code(error), _REMEDY)
    return StoreUnusable(f"the job store {path} cannot be opened: {error}; {remedy}")


def unreadable(path: Path, error: sqlite3.Error) -> StoreError:
    """What a read that failed means to its caller. It had no effect: unless the file is damaged, it may be repeated."""
    if primary_code(error) in _NEVER:
        return StoreError(f"the job store {path} cannot be read: {error}; {_DAMAGED}")
    return StoreAway(f"the job store {path} cannot be read for now: {error}; try again")


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's kind of error, without what it adds to tell cases of it apart; 0 for errors of Python's module."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


_DAMAGED = "restore a copy of it, or move it and the files beside it away to begin with an empty one"
_NEVER = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_REMEDY = "look at its volume, or choose another path"
_REMEDIES = {
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_CANTOPEN: "let the gateway's user write it and its directory",
    sqlite3.SQLITE_READONLY: "let the gateway's user write it and its directory",
    sqlite3.SQLITE_PERM: "let the gateway's user write it and its directory",
    sqlite3.SQLITE_FULL: "make space on its volume",
    sqlite3.SQLITE_BUSY: "end the other program that uses it",
}


def _version(connection: sqlite3.Connection) -> int | None:
    """The version that the file says it has; None when it says nothing that a store of ours would."""
    try:
        row = connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
    except sqlite3.Error as error:
        if primary_code(error) == sqlite3.SQLITE_ERROR:  # no such table, or no such column
            return None
        raise
    return row[0] if row and isinstance(row[0], int) and row[0] >= OLDEST else None


def _check_version(path: Path, version: int | None) -> int:
    if version is None:
        raise StoreUnusable(f"the job store {path} is a database of another program; choose another path")
    if version > SCHEMA:
        raise StoreUnusable(
            f"the job store {path} has schema {version}, this gateway knows up to {SCHEMA}; run a newer version"
        )
    return version


def _run(writer: sqlite3.Connection, script: str) -> None:
    """Run the statements of a script inside the transaction; `executescript` would commit it first."""
    statement = ""
    for line in resources.files("submodel_gateway.store").joinpath(script).read_text().splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            writer.execute(statement)
            statement = ""
