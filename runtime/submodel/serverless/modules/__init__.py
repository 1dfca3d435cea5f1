"""Modules that handlers of the hosted platforms import, under their names there: `rp_logger`, `rp_progress`.

Each also goes by its `sm_` name. Nothing is loaded before it is used.
"""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    if name in ("rp_logger", "rp_progress", "sm_logger", "sm_progress"):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
