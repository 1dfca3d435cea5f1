"""The scaling decision: how many workers an endpoint should have, which idle ones may go, and why. Pure."""

from submodel_operator.scaling.decide import decide
from submodel_operator.scaling.decision import Proposal, ScalingDecision, Term
from submodel_operator.scaling.signals import Demand, ScalingInputs, StartingWorker, Trouble, WorkerSignal
from submodel_operator.scaling.state import ScalerState

__all__ = [
    "Demand",
    "Proposal",
    "ScalerState",
    "ScalingDecision",
    "ScalingInputs",
    "StartingWorker",
    "Term",
    "Trouble",
    "WorkerSignal",
    "decide",
]
