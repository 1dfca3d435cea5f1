"""The operator's ports on one machine: pools of processes instead of Deployments of pods."""

from submodel_operator.local.cluster import LocalCluster
from submodel_operator.local.gateway import LocalGateway

__all__ = ["LocalCluster", "LocalGateway"]
