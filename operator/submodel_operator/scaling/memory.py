"""From one decision to the next: what is learned from the facts before a decision is made. Pure and idempotent."""

from collections.abc import Iterator
from typing import Final

import msgspec

from submodel_operator.api.v1alpha1 import ScalerType
from submodel_operator.scaling import history
from submodel_operator.scaling.signals import ScalingInputs, Trouble
from submodel_operator.scaling.state import ScalerState, Wanted, not_after

COLD_STARTS: Final = 20
FAILED_STARTS: Final = 10
WATCHED_STARTS: Final = 50
SEEN_SECONDS: Final = 10.0
"""A worker that is older when it is first seen was not seen starting."""


def remember(inputs: ScalingInputs, state: ScalerState, now: float) -> ScalerState:
    """The state after these facts. The same facts a second time teach nothing."""
    state = not_after(state, now)
    if inputs.revision != state.revision:
        revised_at = now if state.samples else state.revised_at
        state = msgspec.structs.replace(
            state, revision=inputs.revision, revised_at=revised_at, cold_starts=(), starting=(), failed=()
        )
    return _starts(inputs, _demand(inputs, _silence(inputs, state, now), now))


def remember_wanted(state: ScalerState, workers: int, window_seconds: float, now: float) -> ScalerState:
    """The state after `workers` were wanted at `now`; nothing is kept without a window."""
    if not window_seconds:
        return state if not state.wanted else msgspec.structs.replace(state, wanted=())
    wanted = _running_maxima(state.wanted, workers, window_seconds, now)
    return state if wanted == state.wanted else msgspec.structs.replace(state, wanted=wanted)


def highest_wanted(state: ScalerState, window_seconds: float, now: float) -> int:
    """The most workers that were wanted at any instant of the window that ends at `now`."""
    if not window_seconds or not state.wanted:
        return 0
    since = now - window_seconds
    return max((each.workers for each, end in _with_ends(state.wanted, now) if end > since), default=0)


def seconds_until_forgotten(state: ScalerState, window_seconds: float, now: float) -> float | None:
    """When the highest number within the window leaves it."""
    if not window_seconds or len(state.wanted) < 2:
        return None
    later = (each.at + window_seconds - now for each in state.wanted[1:])
    return next((seconds for seconds in later if seconds > 0), None)


def _running_maxima(wanted: tuple[Wanted, ...], workers: int, window: float, now: float) -> tuple[Wanted, ...]:
    """`wanted` with a new end. What a higher or equal number follows can never be the maximum again: it is taken over,
    with its beginning, so that the end of the one before it stays what it was."""
    if wanted and wanted[-1].workers == workers:
        return wanted
    lasting = (each for each, end in _with_ends(wanted, now) if end > now - window)
    higher = tuple(each for each in lasting if each.workers > workers)
    begun = next((each.at for each in wanted if each.workers <= workers), now)
    return (*higher, Wanted(begun, workers))


def _with_ends(wanted: tuple[Wanted, ...], now: float) -> Iterator[tuple[Wanted, float]]:
    """Each entry with the instant until which it was wanted."""
    return zip(wanted, (*(each.at for each in wanted[1:]), now), strict=False)


def _silence(inputs: ScalingInputs, state: ScalerState, now: float) -> ScalerState:
    if inputs.demand is None:
        return state
    blind = not inputs.demand.fresh
    if blind == state.blind:
        return state
    return msgspec.structs.replace(state, blind=blind, sighted_at=state.sighted_at if blind else now)


def _demand(inputs: ScalingInputs, state: ScalerState, now: float) -> ScalerState:
    """Only a policy that asks for rates pays for their memory."""
    scaling, demand = inputs.scaling, inputs.demand
    if ScalerType.ADAPTIVE not in (scaling.scaler_type, scaling.shadow):
        return (
            msgspec.structs.replace(state, samples=(), service_seconds=None, revised_at=0.0) if state.samples else state
        )
    if demand is None or not demand.fresh:
        return state
    samples = history.record(state.samples, demand, now)
    if samples is state.samples:
        return state
    measured = history.service_seconds(samples, now, state.revised_at)
    service = state.service_seconds if measured is None else round(measured, 3)
    return msgspec.structs.replace(state, samples=samples, service_seconds=service)


def _starts(inputs: ScalingInputs, state: ScalerState) -> ScalerState:
    """Which starts came up, and how long they took; which failed. One that comes up proves that starts work."""
    if inputs.demand is None or not inputs.demand.fresh:  # who works and who starts is known from the gateway alone
        return state
    if not inputs.starting and not state.starting and not state.failed:
        return state
    watched = set(state.starting)
    up = [worker for worker in inputs.workers if worker.name in watched] if watched else []
    took = sorted([round(worker.start_seconds, 1) for worker in up]) if up else ()
    cold_starts = (*state.cold_starts, *took)[-COLD_STARTS:]
    failed = _failed(inputs, state.failed, bool(up))
    # Whose start was seen. One that has worked and lost the gateway for a while looks like a late starter.
    seen = [each.name for each in inputs.starting if each.age_seconds < SEEN_SECONDS or each.name in watched]
    starting = tuple(sorted(seen)[:WATCHED_STARTS])
    if (starting, failed, cold_starts) == (state.starting, state.failed, state.cold_starts):
        return state
    return msgspec.structs.replace(state, starting=starting, failed=failed, cold_starts=cold_starts)


def _failed(inputs: ScalingInputs, before: tuple[str, ...], proven: bool) -> tuple[str, ...]:
    """Workers that failed to start since the last one that came up; `proven` says that one did now."""
    if before and (proven or any(worker.name in before for worker in inputs.workers)):
        before = ()
    failing = {worker.name for worker in inputs.troubled(Trouble.FAILING)}
    new = sorted(failing.difference(before)) if failing else ()
    return (*before, *new)[-FAILED_STARTS:]
