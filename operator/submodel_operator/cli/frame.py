"""What `submodel up --watch` shows, as lines of plain text: a frame from a status. Pure; `watch` puts it on a terminal.

Text of handlers reaches the terminal too: control characters are taken out, and every line is cut to the width in
columns, of which East Asian characters take two.
"""

import re
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from submodel_operator.scaling.decision import counted

Status = Mapping[str, Any]

NARROWEST_COLUMNS: Final = 20
_BARS: Final = "▁▂▃▄▅▆▇█"
_LABEL: Final = 10
_ESCAPE: Final = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)?")
_MARKS: Final = (("busy", "■"), ("idle", "□"), ("starting", "▒"), ("draining", "·"))


@dataclass(frozen=True, slots=True)
class Picture:
    """All that a frame shows."""

    endpoint: str
    time: str
    url: str = ""
    status: Status = field(default_factory=dict)
    queue: Sequence[int] = ()
    """Jobs queued in each of the last seconds, the newest last."""

    lines: Sequence[str] = ()
    """What happened, the newest last."""


def frame(picture: Picture, columns: int, rows: int) -> list[str]:
    """At most `rows` lines of at most `columns` columns; what happened fills the rest of the screen."""
    columns, rows = max(NARROWEST_COLUMNS, columns), max(1, rows)
    above = [cut(line, columns) for line in _above(picture, columns)]
    room = rows - len(above) - 2
    if room < 1:
        return above[:rows]
    happened = [cut(plain(line), columns) for line in picture.lines[-room:]]
    return [*above, "─" * columns, *happened, *[""] * (room - len(happened)), cut("Ctrl-C stops", columns)]


def plain(text: str) -> str:
    """`text` without escape sequences and control characters: it cannot move the cursor or change the title."""
    return "".join(each for each in _ESCAPE.sub("", text) if each.isprintable())


def cut(text: str, columns: int) -> str:
    """As much of `text` as fits, with a sign when something is missing."""
    if sum(map(_width, text)) <= columns:
        return text
    kept, used = [], 1
    for each in text:
        used += _width(each)
        if used > columns:
            break
        kept.append(each)
    return "".join(kept) + "…"


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _above(picture: Picture, columns: int) -> Iterator[str]:
    status = picture.status
    title = "  ".join(filter(None, (picture.endpoint, status.get("phase", "Starting"), picture.url)))
    yield cut(title, columns - len(picture.time) - 1).ljust(columns - len(picture.time)) + picture.time
    yield "─" * columns
    yield from _jobs(status.get("jobs") or {}, picture.queue, columns)
    yield from _workers(status.get("workers") or {}, columns)
    autoscaling = status.get("autoscaling") or {}
    yield from _decision(autoscaling.get("lastDecision"), columns)
    if shadow := autoscaling.get("shadow"):
        yield from _told("shadow", f"{shadow['scalerType']} asks for {shadow['desired']}: {shadow['message']}", columns)
    for condition in status.get("conditions") or ():
        if condition["status"] != "True" and condition["type"] != "Available":
            words = f"{condition['type']} is {condition['status']}: {condition['message']}"
            yield from _told("problem", words, columns)


def _jobs(jobs: Mapping[str, int], queue: Sequence[int], columns: int) -> Iterator[str]:
    low = jobs.get("queuedLowPriority", 0)
    beside = f" ({low} of low priority)" if low else ""
    yield _labelled("jobs", f"{jobs.get('queued', 0)} queued{beside}, {jobs.get('inProgress', 0)} running")
    shown = list(queue)[-max(1, columns - _LABEL) :]
    if highest := max(shown, default=0):
        yield _labelled("", "".join(_bar(number, highest) for number in shown))
        yield _labelled("", f"queued in the last {counted(len(shown), 'second')}, {highest} at most")


def _bar(number: int, highest: int) -> str:
    return " " if not number else _BARS[(number * len(_BARS) - 1) // highest]


def _workers(workers: Mapping[str, int], columns: int) -> Iterator[str]:
    counts = {name: workers.get(name, 0) for name, _ in _MARKS}
    words = ", ".join(f"{count} {'leaving' if name == 'draining' else name}" for name, count in counts.items())
    yield _labelled("workers", f"{words}; {workers.get('desired', 0)} wanted")
    if marks := "".join(mark * counts[name] for name, mark in _MARKS):
        yield _labelled("", cut(marks, columns - _LABEL))


def _decision(decision: Mapping[str, Any] | None, columns: int) -> Iterator[str]:
    if not decision:
        yield _labelled("decision", "none has changed the number of workers yet")
        return
    at = str(decision["at"]).partition("T")[2].removesuffix("Z")
    numbers = f"{decision['current']} → {decision['desired']}"
    yield from _told("decision", f"{at} UTC  {numbers} ({decision['reason']}): {decision['message']}", columns)
    if change := (decision.get("proposal") or {}).get("change"):
        yield from _told("", f"what would change it: {change}", columns)


def _told(label: str, words: str, columns: int) -> Iterator[str]:
    """Words over as many lines as they need, three at most."""
    lines = textwrap.wrap(plain(words), columns - _LABEL, max_lines=3, placeholder=" …") or [""]
    for number, line in enumerate(lines):
        yield _labelled("" if number else label, line)


def _labelled(label: str, words: str) -> str:
    return label.ljust(_LABEL) + words
