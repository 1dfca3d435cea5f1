"""`rp_validator` by its other name."""

from submodel.serverless.utils.rp_validator import *
