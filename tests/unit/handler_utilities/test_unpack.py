"""Archives that somebody else made."""

import stat
import zipfile
from pathlib import Path

import pytest

from submodel.errors import DownloadFailed, DownloadRefused
from submodel.serverless.utils import unpack as unpacking
from submodel.serverless.utils.unpack import unpack

PLENTY = 10**6


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archive.zip"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "inside" / "folder"


def test_files_and_folders_are_unpacked(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a.txt", "A")
        made.writestr("deep/er/b.txt", "B" * 1000)
        made.mkdir("empty")
    unpack(archive, folder, PLENTY)
    assert (folder / "a.txt").read_text() == "A"
    assert (folder / "deep/er/b.txt").read_text() == "B" * 1000
    assert (folder / "empty").is_dir()


@pytest.mark.parametrize(
    "name", ["../out", "a/../../out", "/etc/out", "..\\out", "C:\\out", "C:out", "a/..", "\\\\server\\share\\out"]
)
def test_a_name_that_leads_out_is_refused_before_anything_is_written(archive: Path, folder: Path, name: str) -> None:
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("good", "x")
        made.writestr(name, "x")
    with pytest.raises(DownloadRefused, match="leads out of its folder"):
        unpack(archive, folder, PLENTY)
    assert not folder.exists()
    assert list(folder.parent.parent.glob("**/out")) == []


def test_a_link_is_refused(archive: Path, folder: Path) -> None:
    entry = zipfile.ZipInfo("link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr(entry, "/etc/passwd")
    with pytest.raises(DownloadRefused, match="is a link"):
        unpack(archive, folder, PLENTY)
    assert not folder.exists()


def test_a_bomb_is_refused_before_it_is_unpacked(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("zeros", b"\0" * (PLENTY + 1))
    assert archive.stat().st_size < PLENTY / 100
    with pytest.raises(DownloadRefused, match=f"unpacks to {PLENTY + 1} bytes; the limit is {PLENTY}"):
        unpack(archive, folder, PLENTY)
    assert not folder.exists()


def test_the_limit_is_that_of_all_files_together(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive, "w") as made:
        for number in range(3):
            made.writestr(str(number), b"x" * 40)
    with pytest.raises(DownloadRefused, match="unpacks to 120 bytes"):
        unpack(archive, folder, 119)
    unpack(archive, folder, 120)


def test_an_entry_that_lies_about_its_size_does_not_get_more_space(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("zeros", b"\0" * PLENTY)
    size = PLENTY.to_bytes(4, "little")
    raw = archive.read_bytes()
    assert raw.count(size) == 2, "in the entry's head and in the directory"
    archive.write_bytes(raw.replace(size, (10).to_bytes(4, "little")))
    with pytest.raises(DownloadFailed):
        unpack(archive, folder, 100)
    assert not folder.exists()


def test_too_many_entries_are_refused(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive, "w") as made:
        for number in range(unpacking.ENTRIES_MAX + 1):
            made.writestr(str(number), "")
    with pytest.raises(DownloadRefused, match="entries"):
        unpack(archive, folder, PLENTY)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 half an archive"])
def test_what_is_no_archive_is_told(archive: Path, folder: Path, content: bytes) -> None:
    archive.write_bytes(content)
    with pytest.raises(DownloadFailed, match=r"archive\.zip cannot be unpacked"):
        unpack(archive, folder, PLENTY)
    assert not folder.exists()


def test_a_file_in_the_way_of_a_folder_is_told(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("a", "x")
        made.writestr("a/b", "x")
    with pytest.raises(DownloadFailed):
        unpack(archive, folder, PLENTY)
    assert not folder.exists()
