"""`rp_upload` by its other name."""

from submodel.serverless.utils.rp_upload import *
