"""Unpacks a zip archive that somebody else made: nothing lands outside the folder. Used by `rp_download`."""

import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from submodel.errors import DownloadFailed, DownloadRefused

ENTRIES_MAX = 10_000
PIECE_BYTES = 1024 * 1024


def unpack(archive: Path, folder: Path, max_bytes: int) -> None:
    """Unpack `archive` into the new `folder`, which is gone when this fails.

    Raises:
        DownloadRefused: it has too many entries or too many bytes, links, or names that lead out of the folder.
        DownloadFailed: it cannot be read, or not be written.
    """
    folder.mkdir(parents=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = opened.infolist()
            places = [folder / _checked(entry) for entry in entries]
            _check_sizes(entries, max_bytes)
            for entry, place in zip(entries, places, strict=True):
                _write(opened, entry, place)
    except (OSError, RuntimeError, NotImplementedError, EOFError, zipfile.BadZipFile, ValueError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, DownloadRefused):
            raise
        raise DownloadFailed(f"{archive.name} cannot be unpacked: {error}") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _check_sizes(entries: list[zipfile.ZipInfo], max_bytes: int) -> None:
    if len(entries) > ENTRIES_MAX:
        raise DownloadRefused(f"the archive has {len(entries)} entries; at most {ENTRIES_MAX} are unpacked")
    # What an entry declares is all that zipfile reads of it, so the sum is what will be written.
    size = sum(entry.file_size for entry in entries)
    if size > max_bytes:
        raise DownloadRefused(f"the archive unpacks to {size} bytes; the limit is {max_bytes}")


def _checked(entry: zipfile.ZipInfo) -> PurePosixPath:
    name = PurePosixPath(entry.filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or ":" in (name.parts or ("",))[0]:
        raise DownloadRefused(f"the archive's entry {entry.filename!r} leads out of its folder")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise DownloadRefused(f"the archive's entry {entry.filename!r} is a link; links are not unpacked")
    return name


def _write(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, place: Path) -> None:
    if entry.is_dir():
        place.mkdir(parents=True, exist_ok=True)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(entry) as source, place.open("wb") as target:
        shutil.copyfileobj(source, target, PIECE_BYTES)
