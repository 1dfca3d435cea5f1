"""How many requests per bucket: the figures of the hosted platforms, and how an installation changes them.

The setting is words between spaces, `run=5000/500/50 cancel=off`: requests per ten seconds, requests under way at once,
and how many of the former each running worker adds room for. `off` alone limits nothing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from submodel_gateway.errors import ConfigurationError
from submodel_gateway.ratelimit.bucket import LIMIT_MAX
from submodel_gateway.settings import OFF, RATE_LIMITS

ALL = "all"
"""Every operation at every endpoint together: bounds what one key may have under way, and with it its connections."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The limits of a group of operations, per endpoint and key; None is no limit."""

    requests: int | None
    """Per ten seconds."""

    concurrent: int | None
    """Under way at once."""

    per_worker: int = 0
    """Requests per ten seconds and running worker, where that is more than `requests`."""

    def effective(self, workers: int, gateways: int) -> int | None:
        """What one of `gateways` gateways lets through in ten seconds; never nothing."""
        if self.requests is None:
            return None
        return min(LIMIT_MAX, -(-max(self.requests, workers * self.per_worker) // gateways))


NO_FIGURES: Mapping[str, Figures] = {}
STANDARD: Mapping[str, Figures] = {
    "run": Figures(1_000, 200, 100),
    "runsync": Figures(2_000, 400, 200),
    "status": Figures(2_000, 400, 200),
    "cancel": Figures(100, 20, 10),
    "purge-queue": Figures(2, None),
    "requests": Figures(10, 2),
    "openai": Figures(2_000, 400, 200),
    ALL: Figures(None, 2_000),
}

_WORD = re.compile(r"([a-z-]+)=(off|[1-9][0-9]{0,4})(?:/(off|[1-9][0-9]{0,4}))?(?:/(0|[1-9][0-9]{0,4}))?")
_FORM = "give <group>=<requests per 10 s>/<at once>/<per worker>, for example run=5000/500/50, or <group>=off"


def figures(words: Sequence[str]) -> Mapping[str, Figures]:
    """The figures of all groups; none at all for `off`. Raises `ConfigurationError`.

    Parts that a word leaves out stay as they are in `STANDARD`.
    """
    if list(words) == [OFF]:
        return NO_FIGURES
    changed: dict[str, Figures] = {}
    for word in words:
        found = _WORD.fullmatch(word)
        group = found[1] if found else ""
        if found is None or group not in STANDARD or group in changed:
            raise ConfigurationError(
                f"{RATE_LIMITS}: {word!r} cannot be read; {_FORM}, each group once, of {', '.join(STANDARD)}"
            )
        changed[group] = _changed(STANDARD[group], *found.groups()[1:])
    if (changed.get(ALL) or STANDARD[ALL]).requests is not None:
        raise ConfigurationError(
            f"{RATE_LIMITS}: {ALL!r} bounds what is under way at once and nothing else; give {ALL}=off/<at once>"
        )
    return {**STANDARD, **changed}


def _changed(standard: Figures, requests: str, concurrent: str | None, per_worker: str | None) -> Figures:
    if requests == OFF and concurrent is None:
        return Figures(None, None)
    return Figures(
        None if requests == OFF else int(requests),
        standard.concurrent if concurrent is None else None if concurrent == OFF else int(concurrent),
        standard.per_worker if per_worker is None else int(per_worker),
    )
