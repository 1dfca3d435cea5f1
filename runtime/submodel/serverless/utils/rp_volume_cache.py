"""Keeps local directories warm across workers: a mirror of them on a volume that the workers share.

The mirror of `/root/.cache/x` is `<volume>/.cache/<namespace>/root/.cache/x`, file by file. A copy is written beside
its place and moved there, so that nobody reads half a file; what is there already is left alone.
"""

import atexit
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from submodel.serverless.environment import variable
from submodel.serverless.modules.rp_logger import RunPodLogger

__all__ = ["VolumeCache"]

MTIME_TOLERANCE_SECONDS = 2.0
"""What network file systems may round an instant by."""

JOIN_SECONDS = 30.0
"""How long the process waits for a sync at its end."""

VOLUME_DEFAULT = "/runpod-volume"
VOLUME_OTHER = "/submodel-volume"
"""Taken when no volume is mounted at the default."""

_SUFFIX = ".copying"
_SKIPPED_FOLDERS = frozenset({"refs", ".no_exist"})
"""Of Hugging Face's cache: pointers, which must not outlive what they point to."""

_Copy = tuple[Path, Path]
_Result = bool | OSError
"""Whether a file was copied, or why it could not be."""


class VolumeCache:
    """Directories that are filled from the volume (`hydrate`) and saved to it (`sync`).

    As a context manager: filled at the beginning, saved in the background after a block that did not fail.

    Args:
        dirs: the local directories.
        namespace: keeps mirrors apart; a single path component. Else the endpoint's id.
        volume_path: where the volume is mounted.
        best_effort: write failures to the log instead of raising them: a cache must not stop a worker.
        max_workers: files that are copied at once.
    """

    def __init__(
        self,
        dirs: Iterable[str | os.PathLike[str]],
        *,
        namespace: str | None = None,
        volume_path: str | os.PathLike[str] = VOLUME_DEFAULT,
        best_effort: bool = True,
        max_workers: int | None = None,
    ) -> None:
        self._dirs = [Path(os.path.realpath(directory)) for directory in dirs]
        self._namespace = namespace or variable("ENDPOINT_ID")
        if self._namespace and not _is_component(self._namespace):
            raise ValueError(f"namespace must be a single safe path component, got {self._namespace!r}")
        self._volume = _volume(Path(volume_path))
        self._best_effort = best_effort
        self._max_workers = max_workers or min(32, (os.cpu_count() or 4) * 4)

    @property
    def available(self) -> bool:
        """Whether there are a volume and a namespace; without them nothing is done."""
        return bool(self._namespace) and self._volume.is_dir()

    def hydrate(self) -> int:
        """Copy what is missing here, or newer on the volume; returns how many files were copied."""
        return self._copy_all(self._from_volume(), "from") if self.available else 0

    def sync(self, *, background: bool = True) -> None:
        """Copy what is missing on the volume, or newer here. In the background failures go to the log only; the end
        of the process waits for it, though not for ever."""
        if not self.available:
            return
        if background:
            _background(_Copying(self._to_volume(), self._max_workers, lambda results: self._report(results, "to")))
        else:
            self._copy_all(self._to_volume(), "to")

    def __enter__(self) -> "VolumeCache":
        self.hydrate()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None:
            self.sync()

    @property
    def _mirror(self) -> Path:
        return self._volume / ".cache" / self._namespace

    def _from_volume(self) -> Iterator[_Copy]:
        for directory in self._dirs:
            for mirrored in _files(self._mirror / directory.relative_to("/")):
                local = Path("/") / mirrored.relative_to(self._mirror)
                # A directory in between may be a link that leads elsewhere.
                if Path(os.path.realpath(local)).is_relative_to(directory):
                    yield mirrored, local

    def _to_volume(self) -> Iterator[_Copy]:
        for directory in self._dirs:
            for local in _files(directory):
                yield local, self._mirror / local.relative_to("/")

    def _copy_all(self, copies: Iterator[_Copy], direction: str) -> int:
        copying = _Copying(copies, self._max_workers, lambda results: None)
        copying.wait(None)
        failures = [result for result in copying.results if isinstance(result, OSError)]
        if failures and not self._best_effort:
            raise failures[0]
        self._report(copying.results, direction)
        return copying.results.count(True)

    def _report(self, results: list[_Result], direction: str) -> None:
        failures = [result for result in results if isinstance(result, OSError)]
        if failures:
            RunPodLogger().warn(
                f"VolumeCache: {len(failures)} files could not be copied {direction} the volume: {failures[0]}"
            )
        if copied := results.count(True):
            RunPodLogger().info(f"VolumeCache: copied {copied} files {direction} {self._mirror}")


class _Copying:
    """Copies that are under way in threads of their own. A pool of the standard library's cannot be used: it takes no
    more work once the process has begun to end, and a handler may end right after its last `sync`."""

    def __init__(self, copies: Iterator[_Copy], workers: int, done: Callable[[list[_Result]], None]) -> None:
        self.results: list[_Result] = []
        self._copies = copies
        self._done = done
        self._lock = threading.Lock()
        self._busy = workers
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def wait(self, seconds: float | None) -> bool:
        """Whether all is copied, after `seconds` a thread at most."""
        for thread in self._threads:
            thread.join(seconds)
            if thread.is_alive():
                return False
        return True

    def _work(self) -> None:
        while (copy := self._next()) is not None:
            self.results.append(_copied(copy))
        with self._lock:
            self._busy -= 1
            last = self._busy == 0
        if last:
            self._done(self.results)

    def _next(self) -> _Copy | None:
        with self._lock:
            return next(self._copies, None)


_pending: list[_Copying] = []


def _background(copying: _Copying) -> None:
    _pending[:] = [known for known in _pending if not known.wait(0)] + [copying]


def _volume(asked: Path) -> Path:
    other = Path(VOLUME_OTHER)
    return other if asked == Path(VOLUME_DEFAULT) and not asked.is_dir() and other.is_dir() else asked


def _is_component(name: str) -> bool:
    return name not in (".", "..") and not any(mark in name for mark in ("/", "\\", os.sep, "\0"))


def _files(folder: Path) -> Iterator[Path]:
    """Regular files in and below `folder`, without links, locks and copies under way."""
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _SKIPPED_FOLDERS]
        for name in names:
            path = Path(where, name)
            if path.suffix not in (".lock", _SUFFIX) and path.is_file() and not path.is_symlink():
                yield path


def _copied(copy: _Copy) -> _Result:
    """Copy one file unless its place holds the same."""
    source, place = copy
    try:
        if not _is_news(source, place):
            return False
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = place.with_name(f"{place.name}.{uuid.uuid4().hex}{_SUFFIX}")
        try:
            shutil.copy2(source, beside)
            beside.replace(place)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        return error
    return True


def _is_news(source: Path, place: Path) -> bool:
    new = source.stat()
    try:
        old = place.stat()
    except FileNotFoundError:
        return True
    return new.st_size != old.st_size or new.st_mtime > old.st_mtime + MTIME_TOLERANCE_SECONDS


def _join_pending() -> None:
    for copying in _pending:
        if not copying.wait(JOIN_SECONDS):
            RunPodLogger().warn("VolumeCache: the volume is slow; what is not copied by now is missing on it")
            return


atexit.register(_join_pending)
