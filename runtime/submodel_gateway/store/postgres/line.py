"""The writer's connection: dialled, watched while an answer is due, and cut when none comes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from psycopg import Connection
from psycopg.pq import TransactionStatus

from submodel_gateway.store.postgres.session import connect, cut
from submodel_gateway.store.postgres.transaction import Row

ANSWER_SECONDS = 20.0
"""A transaction that takes longer waits for a standby or a server that does not answer. It is never cancelled: only
its connection is given up, and what became of it is found out on the next one."""

_FAILED = TransactionStatus.INTRANS, TransactionStatus.INERROR


class Line:
    """At most one connection. All methods are the writer thread's, but for `cut_if_hung`."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._connection: Connection[Row] | None = None
        self._waiting_since: float | None = None
        self._lock = Lock()

    @property
    def up(self) -> bool:
        return self._connection is not None

    @property
    def connection(self) -> Connection[Row]:
        assert self._connection is not None, "dial comes first"
        return self._connection

    def dial(self) -> Connection[Row]:
        """A new connection. Raises as `session.connect`."""
        self.hang_up()
        connection = connect(self._conninfo)
        with self._lock:
            self._connection = connection
        return connection

    def hang_up(self) -> None:
        """Close the connection, if there is one."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """While answers are due."""
        self._waiting_since = time.monotonic()
        try:
            yield
        finally:
            self._waiting_since = None

    def cut_if_hung(self) -> bool:
        """Give the connection up when its answer is overdue; the thread that waits for it sees it as lost."""
        with self._lock:
            since, connection = self._waiting_since, self._connection
            if since is None or connection is None or time.monotonic() - since < ANSWER_SECONDS:
                return False
            cut(connection)
            return True

    @property
    def in_failed_transaction(self) -> bool:
        """Whether the server has answered that the present transaction cannot be committed any more, or must end so."""
        if self._connection is None or self._connection.closed:
            return False
        return self._connection.info.transaction_status in _FAILED
