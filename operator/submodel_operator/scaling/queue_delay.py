"""QUEUE_DELAY: the first job at zero starts one worker; more are added only for jobs that wait longer than the target.

Workers that are starting count as capacity on its way, so that one late job does not start a worker at every look.
"""

from math import ceil

from submodel_operator.scaling.decision import Proposal, Term, counted
from submodel_operator.scaling.signals import Demand, ScalingInputs


def propose(inputs: ScalingInputs, demand: Demand) -> Proposal:
    """Workers wanted for `demand`; the present number when nothing is late."""
    target_seconds = inputs.scaling.scaler_value
    if demand.queued and not inputs.replicas:
        return Proposal(1, Term.FIRST_JOB, f"{counted(demand.queued, 'job')} queued and no worker runs: start one")
    needed = ceil(demand.late / inputs.scaling.concurrency)
    more = max(0, needed - inputs.pending)
    if more:
        return Proposal(
            inputs.replicas + more,
            Term.LATE_JOBS,
            f"{counted(demand.late, 'job')} waited longer than {target_seconds:g} s while "
            f"{counted(inputs.pending, 'worker')} started: {more} more",
        )
    if not demand.queued:
        return Proposal(0, Term.STEADY, "no job queued")
    message = f"{counted(demand.queued, 'job')} queued, none for longer than {target_seconds:g} s"
    return Proposal(inputs.replicas, Term.STEADY, message)


def seconds_until_late(inputs: ScalingInputs, demand: Demand) -> float | None:
    """When the oldest queued job becomes late, if it is not yet."""
    if demand.oldest_seconds is None or demand.oldest_seconds > inputs.scaling.scaler_value:
        return None
    return inputs.scaling.scaler_value - demand.oldest_seconds
