"""Writes the reference page of the OpenAPI document below a checkout. Called by `make manifests`."""

import sys
from pathlib import Path

from submodel_gateway.http import reference

if __name__ == "__main__":
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    (root / reference.PAGE_PATH).write_text(reference.page_text(), encoding="utf-8")
