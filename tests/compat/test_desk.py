"""`python handler.py` on a desk: the same command lines, files and handlers, run by the SDK and by this runtime."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.compat.environments import required

SDK = "runpod-1.12.0"

HANDLER = """
import sys
import PACKAGE as sdk

def handler(job):
    kind = job["input"].get("kind")
    if kind == "raise":
        raise ValueError("no")
    if kind == "error":
        return {"error": "no", "step": 1}
    return {"got": job["input"], "id": job["id"], "argv": sys.argv[1:]}

sdk.serverless.start({"handler": handler})
"""

FILE = {"test_input.json": '{"input": {"from": "file"}}'}
CASES: dict[str, tuple[list[str], Mapping[str, str]]] = {
    "a job of the command line": (["--test_input", '{"input": {"a": 1}}'], {}),
    "a job of the file": ([], FILE),
    "arguments of the handler's own": (["--mine", "x", "--rp_log_level", "INFO"], FILE),
    "an exception": (["--test_input", '{"input": {"kind": "raise"}}'], {}),
    "an error": (["--test_input", '{"input": {"kind": "error"}}'], {}),
    "no input": (["--test_input", '{"x": 1}'], {}),
    "an input of null": (["--test_input", '{"input": null}'], {}),
    "nothing": ([], {}),
    "no JSON": (["--test_input", "{"], {}),
    "an unknown log level": (["--rp_log_level", "LOUD"], FILE),
    "a port that is none": (["--rp_api_port", "x"], FILE),
}
LINES = ("completed successfully", "failed with error", "testing complete", "not found, exiting")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group(f"compat-{SDK}"),
    pytest.mark.timeout(120),
    pytest.mark.requirement("handler.desk.test", "handler.desk.options"),
]


def ran(interpreter: Path | str, package: str, folder: Path, case: str) -> tuple[int, list[str]]:
    """Exit code, and which of the known lines were printed."""
    line, files = CASES[case]
    folder.mkdir()
    for name, text in files.items():
        folder.joinpath(name).write_text(text)
    folder.joinpath("handler.py").write_text(HANDLER.replace("PACKAGE", package))
    ended = subprocess.run([interpreter, "handler.py", *line], cwd=folder, env={}, capture_output=True, text=True)
    return ended.returncode, [known for known in LINES if known in ended.stdout]


@pytest.mark.parametrize("case", CASES)
def test_it_ends_with_the_same_code_and_says_the_same(case: str, tmp_path: Path) -> None:
    theirs = ran(required(SDK), "runpod", tmp_path / "sdk", case)
    assert ran(sys.executable, "submodel", tmp_path / "ours", case) == theirs
