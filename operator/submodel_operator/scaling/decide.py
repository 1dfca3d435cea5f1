"""The decision: a policy proposes, bounds limit, and only what is known to be idle may go.

Order: unknown signals hold; the policy's number; never below busy workers; `workersMin` and `workersMax`; then growth
at once, or removal of idle workers after the idle timeout.
"""

from submodel_operator.api.v1alpha1 import ScalerType
from submodel_operator.scaling import queue_delay, request_count, victims
from submodel_operator.scaling.decision import Proposal, ScalingDecision, Term, counted
from submodel_operator.scaling.signals import Demand, ScalingInputs

POLICIES = {ScalerType.QUEUE_DELAY: queue_delay.propose, ScalerType.REQUEST_COUNT: request_count.propose}


def decide(inputs: ScalingInputs) -> ScalingDecision:
    """How many workers, and who may leave. The same inputs always give the same decision."""
    if inputs.demand is None:
        return _hold_without_signals(inputs)
    wanted = _bounded(inputs, POLICIES[inputs.scaling.scaler_type](inputs, inputs.demand))
    if wanted.workers >= inputs.replicas:
        return ScalingDecision(
            replicas=wanted.workers,
            term=wanted.term,
            message=wanted.message,
            evaluate_after_seconds=_next_look(inputs, inputs.demand),
        )
    return _shrink(inputs, inputs.demand, wanted)


def _hold_without_signals(inputs: ScalingInputs) -> ScalingDecision:
    """The last known number stays; only the floor that needs no signal is kept up."""
    floor = inputs.scaling.workers_min
    if floor > inputs.replicas:
        return ScalingDecision(floor, Term.MINIMUM, f"workersMin keeps {floor}")
    return ScalingDecision(
        replicas=inputs.replicas,
        term=Term.SIGNALS_UNKNOWN,
        message="the gateway's signals are missing or old: the number of workers is held",
    )


def _bounded(inputs: ScalingInputs, proposal: Proposal) -> Proposal:
    scaling = inputs.scaling
    if proposal.workers < scaling.workers_min:
        proposal = Proposal(scaling.workers_min, Term.MINIMUM, f"workersMin keeps {scaling.workers_min}")
    if proposal.workers > scaling.workers_max:
        message = f"{proposal.message}; workersMax allows {scaling.workers_max}"
        proposal = Proposal(scaling.workers_max, Term.MAXIMUM, message)
    if proposal.workers < inputs.busy:
        proposal = Proposal(inputs.busy, Term.BUSY, f"{counted(inputs.busy, 'busy worker')} until they are done")
    return proposal


def _shrink(inputs: ScalingInputs, demand: Demand, wanted: Proposal) -> ScalingDecision:
    evaluate_after = _next_look(inputs, demand)
    if not inputs.settled:
        return ScalingDecision(
            replicas=inputs.replicas,
            term=Term.UNSETTLED,
            message=f"{counted(inputs.replicas, 'worker')} asked for, another number exists at the moment: wait",
            evaluate_after_seconds=evaluate_after,
        )
    surplus = inputs.replicas - wanted.workers
    if inputs.starting:
        remove = victims.unneeded_starts(inputs, surplus)
        term, message = Term.UNNEEDED_STARTS, f"{counted(len(remove), 'starting worker')} not needed any more"
    else:
        over_maximum = inputs.replicas > inputs.scaling.workers_max
        after_seconds = 0.0 if over_maximum else float(inputs.scaling.idle_timeout_seconds)
        remove = victims.idle(inputs, surplus, after_seconds)
        term = Term.MAXIMUM if over_maximum else Term.IDLE
        message = f"{counted(len(remove), 'worker')} idle for {after_seconds:g} s; {wanted.message}"
    if not remove:
        term, message = Term.STEADY, f"{wanted.message}; idle workers stay for idleTimeout"
    return ScalingDecision(
        replicas=inputs.replicas - len(remove),
        term=term,
        message=message,
        remove=remove,
        evaluate_after_seconds=evaluate_after,
    )


def _next_look(inputs: ScalingInputs, demand: Demand) -> float | None:
    looks = [victims.seconds_until_next(inputs)]
    if inputs.scaling.scaler_type is ScalerType.QUEUE_DELAY:
        looks.append(queue_delay.seconds_until_late(inputs, demand))
    return min((seconds for seconds in looks if seconds is not None), default=None)
