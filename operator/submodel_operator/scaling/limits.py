"""What holds a policy's number down or up, in this order: floors, `workersMax`, `maxSurge`, room in the cluster, starts
that fail. Only `workersMax` may make the number smaller than the present one; the others stop growth.
"""

from typing import Final

from submodel_operator.scaling.decision import Proposal, Term, counted
from submodel_operator.scaling.schedules import scheduled_minimum
from submodel_operator.scaling.signals import ScalingInputs, Trouble
from submodel_operator.scaling.state import ScalerState

FAILED_STARTS_LIMIT: Final = 3
"""Failed starts in a row after which only one more is tried at a time."""


def limited(inputs: ScalingInputs, state: ScalerState, now: float, proposal: Proposal) -> Proposal:
    """`proposal` within all limits. Workers that hold jobs are never fewer than they are."""
    proposal = _standby(inputs, proposal)
    proposal = floor(inputs, now, proposal)
    proposal = _maximum(inputs, proposal)
    if proposal.workers > inputs.replicas:
        proposal = _surge(inputs, proposal)
        proposal = _capacity(inputs, proposal)
        proposal = _failing_starts(inputs, state, proposal)
    if proposal.workers >= len(inputs.workers):
        return proposal  # enough even if all were busy: that spares counting them
    busy = inputs.busy
    if proposal.workers >= busy:
        return proposal
    return proposal.by(Term.BUSY, busy, f"{counted(busy, 'busy worker')} until they are done")


def floor(inputs: ScalingInputs, now: float, proposal: Proposal) -> Proposal:
    """`proposal`, but at least `workersMin` and what the schedule asks for."""
    scaling = inputs.scaling
    if proposal.workers < scaling.workers_min:
        proposal = proposal.by(Term.MINIMUM, scaling.workers_min, f"workersMin keeps {scaling.workers_min}")
    scheduled = scheduled_minimum(scaling.schedules, now)
    if scheduled and proposal.workers < scheduled.workers:
        message = f"the schedule {scheduled.cron!r} keeps {scheduled.workers}"
        proposal = proposal.by(Term.SCHEDULE, scheduled.workers, message)
    return proposal


def _standby(inputs: ScalingInputs, proposal: Proposal) -> Proposal:
    """Workers in reserve, as long as there is work at all."""
    standby, demand = inputs.scaling.standby, inputs.demand
    if not standby or demand is None or not demand.calling:
        return proposal
    busy = min(inputs.busy, demand.running_usual)
    wanted = busy + standby
    if proposal.workers >= wanted:
        return proposal
    message = f"{counted(busy, 'worker')} busy and {standby} in reserve (standby)"
    return proposal.by(Term.STANDBY, wanted, message)


def _maximum(inputs: ScalingInputs, proposal: Proposal) -> Proposal:
    allowed = inputs.scaling.workers_max
    if proposal.workers <= allowed:
        return proposal
    return _capped(inputs, proposal, allowed, Term.MAXIMUM, f"workersMax allows {allowed}", at_least=0)


def _surge(inputs: ScalingInputs, proposal: Proposal) -> Proposal:
    surge = inputs.scaling.max_surge
    if surge is None:
        return proposal
    allowed = len(inputs.workers) + surge
    words = f"maxSurge lets {surge} start at a time and {inputs.pending} do"
    return _capped(inputs, proposal, allowed, Term.SURGE, words)


def _capacity(inputs: ScalingInputs, proposal: Proposal) -> Proposal:
    if inputs.refusal:
        return _capped(inputs, proposal, 0, Term.CAPACITY, f"the cluster creates no more workers: {inputs.refusal}")
    waiting = len(inputs.troubled(Trouble.UNSCHEDULABLE))
    if not waiting:
        return proposal
    return _capped(inputs, proposal, 0, Term.CAPACITY, f"no node has room for {counted(waiting, 'starting worker')}")


def _failing_starts(inputs: ScalingInputs, state: ScalerState, proposal: Proposal) -> Proposal:
    """After failed starts in a row one worker at a time tries again; the cluster itself spaces its attempts."""
    failed = len(state.failed)
    if failed < FAILED_STARTS_LIMIT:
        return proposal
    words = f"the last {failed} starts failed: one at a time tries again"
    return _capped(inputs, proposal, len(inputs.workers) + 1, Term.FAILING_STARTS, words)


def _capped(
    inputs: ScalingInputs, proposal: Proposal, allowed: int, term: Term, words: str, at_least: int | None = None
) -> Proposal:
    allowed = max(allowed, inputs.replicas if at_least is None else at_least)
    if proposal.workers <= allowed:
        return proposal
    return proposal.by(term, allowed, f"{proposal.message}; {words}", proposal.change)
