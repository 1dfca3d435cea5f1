"""The gateway's settings: read once, at process start, from a mapping of environment variables.

| Variable | Default | Meaning |
|---|---|---|
| `SUBMODEL_GATEWAY_LISTEN` | `127.0.0.1:8000` | address for clients and workers; port 0 picks one |
| `SUBMODEL_GATEWAY_INTERNAL_LISTEN` | `127.0.0.1:8001` | address of the operator's port; never expose it |
| `SUBMODEL_GATEWAY_STORE` | `sqlite:submodel-gateway.db` | URL of the job store, or several with spaces between them |
| `SUBMODEL_GATEWAY_STORE_FILE` | | a file that holds it; wins over the variable |
| `SUBMODEL_GATEWAY_STORE_QUOTA_BYTES` | | what each store may grow to; no new jobs above 80 % of it |
| `SUBMODEL_GATEWAY_STORE_COMPRESS` | `false` | `true` stores payloads above 4 KiB compressed |
| `SUBMODEL_GATEWAY_INTERNAL_TOKEN` | required | bearer token of the operator's port |
| `SUBMODEL_GATEWAY_INTERNAL_TOKEN_FILE` | | a file that holds it; wins over the variable |
| `SUBMODEL_GATEWAY_LOG_LEVEL` | `INFO` | `DEBUG`, `INFO`, `WARNING` or `ERROR` |
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from submodel_gateway.errors import ConfigurationError

LISTEN = "SUBMODEL_GATEWAY_LISTEN"
INTERNAL_LISTEN = "SUBMODEL_GATEWAY_INTERNAL_LISTEN"
STORE = "SUBMODEL_GATEWAY_STORE"
STORE_FILE = "SUBMODEL_GATEWAY_STORE_FILE"
STORE_COMPRESS = "SUBMODEL_GATEWAY_STORE_COMPRESS"
STORE_QUOTA_BYTES = "SUBMODEL_GATEWAY_STORE_QUOTA_BYTES"
INTERNAL_TOKEN = "SUBMODEL_GATEWAY_INTERNAL_TOKEN"
INTERNAL_TOKEN_FILE = "SUBMODEL_GATEWAY_INTERNAL_TOKEN_FILE"
LOG_LEVEL = "SUBMODEL_GATEWAY_LOG_LEVEL"

STORE_FORMS = "memory:, sqlite:///absolute/path.db or postgresql://user@host/database"
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, checked. `stores` are URLs, one at least, which may hold a password."""

    listen: Address
    internal_listen: Address
    stores: tuple[str, ...] = field(repr=False)
    quota_bytes: int | None
    compress: bool
    internal_token: str = field(repr=False)
    log_level: str

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "Settings":
        """Raises `ConfigurationError` with a sentence that names the variable and the remedy."""
        return cls(
            listen=_address(environ, LISTEN, "127.0.0.1:8000"),
            internal_listen=_address(environ, INTERNAL_LISTEN, "127.0.0.1:8001"),
            stores=_stores(environ),
            compress=_switch(environ, STORE_COMPRESS),
            quota_bytes=_quota_bytes(environ.get(STORE_QUOTA_BYTES, "")),
            internal_token=_internal_token(environ),
            log_level=_log_level(environ.get(LOG_LEVEL) or "INFO"),
        )


def _address(environ: Mapping[str, str], name: str, default: str) -> Address:
    text = environ.get(name) or default
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigurationError(f"{name} is {text!r}; give host:port, for example {default}")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


def _stores(environ: Mapping[str, str]) -> tuple[str, ...]:
    text = environ.get(STORE, "") or "sqlite:submodel-gateway.db"
    if file := environ.get(STORE_FILE):
        text = _content(STORE_FILE, file)
    if not text.split():
        raise ConfigurationError(f"{STORE_FILE} names a file without a URL; give {STORE_FORMS}")
    return tuple(text.split())


def _quota_bytes(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise ConfigurationError(f"{STORE_QUOTA_BYTES} is {text!r}; give a number of bytes, for example 10737418240")
    return int(text)


def _switch(environ: Mapping[str, str], name: str) -> bool:
    text = environ.get(name) or "false"
    if text not in ("true", "false"):
        raise ConfigurationError(f"{name} is {text!r}; give true or false")
    return text == "true"


def _internal_token(environ: Mapping[str, str]) -> str:
    token = environ.get(INTERNAL_TOKEN, "")
    if file := environ.get(INTERNAL_TOKEN_FILE):
        token = _content(INTERNAL_TOKEN_FILE, file)
    if not token.strip():
        raise ConfigurationError(f"{INTERNAL_TOKEN} is missing; set it, or {INTERNAL_TOKEN_FILE}, to a random text")
    return token.strip()


def _content(variable: str, file: str) -> str:
    try:
        return Path(file).read_text()
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"{variable} names {file}, which cannot be read: {error}") from error


def _log_level(text: str) -> str:
    if text.upper() not in _LEVELS:
        raise ConfigurationError(f"{LOG_LEVEL} is {text!r}; give one of {', '.join(_LEVELS)}")
    return text.upper()
