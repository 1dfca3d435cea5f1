"""The worker side of a serverless endpoint: `start` runs a handler for jobs until the process is told to end.

User code imports this module; everything else here is the runtime's own:

| Module | Thought |
|---|---|
| `config` | types for the authors of handlers |
| `settings` | the environment, read once |
| `worker` | one process: start-up, serving, leaving |
| `lifecycle` | signals, and the bound on leaving |
| `serving` | what `start` was asked for |
| `modifier`, `exits` | changes of the concurrency; handlers that end their process |
| `fitness`, `startup` | what passes before jobs are asked for, and how long that took |
| `stage` | the executor, with all that ends handlers |
| `stopper` | ends handlers that shall end |
| `executor`, `source` | calls the handler, in the main thread; whom it has its jobs from |
| `outcome`, `encoding` | what a handler did -> what goes over the wire (pure) |
| `session`, `leases` | what to say to the gateway next, and what its answers mean (pure) |
| `exchange` | the protocol threads around `session` |
| `legacy_session`, `legacy_leases`, `legacy_exchange` | the same in the hosted platforms' dialect |
| `legacy_calls`, `legacy_bodies`, `legacy_urls` | the requests of that dialect (pure) |
| `conversation`, `dialect` | what both dialects have in common |
| `link`, `http_reply` | one connection to the gateway |
| `local` | the same without a gateway: tests, development server, realtime |

`utils` and `modules` hold what handlers import under the names of the hosted platforms; `environment` is their edge.
"""

import importlib
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from submodel.serverless import modules as modules
    from submodel.serverless import utils as utils
    from submodel.serverless.config import Handler as Handler
    from submodel.serverless.config import Job as Job
    from submodel.serverless.config import ServerlessConfig as ServerlessConfig
    from submodel.serverless.utils.rp_volume_cache import VolumeCache as VolumeCache
    from submodel.serverless.worker import Worker

    runpod_version: str

__all__ = ["Handler", "Job", "ServerlessConfig", "VolumeCache", "progress_update", "register_fitness_check", "start"]

Check = TypeVar("Check", bound=Callable[[], Any])

_process_worker: "Worker | None" = None
"""The worker of this process: made by `start`, or by `python -m submodel.serverless` before the handler's file runs."""

_progress: Callable[[str, Any], None] | None = None
"""Who hears of progress where there is no worker: a test or a development server."""

_imported_at = time.perf_counter()


def start(config: "ServerlessConfig") -> None:
    """Serve jobs with `config["handler"]` until SIGTERM or SIGINT; then finish what runs and return.

    Args:
        config: `handler` is called with the job, a dict with `id` and `input`; it may be a function, a coroutine
            function, a generator or an asynchronous generator. `return_aggregate_stream` (bool) also collects a
            generator's chunks into the job's output. `refresh_worker` (bool) ends the worker after one job.
            `concurrency_modifier` is called now and then with the number of jobs at once and gives the next one.
            `jobs_fetcher` and its neighbours bring jobs where no platform does; see `ServerlessConfig`.
            Other keys are ignored.

    Raises:
        ConfigurationError: no usable handler, no worker environment, or not called in the main thread.
        SystemExit: a handler asked the process to end; its job was reported as failed first.
    """
    global _process_worker
    from submodel.errors import SubModelError
    from submodel.serverless import serving
    from submodel.serverless.local import mode

    given = cast("dict[str, Any]", config)
    try:
        asked = serving.read(given)
    except SubModelError as error:
        raise error.with_traceback(None) from None  # the last line of the author's is the one to look at
    if mode.has_flags(sys.argv[1:]) or mode.is_realtime(os.environ) or not mode.names_a_platform(os.environ):
        from submodel.serverless.local import entry

        begun = entry.begin(given, asked, _imported_at, _listen)
        if begun is None:
            return
        asked = begun
    from submodel.serverless.worker import Worker

    given["reference_counter_start"] = time.perf_counter()
    if _process_worker is None:
        _process_worker = Worker.from_environment(os.environ)
    _process_worker.serve(asked)


def register_fitness_check(check: Check) -> Check:
    """Have `check`, a function or a coroutine function without parameters, called before this worker takes jobs.

    One that raises is reported to the gateway and ends the worker with exit code 1. Usable as a decorator.
    """
    from submodel.serverless import fitness

    return fitness.register(check)


def progress_update(job: "Job | dict[str, Any]", progress: Any) -> None:
    """Publish `progress` as that of a running job; the newest one wins. Callable from any thread.

    Raises `TypeError` when `progress` cannot be sent as JSON, or is larger than a streamed item may be (1 MiB). Does
    nothing when the job is not running here (any more), and in a forked process.
    """
    publish = _process_worker.progress if _process_worker is not None else _progress
    if publish is not None:
        publish(str(job.get("id")), progress)


def _listen(publish: Callable[[str, Any], None]) -> None:
    global _progress
    _progress = publish


if not TYPE_CHECKING:  # a type checker knows the names above, and finds a misspelled one

    def __getattr__(name: str) -> Any:
        """What handlers may ask for and workers do without, loaded when it is asked for."""
        if name in ("modules", "utils"):
            return importlib.import_module(f"{__name__}.{name}")
        if name in ("Handler", "Job", "ServerlessConfig"):
            return getattr(importlib.import_module(f"{__name__}.config"), name)
        if name == "VolumeCache":
            return importlib.import_module(f"{__name__}.utils.rp_volume_cache").VolumeCache
        if name == "runpod_version":
            return importlib.import_module("submodel").__version__
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
