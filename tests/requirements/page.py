"""docs/reference/compatibility.md, made from the list of promises: `python -m tests.requirements` writes it."""

from collections.abc import Callable, Iterable
from pathlib import Path

from tests.requirements.catalogue import Catalogue, Promise

PAGE = Path(__file__).parents[2] / "docs/reference/compatibility.md"

_HEAD = """\
<!-- made from tests/requirements/requirements.toml by `make manifests` -->
# Compatibility with hosted platforms

What workers, handlers and clients that were made for RunPod or SubModel may rely on here.
Each line is a promise that tests hold us to, with the public SDK or documentation that it comes from;
the tests carry the line's id: `grep -r worker.take.held tests`.

How to bring yours: [a worker](../how-to/bring-your-runpod-worker.md), [a client](../how-to/use-the-client.md).
"""


def text(catalogue: Catalogue) -> str:
    """The page."""
    return "\n".join(
        [
            _HEAD,
            *_named("Not there", "What the hosted platforms have and we do not.", catalogue, lambda each: each.missing),
            *_named("Different on purpose", "", catalogue, lambda each: each.differs),
            *(line for group, title in catalogue.groups.items() for line in _kept(title, group, catalogue.promise)),
            *_named("Without a test", "We expect it to hold.", catalogue, lambda each: each.unproved),
        ]
    )


def _kept(title: str, group: str, promises: Iterable[Promise]) -> Iterable[str]:
    yield f"## {title}\n"
    yield "| Id | Promise | Known from |\n|---|---|---|"
    for promise in promises:
        if promise.group == group and not promise.missing and not promise.unproved:
            yield f"| `{promise.id}` | {promise.says} | {promise.source} |"
    yield ""


def _named(title: str, lead: str, catalogue: Catalogue, what: Callable[[Promise], str]) -> Iterable[str]:
    chosen = [promise for promise in catalogue.promise if what(promise)]
    if not chosen:
        return
    yield f"## {title}\n"
    if lead:
        yield f"{lead}\n"
    yield "| Id | There | Here |\n|---|---|---|"
    for promise in chosen:
        yield f"| `{promise.id}` | {promise.says} | {what(promise)} |"
    yield ""
