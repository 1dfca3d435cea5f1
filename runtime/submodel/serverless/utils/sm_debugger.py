"""`rp_debugger` by its other name."""

from submodel.serverless.utils.rp_debugger import *
