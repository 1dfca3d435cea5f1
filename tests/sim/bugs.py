"""Bugs planted on purpose, to show that the simulation finds such bugs. None of this is part of the product.

Each one replaces a piece of the engine for the length of a `with` block, in this process only.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from random import Random

import pytest
from msgspec.structs import replace

from submodel.contract.states import JobState
from submodel_gateway.jobs import events, transition
from submodel_gateway.jobs.record import Job
from submodel_gateway.service.clock import Clock
from submodel_gateway.service.session import Session
from submodel_gateway.store import base, execute
from tests.sim.host import WallClock
from tests.sim.loop import SimulatedLoop

Patch = Callable[[pytest.MonkeyPatch], None]


class _WallTime:
    """A gateway's clock that is nothing but the wall clock."""

    def __init__(self, wall: WallClock) -> None:
        self._wall = wall

    def now_ms(self) -> int:
        return self._wall.now_ms()

    def begin(self, reading: base.StoreTime) -> None:
        """There is nothing to set."""

    def follow(self, reading: base.StoreTime, doubt_ms: int = 0) -> None:
        """It is right by definition."""


def wall_time(loop: SimulatedLoop, wall: WallClock, chance: Random) -> Clock:
    """In place of `host.steered_clock`."""
    return _WallTime(wall)


def _any_token(patch: pytest.MonkeyPatch) -> None:
    """A result is accepted whoever sends it, as long as the job runs."""
    finish = transition._RULES[events.Finished]

    def accept(job: Job, event: events.Finished, now: int) -> transition.Transition | transition.Refusal:
        running = job.state is JobState.IN_PROGRESS
        return finish(job, replace(event, token=job.token) if running else event, now)

    patch.setitem(transition._RULES, events.Finished, accept)


def _no_hold(patch: pytest.MonkeyPatch) -> None:
    """Time goes on while nobody can renew a lease."""
    sweep = execute._MEANING[base.Sweep]
    patch.setitem(
        execute._MEANING, base.Sweep, lambda rows, op, now: sweep(rows, replace(op, away_ms=10**12, hold_ms=0), now)
    )


def _all_held(patch: pytest.MonkeyPatch) -> None:
    """After an outage time stands still for jobs that are taken then, too."""
    due = transition._RULES[events.Due]
    patch.setitem(
        transition._RULES, events.Due, lambda job, event, now: due(job, replace(event, back_at=event.hold_until), now)
    )


def _no_answers_kept(patch: pytest.MonkeyPatch) -> None:
    """A take whose answer was lost is answered anew: the leases in the first answer are nobody's."""
    patch.setattr(Session, "keep_answer", lambda session, number, answer, most_bytes: None)


def _late_requests_served(patch: pytest.MonkeyPatch) -> None:
    """A request that comes a second time, when its answer has long been read, takes jobs for nobody."""
    patch.setattr(Session, "is_past", lambda session, number: False)


def _keys_ignored(patch: pytest.MonkeyPatch) -> None:
    """A submit that is repeated under its key makes a second job."""
    patch.setattr(execute, "_repeated", lambda rows, op, now: None)


def _chunks_unnumbered(patch: pytest.MonkeyPatch) -> None:
    """Streamed items are appended as they come, also those that came before."""
    append = execute._MEANING[base.AppendChunk]

    def anywhere(rows: execute.Rows, op: base.AppendChunk, now: int) -> base.Outcome:
        job = rows.load(op.endpoint, op.id)
        outcome: base.Outcome = append(rows, replace(op, seq=job.chunks + 1) if job else op, now)
        return outcome

    patch.setitem(execute._MEANING, base.AppendChunk, anywhere)


def _purge_of_all(patch: pytest.MonkeyPatch) -> None:
    """A purge takes what was submitted after it began, too."""
    purge = execute._MEANING[base.Purge]
    patch.setitem(execute._MEANING, base.Purge, lambda rows, op, now: purge(rows, replace(op, up_to=2**62), now))


def _heartbeats_lost(patch: pytest.MonkeyPatch) -> None:
    """A lease ends when its first term does."""
    patch.setitem(
        transition._RULES,
        events.Heartbeat,
        lambda job, event, now: transition.Transition(job, job),
    )


def _shortened_too_far(patch: pytest.MonkeyPatch) -> None:
    """Whoever asks for a job to be kept for a while has it forgotten at once."""
    shorten = transition._RULES[events.Shortened]
    patch.setitem(
        transition._RULES,
        events.Shortened,
        lambda job, event, now: shorten(job, replace(event, keep_ms=0), now),
    )


BUGS: Mapping[str, Patch] = {
    "a result is accepted without the token": _any_token,
    "leases are not extended after an outage": _no_hold,
    "after an outage all jobs are held": _all_held,
    "a lost answer is not given again": _no_answers_kept,
    "a late request takes jobs": _late_requests_served,
    "idempotency keys are ignored": _keys_ignored,
    "chunks are appended unseen": _chunks_unnumbered,
    "a purge spares nothing": _purge_of_all,
    "heartbeats renew nothing": _heartbeats_lost,
    "a shortened job goes too soon": _shortened_too_far,
}
"""By what is wrong. The wall clock as the gateway's clock is `wall_time`."""


@contextmanager
def planted(bug: str) -> Iterator[None]:
    """The engine with a bug of `BUGS` in it."""
    with pytest.MonkeyPatch.context() as patch:
        BUGS[bug](patch)
        yield
