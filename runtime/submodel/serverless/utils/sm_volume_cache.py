"""`rp_volume_cache` by its other name."""

from submodel.serverless.utils.rp_volume_cache import *
