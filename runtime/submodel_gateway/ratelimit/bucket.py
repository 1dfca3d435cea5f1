"""A token bucket whose whole state is one instant: when it will be full again.

A full bucket lets `limit` requests through at once; after that they come as fast as it fills, `limit` per window. An
instant in the past is a full bucket, so one that nobody asked for a window long need not be remembered. As the state
is a time and no count, a limit that changes keeps the share that is used up.

Instants are whole nanoseconds: the sum of a thousand parts of a window is the window, which fractions are not.
"""

import msgspec

MS_NS = 1_000_000
SECOND_NS = 1_000_000_000
WINDOW_NS = 10 * SECOND_NS
LIMIT_MAX = 100_000
"""Above it the share of one request is so short that rounding shows."""

FULL = 0
"""The state of a bucket that nobody has taken from."""


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What the bucket says to one request; `limit` is what it holds when it is full."""

    allowed: bool
    limit: int
    remaining: int
    """How many requests more it would let through now."""

    full_in_ns: int
    retry_in_ns: int
    """When the refused request would be let through, if nobody else comes; 0 for one that was."""


def take(full_at_ns: int, limit: int, cost: int, now_ns: int) -> tuple[Decision, int]:
    """Decide about a request that counts `cost` times, and return the state after it.

    Args:
        full_at_ns: the state, by the clock that `now_ns` is of.
        limit: requests per window, from 1 to `LIMIT_MAX`. What costs more needs a full bucket and empties it.
    """
    part = WINDOW_NS // limit
    # No calls of min and max: every request comes by here.
    used = full_at_ns - now_ns if full_at_ns > now_ns else 0
    wanted = used + (cost if cost < limit else limit) * part
    if wanted <= WINDOW_NS:
        return Decision(True, limit, _remaining(wanted, part, limit), wanted, 0), now_ns + wanted
    return Decision(False, limit, _remaining(used, part, limit), used, wanted - WINDOW_NS), now_ns + used


def _remaining(used: int, part: int, limit: int) -> int:
    free = (WINDOW_NS - used) // part
    return 0 if free < 0 else free if free < limit else limit


def seconds(nanoseconds: int) -> int:
    """Whole seconds, as headers carry them: never too early."""
    return -(-nanoseconds // SECOND_NS)
