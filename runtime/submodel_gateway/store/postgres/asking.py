"""A connection on the event loop that comes back by itself."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection

from submodel_gateway.errors import StoreAway
from submodel_gateway.store.postgres.faults import Collision, ConnectionGone, away, fault
from submodel_gateway.store.postgres.session import connect_async, cut
from submodel_gateway.store.postgres.transaction import Row

PATIENCE_SECONDS = 5.0
"""How long a statement waits for the database to come back, or to answer."""

PAUSE_SECONDS = 0.05

Value = TypeVar("Value")


async def rows_of(connection: AsyncConnection[Row], statement: str, *values: Any) -> list[Row]:
    """What a statement gives. For `Desk.run`."""
    cursor = connection.cursor(binary=True)
    # The statements are constants of this package, put together from names of columns.
    await cursor.execute(statement, values)
    return await cursor.fetchall() if cursor.description else []


class Desk:
    """One connection, opened when it is needed; statements wait for each other.

    Args:
        relaxed: whether its commits need not wait for a disk.
    """

    def __init__(self, conninfo: str, *, relaxed: bool = False, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._conninfo = conninfo
        self._relaxed = relaxed
        self._patience_seconds = patience_seconds
        self._connection: AsyncConnection[Row] | None = None
        self._turn = asyncio.Lock()
        self._gone: ConnectionGone | None = None
        """Why the last one in line gave up; None once another one got through."""

        self._closing = asyncio.Event()

    async def fetch(self, statement: str, *values: Any) -> list[Row]:
        """Rows of a statement that may be run twice. Raises `StoreAway` and `StoreError`."""

        async def ask(connection: AsyncConnection[Row]) -> list[Row]:
            return await rows_of(connection, statement, *values)

        return await self.run(ask)

    async def run(self, work: Callable[[AsyncConnection[Row]], Awaitable[Value]]) -> Value:
        """Do something on the connection, again on a new one when it is lost. Raises `StoreAway` and `StoreError`."""
        deadline = time.monotonic() + self._patience_seconds
        async with self._turn:
            if self._gone is not None and time.monotonic() > deadline:
                # Each would wait in vain for as long as the one before, and who is last in line for minutes.
                raise away(self._gone)
            while True:
                if self._closing.is_set():
                    raise StoreAway("the job store is being closed")
                try:
                    done = await self._once(work)
                except (ConnectionGone, Collision) as gone:
                    if isinstance(gone, ConnectionGone):
                        await self._hang_up()
                    if time.monotonic() > deadline:
                        self._gone = gone if isinstance(gone, ConnectionGone) else None
                        raise away(gone) from gone
                else:
                    self._gone = None
                    return done
                await self._pause()

    async def close(self) -> None:
        """Let the connection go; what still waits hears that the store is away."""
        self._closing.set()
        if self._turn.locked() and self._connection is not None:
            cut(self._connection)
        async with self._turn:
            await self._hang_up()

    async def _once(self, work: Callable[[AsyncConnection[Row]], Awaitable[Value]]) -> Value:
        if self._connection is None or self._connection.closed:
            self._connection = await connect_async(self._conninfo, relaxed=self._relaxed)
        connection = self._connection
        # Not a timeout around the statement: a cancelled one asks the server, which may be what does not answer.
        overdue = asyncio.get_running_loop().call_later(self._patience_seconds, cut, connection)
        try:
            return await work(connection)
        except psycopg.Error as error:
            raise (ConnectionGone(str(fault(error))) if connection.closed else fault(error)) from error
        finally:
            overdue.cancel()

    async def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._closing.wait(), PAUSE_SECONDS)
        except TimeoutError:
            return
