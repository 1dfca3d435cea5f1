"""Virtual environments with the SDKs of others, outside the tree. `python -m tests.compat.environments` makes them all.

Each is made from a lock file in `locks`, by the first test that needs it, and kept in the cache folder.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LOCKS = Path(__file__).parent / "locks"
PYTHON = "3.11"
"""The oldest SDK has wheels of its libraries for no newer one."""


class Missing(Exception):
    """An environment cannot be made; the text says why."""


def python(sdk: str) -> Path:
    """The interpreter of the environment of `sdk` (such as `runpod-1.12.0`). Raises `Missing`."""
    lock = LOCKS / f"{sdk}.txt"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:10]
    folder = _cache() / "submodel-compat" / f"{sdk}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # tests run in several processes
        if not (folder / ".complete").exists():
            _make(folder, lock)
    return folder / "bin" / "python"


def required(sdk: str) -> Path:
    """As `python`, for a test: where it cannot be had the test is skipped, and fails where `CI` is set."""
    try:
        return python(sdk)
    except Missing as missing:
        if os.environ.get("CI"):  # noqa: TID251  # what a machine must have is said by its environment
            pytest.fail(str(missing))
        pytest.skip(str(missing))


def _make(folder: Path, lock: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _uv("venv", "--python", PYTHON, str(folder))
    _uv("pip", "install", "--python", str(folder), "--requirement", str(lock))
    (folder / ".complete").touch()


def _uv(*arguments: str) -> None:
    program = shutil.which("uv") or _cache() / "submodel-dev" / "uv" / "bin" / "uv"
    try:
        ran = subprocess.run([program, *arguments, "--quiet"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise Missing(f"{program} cannot be run ({error.strerror}); `make setup` fetches uv") from error
    if ran.returncode:
        raise Missing(f"uv {arguments[0]} failed: {ran.stderr.strip()}")


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")  # noqa: TID251  # where caches are


if __name__ == "__main__":
    try:
        for file in sorted(LOCKS.glob("*.txt")):
            sys.stdout.write(f"{python(file.stem)}\n")
    except Missing as missing:
        sys.exit(str(missing))
