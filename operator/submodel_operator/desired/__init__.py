"""The objects an endpoint should have, one builder per kind. Pure: the same endpoint gives the same bytes."""

from submodel_operator.desired.pool import DesiredPool, desired_pool

__all__ = ["DesiredPool", "desired_pool"]
