"""What `start(config)` was asked for, as a value. Pure; used by `start`, `worker` and `executor`."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from submodel.errors import ConfigurationError

Handler = Callable[[dict[str, Any]], Any]
ConcurrencyModifier = Callable[[int], int]


@dataclass(frozen=True)
class Serving:
    """How jobs are to be run."""

    handler: Handler
    aggregate: bool = False
    """Collect a generator's chunks into the job's output."""

    refresh_worker: bool = False
    """End this worker after one job, so that each gets a fresh process."""

    concurrency_modifier: ConcurrencyModifier | None = None
    """Is given the number of jobs that run at once at most, and gives the new one."""

    def by(self, handler: Handler) -> "Serving":
        """The same with another handler."""
        return replace(self, handler=handler)


def read(config: object) -> Serving:
    """The keys of `config` that have a meaning; others are ignored. Raises `ConfigurationError`."""
    if not isinstance(config, Mapping):
        raise ConfigurationError(f'start() is given {type(config).__name__}; it takes a dict: start({{"handler": fn}})')
    modifier = config.get("concurrency_modifier")
    if modifier is not None and not callable(modifier):
        found = type(modifier).__name__
        raise ConfigurationError(
            f'start(): config["concurrency_modifier"] is {found}; pass a function from the present number of jobs '
            "at once to the next one"
        )
    handler = config.get("handler")
    if not callable(handler):
        found = f"is {type(handler).__name__}, not a callable"
        if handler is None:
            others = ", ".join(f'"{key}"' for key in config if key != "handler")
            found = "is missing" + (f" beside {others}" if others else "")
        raise ConfigurationError(f'start(): config["handler"] {found}; pass the function that runs a job')
    if "jobs_handler" not in config:  # which takes the place of the handler's call
        _check_takes_a_job(handler)
    return Serving(
        handler=handler,
        aggregate=bool(config.get("return_aggregate_stream")),
        refresh_worker=bool(config.get("refresh_worker")),
        concurrency_modifier=modifier,
    )


def _check_takes_a_job(handler: Handler) -> None:
    """Raise `ConfigurationError` when every job would fail before the handler's first line."""
    try:
        # Not the signature of what a decorator wraps, and which it may call with more.
        signature = inspect.signature(handler, follow_wrapped=False)
    except (TypeError, ValueError):  # of a callable without one, such as a built-in
        return
    try:
        signature.bind({})
    except TypeError:
        name = getattr(handler, "__name__", type(handler).__name__)
        raise ConfigurationError(
            f'start(): config["handler"] is {name}({", ".join(signature.parameters)}){_place(handler)}; it is called '
            "with one argument, the job, a dict: def handler(job)"
        ) from None


def _place(handler: Handler) -> str:
    code = getattr(handler, "__code__", None)
    return f" of {code.co_filename}:{code.co_firstlineno}" if code else ""
