"""Whether the source of a handler is Python at all, told before the first job pays for finding out. Pure.

It is parsed, never compiled or run: whoever may make an endpoint writes it, and a kilobyte of nested `finally` makes
the compiler double its work with each level, until the operator of all endpoints is out of memory. The verdict is that
of the operator's own Python, and a worker's may be newer; so it stops nothing, and a worker that comes up refutes it.
"""

import ast
import hashlib
import re
import sys
import warnings
from typing import Final

SOURCES_KEPT: Final = 4096
LENGTH_MAX: Final = 65_536
"""Longer sources are left to the worker: the parser takes seconds for some of them, and everybody waits."""

_known: Final[dict[bytes, str]] = {}
"""Verdicts by the SHA-256 of the source, the oldest first: sources themselves would fill the memory."""


def syntax_problem(source: str) -> str:
    """What is wrong with it and in which line, as a phrase that does not quote it; empty when nothing is known."""
    if len(source) > LENGTH_MAX:
        return ""
    digest = hashlib.sha256(source.encode(errors="surrogatepass")).digest()
    if digest not in _known:
        if len(_known) >= SOURCES_KEPT:
            del _known[next(iter(_known))]
        _known[digest] = _problem(source)
    return _known[digest]


def _problem(source: str) -> str:
    if _FILE.fullmatch(source.strip()):
        return 'names a file where its source is expected, after "inline: |"'
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(source, "handler.py")
    except SyntaxError as error:
        words = _WORDS.get(type(error), error.msg)
        return f"does not compile with Python {_VERSION}: line {error.lineno or 1}: {words}"
    except ValueError:
        return "is no Python: it holds a character that no source may"
    except (MemoryError, RecursionError):
        return "is nested too deeply to be compiled"
    return ""


_FILE: Final = re.compile(r"[\w./-]+\.py")
_VERSION: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
_WORDS: Final[dict[type[SyntaxError], str]] = {TabError: "tabs and spaces are mixed"}
