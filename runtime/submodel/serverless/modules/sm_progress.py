"""`rp_progress` by its other name."""

from submodel.serverless.modules.rp_progress import *
