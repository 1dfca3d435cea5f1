"""What the page shows of a handler: its name, its kind, where it is, and an input to begin with."""

import inspect
import json
import os
import secrets
import sys
from functools import partial
from pathlib import Path
from typing import Any

import submodel
from submodel.serverless.executor import Handler
from submodel.serverless.local.trial import FILE


def facts_of(handler: Handler, concurrency: int) -> dict[str, Any]:
    """The facts as they are told at `/handler`."""
    while isinstance(handler, partial):
        handler = handler.func
    handler = getattr(handler, "__wrapped__", handler)
    return {
        "name": getattr(handler, "__qualname__", type(handler).__qualname__),
        "kind": _kind(handler),
        "about": (inspect.getdoc(handler) or "").partition("\n\n")[0][:300],
        "file": os.path.basename(getattr(sys.modules.get("__main__"), "__file__", None) or ""),
        "concurrency": concurrency,
        "version": submodel.__version__,
        "process": secrets.token_hex(4),
        "sample": _sample(),
    }


def _kind(handler: Any) -> str:
    called = handler if inspect.isroutine(handler) else getattr(handler, "__call__", handler)  # noqa: B004 # its kind is asked
    if inspect.isasyncgenfunction(called):
        return "async generator"
    if inspect.isgeneratorfunction(called):
        return "generator"
    return "coroutine" if inspect.iscoroutinefunction(called) else "function"


def _sample() -> Any:
    """The input of the file for local tests, when there is one that can be read."""
    try:
        found = json.loads(Path(FILE).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return None
    return found.get("input") if isinstance(found, dict) else None
