"""What the scaler remembers between two decisions. It is part of the status, so that a restart forgets nothing.

Every field changes only when something happened, never because time passed: an endpoint at rest is never written.
"""

from typing import Final

import msgspec

SAMPLES_SECONDS: Final = 900.0
"""How far back arrivals and completions are remembered."""


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """The endpoint's totals at an instant at which they changed."""

    at: float
    """Seconds since the epoch, of the operator's clock."""

    arrived: int
    finished: int
    running: int
    """Jobs that ran from then on."""

    job_seconds: float
    """Time that jobs had spent running until then, counted from the first sample."""


class Wanted(msgspec.Struct, frozen=True, array_like=True):
    """The number of workers that was wanted from an instant on, until the next one."""

    at: float
    workers: int


class ScalerState(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that is remembered of one endpoint."""

    revision: str = ""
    samples: tuple[Sample, ...] = ()
    """Oldest first; thinned with age."""

    service_seconds: float | None = None
    """The last estimate of a job's run, kept when the samples it came from are too old."""

    revised_at: float = 0.0
    """When another revision was seen than before: jobs that ended earlier tell nothing of its durations."""

    cold_starts: tuple[float, ...] = ()
    """Seconds from creation to the first free slot of the last workers of this revision, oldest first."""

    starting: tuple[str, ...] = ()
    """Workers that were starting when last looked at."""

    failed: tuple[str, ...] = ()
    """Workers that failed to start since the last one that came up."""

    wanted: tuple[Wanted, ...] = ()
    """What was wanted within the stabilisation window: each entry is lower than the one before."""

    blind: bool = False
    """Whether the gateway is silent that had spoken."""

    sighted_at: float = 0.0
    """When it spoke again."""


def encode(state: ScalerState) -> str:
    """The state as JSON text."""
    return msgspec.json.encode(state).decode()


def decode(text: object) -> ScalerState:
    """The inverse of `encode`. What cannot be read (another version wrote it) counts as nothing remembered."""
    if not isinstance(text, str):
        return ScalerState()
    try:
        return msgspec.json.decode(text, type=ScalerState)
    except msgspec.DecodeError:
        return ScalerState()


def not_after(state: ScalerState, now: float) -> ScalerState:
    """The state as if it had been written by a clock that is not ahead of `now`.

    Clocks are set back, and another machine may have written it: distances between its instants stay.
    """
    ahead = _newest_at(state) - now
    if ahead <= 0:
        return state
    return msgspec.structs.replace(
        state,
        samples=tuple(msgspec.structs.replace(sample, at=sample.at - ahead) for sample in state.samples),
        wanted=tuple(Wanted(wanted.at - ahead, wanted.workers) for wanted in state.wanted),
        sighted_at=state.sighted_at - ahead if state.sighted_at else 0.0,
        revised_at=state.revised_at - ahead if state.revised_at else 0.0,
    )


def _newest_at(state: ScalerState) -> float:
    sample_at = state.samples[-1].at if state.samples else 0.0
    wanted_at = state.wanted[-1].at if state.wanted else 0.0
    return max(state.sighted_at, state.revised_at, sample_at, wanted_at)
