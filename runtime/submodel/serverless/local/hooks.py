"""Functions of the user's own that bring jobs where no platform does: `jobs_fetcher` and its neighbours in `start`.

Programs for the hosted platforms test the whole of a worker with them. Read here, pure; used by `hooked`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from submodel.errors import ConfigurationError

TIMEOUT_SECONDS = 90.0

Function = Callable[..., Any]


@dataclass(frozen=True)
class Hooks:
    """The functions, and how long each may take. They may be coroutine functions or plain ones."""

    fetch: Function
    fetch_seconds: float = TIMEOUT_SECONDS
    handle: Function | None = None
    stops: Function | None = None
    stops_seconds: float = TIMEOUT_SECONDS


def read(config: Mapping[str, Any]) -> Hooks:
    """The hooks in what `start` was given. Raises `ConfigurationError`."""
    for name in ("jobs_fetcher", "jobs_handler", "stop_signals_fetcher"):
        if not callable(config.get(name, read)):
            found = type(config[name]).__name__
            raise ConfigurationError(f'start(): config["{name}"] is {found}; pass a coroutine function')
    return Hooks(
        fetch=config["jobs_fetcher"],
        fetch_seconds=_seconds(config, "jobs_fetcher_timeout"),
        handle=config.get("jobs_handler"),
        stops=config.get("stop_signals_fetcher"),
        stops_seconds=_seconds(config, "stop_signals_fetcher_timeout"),
    )


def _seconds(config: Mapping[str, Any], name: str) -> float:
    given = config.get(name) or TIMEOUT_SECONDS
    if not isinstance(given, int | float) or given <= 0:
        raise ConfigurationError(f'start(): config["{name}"] is {given!r}; pass seconds, more than 0')
    return float(given)
