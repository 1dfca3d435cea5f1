"""Connections: how they are opened, and what every session of ours sets."""

import os
import socket
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper

from submodel_gateway.errors import StoreUnusable
from submodel_gateway.store.postgres.faults import fault

SCHEMA = "submodel"
"""All tables live in a schema of this name; the database may serve others too."""

PREPARED_MAX = 500
"""Prepared statements are never dropped in the middle of a pipeline: there are far fewer."""

DEFAULTS = {
    "application_name": "submodel-gateway",
    "target_session_attrs": "read-write",  # of several hosts the primary; job states are never read from a standby
    "connect_timeout": 5,
    # Without these a partition is noticed after hours.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}

_SETTINGS = {
    "search_path": SCHEMA,
    "lock_timeout": "3s",
    "idle_in_transaction_session_timeout": "10s",
    "statement_timeout": "0",  # it would cancel commits, and a cancelled commit may be half of one
    # Plans by index, decided once: a plan made when the tables were empty, or full, must not turn into a scan.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    # These read a whole index to find a few rows of it, and look cheap while the table is small.
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",  # the penalty on scans would set it off where a scan is all there is
}
_SET = "SELECT " + ", ".join(f"set_config('{name}', '{value}', false)" for name, value in _SETTINGS.items())
_RELAXED = "SELECT set_config('synchronous_commit', 'off', false)"


def conninfo(url: str) -> str:
    """The connection string of a URL, with our defaults for what it leaves open. Raises `StoreUnusable`."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise StoreUnusable(f"the job store's URL cannot be read: {' '.join(str(error).split())}") from error
    missing: dict[str, Any] = {name: value for name, value in DEFAULTS.items() if name not in given}
    return make_conninfo(url, **missing)


def place(url: str) -> str:
    """Where a store is, for people: without user, password and options."""
    given = conninfo_to_dict(url)
    host, port = given.get("host") or given.get("hostaddr") or "localhost", given.get("port") or "5432"
    return f"{given.get('dbname') or given.get('user') or 'postgres'} at {host}:{port}"


def connect(info: str) -> Connection[tuple[Any, ...]]:
    """A session in which each statement is prepared and a transaction of its own. Raises as `faults.fault`."""
    try:
        connection = psycopg.connect(info, autocommit=True, prepare_threshold=0)
    except psycopg.Error as error:
        raise fault(error) from error
    try:
        _adapt(connection)
        connection.execute(_SET)
    except BaseException as error:
        connection.close()
        raise fault(error) if isinstance(error, psycopg.Error) else error from error
    return connection


async def connect_async(info: str, *, relaxed: bool = False) -> AsyncConnection[tuple[Any, ...]]:
    """The same on the event loop; `relaxed` when its commits need not wait for a disk."""
    try:
        connection = await AsyncConnection.connect(info, autocommit=True, prepare_threshold=0)
    except psycopg.Error as error:
        raise fault(error) from error
    try:
        _adapt(connection)
        await connection.execute(_SET)
        if relaxed:
            await connection.execute(_RELAXED)
    except BaseException as error:
        await connection.close()
        raise fault(error) if isinstance(error, psycopg.Error) else error from error
    return connection


def cut(connection: Connection[Any] | AsyncConnection[Any]) -> None:
    """Give up a connection that does not answer: whoever waits for it sees it as lost."""
    if not connection.closed:
        # Another thread may close it at this moment.
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as copy:
            copy.shutdown(socket.SHUT_RDWR)


def _adapt(connection: Connection[Any] | AsyncConnection[Any]) -> None:
    """One type for all whole numbers: by default each size of them makes a prepared statement of its own."""
    connection.prepared_max = PREPARED_MAX
    for dumper in (Int8Dumper, Int8BinaryDumper):
        connection.adapters.register_dumper(int, dumper)
