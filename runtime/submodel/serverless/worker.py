"""One worker process from its first word to the gateway until its end. Made by `start` or by `__main__`.

Start-up has two steps: `announce` (phase `starting`, before the handler's file is run) and `serve` (phase `ready`).
"""

import asyncio
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import submodel
from submodel.contract import tracing as names
from submodel.errors import ConfigurationError
from submodel.serverless import encoding, exits, fitness, outcome, settings
from submodel.serverless.conversation import Conversation
from submodel.serverless.environment import variable
from submodel.serverless.lifecycle import Lifecycle
from submodel.serverless.log import configure, logger
from submodel.serverless.modifier import Modifier
from submodel.serverless.outcome import Identity
from submodel.serverless.serving import Serving
from submodel.serverless.settings import Settings
from submodel.serverless.stage import Stage
from submodel.serverless.startup import StartupClock
from submodel.serverless.stopper import undisturbed

if TYPE_CHECKING:
    from submodel.serverless.tracing import Tracing

REASON_CHARACTERS = 2000
UNHEALTHY_SECONDS = 5.0
"""How long a worker that cannot serve tries to say so."""

PYTHONS_SWITCH_SECONDS = 0.005
SWITCH_SECONDS = 0.001
"""How long a handler that computes keeps the interpreter from the threads of the protocol. They need it two or three
times for each request, so with Python's own value an item of its stream is on its way for 10 ms and more."""


