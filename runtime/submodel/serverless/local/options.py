"""How to serve: the development server by its command line, the realtime server by its environment. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from submodel.contract import env, legacy_env
from submodel.contract.spelling import PREFIXES, either
from submodel.errors import ConfigurationError
from submodel.serverless.local.arguments import Arguments
from submodel.serverless.local.mode import REALTIME_CONCURRENCY, REALTIME_PORT

DEVELOPMENT_DRAIN_SECONDS = 5
REALTIME_DRAIN_SECONDS = 25


@dataclass(frozen=True)
class Options:
    """Where to listen and how much to do.

    `concurrency` is the number of jobs at once, 0 for as many as come. A `brief` server drops what waits when it is
    told to end; the other one still does it, for up to `drain_seconds`.
    """

    host: str
    port: int
    concurrency: int
    endpoint_id: str | None
    """At which realtime requests come; None for any."""

    drain_seconds: float
    brief: bool


def development(given: Arguments, environ: Mapping[str, str]) -> Options:
    """The server of `--rp_serve_api`."""
    endpoint = either(environ, legacy_env.ENDPOINT_ID) or None
    return Options(
        given.api_host, given.api_port, given.api_concurrency, endpoint, DEVELOPMENT_DRAIN_SECONDS, brief=True
    )


def realtime(environ: Mapping[str, str]) -> Options:
    """The server of `SUBMODEL_REALTIME_PORT`. Raises `ConfigurationError`."""
    return Options(
        host="0.0.0.0",
        port=_whole(environ, REALTIME_PORT, 65535),
        concurrency=_whole(environ, REALTIME_CONCURRENCY, 10_000),
        endpoint_id=either(environ, legacy_env.ENDPOINT_ID) or None,
        drain_seconds=_seconds(environ, env.DRAIN_SECONDS, REALTIME_DRAIN_SECONDS),
        brief=False,
    )


def _whole(environ: Mapping[str, str], name: str, most: int) -> int:
    text = either(environ, name) or "0"
    if not (text.isascii() and text.isdigit() and int(text) <= most):
        raise ConfigurationError(f"{PREFIXES[0]}{name}={text!r} must be a whole number up to {most}")
    return int(text)


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise ConfigurationError(f"{name}={text!r} must be a number of at least 0")
    return seconds
