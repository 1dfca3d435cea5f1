"""What the API server said of tokens, kept for a while. Pure: `now` is an argument.

Tokens are known by their SHA-256. What is kept is bounded: of too many, those go first that were judged longest ago.
Good tokens and others are kept apart: anybody can make up any number of the latter.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from submodel_gateway.auth.pods import Pod

FRESH_MS = 60_000
"""How long a token that was found good is not asked about again: so long a deleted pod's may go on. The API server
itself takes up to ten seconds to notice."""

LISTED_FRESH_MS = 600_000
"""The same while the operator's list names the pod: it leaves the list when it is deleted. A question costs most of a
millisecond, so a thousand idle workers would take more than one per cent of a processor with the shorter time alone."""

REFUSED_MS = 5_000
"""The same for one that was not: a worker asks again after less than that, and shall not be heard at once."""

KEPT_MAX = 10_000
"""Of either kind."""


def digest_of(token: str) -> bytes:
    """What a token is known by."""
    return hashlib.sha256(token.encode()).digest()


@dataclass(frozen=True, slots=True)
class Verdict:
    """`pod` is None for a token that is no good."""

    pod: Pod | None
    judged_at: int
    expires_at: int


class Verdicts:
    """By digest, in milliseconds."""

    def __init__(self) -> None:
        self._good: dict[bytes, Verdict] = {}
        self._refused: dict[bytes, Verdict] = {}

    def __len__(self) -> int:
        return len(self._good) + len(self._refused)

    def fresh(self, digest: bytes, now: int, listed: Callable[[Pod], bool]) -> Verdict | None:
        """A verdict that may be used without asking. `listed` says whether the operator knows that the pod is there."""
        known = self._good.get(digest) or self._refused.get(digest)
        if known is None:
            return None
        if known.pod is None:
            return known if now < known.judged_at + REFUSED_MS else None
        age = now - known.judged_at
        fresh = age < FRESH_MS or (age < LISTED_FRESH_MS and listed(known.pod))
        return known if fresh and now < known.expires_at else None

    def accepted(self, digest: bytes, now: int) -> Pod | None:
        """The pod of a token that was good when it was last asked about, and has not expired since.

        This is what counts while nobody can be asked.
        """
        known = self._good.get(digest)
        return known.pod if known is not None and now < known.expires_at else None

    def note(self, digest: bytes, verdict: Verdict) -> None:
        """The newest word on a token."""
        self._good.pop(digest, None)
        self._refused.pop(digest, None)
        kept = self._refused if verdict.pod is None else self._good
        kept[digest] = verdict
        while len(kept) > KEPT_MAX:
            del kept[next(iter(kept))]
