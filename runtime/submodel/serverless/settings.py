"""The worker's settings: read once from the environment when the worker starts, then passed around as a value."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from submodel.contract import env, legacy_env
from submodel.contract.spelling import either
from submodel.errors import ConfigurationError
from submodel.serverless import legacy_urls
from submodel.serverless.legacy_urls import LegacyUrls

LOG_LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")


@dataclass(frozen=True)
class Settings:
    """Where the gateway is, who this worker is, and its limits."""

    gateway_url: str
    """Without a trailing slash; several replicas are separated by commas."""

    endpoint_id: str
    worker_id: str
    token: str = ""
    token_file: str = ""
    """Path of a file that holds the bearer token; wins over `token`, and is read again every few seconds."""

    concurrency: int = 1
    """Jobs at once."""

    drain_seconds: float = 25.0
    """Bound of finishing jobs after SIGTERM; the default fits the 30 seconds of grace that Kubernetes gives."""

    log_level: str = "INFO"
    legacy: LegacyUrls | None = None
    """What takes the place of the gateway on a hosted platform."""

    @property
    def gateway_urls(self) -> list[str]:
        return self.gateway_url.split(",")


def from_environment(environ: Mapping[str, str]) -> Settings:
    """Read the settings; raises `ConfigurationError` with what to set."""
    if not environ.get(env.GATEWAY_URL) and legacy_urls.prefix(environ):
        return _of_platform(environ)
    required = (env.GATEWAY_URL, env.ENDPOINT_ID, env.WORKER_ID)
    missing = [name for name in required if not environ.get(name)]
    if not environ.get(env.WORKER_TOKEN) and not environ.get(env.WORKER_TOKEN_FILE):
        missing.append(f"{env.WORKER_TOKEN} (or {env.WORKER_TOKEN_FILE})")
    if missing:
        raise ConfigurationError(
            f"this process is not started as a worker: {', '.join(missing)} not set. "
            "To try the handler on this machine, run its file: python handler.py --rp_serve_api. "
            "To run it with a gateway, describe its endpoint and use: submodel up -f endpoint.yaml"
        )
    return Settings(
        gateway_url=_url(environ[env.GATEWAY_URL]),
        endpoint_id=environ[env.ENDPOINT_ID],
        worker_id=environ[env.WORKER_ID],
        # A Secret that was made from a file often ends with a line break, which no header may hold.
        token=environ.get(env.WORKER_TOKEN, "").strip(),
        token_file=environ.get(env.WORKER_TOKEN_FILE, ""),
        concurrency=int(_number(environ, env.CONCURRENCY, Settings.concurrency, minimum=1)),
        drain_seconds=_number(environ, env.DRAIN_SECONDS, Settings.drain_seconds, minimum=0),
        log_level=_log_level(environ.get(env.LOG_LEVEL) or Settings.log_level),
    )


def _of_platform(environ: Mapping[str, str]) -> Settings:
    """The settings of a worker on a hosted platform, whose log levels are more words than ours."""
    worker_id = either(environ, legacy_env.POD_ID) or f"worker-{uuid.uuid4().hex}"
    asked = either(environ, "LOG_LEVEL").upper()
    return Settings(
        gateway_url="",
        endpoint_id=either(environ, legacy_env.ENDPOINT_ID),
        worker_id=worker_id,
        concurrency=int(_number(environ, env.CONCURRENCY, Settings.concurrency, minimum=1)),
        drain_seconds=_number(environ, env.DRAIN_SECONDS, Settings.drain_seconds, minimum=0),
        log_level=asked if asked in LOG_LEVELS else Settings.log_level,
        legacy=legacy_urls.from_environment(environ, worker_id),
    )


def _url(text: str) -> str:
    urls = [url.strip().rstrip("/") for url in text.split(",")]
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(
                f"{env.GATEWAY_URL}={text!r} is not a URL like http://gateway:8000, nor several separated by commas"
            )
    return ",".join(urls)


def _number(environ: Mapping[str, str], name: str, default: float, minimum: float) -> float:
    text = environ.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not minimum <= value < float("inf"):
        raise ConfigurationError(f"{name}={text!r} must be a number of at least {minimum:g}")
    return value


def _log_level(text: str) -> str:
    level = {"WARNING": "WARN"}.get(text.upper(), text.upper())
    if level not in LOG_LEVELS:
        raise ConfigurationError(f"{env.LOG_LEVEL}={text!r} must be one of {', '.join(LOG_LEVELS)}")
    return level
