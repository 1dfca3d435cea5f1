"""The picture of `submodel up --watch`: what is on it, and that it fits."""

import unicodedata
from typing import Any

import pytest

from submodel_operator.cli.frame import Picture, frame, plain

STATUS: dict[str, Any] = {
    "phase": "Scaling",
    "workers": {"busy": 3, "idle": 1, "starting": 12, "draining": 1, "desired": 16},
    "jobs": {"queued": 9, "queuedLowPriority": 2, "inProgress": 3},
    "autoscaling": {
        "lastDecision": {
            "at": "2026-01-01T12:00:04Z",
            "current": 1,
            "desired": 16,
            "reason": "LateJobs",
            "message": "9 jobs waited longer than 4 s while 0 workers started: 9 more; " + "and so on, " * 40,
            "proposal": {"change": "more workers come for more late jobs"},
        },
        "shadow": {"scalerType": "ADAPTIVE", "desired": 2, "reason": "Backlog", "message": "9 jobs queued"},
    },
    "conditions": [
        {"type": "Ready", "status": "True", "reason": "Registered", "message": "jobs are accepted"},
        {"type": "WorkersHealthy", "status": "False", "reason": "CrashLoop", "message": "worker a fails: boom"},
    ],
}
HOSTILE = "\x1b[2J\x1b[31mred\x1b]0;title\x07 \x9b1mbell\x07\r\x00 漢字" + "漢" * 200


def picture(**changes: Any) -> Picture:
    url = "http://127.0.0.1:8000/v2/default.tokens"
    values = {"url": url, "status": STATUS, "queue": [0, 1, 4, 9], "lines": ["12:00:01 hello", HOSTILE]}
    return Picture("default/tokens", "12:00:09", **(values | changes))


def columns(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in line)


def test_at_eighty_columns_everything_is_told() -> None:
    shown = "\n".join(frame(picture(), 80, 24))
    for words in (
        "default/tokens  Scaling  http://127.0.0.1:8000/v2/default.tokens",
        "9 queued (2 of low priority), 3 running",
        "▁▄█",
        "queued in the last 4 seconds, 9 at most",
        "3 busy, 1 idle, 12 starting, 1 leaving; 16 wanted",
        "■■■□▒▒▒▒▒▒▒▒▒▒▒▒·",
        "12:00:04 UTC  1 → 16 (LateJobs): 9 jobs waited longer than 4 s",
        "what would change it: more workers come for more late jobs",
        "ADAPTIVE asks for 2: 9 jobs queued",
        "WorkersHealthy is False: worker a fails: boom",
        "12:00:01 hello",
        "Ctrl-C stops",
    ):
        assert words in shown
    assert "jobs are accepted" not in shown


@pytest.mark.parametrize("width", [1, 20, 39, 80, 200])
@pytest.mark.parametrize("height", [1, 5, 16, 24, 60])
def test_a_frame_fits_every_terminal(width: int, height: int) -> None:
    for each in (picture(), picture(status={}, queue=[], lines=[]), picture(lines=[HOSTILE] * 500)):
        lines = frame(each, width, height)
        assert len(lines) <= height
        assert max(map(columns, lines)) <= max(20, width)
        assert all(line.isprintable() for line in lines)


def test_the_newest_lines_are_the_ones_that_are_shown() -> None:
    shown = frame(picture(lines=[f"line {number}" for number in range(500)]), 80, 24)
    assert "line 499" in shown
    assert "line 0" not in shown


def test_an_endpoint_without_a_status_is_starting() -> None:
    shown = frame(Picture("default/tokens", "12:00:09"), 80, 24)
    assert shown[0].startswith("default/tokens  Starting")
    assert any("none has changed the number of workers yet" in line for line in shown)


def test_what_a_handler_prints_cannot_steer_the_terminal() -> None:
    assert plain("\x1b[2J\x1b[31mred\x1b]0;title\x07!\x9b1m\x1b7\r\n") == "red!1m"
