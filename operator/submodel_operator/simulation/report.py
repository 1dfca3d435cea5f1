"""The results as a table for a terminal or a page, and as a picture of cost against delay."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10
from typing import Final
from xml.sax.saxutils import escape

from submodel_operator.simulation.measures import Result

HEADER: Final = (
    "policy", "p50 s", "p95 s", "p99 s", "late %", "worker-h", "busy", "idle", "start", "cold starts", "interrupted",
    "changes/h", "turns/h",
)  # fmt: skip

WIDTH, HEIGHT = 760, 460
LEFT, RIGHT, TOP, BOTTOM = 70, 250, 40, 60
SHORTEST_DELAY_SECONDS: Final = 0.1
"""The scale of delays is logarithmic; shorter ones stand at its end."""

_FONT: Final = 'font-family="sans-serif" font-size="12"'
_COLOURS: Final = ("#0b6", "#06c", "#c60", "#a3c", "#c33", "#088", "#777", "#960")


@dataclass(frozen=True, slots=True)
class Entry:
    """A policy and what it came to."""

    policy: str
    result: Result


def cells(entry: Entry) -> tuple[str, ...]:
    """One row, in the order of `HEADER`."""
    result = entry.result
    return (
        entry.policy,
        f"{result.delay_p50_seconds:.1f}",
        f"{result.delay_p95_seconds:.1f}",
        f"{result.delay_p99_seconds:.1f}",
        f"{result.late_percent:.1f}",
        f"{result.worker_hours:.2f}",
        f"{result.busy_hours:.2f}",
        f"{result.idle_hours:.2f}",
        f"{result.starting_hours:.2f}",
        f"{result.cold_starts:.0f}",
        f"{result.interrupted:.0f}",
        f"{result.changes_per_hour:.0f}",
        f"{result.turns_per_hour:.0f}",
    )


def table(entries: Sequence[Entry]) -> list[str]:
    """Lines with aligned columns; the names on the left, numbers on the right."""
    return aligned([HEADER, *(cells(entry) for entry in entries)])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns of one width each: the first on the left, the others on the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def picture(title: str, entries: Sequence[Entry]) -> str:
    """An SVG: worker-hours to the right, the 95th percentile of the delay upwards, both logarithmic."""
    costs = [max(entry.result.worker_hours, 1e-3) for entry in entries]
    delays = [max(entry.result.delay_p95_seconds, SHORTEST_DELAY_SECONDS) for entry in entries]
    across, up = _Scale(costs, LEFT, WIDTH - RIGHT), _Scale(delays, HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {_FONT}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="22" font-size="15" font-weight="bold">{escape(title)}</text>',
        *(_line(across.place(tick), HEIGHT - BOTTOM, across.place(tick), TOP) for tick in across.ticks()),
        *(_line(LEFT, up.place(tick), WIDTH - RIGHT, up.place(tick)) for tick in up.ticks()),
        *(_text(across.place(tick), HEIGHT - BOTTOM + 18, f"{tick:g}", "middle") for tick in across.ticks()),
        *(_text(LEFT - 8, up.place(tick) + 4, f"{tick:g}", "end") for tick in up.ticks()),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 18, "worker-hours (less is cheaper)", "middle"),
        f'<text transform="translate(18 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">delay p95, seconds</text>',
    ]
    for number, (entry, cost, delay) in enumerate(zip(entries, costs, delays, strict=True)):
        colour, x, y = _COLOURS[number % len(_COLOURS)], across.place(cost), up.place(delay)
        legend_y = TOP + 10 + 20 * number
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="9" fill="{colour}" fill-opacity="0.85"/>')
        parts.append(_text(x, y + 4, str(number + 1), "middle", "#fff"))
        parts.append(_text(WIDTH - RIGHT + 20, legend_y, f"{number + 1}  {entry.policy}", "start", colour))
    return "\n".join([*parts, "</svg>\n"])


class _Scale:
    """A logarithmic scale over whole powers of ten, 2 and 5 between them."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self._low, self._high = min(values) / 1.25, max(values) * 1.25
        self._start, self._end = start, end

    def place(self, value: float) -> float:
        share = log10(value / self._low) / log10(self._high / self._low)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[float]:
        powers = (step * 10.0**power for power in range(-3, 7) for step in (1, 2, 5))
        return [tick for tick in powers if self._low <= tick <= self._high]


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ddd"/>'


def _text(x: float, y: float, words: str, anchor: str, colour: str = "#333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'
