"""The level-triggered loop: a keyed queue, and one function that brings one endpoint a step closer to its spec."""

from submodel_operator.reconcile.controller import Controller
from submodel_operator.reconcile.decision_log import DecisionLog
from submodel_operator.reconcile.endpoint import Reconciler
from submodel_operator.reconcile.queue import KeyedQueue

__all__ = ["Controller", "DecisionLog", "KeyedQueue", "Reconciler"]
