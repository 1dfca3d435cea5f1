"""The process around the reconciler: watches, probes, start and end. Besides `__main__` the only importer of Kopf."""

from submodel_operator.handlers.process import Operator, PartFailed

__all__ = ["Operator", "PartFailed"]
