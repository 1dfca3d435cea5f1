"""Tests on a small file system of their own: `on_volume` runs each in a process with a mount that nobody else sees.

The mount goes with the process, however that ends. Without the rights for it the test is skipped, or fails under CI.
"""

import asyncio
import importlib
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import cache, wraps
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMESPACE = ("unshare", "--mount", "--propagation", "private")
SCRIPT = 'mount -t tmpfs -o size="$1"m tmpfs "$2" && volume=$2 && shift 2 && exec "$@" "$volume"'

Scenario = Callable[[Path], Awaitable[None]]


def on_volume(mib: int) -> Callable[[Scenario], Callable[[Path], None]]:
    """Makes a test of an async function that is given the path of an empty volume of so many MiB."""

    def decorate(scenario: Scenario) -> Callable[[Path], None]:
        @wraps(scenario)
        def test(tmp_path: Path) -> None:
            volume = tmp_path / "volume"
            volume.mkdir()
            program = (sys.executable, "-m", "tests.support.volume", scenario.__module__, scenario.__name__)
            command = [*namespace(), "sh", "-c", SCRIPT, "sh", str(mib), str(volume), *program]
            ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=50)
            if ran.returncode != 0:
                pytest.fail(ran.stderr, pytrace=False)

        # The scenario's own signature would have pytest look for a fixture of its argument's name.
        del test.__wrapped__
        test.scenario = scenario  # type: ignore[attr-defined]  # for the process below
        return test

    return decorate


def make_read_only(volume: Path) -> None:
    """From inside a scenario."""
    subprocess.run(["mount", "-o", "remount,ro", str(volume)], check=True)


def fill(volume: Path, name: str = "filler") -> Path:
    """A file that takes all the space there is."""
    path = volume / name
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4_096)):
                continue
        except OSError:
            return path
    return path


@cache
def namespace() -> tuple[str, ...]:
    """The command that gives a process mounts of its own."""
    for user in ((), ("--user", "--map-root-user")):
        command = (*NAMESPACE, *user)
        try:
            ran = subprocess.run([*command, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)
        except FileNotFoundError:
            break
        if ran.returncode == 0:
            return command
    if os.environ.get("CI"):  # noqa: TID251  # which rights a machine must give is said by its environment
        pytest.fail("a mount of its own needs unshare(1) and root, or user namespaces")
    pytest.skip("a mount of its own needs unshare(1) and root, or user namespaces")


if __name__ == "__main__":
    module, name, volume = sys.argv[1:]
    asyncio.run(getattr(importlib.import_module(module), name).scenario(Path(volume)))
