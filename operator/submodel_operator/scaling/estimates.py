"""What the scaler believes of an endpoint: how often jobs come, how long they run, how long a worker takes to start."""

from dataclasses import dataclass
from math import ceil
from typing import Final

from submodel_operator.scaling import history
from submodel_operator.scaling.signals import ScalingInputs
from submodel_operator.scaling.state import ScalerState

COLD_START_PRIOR_SECONDS: Final = 10.0
"""Believed until a worker of the revision has come up."""

SHORTEST_SERVICE_SECONDS: Final = 0.001


@dataclass(frozen=True, slots=True)
class Estimates:
    """Beliefs at one instant."""

    arrivals: float
    """Jobs that came within the slow window."""

    slow_rate: float
    """Jobs per second over the slow window."""

    sure_fast_rate: float
    """Jobs per second over the last six, less what chance alone may add."""

    sustained_rate: float
    """What the last six seconds and the time before agree upon: one batch of jobs is no trend."""

    service_seconds: float
    cold_start_seconds: float
    """What nine starts in ten do not exceed; at least the age of one that is still under way."""

    usual_start_seconds: float
    """What half of the starts do not exceed."""


def estimate(inputs: ScalingInputs, state: ScalerState, now: float) -> Estimates:
    """Beliefs from what is remembered; priors where nothing is."""
    service = _service_seconds(inputs, state, now)
    window = history.window_seconds(service)
    heard_at = now - (inputs.demand.age_seconds if inputs.demand else 0.0)
    fast_since, slow_since = heard_at - history.FAST_SECONDS, heard_at - window
    total, total_half, total_fast, total_slow = (
        history.arrived(state.samples, at, now)
        for at in (heard_at, heard_at - history.FAST_SECONDS / 2, fast_since, slow_since)
    )
    lately, before = total - total_fast, total_fast - total_slow
    return Estimates(
        arrivals=before + lately,
        slow_rate=(before + lately) / window,
        sure_fast_rate=history.sure_rate(total_half - total_fast, total - total_half),
        sustained_rate=min(before / (window - history.FAST_SECONDS), lately / history.FAST_SECONDS),
        service_seconds=service,
        cold_start_seconds=cold_start_seconds(inputs, state),
        usual_start_seconds=_percentile_seconds(state, 0.5),
    )


def cold_start_seconds(inputs: ScalingInputs, state: ScalerState) -> float:
    """What a start takes; at least the age of one that is still under way."""
    under_way = (each.age_seconds for each in inputs.starting if each.trouble is None)
    return max([settled_cold_start_seconds(state), *under_way])


def settled_cold_start_seconds(state: ScalerState) -> float:
    """The 90th percentile of what the last starts took. A start under way does not move it with its age."""
    return _percentile_seconds(state, 0.9)


def _percentile_seconds(state: ScalerState, share: float) -> float:
    known = sorted(state.cold_starts)
    return known[ceil(share * len(known)) - 1] if known else COLD_START_PRIOR_SECONDS


def idle_seconds(inputs: ScalingInputs, state: ScalerState) -> float:
    """How long an idle worker stays.

    With `auto`, as long as another start would take: waiting that long and then leaving costs at most twice what
    somebody would pay who knew when the next job comes.
    """
    configured = inputs.scaling.idle_timeout_seconds
    if configured is not None:
        return float(configured)
    return max(5.0, settled_cold_start_seconds(state))


def _service_seconds(inputs: ScalingInputs, state: ScalerState, now: float) -> float:
    measured = history.service_seconds(state.samples, now, state.revised_at)
    if measured is None:
        believed = inputs.scaling.service_prior_seconds if state.service_seconds is None else state.service_seconds
        measured = max(believed, history.unfinished_seconds(state.samples, now, state.revised_at))
    return max(SHORTEST_SERVICE_SECONDS, measured)
