"""`rp_cuda` by its other name."""

from submodel.serverless.utils.rp_cuda import *
