"""`python -m submodel.serverless.local.again -f FILE …`: runs a handler's file for another time.

A file that fails is waited for: the next change runs it anew. It fails in the hands of its author, who mends it.
"""

import os
import runpy
import socket
import sys
import traceback
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from submodel.serverless.local.reload import inherited, sources, start_over, state_of, wait_for_change
from submodel.serverless.local.requests import page
from submodel.serverless.local.web import WebServer, refusal


def main(arguments: list[str]) -> int:
    """Run the handler's file; one that fails is told and waited for. Returns the exit code."""
    kind, target, *rest = arguments
    sys.argv[:] = [target, *rest]
    try:
        run(kind, target)
    except Exception as error:
        files = _files(error)
        known = state_of(files)
        traceback.print_exception(error)
        sys.stderr.write("Waiting for a change.\n")
        listening = inherited(os.environ)
        with _refusing(listening, f"the handler does not start: {type(error).__name__}: {error}"):
            wait_for_change(lambda: files, known)
        start_over([sys.executable, *sys.orig_argv[1:]], listening)
    return 0


def run(kind: str, target: str) -> None:
    """Run a file (`-f`) or a module (`-m`) as Python does when it is started with it."""
    if kind == "-m":
        runpy.run_module(target, run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(target).resolve().parent)
        runpy.run_path(target, run_name="__main__")


def _files(error: Exception) -> set[Path]:
    """Where the mistake may be: what was imported, and what the error names."""
    named = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
    if isinstance(error, SyntaxError) and error.filename:
        named.add(error.filename)
    known = {name: file for name, module in sys.modules.items() if (file := getattr(module, "__file__", None))}
    return sources(known | {name: name for name in named} | {"": os.path.abspath(sys.argv[0])})


def _refusing(listening: socket.socket | None, sentence: str) -> AbstractContextManager[object]:
    """A server that says why there is no handler."""
    if listening is None:
        return nullcontext()
    return WebServer(listening.dup(), lambda request: page() if request.path == "/" else refusal(503, sentence))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
