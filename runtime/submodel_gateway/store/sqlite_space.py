"""Room for new jobs in the SQLite store, and the ballast that keeps room for the end of the old ones.

A full disk must not keep jobs from ending: that is what frees space. So a file without content takes some of it in
advance. When nothing can be written any more, it is given up and no new jobs are taken, until there is space enough
for it and for them.
"""

import errno
import logging
import os
import sqlite3
import sys
from contextlib import suppress
from pathlib import Path
from threading import Lock

import msgspec

BALLAST_BYTES = 64 * 1024 * 1024
SHARE = 0.8
"""Of the space that there is, or of the quota, new jobs may fill this much."""

LOOK_MS = 1_000
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE}
# A quota of the file system is told as a failed write, a log index that cannot grow by a code of its own.
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}

log = logging.getLogger(__name__)


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that the store takes: pages in use, its log, its files of large payloads; and its pages that are free."""

    pages: int
    log: int
    blobs: int
    reusable: int

    @property
    def total(self) -> int:
        return self.pages + self.log + self.blobs


def room(use: Use, free_bytes: int, quota_bytes: int | None) -> int:
    """Bytes that new jobs may still take, with so much left of the volume; negative when there are too many."""
    most = SHARE * (use.total + use.reusable + free_bytes)
    if quota_bytes is not None:
        most = min(most, SHARE * quota_bytes)
    return int(most) - use.total


def is_full(error: Exception) -> bool:
    """Whether something could not be written for want of space."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) in _FULL
    return isinstance(error, OSError) and error.errno in _NO_SPACE


class Space:
    """The volume under the store at `path`. The writer's thread looks; any thread may give the ballast up."""

    def __init__(self, path: Path, quota_bytes: int | None, ballast_bytes: int = BALLAST_BYTES) -> None:
        self.admits = False
        self.short_bytes = ballast_bytes // 16
        """What the log may take where there is no room: it must not use up what the ballast has made."""

        self._looked_at = 0
        self._left = 0
        self._written = 0
        self._freed = False
        self._ballast = path.with_name(path.name + ".ballast")
        self._ballast_bytes = ballast_bytes
        self._quota_bytes = quota_bytes
        self._told: bool | None = None
        self._lock = Lock()

    def is_due(self, now: int) -> bool:
        """Whether it is time to look again: after a second, or sooner when that may change the answer."""
        changed = 4 * self._written > self._left if self.admits else self._freed
        return changed or now - self._looked_at >= LOOK_MS

    def note(self, written_bytes: int, *, freed: bool) -> None:
        """So many bytes of payloads were stored, and perhaps some were let go."""
        self._written += written_bytes
        self._freed |= freed

    def look(self, use: Use, now: int) -> None:
        """Decide anew whether there is room, and take the ballast on board again once there is."""
        self._looked_at, self._written, self._freed = now, 0, False
        try:
            volume = os.statvfs(self._ballast.parent)
        except OSError as error:
            log.error("the space of the job store's volume cannot be read: %s", error)
            return
        free = volume.f_bavail * volume.f_frsize
        with self._lock:
            missing = 0 if self._is_on_board() else self._ballast_bytes
            self._left = room(use, free - missing, self._quota_bytes)
            self.admits = self._left >= 0 and (not missing or self._take_on_board())
        if self.admits is not self._told:
            self._tell(use, free)

    def give_up_ballast(self) -> bool:
        """Make space by the ballast, and take no new jobs; False when it is gone already."""
        with self._lock:
            self.admits = False
            try:
                self._ballast.unlink()
            except OSError:
                return False
        log.warning("no space is left for the job store: its reserve is used up now, and new jobs are refused")
        return True

    def close(self) -> None:
        """Give the ballast back: nothing runs that it would have to end, and opening again takes it on board."""
        with suppress(OSError):
            self._ballast.unlink()

    def _is_on_board(self) -> bool:
        try:
            return self._ballast.stat().st_size >= self._ballast_bytes
        except OSError:
            return False

    def _take_on_board(self) -> bool:
        try:
            _fill(self._ballast, self._ballast_bytes)
        except OSError as error:
            self.close()
            log.warning("the reserve of the job store could not be written: %s", error.strerror)
            return False
        return True

    def _tell(self, use: Use, free: int) -> None:
        if not self.admits:
            log.warning(
                "new jobs are refused: the job store takes %d bytes, its volume has %d left, its quota is %s",
                use.total,
                free,
                self._quota_bytes or "none",
            )
        elif self._told is not None:
            log.info("new jobs are taken again: the job store has room")
        self._told = self.admits


def _fill(path: Path, size: int) -> None:
    """Make the file so long that the space is really its own."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if sys.platform == "darwin":
            os.write(descriptor, bytes(size))
        else:
            os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)
