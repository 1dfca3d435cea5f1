"""`rp_ssrf` by its other name."""

from submodel.serverless.utils.rp_ssrf import *
