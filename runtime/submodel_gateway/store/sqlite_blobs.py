"""Large payloads of the SQLite store: files beside the database, named before the row that owns them is committed.

In the database they would be written twice, into the log and into the file, inside the transaction that everybody
waits for. Functions here block; the store calls them from other threads than the event loop's.
"""

import os
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock

from submodel_gateway.errors import OperationFailed
from submodel_gateway.store import base

_UNFINISHED = ".part"


class BlobFiles:
    """The files in the directory `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._creating = Lock()

    def write(self, data: bytes) -> base.Blob:
        """A new file that survives a crash once this returns. Raises `OSError`, and then leaves nothing behind."""
        with self._creating:
            if not self.root.is_dir():
                self.root.mkdir(mode=0o700)
                _sync_directory(self.root.parent)
        name = secrets.token_hex(16)
        unfinished = self.root / (name + _UNFINISHED)
        try:
            with unfinished.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(self.root / name)
            _sync_directory(self.root)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
        return base.Blob(name, len(data))

    def read(self, blob: base.Blob) -> bytes:
        """Raises `OperationFailed` when the file is gone with its job."""
        try:
            return (self.root / blob.name).read_bytes()
        except FileNotFoundError as error:
            raise OperationFailed("the payload is gone with its job") from error
        except OSError as error:
            raise OperationFailed(f"a stored payload cannot be read: {error.strerror}") from error

    def remove(self, names: Iterable[str]) -> None:
        """Raises `OSError`; what is gone already is no error."""
        for name in names:
            (self.root / name).unlink(missing_ok=True)

    def remove_orphans(self, owned: Callable[[str], bool]) -> int:
        """Remove the files that no row owns, while nobody writes any; returns how many. Raises `OSError`."""
        if not self.root.exists():
            return 0
        with os.scandir(self.root) as entries:
            orphans = [each.name for each in entries if not owned(each.name)]
        self.remove(orphans)
        return len(orphans)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
