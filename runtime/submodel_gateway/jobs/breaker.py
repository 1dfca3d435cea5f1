"""The breaker of an endpoint: jobs that take worker after worker down must not take all of them.

It opens when more than `LOSSES_MAX` different jobs lost a worker within `WINDOW_MS` and no execution was delivered
meanwhile. While it is open, one job at a time is handed out, as a probe. A delivered execution closes it; so does time.
"""

import msgspec

LOSSES_MAX = 5
WINDOW_MS = 600_000


class Loss(msgspec.Struct, frozen=True):
    """A job that lost its worker, and when it did last."""

    job: str
    at: int


class Breaker(msgspec.Struct, frozen=True):
    """What is remembered of an endpoint: the latest losses since the last delivered execution, oldest first."""

    losses: tuple[Loss, ...] = ()


CLOSED = Breaker()


def after_loss(breaker: Breaker, job: str, now: int) -> Breaker:
    """The breaker after `job` lost a worker at `now` (milliseconds)."""
    others = [loss for loss in breaker.losses if loss.job != job and loss.at > now - WINDOW_MS]
    return Breaker((*others[-LOSSES_MAX:], Loss(job, now)))


def is_open(breaker: Breaker, now: int) -> bool:
    """Whether only a probe may be handed out at `now`."""
    return sum(loss.at > now - WINDOW_MS for loss in breaker.losses) > LOSSES_MAX
