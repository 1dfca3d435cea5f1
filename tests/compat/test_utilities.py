"""What the utilities for handlers make of the same arguments here and in the SDK that they take their names from."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.compat.environments import required

SDK = "runpod-1.12.0"
PROGRAM = Path(__file__).with_name("sdk_utilities.py")

DIFFERENT: dict[str, dict[str, Any]] = {
    "validator": {
        "no type": {"errors": ["Schema error, missing type for x."]},
        "rules are no dictionary": {"errors": ["Schema error, x is not a dictionary."]},
    },
    "upload": {"regions": ["eu-west-1", "ams3", None, "us-west-001"]},
}
"""Where the SDK raises on a schema that it has a sentence for, or reads a region wrongly."""

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group(f"compat-{SDK}"), pytest.mark.timeout(120)]


def made_by(interpreter: str | Path, package: str, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    ran = subprocess.run([interpreter, PROGRAM, package], cwd=folder, env={}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the SDK makes, and what this runtime makes."""
    interpreter = required(SDK)
    folder = tmp_path_factory.mktemp("utilities")
    return made_by(interpreter, "runpod", folder / "sdk"), made_by(sys.executable, "submodel", folder / "ours")


@pytest.mark.requirement("handler.validator", "handler.logger", "handler.debugger", "handler.names")
@pytest.mark.parametrize(
    "part", ["validator", "download", "upload", "logger", "debugger", "model cache", "signatures", "exports"]
)
def test_the_same_arguments_give_the_same(both: tuple[dict[str, Any], dict[str, Any]], part: str) -> None:
    theirs, ours = (made[part] for made in both)
    assert bool(theirs) == (part != "exports")
    known = DIFFERENT.get(part, {})
    assert {name: ours[name] for name in known} == known
    if isinstance(theirs, dict):
        theirs = {**theirs, **known}
    assert ours == theirs


@pytest.mark.requirement("client.sdk.signatures")
def test_clients_take_the_same_arguments_in_the_same_places(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    theirs, ours = (made["clients"] for made in both)
    assert theirs
    assert {path: ours.get(path, [])[: len(arguments)] for path, arguments in theirs.items()} == theirs
