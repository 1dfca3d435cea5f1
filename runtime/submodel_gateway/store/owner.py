"""The owner lock of a store file: one process writes it, a second one is refused before it can do harm."""

import fcntl
import os
from pathlib import Path

from submodel_gateway.errors import StoreUnusable


class OwnerLock:
    """An exclusive lock on `<path>.owner`, held for the life of the process and given up by its death."""

    def __init__(self, path: Path) -> None:
        """Take the lock. Raises `StoreUnusable` when another process holds it or the place cannot be written."""
        self.path = path.with_name(path.name + ".owner")
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnusable(
                f"the job store {path} cannot be written: {error.strerror}; choose another path"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise StoreUnusable(f"the job store {path} is in use by another gateway process; end it first") from error

    def release(self) -> None:
        """Let another process have the store."""
        os.close(self._file)
