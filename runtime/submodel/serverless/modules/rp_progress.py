"""`progress_update` under the name that it has on the hosted platforms."""

from submodel.serverless import progress_update

__all__ = ["progress_update"]
