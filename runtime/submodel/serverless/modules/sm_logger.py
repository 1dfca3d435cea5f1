"""`rp_logger` by its other name."""

from submodel.serverless.modules.rp_logger import *
