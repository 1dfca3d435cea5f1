"""What user handlers import: `submodel.serverless.start({"handler": fn})`.

Importing the package is cheap: `submodel.serverless` is loaded at first use, so that the gateway and the operator can
import `submodel.contract` without the worker.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from submodel import serverless as serverless

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "serverless":
        return importlib.import_module("submodel.serverless")
    raise AttributeError(f"module 'submodel' has no attribute {name!r}")
