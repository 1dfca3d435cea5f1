"""REQUEST_COUNT: one worker per `scalerValue` jobs, queued and running together."""

from math import ceil

from submodel_operator.scaling.decision import Proposal, Term
from submodel_operator.scaling.signals import Demand, ScalingInputs


def propose(inputs: ScalingInputs, demand: Demand) -> Proposal:
    """`ceil((queued + in progress) / scalerValue)`, as the hosted platforms document it."""
    jobs_per_worker = inputs.scaling.scaler_value
    workers = ceil((demand.queued + demand.in_progress) / jobs_per_worker)
    return Proposal(
        workers,
        Term.REQUEST_COUNT,
        f"{demand.queued} queued and {demand.in_progress} running jobs at {jobs_per_worker:g} per worker "
        f"need {workers}",
    )
