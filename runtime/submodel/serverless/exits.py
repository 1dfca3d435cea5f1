"""Ends of a process that come from a handler's code: by `os._exit`, and of a forked child that comes out of it.

Handlers call `os._exit` on purpose, for example when a GPU no longer answers: the job is failed before the process is
gone, instead of being found lost later. Children of a fork end with it too, and are left alone.
"""

import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

end_process = os._exit
"""The real one; the runtime's own ends use it."""


def install(report: Callable[[int], None]) -> None:
    """From now on, `report` is called with the exit code before `os._exit` ends this process."""
    process = os.getpid()

    def _exit(status: int) -> NoReturn:
        if os.getpid() == process:
            try:
                report(status)
            finally:
                end_process(status)
        end_process(status)

    os._exit = _exit


def end_child(error: BaseException | None) -> NoReturn:
    """End a forked child that has come out of the handler's code, as Python would end a program there.

    The job, the connections and the event loop are its parent's: anything it did with them would harm that one.
    """
    status = 0
    if isinstance(error, SystemExit):
        status = error.code & 0xFF if isinstance(error.code, int) else int(error.code is not None)
        error = None if error.code is None or isinstance(error.code, int) else error
    elif error is not None:
        status = 1
    try:
        if error is not None:
            traceback.print_exception(error)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        end_process(status)


def uninstall() -> None:
    """Let `os._exit` end the process again."""
    os._exit = end_process
