"""The decision: a policy proposes, limits hold it, and only what is known to be idle may go.

Order: unknown signals hold; the policy's number; the limits (`limits`); then growth at once, or removal of idle workers
after the stabilisation window and the idle timeout. Old signals let the endpoint grow and never shrink.
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from submodel_operator.api.v1alpha1 import ScalerType
from submodel_operator.scaling import adaptive, limits, memory, queue_delay, request_count, schedules, victims
from submodel_operator.scaling.decision import Proposal, ScalingDecision, Term, counted
from submodel_operator.scaling.estimates import Estimates, Starts, Stay, estimate, idle_stay, learned_starts
from submodel_operator.scaling.signals import Demand, ScalingInputs
from submodel_operator.scaling.state import ScalerState

Policy = Callable[[ScalingInputs, Demand, Estimates], Proposal]
POLICIES: Final[Mapping[ScalerType, Policy]] = {
    ScalerType.QUEUE_DELAY: queue_delay.propose,
    ScalerType.REQUEST_COUNT: request_count.propose,
    ScalerType.ADAPTIVE: adaptive.propose,
}

SIGHT_SECONDS: Final = 10.0
"""After a silence of the gateway nobody goes for so long: workers have yet to come back to it."""

RATE_LOOK_SECONDS: Final = 5.0
"""How often a falling rate is looked at while workers are there."""


def decide(inputs: ScalingInputs, state: ScalerState, now: float) -> tuple[ScalingDecision, ScalerState]:
    """How many workers, and who may leave; and what to remember for the next time.

    `now` is in seconds since the epoch. The same arguments always give the same result, and the state that comes out
    gives the same decision once more.
    """
    state = memory.remember(inputs, state, now)
    if inputs.demand is None:
        return _hold_without_signals(inputs, now), state
    demand, starts = inputs.demand, learned_starts(state)
    estimates = estimate(inputs, state, starts, now)
    proposal = _with_low_priority(POLICIES[inputs.scaling.scaler_type](inputs, demand, estimates), demand)
    wanted = limits.limited(inputs, state, now, proposal)
    window = _window_seconds(inputs, starts)
    state = memory.remember_wanted(state, wanted.workers, window, now)
    stay = idle_stay(inputs, state, starts)
    if wanted.workers >= inputs.replicas:
        decision = ScalingDecision(wanted.workers, wanted.term, wanted.message)
    elif not demand.fresh:
        decision = _held(inputs)
    else:
        decision = _shrink(inputs, state, now, _stabilised(inputs, state, now, window, wanted), stay)
    look = _next_look(inputs, demand, state, now, window, stay)
    shadow = _shadow(inputs, demand, estimates, state, now)
    return (
        ScalingDecision(
            replicas=decision.replicas,
            term=decision.term,
            message=decision.message,
            remove=decision.remove,
            evaluate_after_seconds=look,
            proposal=proposal,
            estimates=estimates,
            terms=(*wanted.said, (decision.term, decision.replicas)),
            shadow=shadow,
        ),
        state,
    )


def _with_low_priority(proposal: Proposal, demand: Demand) -> Proposal:
    """Says what the policy did not count."""
    if not demand.queued_low:
        return proposal
    words = f"{counted(demand.queued_low, 'queued job')} of low priority start no worker"
    return msgspec.structs.replace(proposal, message=f"{proposal.message}; {words}")


def _hold_without_signals(inputs: ScalingInputs, now: float) -> ScalingDecision:
    """The last known number stays; only the floor that needs no signal is kept up."""
    nothing = Proposal(0, Term.STEADY, "")
    wanted = limits.floor(inputs, now, nothing)
    look = schedules.seconds_until_next(inputs.scaling.schedules, now)
    if inputs.replicas < wanted.workers <= inputs.scaling.workers_max:
        return ScalingDecision(wanted.workers, wanted.term, wanted.message, evaluate_after_seconds=look)
    return msgspec.structs.replace(_held(inputs), evaluate_after_seconds=look)


def _held(inputs: ScalingInputs) -> ScalingDecision:
    return ScalingDecision(
        replicas=inputs.replicas,
        term=Term.SIGNALS_UNKNOWN,
        message="the gateway's signals are missing or old: no worker goes",
    )


def _window_seconds(inputs: ScalingInputs, starts: Starts) -> float:
    configured = inputs.scaling.stabilization_seconds
    if configured is not None:
        return float(configured)
    return adaptive.stabilization_seconds(inputs.scaling, starts.settled_seconds)


def _stabilised(inputs: ScalingInputs, state: ScalerState, now: float, window: float, wanted: Proposal) -> Proposal:
    highest = min(memory.highest_wanted(state, window, now), inputs.scaling.workers_max)
    if highest <= wanted.workers:
        return wanted
    message = f"{wanted.message}; {highest} were wanted within the last {window:g} s"
    return wanted.by(Term.STABILIZATION, highest, message)


def _shrink(inputs: ScalingInputs, state: ScalerState, now: float, wanted: Proposal, stay: Stay) -> ScalingDecision:
    if inputs.hold:
        return ScalingDecision(inputs.replicas, Term.UNSETTLED, f"{inputs.hold}: wait")
    if not inputs.settled:
        message = f"{counted(inputs.replicas, 'worker')} asked for, another number exists at the moment: wait"
        return ScalingDecision(inputs.replicas, Term.UNSETTLED, message)
    if now - state.sighted_at < SIGHT_SECONDS:
        message = f"the gateway was silent until {now - state.sighted_at:.0f} s ago: wait for its workers"
        return ScalingDecision(inputs.replicas, Term.UNSETTLED, message)
    surplus, over_maximum = max(0, inputs.replicas - wanted.workers), inputs.replicas > inputs.scaling.workers_max
    allowed = Stay(0.0, 0.0) if over_maximum else stay
    if inputs.starting:
        remove = victims.unneeded_starts(inputs, surplus, stay.seconds)
    else:
        remove = victims.idle(inputs, surplus, allowed.seconds, allowed.last_seconds)
    if not remove:
        return _nobody_goes(inputs, wanted)
    if other := victims.still_coming(inputs, remove):
        message = f"worker {other} is to stay, and the cluster would take it first, for it is still coming: wait"
        return ScalingDecision(inputs.replicas, Term.UNSETTLED, message)
    if other := victims.taken_instead(inputs, remove):
        message = f"worker {other} is to stay, and the cluster, which calls it not ready, would take it first: wait"
        return ScalingDecision(inputs.replicas, Term.UNREADY, message)
    if inputs.starting:
        term, message = Term.UNNEEDED_STARTS, f"{counted(len(remove), 'starting worker')} not needed any more"
    else:
        term = Term.MAXIMUM if over_maximum else Term.IDLE
        waited_seconds = allowed.last_seconds if len(remove) == inputs.replicas else allowed.seconds
        message = f"{counted(len(remove), 'worker')} idle for {waited_seconds:g} s; {wanted.message}"
    return ScalingDecision(inputs.replicas - len(remove), term, message, remove)


def _nobody_goes(inputs: ScalingInputs, wanted: Proposal) -> ScalingDecision:
    if wanted.term is Term.STABILIZATION:
        return ScalingDecision(inputs.replicas, wanted.term, wanted.message)
    return ScalingDecision(inputs.replicas, Term.STEADY, f"{wanted.message}; idle workers stay for idleTimeout")


def _shadow(
    inputs: ScalingInputs, demand: Demand, estimates: Estimates, state: ScalerState, now: float
) -> Proposal | None:
    """What the other policy asks for at the present workers, within the same limits."""
    other = inputs.scaling.shadow
    if other is None:
        return None
    scaling = msgspec.structs.replace(
        inputs.scaling, scaler_type=other, scaler_value=inputs.scaling.shadow_value, shadow=None
    )
    seen = msgspec.structs.replace(inputs, scaling=scaling)
    return limits.limited(seen, state, now, POLICIES[other](seen, demand, estimates))


def _next_look(
    inputs: ScalingInputs, demand: Demand, state: ScalerState, now: float, window: float, stay: Stay
) -> float | None:
    scaling = inputs.scaling
    looks = victims.seconds_until_due(inputs, stay)
    others = [memory.seconds_until_forgotten(state, window, now), schedules.seconds_until_next(scaling.schedules, now)]
    if scaling.scaler_type is ScalerType.QUEUE_DELAY:
        others.append(queue_delay.seconds_until_late(inputs, demand))
    looks += [seconds for seconds in others if seconds is not None]
    if scaling.scaler_type is ScalerType.ADAPTIVE and inputs.replicas > scaling.workers_min:
        looks.append(RATE_LOOK_SECONDS)
    if inputs.replicas and now - state.sighted_at < SIGHT_SECONDS:
        looks.append(SIGHT_SECONDS - (now - state.sighted_at))
    return min(looks, default=None)
