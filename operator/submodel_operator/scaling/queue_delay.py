"""QUEUE_DELAY: the first job at zero starts one worker; more are added only for jobs that wait longer than the target.

Workers that are starting count as capacity on its way, so that one late job does not start a worker at every look.
"""

from math import ceil

from submodel_operator.scaling.decision import Proposal, Term, counted
from submodel_operator.scaling.estimates import Estimates
from submodel_operator.scaling.signals import Demand, ScalingInputs


def propose(inputs: ScalingInputs, demand: Demand, estimates: Estimates) -> Proposal:
    """Workers wanted for `demand`; the present number when nothing is late. Estimates are not used."""
    target_seconds = inputs.scaling.scaler_value
    if demand.queued and not inputs.replicas:
        return Proposal(
            1,
            Term.FIRST_JOB,
            f"{counted(demand.queued, 'job')} queued and no worker runs: start one",
            f"more workers come for jobs that wait longer than {target_seconds:g} s",
        )
    needed = ceil(demand.late / inputs.scaling.concurrency)
    more = max(0, needed - inputs.pending)
    if more:
        return Proposal(
            inputs.replicas + more,
            Term.LATE_JOBS,
            f"{counted(demand.late, 'job')} waited longer than {target_seconds:g} s while "
            f"{counted(inputs.pending, 'worker')} started: {more} more",
            "more workers come for more late jobs than there are workers starting",
        )
    if not demand.queued:
        change = f"a job that waits longer than {target_seconds:g} s starts another worker"
        return Proposal(0, Term.STEADY, "no job queued", change)
    message = f"{counted(demand.queued, 'job')} queued, none for longer than {target_seconds:g} s"
    if demand.late:
        late = counted(demand.late, "job")
        message = f"{late} waited longer than {target_seconds:g} s and {counted(inputs.pending, 'worker')} started"
    return Proposal(inputs.replicas, Term.STEADY, message, "idle workers may go once no job is queued")


def seconds_until_late(inputs: ScalingInputs, demand: Demand) -> float | None:
    """When the oldest queued job becomes late, if it is not yet."""
    if demand.oldest_seconds is None or demand.oldest_seconds > inputs.scaling.scaler_value:
        return None
    return inputs.scaling.scaler_value - demand.oldest_seconds
