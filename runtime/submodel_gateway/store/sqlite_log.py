"""The write-ahead log of the SQLite store: moved into the file before it gets long, and when nobody waits.

Nothing here raises: what the log holds is durable where it is, and an error would take back a commit's answer.
"""

import logging
import sqlite3
from pathlib import Path

ROWS_MAX = 8_000
BYTES_MAX = 64 * 1024 * 1024

log = logging.getLogger(__name__)


class WriteAheadLog:
    """The log of the database at `path`, moved by its only writer."""

    def __init__(self, writer: sqlite3.Connection, path: Path) -> None:
        self._writer = writer
        self._file = path.with_name(path.name + "-wal")
        self._moved = writer.total_changes

    @property
    def size(self) -> int:
        """Bytes of its file, 0 when they cannot be read."""
        try:
            return self._file.stat().st_size
        except OSError as error:
            log.error("the size of the job store's log cannot be read: %s", error)
            return 0

    @property
    def rows(self) -> int:
        """Rows changed since it was moved."""
        return self._writer.total_changes - self._moved

    def look_after(self, bytes_max: int = BYTES_MAX) -> None:
        """To be called after each commit. A log that is longer gives its space back."""
        if self.size > bytes_max:
            self.move("TRUNCATE")
        elif self.rows > ROWS_MAX:
            self.move()

    def move(self, mode: str = "PASSIVE") -> None:
        """Move what it holds into the file: all that readers allow, or with TRUNCATE everything."""
        self._moved = self._writer.total_changes
        try:
            self._writer.execute(f"PRAGMA wal_checkpoint({mode})")
        except sqlite3.Error as error:
            log.error("the job store's log could not be moved into its file, it will be tried again: %s", error)
