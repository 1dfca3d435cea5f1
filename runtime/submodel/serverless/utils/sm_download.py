"""`rp_download` by its other name."""

from submodel.serverless.utils.rp_download import *
