"""How a worker process ends: the first signal drains it, the second one ends it at once, and draining has a bound.

The signals are read by a thread from the interpreter's wake-up descriptor. A Python signal handler would have to wait
until the user's code in the main thread comes back to the interpreter, which a computation need not do for minutes.
"""

import os
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType

from submodel.serverless.exits import end_process
from submodel.serverless.log import logger

SIGNALS = (signal.SIGTERM, signal.SIGINT)
FINAL_FLUSH_SECONDS = 3.0
"""How long giving jobs back may take after the bound has passed."""

_LEAVE = b"\0"


class Lifecycle:
    """Watches for the end of the process. Create and `install` it in the main thread.

    Args:
        leave: stop taking jobs; called once.
        give_up: give back what still runs; called when `drain_seconds` have passed. Returns how many jobs.
    """

    def __init__(self, drain_seconds: float, leave: Callable[[], None], give_up: Callable[[], int]) -> None:
        self._drain_seconds = drain_seconds
        self._leave = leave
        self._give_up = give_up
        self._settled = threading.Event()
        self._leaving = False
        self._signals = 0
        self.serving = False
        """Until then there is nothing to finish, and a signal ends the process at once."""

        self.gave_up = False
        """Whether the time to finish is over: the process ends with code 1, whatever the user's code does now."""

        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)

    def install(self) -> None:
        """Take over SIGTERM and SIGINT."""
        for number in SIGNALS:
            signal.signal(number, self._python_level)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        # A forked child shares the descriptor: ending it with SIGTERM would drain this worker instead.
        os.register_at_fork(before=_hold_signals, after_in_parent=_let_signals, after_in_child=self._disown)
        threading.Thread(target=self._watch, name="submodel-signals", daemon=True).start()

    def uninstall(self) -> None:
        """Give the signals back to their defaults: the worker has ended, or this is a forked child."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def request_leave(self) -> None:
        """Drain as if a signal had come."""
        self._writer.send(_LEAVE)

    def settled(self) -> None:
        """The worker has nothing left to do."""
        self._settled.set()

    def _disown(self) -> None:
        self.uninstall()
        _let_signals()

    def _python_level(self, number: int, frame: FrameType | None) -> None:
        """Needed for the interpreter to write to the descriptor at all; does the writing when that was taken away.

        `loop.add_signal_handler` in user code puts the loop's own descriptor there.
        """
        current = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(current, warn_on_full_buffer=False)
        if current != self._writer.fileno():
            self._writer.send(bytes([number]))

    def _watch(self) -> None:
        while True:
            for number in self._reader.recv(64):
                self._on(number)

    def _on(self, number: int) -> None:
        if number in SIGNALS:
            self._signals += 1
            if self._signals > 1 or not self.serving:
                end_process(128 + number)
        elif number != _LEAVE[0]:
            return
        if not self._leaving:
            self._leaving = True
            threading.Thread(target=self._drain, name="submodel-drain", daemon=True).start()

    def _drain(self) -> None:
        self._leave()
        logger.info("Leaving: no more jobs are taken; up to %g s for what runs.", self._drain_seconds)
        if self._settled.wait(self._drain_seconds):
            return
        self.gave_up = True
        logger.error("Leaving: the time is up, %d job(s) given back.", self._give_up())
        self._settled.wait(FINAL_FLUSH_SECONDS)
        end_process(1)


def _hold_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _let_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
