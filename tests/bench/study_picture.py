"""The study as a picture: cost against lateness, a field for each workload and start. Left and down is better."""

from collections.abc import Iterator, Mapping, Sequence
from math import log2
from xml.sax.saxutils import escape

from submodel_operator.simulation import workloads
from tests.bench.study_runs import COLD_STARTS_SECONDS, DEFAULTS, FAMILY, OTHERS, OURS, Key, Point, cases

FIELD, GAP, LEFT, TOP, LEGEND = 150, 26, 60, 60, 60
DOUBLINGS = 1.6
"""Costs are shown up to so many doublings above and below that of ours; others stand at the edge."""

COLOURS = {OURS: "#c0392b", "KEDA": "#2e86c1", "KPA": "#16a085", "RAY": "#8e44ad", "KUBEAI": "#d68910"}
HOSTED, REST = "#7f8c8d", "#bdc3c7"
SHOWN: Sequence[tuple[str, Sequence[str], str]] = (
    ("others: HPA, BETA9, QUEUE_DELAY, ORACLE", OTHERS, REST),
    ("REQUEST_COUNT, 6 settings", FAMILY, HOSTED),
    *((policy, (policy,), COLOURS[policy]) for policy in (*DEFAULTS, OURS)),
)
"""From the back to the front: words of the legend, policies, colour."""


def picture(found: Mapping[Key, Point]) -> str:
    """An SVG of all complete cases."""
    complete, names = cases(found), list(workloads.SHAPES)
    width = LEFT + len(names) * (FIELD + GAP)
    height = TOP + len(COLD_STARTS_SECONDS) * (FIELD + GAP) + LEGEND
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{LEFT}" y="22" font-size="15" font-weight="bold">Cost (right: dearer, a line is a factor of 2 '
        f"from {OURS}) against late jobs (up, to the most in the field)</text>",
    ]
    for column, name in enumerate(names):
        parts.append(_words(LEFT + column * (FIELD + GAP) + FIELD / 2, TOP - 10, name, "middle"))
    for row, cold in enumerate(COLD_STARTS_SECONDS):
        y = TOP + row * (FIELD + GAP)
        parts.append(_words(LEFT - 10, y + FIELD / 2, f"{cold:g} s", "end"))
        for column, name in enumerate(names):
            if (name, cold) in complete:
                parts += _field(LEFT + column * (FIELD + GAP), y, found, name, cold)
    return "\n".join([*parts, *_legend(height - LEGEND + 24), "</svg>\n"])


def _field(x: float, y: float, found: Mapping[Key, Point], name: str, cold: float) -> Iterator[str]:
    ours = found[name, cold, OURS].hours
    most = max(1.0, *(found[name, cold, policy].late for _, policies, _ in SHOWN for policy in policies))
    yield f'<rect x="{x}" y="{y}" width="{FIELD}" height="{FIELD}" fill="#fafafa" stroke="#ccc"/>'
    for doublings in (-1, 0, 1):
        line = x + _across(doublings)
        yield f'<line x1="{line:.1f}" y1="{y}" x2="{line:.1f}" y2="{y + FIELD}" stroke="#e3e3e3"/>'
    yield _words(x + 3, y + 11, f"{most:.0f} %", "start", "#999")
    for _, policies, colour in SHOWN:
        for policy in policies:
            point = found[name, cold, policy]
            up = y + FIELD - 8 - (FIELD - 24) * point.late / most
            across = x + _across(log2(point.hours / ours))
            yield f'<circle cx="{across:.1f}" cy="{up:.1f}" r="5" fill="{colour}" fill-opacity="0.85"/>'


def _across(doublings: float) -> float:
    share = (min(DOUBLINGS, max(-DOUBLINGS, doublings)) + DOUBLINGS) / (2 * DOUBLINGS)
    return 8 + (FIELD - 16) * share


def _legend(y: float) -> Iterator[str]:
    x = float(LEFT)
    for words, _, colour in SHOWN:
        yield f'<circle cx="{x:.1f}" cy="{y - 4}" r="5" fill="{colour}"/>'
        yield _words(x + 10, y, words, "start")
        x += 40 + 7 * len(words)


def _words(x: float, y: float, words: str, anchor: str, colour: str = "#333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'
