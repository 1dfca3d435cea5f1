"""The development server and the realtime server: requests in, and the executor in the main thread."""

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

from submodel.errors import ConfigurationError
from submodel.serverless import exits, outcome
from submodel.serverless.lifecycle import Lifecycle
from submodel.serverless.local import webhook
from submodel.serverless.local.desk import Desk
from submodel.serverless.local.facts import facts_of
from submodel.serverless.local.jobs import identity
from submodel.serverless.local.options import Options
from submodel.serverless.local.reload import Reload
from submodel.serverless.local.requests import Requests
from submodel.serverless.local.web import LOOPBACK, WebServer
from submodel.serverless.log import about, logger
from submodel.serverless.modules.rp_logger import RunPodLogger
from submodel.serverless.serving import Handler, Serving
from submodel.serverless.stage import Stage

ANSWERS_SECONDS = 2.0
"""How long the last answers may take to be written."""

BACKLOG = 128


def run(
    handler: Handler,
    aggregate: bool,
    options: Options,
    reload: Reload | None,
    listen: Callable[[Callable[[str, Any], None]], None],
) -> int:
    """Serve until a signal comes; returns the exit code.

    Args:
        listen: is given whom to tell of progress.

    Raises:
        ConfigurationError: the address cannot be listened on.
        SystemExit: a handler asked the process to end.
    """
    listening = (reload and reload.listening) or _listening(options.host, options.port)
    desk = Desk(options.concurrency, webhook.tell)
    listen(desk.progress)
    requests = Requests(desk, options.endpoint_id, facts_of(handler, options.concurrency))
    web = WebServer(listening, requests.answer)
    serving = _Serving(desk, web, options)
    serving.lifecycle.install()
    try:
        with web:
            if reload is not None:
                reload.watch(listening, serving.leave_for_reload)
            _announce(options, listening.getsockname()[1], reload is not None)
            ending = asyncio.run(serving.handle(handler, aggregate))
            web.wait_until_quiet(ANSWERS_SECONDS)
    finally:
        serving.lifecycle.uninstall()
        exits.uninstall()
    if ending is not None:
        raise ending
    return 0


class _Serving:
    """What runs handlers, from the first request until a signal."""

    def __init__(self, desk: Desk, web: WebServer, options: Options) -> None:
        self._desk = desk
        self._web = web
        self._options = options
        self._stage: Stage | None = None
        self.lifecycle = Lifecycle(options.drain_seconds, self._leave, self._give_up)

    async def handle(self, handler: Handler, aggregate: bool) -> SystemExit | None:
        """Run handlers until the end; returns what one of them ended the process with."""
        self._stage = stage = Stage(Serving(handler, aggregate), identity(), self._desk, self)
        self._desk.open(stage.hear)
        self.lifecycle.serving = True
        return await stage.run()

    # What the stage tells:

    def on_leave(self) -> None:
        self.lifecycle.request_leave()

    def on_expired(self, token: str) -> None:
        """The desk keeps the time of jobs and has ended this one."""

    def on_stuck(self, token: str) -> None:
        logger.error("The handler does not end. Ctrl-C twice ends the process.", extra=about(token))

    def on_exit(self, status: int) -> None:
        """Requests get their answers first."""
        if self._stage is not None:
            self._stage.executor.abandon(outcome.of_exit(status))
        self._web.wait_until_quiet(ANSWERS_SECONDS)

    # The end:

    def leave_for_reload(self) -> None:
        """Take no more jobs, and wait for those that are here and for their answers."""
        self._desk.close()
        self._desk.wait_until_idle()
        self._web.wait_until_quiet(ANSWERS_SECONDS)

    def _leave(self) -> None:
        self._desk.close()
        if self._options.brief:
            self._desk.purge()
        threading.Thread(target=self._settle, name="submodel-leaving", daemon=True).start()

    def _settle(self) -> None:
        self._desk.wait_until_idle()
        self.lifecycle.settled()
        if self._stage is not None:
            self._stage.end()

    def _give_up(self) -> int:
        return self._desk.counts().running


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; --rp_api_port chooses another"
        ) from error


def _announce(options: Options, port: int, reloads: bool) -> None:
    log = RunPodLogger()
    shown = "localhost" if options.host in (*LOOPBACK, "0.0.0.0", "::") else options.host
    url = f"http://{shown}:{port}"
    log.info(f"Serving the handler at {url}; Ctrl-C ends it.")
    if reloads:
        log.info("It starts over when a source that it has imported changes.")
    if options.brief:
        log.info(f"Try it: curl -s {url}/runsync -H 'Content-Type: application/json' -d '{{\"input\": {{}}}}'")
