"""The scaling decision: how many workers an endpoint should have, which idle ones may go, and why. Pure."""

from submodel_operator.scaling.decide import decide
from submodel_operator.scaling.decision import ScalingDecision, Term
from submodel_operator.scaling.signals import Demand, ScalingInputs, StartingWorker, WorkerSignal

__all__ = ["Demand", "ScalingDecision", "ScalingInputs", "StartingWorker", "Term", "WorkerSignal", "decide"]
