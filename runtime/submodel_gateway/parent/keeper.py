"""The parent at work: it binds the sockets, starts processes on them, and passes signals on.

| Signal to the parent | What happens |
|---|---|
| SIGTERM, SIGINT | the serving process drains and ends, then the parent with its code |
| SIGUSR2 | a fresh process takes over: an upgrade in place |

It imports next to nothing and stays small. As the first process of a container it also reaps the orphans of others.
"""

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping, Sequence

from submodel_gateway import settings as names
from submodel_gateway.errors import ConfigurationError
from submodel_gateway.parent import handover
from submodel_gateway.parent.handover import Handover
from submodel_gateway.parent.supervision import CANNOT_START, Action, Deed, Supervision
from submodel_gateway.parent.voice import Voice
from submodel_gateway.settings import address, log_format, log_level
from submodel_gateway.sockets import bind

LEAVE = signal.SIGUSR1
"""Tells a serving process to drain at once: the next one is there, or waits for its place."""

_SIGNALS = signal.SIGTERM, signal.SIGINT, signal.SIGUSR2, signal.SIGCHLD


class Keeper:
    """Keeps two listening sockets open and one process serving on them.

    Args:
        command: what starts a serving process.
        environ: its environment, less the handover.
    """

    def __init__(
        self,
        listeners: tuple[socket.socket, socket.socket],
        command: Sequence[str],
        environ: Mapping[str, str],
        voice: Voice,
    ) -> None:
        self._listeners = listeners
        self._voice = voice
        self._command = list(command)
        self._environ = dict(environ)
        self._supervision = Supervision()
        self._lines: dict[int, tuple[int, socket.socket]] = {}
        """Our ends of the processes' lines, by descriptor."""

        self._asked: list[int] = []
        self._code: int | None = None

    def run(self) -> int:
        """Until the end; returns the exit code."""
        hear, wake = os.pipe()
        for end in (hear, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, self._note)
        while self._code is None:
            self._act(self._supervision.tick(time.monotonic()))
            self._wait(hear)
            self._reap()
            self._obey()
        return self._code

    def _note(self, number: int, frame: object) -> None:
        self._asked.append(number)

    def _wait(self, hear: int) -> None:
        poll = select.poll()
        for descriptor in (hear, *self._lines):
            poll.register(descriptor, select.POLLIN)
        next_at = self._supervision.next_at()
        milliseconds = None if next_at is None else max(0.0, next_at - time.monotonic()) * 1_000 + 1
        for descriptor, _ in poll.poll(milliseconds):
            if descriptor == hear:
                os.read(hear, 4_096)
            else:
                self._read(descriptor)

    def _read(self, descriptor: int) -> None:
        pid, line = self._lines[descriptor]
        said = line.recv(16)
        if said:
            alone = handover.READY_ALONE in said
            self._act(self._supervision.ready(pid, time.monotonic(), alone=alone))
        else:
            del self._lines[descriptor]
            line.close()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            code = os.waitstatus_to_exitcode(status)
            self._act(self._supervision.ended(pid, code, time.monotonic()))

    def _obey(self) -> None:
        asked, self._asked = self._asked, []
        for number in asked:
            if number == signal.SIGUSR2:
                self._voice.info("a fresh process is to take over")
                self._act(self._supervision.upgrade(time.monotonic()))
            elif number in (signal.SIGTERM, signal.SIGINT):
                self._act(self._supervision.stop())

    def _act(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if action.why:
                self._voice.warning(action.why)
            match action.deed:
                case Deed.START:
                    self._start()
                case Deed.LEAVE:
                    os.kill(action.pid, LEAVE)
                case Deed.END:
                    os.kill(action.pid, signal.SIGTERM)
                case Deed.KILL:
                    os.kill(action.pid, signal.SIGKILL)
                case Deed.EXIT:
                    self._code = action.code

    def _start(self) -> None:
        ours, line = socket.socketpair()
        public, internal = self._listeners
        told = Handover(public.fileno(), internal.fileno(), line.fileno())
        line.set_inheritable(True)
        environ = {**self._environ, handover.VARIABLE: str(told)}
        try:
            pid = os.posix_spawn(self._command[0], self._command, environ)
        except OSError as error:
            ours.close()
            self._voice.warning(f"no process can be started: {error}")
            self._supervision.not_started(time.monotonic())
            return
        finally:
            line.close()
        self._lines[ours.fileno()] = (pid, ours)
        self._supervision.started(pid, time.monotonic())


def main(environ: Mapping[str, str]) -> int:
    """Keep a gateway serving until told to end; returns the exit code."""
    try:
        voice = Voice(log_level(environ), log_format(environ))
        listeners = (
            bind(address(environ, names.LISTEN), names.LISTEN),
            bind(address(environ, names.INTERNAL_LISTEN), names.INTERNAL_LISTEN),
        )
    except ConfigurationError as error:
        sys.stderr.write(f"submodel-gateway: {error}\n")
        return CANNOT_START
    for listener in listeners:
        listener.set_inheritable(True)
    # -m and the options of the interpreter are as they were for this process.
    return Keeper(listeners, [sys.executable, *sys.orig_argv[1:]], environ, voice).run()
