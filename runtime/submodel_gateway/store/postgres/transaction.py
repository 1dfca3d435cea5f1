"""One transaction of the writer, in the driver's pipeline: statements are sent when a result is asked for."""

from typing import Any

from psycopg import Connection, Cursor

from submodel_gateway.store.postgres import statements as sql

Row = tuple[Any, ...]


class Transaction:
    """Made inside a `Connection.pipeline()`. Driver errors come out of `rows`, `fetch` and the pipeline's end."""

    def __init__(self, connection: Connection[Row]) -> None:
        self._connection = connection

    def queue(self, statement: str, *values: Any) -> Cursor[Row]:
        """Send with whatever comes next; its result is for `rows`."""
        cursor = self._connection.cursor(binary=True)
        # The statements are constants of this package, put together from names of columns.
        cursor.execute(statement, values)
        return cursor

    def rows(self, cursor: Cursor[Row]) -> list[Row]:
        """Wait for a queued statement."""
        return cursor.fetchall()

    def fetch(self, statement: str, *values: Any) -> list[Row]:
        """One statement now."""
        return self.rows(self.queue(statement, *values))

    def begin(self, *, relaxed: bool) -> None:
        """The first statement."""
        self.queue(sql.BEGIN)
        if relaxed:
            self.queue(sql.RELAX)
