"""A development server starts over when a source changes, and never with a broken one."""

import os
from pathlib import Path

import pytest

from tests.support.local_server import LocalServer

pytestmark = pytest.mark.slow

SOURCE = """
    import submodel, words
    submodel.serverless.start({"handler": lambda job: words.WORD})
"""


def write(path: Path, text: str) -> None:
    """As an editor does: whole, in place of the old file, and newer."""
    before = path.stat().st_mtime_ns
    beside = path.with_suffix(".new")
    beside.write_text(text)
    os.utime(beside, ns=(before + 10**9, before + 10**9))
    beside.replace(path)


def test_a_change_is_served_and_a_mistake_is_waited_for(tmp_path: Path) -> None:
    words = tmp_path / "words.py"
    words.write_text("WORD = 1\n")
    with LocalServer(tmp_path, SOURCE, "--rp_serve_api", "--rp_api_port", "0") as server:
        assert server.ask("POST", "/runsync", {"input": 0})[1]["output"] == 1

        write(words, "WORD = 2\n")
        server.wait_for_log("Serving the handler at", times=2)
        assert server.ask("POST", "/runsync", {"input": 0})[1]["output"] == 2, "on the same port"

        write(words, "WORD = (\n")
        server.wait_for_log("Not started over: words.py")
        assert server.ask("POST", "/runsync", {"input": 0})[1]["output"] == 2, "the old program goes on"

        write(words, "WORD = 1 / 0\n")
        server.wait_for_log("Waiting for a change.")
        assert "ZeroDivisionError" in server.log
        refused, said = server.ask("POST", "/runsync", {"input": 0})
        assert refused == 503
        assert said["error"] == "the handler does not start: ZeroDivisionError: division by zero"
        assert server.raw("GET", "/")[0] == 200, "the page says so, too"

        write(words, "WORD = 3\n")
        server.wait_for_log("Serving the handler at", times=3)
        assert server.ask("POST", "/runsync", {"input": 0})[1]["output"] == 3


def test_nothing_starts_over_when_that_is_not_wanted(tmp_path: Path) -> None:
    words = tmp_path / "words.py"
    words.write_text("WORD = 1\n")
    with LocalServer(tmp_path, SOURCE, "--rp_serve_api", "--rp_api_port", "0", "--sm_no_reload") as server:
        assert "starts over" not in server.log
