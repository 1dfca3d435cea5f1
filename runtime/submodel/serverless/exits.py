"""`os._exit` in a handler: the job is failed before the process is gone, instead of being found lost later.

Handlers call it on purpose, for example when a GPU no longer answers. Children of a fork end with it too, and are left
alone.
"""

import os
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


def uninstall() -> None:
    """Let `os._exit` end the process again."""
    os._exit = end_process