class Worker:
    """The worker of this process; `tracing` makes spans of executions."""

    def __init__(self, settings: Settings, tracing: "Tracing | None" = None) -> None:
        configure(settings.log_level)
        self._settings = settings
        self._settled = threading.Event()
        self._exchange = _conversation(settings, self._on_settled)
        self._lifecycle = Lifecycle(settings.drain_seconds, self._exchange.leave, self._exchange.give_up)
        self._announced = False
        self._startup = StartupClock()
        self._stage: Stage | None = None
        self._tracing = tracing
        self._process = os.getpid()
        self._stuck = False
        """Whether a handler runs that cannot be ended."""

        self.served = False
        """Whether `serve` was called."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Worker":
        """Raises `ConfigurationError` with what to set."""
        read = settings.from_environment(environ)
        return cls(read, _tracing(read, environ))

    def announce(self) -> None:
        """Tell the gateway that this worker is starting; does not wait for it.

        Raises `ConfigurationError` in another thread than the main one.
        """
        if threading.current_thread() is not threading.main_thread():
            raise ConfigurationError("start() must be called in the main thread: handlers and signals run there")
        self._announced = True
        self._lifecycle.install()
        self._exchange.start()

    def fail(self, reason: str) -> None:
        """Tell the gateway that this worker cannot serve, and wait shortly for it to know."""
        self._exchange.fail(encoding.sound(reason)[-REASON_CHARACTERS:])
        self._settled.wait(UNHEALTHY_SECONDS)

    def serve(self, serving: Serving) -> None:
        """Run jobs until the process is told to end.

        Raises what a handler ended the process with, and `ConfigurationError` the second time.
        """
        if self.served:
            raise ConfigurationError("start() was called before in this process")
        self.served = True
        if not self._announced:
            self.announce()
        self._startup.loaded()
        if sys.getswitchinterval() == PYTHONS_SWITCH_SECONDS:  # else the author has chosen one
            sys.setswitchinterval(SWITCH_SECONDS)
        self._lifecycle.serving = True
        logger.info(
            "Worker %s serves endpoint %s.", self._settings.worker_id, self._settings.endpoint_id or "(unnamed)"
        )
        try:
            ending = asyncio.run(self._serve(serving))
        except BaseException:  # of a task or a signal handler of the user's own, past the executor
            self._lifecycle.request_leave()
            self._settled.wait(self._settings.drain_seconds)
            raise
        finally:
            exits.uninstall()
            self._lifecycle.uninstall()
            if self._tracing is not None:
                self._tracing.close()
        if ending is not None:
            raise ending

    def progress(self, job_id: str, value: Any) -> None:
        """See `submodel.serverless.progress_update`."""
        text = outcome.progress(value)
        if os.getpid() != self._process:  # a thread that is not here may have held the lock when it was forked
            logger.warning("progress_update() does nothing in a forked process: call it in the handler's own.")
            return
        with undisturbed:
            self._exchange.set_progress(job_id, text)

    async def _serve(self, serving: Serving) -> SystemExit | None:
        hostname = variable("POD_HOSTNAME") or socket.gethostname()
        identity = Identity(hostname, self._settings.worker_id, submodel.__version__)
        self._stage = stage = Stage(serving, identity, self._exchange, self, self._tracing)
        if self._settled.is_set():  # a signal came first, and there was no stage to be told
            stage.end()
        if serving.concurrency_modifier is not None:
            Modifier(serving.concurrency_modifier, self._settings.concurrency, self._exchange.set_concurrency).run()
        if failure := await fitness.first_failure():
            self.fail(failure)
            return SystemExit(1)
        self._exchange.ready(stage.hear, self._startup.checked())
        ending = await stage.run()
        if ending is not None:  # the last line is what people are shown as the reason
            logger.error("A handler ended this worker.")
        return ending

    # What the stage tells:

    def on_leave(self) -> None:
        self._lifecycle.request_leave()

    def on_expired(self, token: str) -> None:
        """The gateway ends a job at its limit; where it could not say so, the job gets its answer from here."""
        self._exchange.finish(token, outcome.of_timeout(), 0)

    def on_stuck(self, token: str) -> None:
        """This process has to end, once the other jobs are done."""
        logger.critical("A handler that shall end does not: this worker leaves.")
        self._stuck = True
        self._exchange.leave()
        # Nothing of it is waited for any longer: the end of the other jobs is that of the process.
        self._exchange.finish(token, outcome.of_timeout(), 0)
        self._lifecycle.request_leave()
        if self._settled.is_set():
            exits.end_process(1)

    def on_exit(self, status: int) -> None:
        """The jobs that run get their answer first."""
        logger.error("The process is ended by os._exit(%d).", status)
        with undisturbed:
            if self._stage is not None:
                self._stage.executor.abandon(outcome.of_exit(status))
            self._deliver()

    def _deliver(self) -> None:
        """Nothing runs any more. A gateway that restarts meanwhile gets what other jobs gave as well."""
        self._exchange.leave()
        self._settled.wait(self._settings.drain_seconds)

    def _on_settled(self) -> None:
        self._lifecycle.settled()
        self._settled.set()
        if self._stuck:  # the end of its loop would wait for that handler
            exits.end_process(1)
        # A worker whose time is up ends in another way, with another exit code.
        if self._stage is not None and not self._lifecycle.gave_up:
            self._stage.end()


def _conversation(settings: Settings, on_settled: Callable[[], None]) -> Conversation:
    """The dialect that this worker's environment asks for; only that one is loaded."""
    if settings.legacy is not None:
        from submodel.serverless.legacy_exchange import LegacyExchange

        return LegacyExchange(settings.legacy, settings.concurrency, submodel.__version__, on_settled)
    from submodel.serverless.exchange import Exchange

    return Exchange(settings, on_settled)


def _tracing(settings: Settings, environ: Mapping[str, str]) -> "Tracing | None":
    """What makes spans of executions, where the environment asks for it. A worker that cannot, works without."""
    if not names.wanted(environ):
        return None
    if refusal := names.refusal(environ):
        logger.warning("No traces: %s.", refusal)
        return None
    try:
        from submodel.serverless import tracing
    except ModuleNotFoundError as error:
        logger.warning("No traces: %s is missing; install submodel-runtime[otel].", error.name)
        return None
    return tracing.exporting(environ.get(names.SERVICE, ""), settings.endpoint_id, settings.worker_id)
