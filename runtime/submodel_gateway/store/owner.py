"""The owner lock of a store file: one process writes it, a second one is refused before it can do harm."""

import errno
import fcntl
import os
from pathlib import Path

from submodel_gateway.errors import StoreUnusable

_REMEDIES = {
    errno.ENOENT: "create its directory, or choose another path",
    errno.EROFS: "choose a path on a volume that can be written",
    errno.ENOSPC: "make space on its volume",
}
_REMEDY = "let the gateway's user write it and its directory, or choose another path"


class OwnerLock:
    """An exclusive lock on `<path>.owner`, held for the life of the process and given up by its death."""

    def __init__(self, path: Path) -> None:
        """Take the lock. Raises `StoreUnusable` when another process holds it or the place cannot be written."""
        self.path = path.with_name(path.name + ".owner")
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise unwritable(path, error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise StoreUnusable(f"the job store {path} is in use by another gateway process; end it first") from error

    def release(self) -> None:
        """Let another process have the store."""
        os.close(self._file)


def unwritable(path: Path, error: OSError) -> StoreUnusable:
    """Why the place of the store cannot be written, and what to do."""
    remedy = _REMEDIES.get(error.errno or 0, _REMEDY)
    return StoreUnusable(f"the job store {path} cannot be written: {error.strerror}; {remedy}")
