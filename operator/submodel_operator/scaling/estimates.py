"""What the scaler believes of an endpoint: how often jobs come, how long they run, how long a worker takes to start."""

from math import ceil
from typing import Final, NamedTuple

import msgspec

from submodel_operator.api.v1alpha1 import ScalerType
from submodel_operator.scaling import history
from submodel_operator.scaling.signals import ScalingInputs
from submodel_operator.scaling.state import ScalerState

COLD_START_PRIOR_SECONDS: Final = 10.0
"""Believed until a worker of the revision has come up."""

SHORTEST_SERVICE_SECONDS: Final = 0.001

SHORTEST_STAY_SECONDS: Final = 5.0
"""Idle workers stay so long at least, however soon another one would be there."""

LAST_STAYS: Final = 2.0
"""Starts' durations that the last worker stays where the next job would be late without it."""


class Starts(msgspec.Struct, frozen=True):
    """What the last starts of workers took; it does not move with the age of one that is under way."""

    usual_seconds: float
    """What half of them do not exceed."""

    settled_seconds: float
    """What nine in ten do not exceed."""


UNKNOWN_STARTS: Final = Starts(COLD_START_PRIOR_SECONDS, COLD_START_PRIOR_SECONDS)


class Estimates(msgspec.Struct, frozen=True):
    """Beliefs at one instant."""

    arrivals: float
    """Jobs that came within the slow window."""

    slow_rate: float
    """Jobs per second over the slow window."""

    sure_fast_rate: float
    """Jobs per second over the last six, less what chance alone may add."""

    sustained_rate: float
    """What the last six seconds and the time before agree upon. One batch of jobs is no trend: six seconds lie between
    the two, so that it is never in both."""

    service_seconds: float
    cold_start_seconds: float
    """What nine starts in ten do not exceed; at least the age of one that is still under way."""

    usual_start_seconds: float
    """What half of the starts do not exceed."""


def learned_starts(state: ScalerState) -> Starts:
    """The percentiles of what is remembered of starts, which several parts of a decision need."""
    known = sorted(state.cold_starts)
    if not known:
        return UNKNOWN_STARTS
    return Starts(known[ceil(0.5 * len(known)) - 1], known[ceil(0.9 * len(known)) - 1])


def estimate(inputs: ScalingInputs, state: ScalerState, starts: Starts, now: float) -> Estimates:
    """Beliefs from what is remembered; priors where nothing is."""
    service = _service_seconds(inputs, state, now)
    arrivals, slow_rate, sure_fast_rate, sustained_rate = _rates(inputs, state, service, now)
    return Estimates(
        arrivals=arrivals,
        slow_rate=slow_rate,
        sure_fast_rate=sure_fast_rate,
        sustained_rate=sustained_rate,
        service_seconds=service,
        cold_start_seconds=_cold_start_seconds(inputs, starts),
        usual_start_seconds=starts.usual_seconds,
    )


def _rates(
    inputs: ScalingInputs, state: ScalerState, service_seconds: float, now: float
) -> tuple[float, float, float, float]:
    """The first four of the estimates."""
    samples = state.samples
    if not samples:
        return 0.0, 0.0, 0.0, 0.0
    heard_at = now - (inputs.demand.age_seconds if inputs.demand else 0.0)
    window, fast = history.window_seconds(service_seconds), history.FAST_SECONDS
    all, lately_since, slow_since = history.arrived(samples, (heard_at, heard_at - fast, heard_at - window), now)
    arrivals, lately = all - slow_since, all - lately_since
    if not lately:
        return arrivals, arrivals / window, 0.0, 0.0
    marks = heard_at - fast / 3, heard_at - 2 * fast / 3, heard_at - 2 * fast
    third_since, two_thirds_since, before_since = history.arrived(samples, marks, now)
    sure = history.sure_rate(two_thirds_since - lately_since, lately, all - third_since)
    sustained = min((before_since - slow_since) / (window - 2 * fast), lately / fast)
    return arrivals, arrivals / window, sure, sustained


def _cold_start_seconds(inputs: ScalingInputs, starts: Starts) -> float:
    """What a start takes; at least the age of one that is still under way."""
    if not inputs.starting:
        return starts.settled_seconds
    return max([starts.settled_seconds, *[each.age_seconds for each in inputs.starting if each.trouble is None]])


class Stay(NamedTuple):
    """How long idle workers stay."""

    seconds: float
    """One that leaves others behind."""

    last_seconds: float
    """The last one."""


def idle_stay(inputs: ScalingInputs, state: ScalerState, starts: Starts) -> Stay:
    """With `auto`, as long as another start would take: waiting that long and then leaving costs at most twice what
    somebody would pay who knew when the next job comes.

    `ADAPTIVE` knows what the jobs of a window need: whom they did not need in all of it, it lets go. The last one stays
    twice as long as a start where that is longer than a job may wait: without it the next job is late for certain.
    """
    configured = inputs.scaling.idle_timeout_seconds
    if configured is not None:
        return Stay(float(configured), float(configured))
    start_seconds = max(SHORTEST_STAY_SECONDS, starts.settled_seconds)
    if inputs.scaling.scaler_type is not ScalerType.ADAPTIVE:
        return Stay(start_seconds, start_seconds)
    makes_late = start_seconds > inputs.scaling.scaler_value
    return Stay(
        min(start_seconds, history.window_seconds(state.service_seconds or 0.0)),
        start_seconds * (LAST_STAYS if makes_late else 1.0),
    )


def _service_seconds(inputs: ScalingInputs, state: ScalerState, now: float) -> float:
    measured = history.service_seconds(state.samples, now, state.revised_at)
    if measured is None:
        believed = inputs.scaling.service_prior_seconds if state.service_seconds is None else state.service_seconds
        measured = max(believed, history.unfinished_seconds(state.samples, now, state.revised_at))
    return max(SHORTEST_SERVICE_SECONDS, measured)
