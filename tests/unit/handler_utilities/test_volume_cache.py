"""Directories that are kept on a volume."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from submodel.serverless import VolumeCache

Make = Callable[..., VolumeCache]
MANY = 3000
"""Files that are not copied before a process has ended."""


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


@pytest.fixture
def local(tmp_path: Path) -> Path:
    (tmp_path / "local").mkdir()
    return tmp_path / "local"


@pytest.fixture
def make(volume: Path, local: Path) -> Make:
    def make(**more: Any) -> VolumeCache:
        return VolumeCache([local], **{"namespace": "ns", "volume_path": volume, **more})

    return make


def mirror(volume: Path, local: Path) -> Path:
    return volume / ".cache" / "ns" / local.relative_to("/")


@pytest.mark.requirement("handler.cache")
def test_what_one_worker_saves_the_next_one_has(make: Make, local: Path) -> None:
    (local / "deep" / "er").mkdir(parents=True)
    (local / "model").write_text("weights")
    (local / "deep" / "er" / "config").write_text("{}")
    make().sync(background=False)
    for path in (local / "model", local / "deep" / "er" / "config"):
        path.unlink()
    assert make().hydrate() == 2
    assert (local / "model").read_text() == "weights"
    assert (local / "deep" / "er" / "config").read_text() == "{}"
    assert make().hydrate() == 0, "it is there already"


def test_only_what_is_newer_or_of_another_size_is_copied(make: Make, local: Path, volume: Path) -> None:
    file, saved = local / "model", mirror(volume, local) / "model"
    file.write_text("one")
    make().sync(background=False)
    saved.write_text("two")
    os.utime(saved, (1, 1))
    assert make().hydrate() == 0, "older, of the same size"
    saved.write_text("three")
    os.utime(saved, (1, 1))
    assert make().hydrate() == 1
    assert file.read_text() == "three"


def test_links_locks_pointers_and_halves_are_left_out(make: Make, local: Path, volume: Path) -> None:
    (local / "blob").write_text("x")
    (local / "link").symlink_to(local / "blob")
    (local / "model.lock").touch()
    (local / "half.123.copying").touch()
    for folder in ("refs", ".no_exist"):
        (local / folder).mkdir()
        (local / folder / "main").touch()
    make().sync(background=False)
    assert [path.name for path in mirror(volume, local).rglob("*")] == ["blob"]


def test_nothing_is_written_outside_the_directories(make: Make, local: Path, volume: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (local / "trap").symlink_to(outside)
    (mirror(volume, local) / "trap").mkdir(parents=True)
    (mirror(volume, local) / "trap" / "file").write_text("x")
    stray = volume / ".cache" / "ns" / "etc"
    stray.mkdir()
    (stray / "passwd").write_text("x")
    assert make().hydrate() == 0
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("more", [{"namespace": ""}, {"volume_path": "/is/not/there"}])
def test_without_a_volume_or_a_namespace_nothing_is_done(
    make: Make, local: Path, more: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNPOD_ENDPOINT_ID", raising=False)
    monkeypatch.delenv("SUBMODEL_ENDPOINT_ID", raising=False)
    (local / "file").touch()
    cache = make(**more)
    assert not cache.available
    assert cache.hydrate() == 0
    cache.sync()
    with cache:
        pass


@pytest.mark.parametrize("name", ["SUBMODEL_ENDPOINT_ID", "RUNPOD_ENDPOINT_ID"])
def test_the_namespace_is_the_endpoints_id(
    name: str, make: Make, local: Path, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUBMODEL_ENDPOINT_ID", raising=False)
    monkeypatch.setenv(name, "default.e")
    (local / "file").touch()
    make(namespace=None).sync(background=False)
    assert (volume / ".cache" / "default.e" / local.relative_to("/") / "file").exists()


@pytest.mark.parametrize("namespace", ["..", ".", "a/b", "/a", "a\\b"])
def test_a_namespace_is_a_single_path_component(make: Make, namespace: str) -> None:
    with pytest.raises(ValueError, match="single safe path component"):
        make(namespace=namespace)


def test_a_cache_that_fails_does_not_stop_the_worker_unless_it_is_asked_to(
    make: Make, local: Path, volume: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (local / "file").touch()
    (local / "other").touch()
    (mirror(volume, local) / "file").mkdir(parents=True)
    (mirror(volume, local) / "file" / "in the way").touch()
    make().sync(background=False)
    assert "1 files could not be copied" in capsys.readouterr().out
    assert (mirror(volume, local) / "other").exists(), "the others are copied"
    with pytest.raises(OSError):
        make(best_effort=False).sync(background=False)


def test_a_block_that_fails_is_not_saved(make: Make, local: Path, volume: Path) -> None:
    (local / "half a model").touch()
    with pytest.raises(ZeroDivisionError), make():
        1 / 0  # noqa: B018 # any error of a handler
    assert list(volume.iterdir()) == []


@pytest.mark.slow
def test_a_process_that_ends_at_once_has_saved_all_the_same(local: Path, volume: Path) -> None:
    script = f"""
        from pathlib import Path
        from submodel.serverless import VolumeCache
        with VolumeCache(["{local}"], namespace="ns", volume_path="{volume}"):
            for number in range({MANY}):
                Path("{local}", str(number)).touch()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)
    assert len(list(mirror(volume, local).iterdir())) == MANY
