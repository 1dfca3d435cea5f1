"""Whether the source of a handler is Python at all, told before the first job pays for finding out. Pure.

It is compiled and never run. The verdict is that of the operator's own Python, and a worker's may be newer; so it stops
nothing, and a worker that comes up refutes it.
"""

import sys
import warnings
from functools import lru_cache
from typing import Final

SOURCES_KEPT: Final = 4096


@lru_cache(maxsize=SOURCES_KEPT)
def syntax_problem(source: str) -> str:
    """What is wrong with it and in which line, as a phrase that does not quote it; empty when nothing is."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, "handler.py", "exec", dont_inherit=True)
    except SyntaxError as error:
        words = _WORDS.get(type(error), error.msg)
        return f"does not compile with Python {_VERSION}: line {error.lineno or 1}: {words}"
    except ValueError:
        return "is no Python: it holds a character that no source may"
    except (MemoryError, RecursionError):
        return "is nested too deeply to be compiled"
    return ""


_VERSION: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
_WORDS: Final[dict[type[SyntaxError], str]] = {TabError: "tabs and spaces are mixed"}
