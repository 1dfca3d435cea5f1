"""REQUEST_COUNT: one worker per `scalerValue` jobs, queued and running together."""

from math import ceil

from submodel_operator.scaling.decision import Proposal, Term
from submodel_operator.scaling.estimates import Estimates
from submodel_operator.scaling.signals import Demand, ScalingInputs


def propose(inputs: ScalingInputs, demand: Demand, estimates: Estimates) -> Proposal:
    """`ceil((queued + in progress) / scalerValue)`, as the hosted platforms document it. Estimates are not used."""
    jobs_per_worker = inputs.scaling.scaler_value
    workers = ceil(demand.calling / jobs_per_worker)
    return Proposal(
        workers,
        Term.REQUEST_COUNT,
        f"{demand.queued} queued and {demand.calling - demand.queued} running jobs at {jobs_per_worker:g} per worker "
        f"need {workers}",
        f"another worker comes above {workers * jobs_per_worker:g} jobs, queued and running together",
    )
