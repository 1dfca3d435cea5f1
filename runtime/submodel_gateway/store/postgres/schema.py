"""Tables and their versions: forward only, and only adding, so that gateways of two versions work side by side.

The row `schema` in `meta` is the version of the tables, `compatible` the oldest gateway schema that can work with them.
A migration that an old gateway could not bear raises `compatible`; such a one is rolled out in two releases.
"""

import logging
from functools import cache
from importlib import resources
from typing import Any

import psycopg
from psycopg import Connection

from submodel_gateway.errors import StoreUnusable
from submodel_gateway.store.postgres.faults import ConnectionGone, fault
from submodel_gateway.store.postgres.session import SCHEMA, connect

VERSION = 4
"""The newest migration in `migrations/`."""

COMPATIBLE = 1
SERVER_MIN = 140_000
_LOCK = 0x5B_30DE1  # any number that nobody else takes for an advisory lock

_EXISTS = """
SELECT count(*), count(*) FILTER (WHERE relname = 'meta')
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = %s AND relkind IN ('r', 'p', 'v', 'm')
"""
# With its schema: one that this user may not look into is passed over by the search path.
_VERSIONS = f"SELECT name, value FROM {SCHEMA}.meta WHERE name IN ('schema', 'compatible')"
_NOT_OURS = "42P01", "42703", "42883"  # no such table, column, or comparison

log = logging.getLogger(__name__)


def prepare(conninfo: str, place: str) -> None:
    """Create or complete the tables, or find them complete. Raises `StoreUnusable`, or `ConnectionGone`.

    Args:
        place: which database it is, for people.
    """
    with connect(conninfo) as connection:
        try:
            _check_server(connection, place)
            if _version(connection, place) < VERSION:
                _migrate(connection, place)
            _warn(connection)
        except psycopg.Error as error:
            raise _refusal(error, connection, place) from error


def _check_server(connection: Connection[Any], place: str) -> None:
    version = connection.info.server_version
    if version < SERVER_MIN:
        shown = f"{version // 10_000}.{version % 10_000}"
        raise StoreUnusable(f"the job store {place} is PostgreSQL {shown}; 14 is the oldest that serves")
    ((encoding,),) = connection.execute("SHOW server_encoding").fetchall()
    if encoding != "UTF8":
        raise StoreUnusable(f"the job store {place} has the encoding {encoding}; create a database with UTF8")


def _version(connection: Connection[Any], place: str) -> int:
    """The version of the tables, 0 when there are none."""
    ((tables, ours),) = connection.execute(_EXISTS, [SCHEMA]).fetchall()
    if not tables:
        return 0
    foreign = StoreUnusable(
        f"the job store {place} has a schema {SCHEMA!r} that belongs to something else; use another database"
    )
    if not ours:
        raise foreign
    try:
        found = dict(connection.execute(_VERSIONS).fetchall())
    except psycopg.Error as error:
        if error.sqlstate in _NOT_OURS:
            raise foreign from error
        raise
    if "schema" not in found or "compatible" not in found:
        raise foreign
    if found["compatible"] > VERSION:
        raise StoreUnusable(
            f"the job store {place} has schema {found['schema']}, which needs a gateway that knows "
            f"{found['compatible']} at least; this one knows up to {VERSION}: run a newer version"
        )
    return int(found["schema"])


def _migrate(connection: Connection[Any], place: str) -> None:
    """Apply what is missing in one transaction; of several gateways that start together, one does."""
    with connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '60s'")
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        found = _version(connection, place)
        if not found:
            _create_schema(connection)
        for version in range(found + 1, VERSION + 1):
            name = f"{version:04}.sql"
            log.info("job store %s: migration %s", place, name)
            script = resources.files(__package__).joinpath("migrations", name).read_text("utf-8")
            # Without values a script may hold several statements.
            connection.execute(script, prepare=False)
        for mark, value in (("schema", VERSION), ("compatible", COMPATIBLE)):
            connection.execute(
                "INSERT INTO meta (name, value) VALUES (%s, %s)"
                " ON CONFLICT (name) DO UPDATE SET value = greatest(meta.value, excluded.value)",
                [mark, value],
            )


def _create_schema(connection: Connection[Any]) -> None:
    """Only where it is missing: its owner may have made it for a user who cannot."""
    if not connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [SCHEMA]).fetchall():
        connection.execute(f"CREATE SCHEMA {SCHEMA}")


def _warn(connection: Connection[Any]) -> None:
    ((fsync,),) = connection.execute("SHOW fsync").fetchall()
    if fsync == "off":
        _warn_of_fsync()


@cache
def _warn_of_fsync() -> None:
    """Once per process."""
    log.warning("the job store's database runs with fsync off: it loses acknowledged jobs with its machine's power")


def _refusal(error: psycopg.Error, connection: Connection[Any], place: str) -> Exception:
    if error.sqlstate == "42501":
        user, text = connection.info.user, error.diag.message_primary
        return StoreUnusable(
            f"the job store {place} refuses its user {user!r}: {text}; let the database's owner run "
            f"CREATE SCHEMA {SCHEMA} AUTHORIZATION {user}, or GRANT CREATE ON DATABASE"
        )
    cause = fault(error)
    if isinstance(cause, ConnectionGone):
        return cause
    return StoreUnusable(f"the job store {place} cannot be prepared: {cause}")
