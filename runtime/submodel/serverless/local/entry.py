"""What `start` does when the command line or the environment asks for something else than a plain worker."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from submodel.errors import ConfigurationError
from submodel.serverless import log
from submodel.serverless.executor import Handler
from submodel.serverless.local import arguments, mode, trial
from submodel.serverless.local.arguments import Arguments
from submodel.serverless.local.mode import Mode
from submodel.serverless.modules.rp_logger import RunPodLogger
from submodel.serverless.serving import Serving

Publish = Callable[[str, Any], None]
"""Takes the id of a job and its newest progress."""


def begin(
    config: dict[str, Any], asked: Serving, imported_at: float, listen: Callable[[Publish], None]
) -> Serving | None:
    """Read the command line and do what it asks for. Returns what a worker shall serve, or None when all is done.

    A test and a server end the process.

    Args:
        config: gets `rp_args` and `sm_args`.
        asked: what `config` asks for.
        imported_at: when `submodel.serverless` was imported, on the clock of `time.perf_counter`.
        listen: is given whom to tell of progress.
    """
    try:
        given = _arguments(config)
        if given.debugger:
            from submodel.serverless.local.debugger import measured

            asked = asked.by(measured(asked.handler, imported_at))
        chosen = mode.choose(given, os.environ, hooked="jobs_fetcher" in config)
        _set_level(given.log_level, chosen)
        if chosen is Mode.WORKER:
            return asked
        if chosen is Mode.HOOKS:
            from submodel.serverless.local import hooked

            hooked.run(config, asked, listen)
            return None
        sys.exit(_run(chosen, given, asked.handler, asked.aggregate, listen))
    except ConfigurationError as error:
        RunPodLogger().error(str(error))
        sys.exit(1)


def asks_for_a_worker(argv: list[str]) -> bool:
    """Whether `begin` will return; what cannot be understood is told by it."""
    try:
        return mode.choose(arguments.parse(argv)[0], os.environ) is Mode.WORKER
    except ConfigurationError:
        return False


def _run(chosen: Mode, given: Arguments, handler: Handler, aggregate: bool, listen: Callable[[Publish], None]) -> int:
    if chosen is Mode.TEST:
        job = trial.find_job(given.test_input, Path())
        return trial.run(handler, aggregate, job, lambda found: listen(found.progress))
    from submodel.serverless.local import options, serve
    from submodel.serverless.local.reload import Reload, command_of, inherited

    if chosen is Mode.REALTIME:
        return serve.run(handler, aggregate, options.realtime(os.environ), None, listen)
    command = command_of(sys.orig_argv) if given.reload else None
    reload = Reload(command, inherited(os.environ)) if command else None
    return serve.run(handler, aggregate, options.development(given, os.environ), reload, listen)


def _arguments(config: dict[str, Any]) -> Arguments:
    given, rest = arguments.parse(sys.argv[1:])
    sys.argv[1:] = rest
    for item in rest:
        if arguments.looks_like_ours(item):
            RunPodLogger().warn(f"{item} is no option of submodel: it is left to the handler. --help lists all.")
    config["rp_args"] = given.as_config("rp")
    config["sm_args"] = given.as_config("sm")
    return given


def _set_level(level: str | None, chosen: Mode) -> None:
    if level is not None:
        RunPodLogger().set_level(level)
    if level is not None or chosen is not Mode.WORKER:
        log.configure({"NOTSET": "CRITICAL", "TRACE": "DEBUG"}.get(level or "INFO", level or "INFO"))
