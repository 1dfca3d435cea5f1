"""The reference page of conditions and events, from the same table that the operator writes them from. Pure.

Called by `python -m submodel_operator.api`, which writes the page, and by the test that compares it.
"""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from submodel_operator.api.conditions import CONDITIONS, EVENTS

PAGE_PATH: Final = PurePosixPath("docs/reference/conditions.md")

_HEAD: Final = """\
<!-- generated from operator/submodel_operator/api/conditions.py; do not edit; run make manifests -->

# Conditions and events

What an endpoint says of itself: `kubectl describe sme NAME` shows both. Scripts compare types and reasons, which are
stable; messages are for people. Every condition is good when it is true:

```console
kubectl wait submodelendpoint/NAME --for=condition=Ready
```
"""


def page_text() -> str:
    """The page, in Markdown."""
    return "\n".join([_HEAD, *_conditions(), "## Events", "", *_events(), ""])


def _conditions() -> Iterator[str]:
    for kind, condition in CONDITIONS.items():
        yield f"## {kind}\n"
        yield f"{condition.meaning}\n"
        yield "| Status | Reason | Meaning | What to do |\n|---|---|---|---|"
        for reason, text in condition.reasons.items():
            yield f"| {text.status} | `{reason}` | {text.meaning} | {text.remedy} |"
        yield ""


def _events() -> Iterator[str]:
    yield "One that happens again within ten minutes is counted. Nothing is told by events alone: see the status.\n"
    yield "| Type | Reason | Meaning |\n|---|---|---|"
    for reason, (kind, meaning) in EVENTS.items():
        yield f"| {kind} | `{reason}` | {meaning} |"
