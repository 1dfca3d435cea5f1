"""The figures of a run as a table that is pleasant to read: measured, beside it the raw engine, floor and goal."""

from collections.abc import Sequence
from dataclasses import dataclass

HEADER = ("", "measured", "beside", "ratio", "floor", "goal", "")
GOOD, BELOW_GOAL, BELOW_FLOOR = "ok", "below goal", "BELOW FLOOR"


@dataclass(frozen=True)
class Bounds:
    """What is wanted. With `most` the figure shall not exceed them, else it shall reach them."""

    goal: float
    floor: float | None = None
    most: bool = False

    def verdict(self, figure: float) -> str:
        sign = -1 if self.most else 1
        if sign * figure >= sign * self.goal:
            return GOOD
        if self.floor is not None and sign * figure >= sign * self.floor:
            return BELOW_GOAL
        return BELOW_FLOOR if self.floor is not None else BELOW_GOAL


@dataclass(frozen=True)
class Row:
    """One figure. `bounds` apply to the ratio to `beside` where there is one, else to the figure itself."""

    what: str
    figure: float
    unit: str
    bounds: Bounds | None = None
    beside: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.figure / self.beside if self.beside else None

    @property
    def verdict(self) -> str:
        if self.bounds is None:
            return ""
        return self.bounds.verdict(self.figure if self.ratio is None else self.ratio)

    def cells(self) -> tuple[str, ...]:
        beside = "" if self.beside is None else _number(self.beside, self.unit)
        ratio = "" if self.ratio is None else _share(self.ratio)
        return self.what, _number(self.figure, self.unit), beside, ratio, *self._bounds(), self.verdict

    def _bounds(self) -> tuple[str, str]:
        if self.bounds is None:
            return "", ""
        sign = "≤ " if self.bounds.most else "≥ "
        wanted = (self.bounds.floor, self.bounds.goal)
        floor, goal = ("" if each is None else sign + self._bound(each) for each in wanted)
        return floor, goal

    def _bound(self, value: float) -> str:
        return _number(value, self.unit) if self.ratio is None else _share(value)


def render(title: str, rows: Sequence[Row]) -> str:
    """The rows below their title, in columns."""
    lines = [HEADER, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    text = [_line(line, widths) for line in lines]
    return "\n".join((f"\n{title}", text[0], "-" * (sum(widths) + 2 * len(widths)), *text[1:]))


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    what, *figures, verdict = cells
    padded = (cell.rjust(width) for cell, width in zip(figures, widths[1:-1], strict=True))
    return "  ".join((what.ljust(widths[0]), *padded, verdict)).rstrip()


def _number(value: float, unit: str) -> str:
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {unit}"


def _share(value: float) -> str:
    return f"{100 * value:.0f} %" if value < 1.5 else f"{value:.1f} ×"
