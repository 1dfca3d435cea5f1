"""Virtual environments with the SDKs of others, outside the tree. `python -m tests.compat.environments` makes them all.

Each is made from a lock file in `locks`, by the first test that needs it, and kept in the cache folder.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

LOCKS = Path(__file__).parent / "locks"
PYTHON = "3.11"
"""The oldest SDK has wheels of its libraries for no newer one."""

FORK = "submodel-fork"
"""The fork is in no package index. Its worker is that of this release of the SDK under other names, so this is what the
environment holds: the release, with the names that are seen from outside changed as the fork changed them."""

_FORKED = "runpod-1.7.12"
_NAMES = {
    "RUNPOD_": "SUBMODEL_",
    '"runpod_version":': '"submodel_version":',
    "RunPod-Python-SDK/": "Submodel-Python-SDK/",
    ".runpod_jobs.pkl": ".submodel_jobs.pkl",
}
"""Variables and placeholders, the version in pings and in reports of exceptions, the user agent, the file of jobs."""


class Missing(Exception):
    """An environment cannot be made; the text says why."""


def python(sdk: str) -> Path:
    """The interpreter of the environment of `sdk` (such as `runpod-1.12.0`). Raises `Missing`."""
    lock = LOCKS / f"{_FORKED if sdk == FORK else sdk}.txt"
    names = repr(_NAMES).encode() if sdk == FORK else b""
    digest = hashlib.sha256(lock.read_bytes() + names).hexdigest()[:10]
    folder = _cache() / "submodel-compat" / f"{sdk}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # tests run in several processes
        if not (folder / ".complete").exists():
            _make(folder, lock, _NAMES if sdk == FORK else {})
    return folder / "bin" / "python"


def required(sdk: str, kind: Callable[[str], Path] = python) -> Path:
    """As `kind`, for a test: where it cannot be had the test is skipped, and fails where `CI` is set."""
    try:
        return kind(sdk)
    except Missing as missing:
        if os.environ.get("CI"):  # noqa: TID251  # what a machine must have is said by its environment
            pytest.fail(str(missing))
        pytest.skip(str(missing))


def node_modules(sdk: str) -> Path:
    """The packages of an SDK for Node (such as `runpod-sdk-1.1.2`). Raises `Missing`."""
    lock = LOCKS / sdk
    digest = hashlib.sha256((lock / "package-lock.json").read_bytes()).hexdigest()[:10]
    folder = _cache() / "submodel-compat" / f"{sdk}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not (folder / ".complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(lock, folder)
            _run("npm", "ci", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
            (folder / ".complete").touch()
    return folder / "node_modules"


def _make(folder: Path, lock: Path, names: Mapping[str, str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _uv("venv", "--python", PYTHON, str(folder))
    _uv("pip", "install", "--python", str(folder), "--requirement", str(lock), place=folder)
    if names:
        _rename(next(folder.glob("lib/*/site-packages/runpod")), names)
    (folder / ".complete").touch()


def _rename(package: Path, names: Mapping[str, str]) -> None:
    """Put other names into the sources of a package. Raises `Missing` when one of the old ones is nowhere."""
    sources = {file: file.read_text() for file in package.rglob("*.py")}
    for old, new in names.items():
        if not any(old in text for text in sources.values()):
            raise Missing(f"{package} has no {old}, which is to become {new}")
        sources = {file: text.replace(old, new) for file, text in sources.items()}
    for file, text in sources.items():
        file.write_text(text)


def _uv(*arguments: str, place: Path | None = None) -> None:
    """`place` is outside the tree where this project's own settings of uv are not to count."""
    program = shutil.which("uv") or str(_cache() / "submodel-dev" / "uv" / "bin" / "uv")  # `make setup` fetches it
    _run(program, *arguments, "--quiet", place=place)


def _run(program: str, *arguments: str, place: Path | None = None) -> None:
    try:
        ran = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, cwd=place)
    except OSError as error:
        raise Missing(f"{program} cannot be run ({error.strerror})") from error
    if ran.returncode:
        raise Missing(f"{program} {arguments[0]} failed: {ran.stderr.strip()}")


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")  # noqa: TID251  # where caches are


if __name__ == "__main__":
    try:
        for sdk in sorted([*(file.stem for file in LOCKS.glob("*.txt")), FORK]):
            sys.stdout.write(f"{python(sdk)}\n")
        for file in sorted(LOCKS.glob("*/package-lock.json")):
            sys.stdout.write(f"{node_modules(file.parent.name)}\n")
    except Missing as missing:
        sys.exit(str(missing))
