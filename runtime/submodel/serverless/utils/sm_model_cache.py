"""`rp_model_cache` by its other name."""

from submodel.serverless.utils.rp_model_cache import *
