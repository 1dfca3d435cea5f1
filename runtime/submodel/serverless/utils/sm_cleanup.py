"""`rp_cleanup` by its other name."""

from submodel.serverless.utils.rp_cleanup import *
