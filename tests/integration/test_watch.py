"""`submodel up --watch` on a real terminal, and where there is none."""

import json
import re
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.integration.test_local_mode import GATED, up, write
from tests.support.terminal import Terminal

SUBMODEL = str(Path(sys.executable).with_name("submodel"))


MOST = re.compile(r"queued in the last \d+ seconds, [23] at most")
"""All three are queued at once unless the first of them is taken before the last one comes."""


def post(url: str, body: object) -> None:
    with urllib.request.urlopen(urllib.request.Request(f"{url}/run", json.dumps(body).encode()), timeout=30):
        pass


def shown(words: str, frame: list[str]) -> bool:
    return any(words in line for line in frame)


@pytest.mark.slow
def test_a_terminal_shows_the_queue_the_workers_and_the_decision_while_they_change(tmp_path: Path) -> None:
    gate = tmp_path / "go"
    command = [SUBMODEL, "up", "--watch", "-f", str(write(tmp_path, GATED, workersMax=1)), "--port", "0"]
    with Terminal([*command, "--data", str(tmp_path / "data")]) as terminal:
        frame = terminal.wait_for(lambda frame: "http://" in frame[0])
        url = re.findall(r"http\S+", frame[0])[0]
        for _ in range(3):
            post(url, {"input": {"gate": str(gate)}})
        frame = terminal.wait_for(lambda frame: shown("2 queued, 1 running", frame) and MOST.search("\n".join(frame)))
        assert shown("1 busy, 0 idle, 0 starting, 0 leaving; 1 wanted", frame)
        assert shown("0 → 1 (FirstJob)", frame)
        assert (len(frame), max(map(len, frame))) == (24, 80)
        terminal.resize(60, 16)
        frame = terminal.wait_for(lambda frame: len(frame) == 16)
        assert max(map(len, frame)) <= 60
        gate.touch()
        terminal.wait_for(lambda frame: shown("0 queued, 0 running", frame))
        terminal.press(b"\x03")
        assert "stopped; unfinished jobs wait in" in terminal.rest()
        assert terminal.process.wait(30) == 0
        assert terminal.written.rindex("\x1b[?25h") < terminal.written.rindex("\x1b[?1049l")


@pytest.mark.slow
def test_without_a_terminal_the_lines_are_printed(tmp_path: Path) -> None:
    path = write(tmp_path, GATED)
    with up(path, tmp_path, arguments=["--watch"]) as server:
        server.wait_for(r"url\s+http")
        server.interrupt()
        server.wait_for("stopped; unfinished jobs wait in")
        assert server.ended() == 0
        assert "\x1b[" not in "".join(server.seen)


@pytest.mark.slow
def test_a_mistake_in_the_manifest_is_told_on_the_screen_that_was_there_before(tmp_path: Path) -> None:
    path = tmp_path / "endpoint.yaml"
    path.write_text("kind: Nothing", encoding="utf-8")
    with Terminal([SUBMODEL, "up", "--watch", "-f", str(path)]) as terminal:
        assert "endpoint.yaml" in terminal.rest()
        assert terminal.process.wait(30) == 2
