"""`python -m submodel_gateway.metrics`: prints the reference page of the metrics."""

import sys

from submodel_gateway.metrics.reference import page

if __name__ == "__main__":
    sys.stdout.write(page())
