"""A full disk: new jobs are refused, what runs can end, and with space everything is as before."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.crash.full_disk import LATE
from tests.support.volume import namespace

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("full disk")]

ROOT = Path(__file__).parents[2]
DISK_MIB = 192
"""Room for the ballast file, a log as long as it may get, and the jobs of the scenario."""

SCRIPT = f'mount -t tmpfs -o size={DISK_MIB}m tmpfs "$1" && exec "$2" -m tests.crash.full_disk "$1"'


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the scenario saw."""
    command = [*namespace(), "sh", "-c", SCRIPT, "sh", str(tmp_path_factory.mktemp("disk")), sys.executable]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=50)
    if ran.returncode != 0:
        pytest.fail(ran.stderr)
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer


def test_new_jobs_are_refused_with_a_named_error(told: dict[str, Any]) -> None:
    assert set(told["submits"]) - {"Applied"} <= {"full", "StoreFull"}
    assert told["submits"].get("Applied", 0) < LATE


def test_what_runs_can_be_finished_kept_alive_and_cancelled(told: dict[str, Any]) -> None:
    assert told["finishes"] == {"Applied": 100}
    assert told["heartbeats"] == {"Applied": 100}
    assert told["cancels"] == {"Applied": 10}
    assert told["takes"] == {"Taken": 10}
    assert told["large outputs"] == "stored"


def test_with_space_again_everything_goes_on_by_itself(told: dict[str, Any]) -> None:
    assert told["submits after"] == {"Applied": 200}
    assert set(told["finishes after"]) == {"Applied"}


def test_nothing_that_was_acknowledged_is_lost(told: dict[str, Any]) -> None:
    assert told["lost"] == []
