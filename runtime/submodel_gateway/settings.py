"""The gateway's settings: read once, at process start, from a mapping of environment variables.

| Variable | Default | Meaning |
|---|---|---|
| `SUBMODEL_GATEWAY_LISTEN` | `127.0.0.1:8000` | address for clients and workers; port 0 picks one |
| `SUBMODEL_GATEWAY_INTERNAL_LISTEN` | `127.0.0.1:8001` | address of the operator's port; never expose it |
| `SUBMODEL_GATEWAY_STORE` | `sqlite:submodel-gateway.db` | URL of the job store, or several with spaces; see `CLOSED` |
| `SUBMODEL_GATEWAY_STORE_FILE` | | a file that holds it; wins over the variable |
| `SUBMODEL_GATEWAY_STORE_QUOTA_BYTES` | | what each store may grow to; no new jobs above 80 % of it |
| `SUBMODEL_GATEWAY_STORE_COMPRESS` | `false` | `true` stores payloads above 4 KiB compressed |
| `SUBMODEL_GATEWAY_KEYS` | required | folder of API keys, a JSON document per file; `none` lets everybody in |
| `SUBMODEL_GATEWAY_KEY_PEPPER` | required with keys | random text that goes into the digests of keys |
| `SUBMODEL_GATEWAY_KEY_PEPPER_FILE` | | a file that holds it; wins over the variable |
| `SUBMODEL_GATEWAY_WEBHOOK_SECRET` | | what signs webhooks; several with spaces between them |
| `SUBMODEL_GATEWAY_WEBHOOK_SECRET_FILE` | | a file that holds it; wins over the variable |
| `SUBMODEL_GATEWAY_WEBHOOK_ALLOW` | | where webhooks may go beyond public https; see `webhooks.targets` |
| `SUBMODEL_GATEWAY_INTERNAL_TOKEN` | required | bearer token of the operator's port |
| `SUBMODEL_GATEWAY_INTERNAL_TOKEN_FILE` | | a file that holds it; wins over the variable |
| `SUBMODEL_GATEWAY_WORKER_TOKEN_AUDIENCE` | | audience of the pods' tokens that let workers in; without it none does |
| `SUBMODEL_GATEWAY_KUBERNETES_URL` | `https://kubernetes.default.svc` | API server that reviews them |
| `SUBMODEL_GATEWAY_KUBERNETES_CREDENTIALS` | as Kubernetes mounts them | folder with `token` and `ca.crt` |
| `SUBMODEL_GATEWAY_RATE_LIMITS` | see `ratelimit.figures` | words that change them; `off` for none, as without keys |
| `SUBMODEL_GATEWAY_QUEUE_LIMIT` | `500` | queued jobs per worker of an endpoint, 50 at least; `off` for any number |
| `SUBMODEL_GATEWAY_BODY_BYTES` | `268435456` | bytes of request bodies that may be in memory at once |
| `SUBMODEL_GATEWAY_ANSWER_BYTES` | `268435456` | bytes of large answers that may wait for clients, and for workers |
| `SUBMODEL_GATEWAY_EXPECTED` | | ids of endpoints that are about to be registered: 503 until then, and not 404 |
| `SUBMODEL_GATEWAY_LINGER_SECONDS` | `0` | how long it serves on after SIGTERM while it is not ready any more |
| `SUBMODEL_GATEWAY_CONNECTIONS_PER_ADDRESS` | | most connections of one address; without it, any number |
| `SUBMODEL_GATEWAY_LOG_LEVEL` | `INFO` | `DEBUG`, `INFO`, `WARNING` or `ERROR` |
| `SUBMODEL_GATEWAY_LOG_FORMAT` | `text` | `text`, or `json` for one object per line |
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from submodel.contract import limits
from submodel_gateway.errors import ConfigurationError

LISTEN = "SUBMODEL_GATEWAY_LISTEN"
INTERNAL_LISTEN = "SUBMODEL_GATEWAY_INTERNAL_LISTEN"
STORE = "SUBMODEL_GATEWAY_STORE"
STORE_FILE = "SUBMODEL_GATEWAY_STORE_FILE"
STORE_COMPRESS = "SUBMODEL_GATEWAY_STORE_COMPRESS"
STORE_QUOTA_BYTES = "SUBMODEL_GATEWAY_STORE_QUOTA_BYTES"
INTERNAL_TOKEN = "SUBMODEL_GATEWAY_INTERNAL_TOKEN"
INTERNAL_TOKEN_FILE = "SUBMODEL_GATEWAY_INTERNAL_TOKEN_FILE"
KEYS = "SUBMODEL_GATEWAY_KEYS"
KEY_PEPPER = "SUBMODEL_GATEWAY_KEY_PEPPER"
KEY_PEPPER_FILE = "SUBMODEL_GATEWAY_KEY_PEPPER_FILE"
EVERYBODY = "none"
WEBHOOK_SECRET = "SUBMODEL_GATEWAY_WEBHOOK_SECRET"
WEBHOOK_SECRET_FILE = "SUBMODEL_GATEWAY_WEBHOOK_SECRET_FILE"
WEBHOOK_ALLOW = "SUBMODEL_GATEWAY_WEBHOOK_ALLOW"
WORKER_TOKEN_AUDIENCE = "SUBMODEL_GATEWAY_WORKER_TOKEN_AUDIENCE"
KUBERNETES_URL = "SUBMODEL_GATEWAY_KUBERNETES_URL"
KUBERNETES_CREDENTIALS = "SUBMODEL_GATEWAY_KUBERNETES_CREDENTIALS"
RATE_LIMITS = "SUBMODEL_GATEWAY_RATE_LIMITS"
QUEUE_LIMIT = "SUBMODEL_GATEWAY_QUEUE_LIMIT"
BODY_BYTES = "SUBMODEL_GATEWAY_BODY_BYTES"
ANSWER_BYTES = "SUBMODEL_GATEWAY_ANSWER_BYTES"
CONNECTIONS_PER_ADDRESS = "SUBMODEL_GATEWAY_CONNECTIONS_PER_ADDRESS"
OFF = "off"
EXPECTED = "SUBMODEL_GATEWAY_EXPECTED"
LINGER_SECONDS = "SUBMODEL_GATEWAY_LINGER_SECONDS"
LOG_LEVEL = "SUBMODEL_GATEWAY_LOG_LEVEL"
LOG_FORMAT = "SUBMODEL_GATEWAY_LOG_FORMAT"

_ADDRESSES = {LISTEN: "127.0.0.1:8000", INTERNAL_LISTEN: "127.0.0.1:8001"}
CLOSED = "closed:"
"""Before the URL of a store that keeps its endpoints and takes no new ones."""

STORE_FORMS = "memory:, sqlite:///absolute/path.db or postgresql://user@host/database"
LINGER_SECONDS_MAX = 300
API_SERVER = "https://kubernetes.default.svc"
CREDENTIALS_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
_FORMATS = ("text", "json")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Review:
    """Who judges tokens of pods, and for which audience they must be made."""

    url: str
    credentials: Path
    audience: str


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, checked. `stores` are URLs, one at least, and may hold passwords; without `keys` all are let in."""

    listen: Address
    internal_listen: Address
    stores: tuple[str, ...] = field(repr=False)
    quota_bytes: int | None
    compress: bool
    keys: Path | None
    key_pepper: str = field(repr=False)
    webhook_secrets: tuple[str, ...] = field(repr=False)
    webhook_allow: tuple[str, ...]
    internal_token: str = field(repr=False)
    review: Review | None
    rate_limits: tuple[str, ...]
    queue_limit: int | None
    connections_per_address: int | None
    body_bytes: int | None
    answer_bytes: int | None
    expected: tuple[str, ...]
    linger_seconds: float
    log_level: str
    log_format: str

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "Settings":
        """Raises `ConfigurationError` with a sentence that names the variable and the remedy."""
        return cls(
            listen=address(environ, LISTEN),
            internal_listen=address(environ, INTERNAL_LISTEN),
            stores=_stores(environ),
            compress=_switch(environ, STORE_COMPRESS),
            quota_bytes=_number(environ, STORE_QUOTA_BYTES, "bytes, for example 10737418240"),
            keys=_keys(environ.get(KEYS, "")),
            key_pepper="" if environ.get(KEYS) == EVERYBODY else key_pepper(environ),
            webhook_secrets=_webhook_secrets(environ),
            webhook_allow=tuple(environ.get(WEBHOOK_ALLOW, "").split()),
            internal_token=_secret(environ, INTERNAL_TOKEN, INTERNAL_TOKEN_FILE),
            review=_review(environ),
            rate_limits=_rate_limits(environ),
            connections_per_address=_number(environ, CONNECTIONS_PER_ADDRESS, "connections, for example 200"),
            body_bytes=_number(environ, BODY_BYTES, "bytes, for example 268435456"),
            answer_bytes=_number(environ, ANSWER_BYTES, "bytes, for example 268435456"),
            queue_limit=_queue_limit(environ.get(QUEUE_LIMIT) or str(limits.QUEUED_PER_WORKER)),
            expected=tuple(environ.get(EXPECTED, "").split()),
            linger_seconds=_linger_seconds(environ.get(LINGER_SECONDS) or "0"),
            log_level=log_level(environ),
            log_format=log_format(environ),
        )


def address(environ: Mapping[str, str], name: str) -> Address:
    """Where to listen, by the name of its variable. Raises `ConfigurationError`."""
    default = _ADDRESSES[name]
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
    if all(url.startswith(CLOSED) for url in text.split()):
        raise ConfigurationError(f"{STORE} has only stores that are {CLOSED} one must take new endpoints")
    return tuple(text.split())


def _review(environ: Mapping[str, str]) -> Review | None:
    audience = environ.get(WORKER_TOKEN_AUDIENCE, "")
    url = environ.get(KUBERNETES_URL) or API_SERVER
    if not url.startswith(("https://", "http://")):
        raise ConfigurationError(f"{KUBERNETES_URL} is {url!r}; give a URL, for example {API_SERVER}")
    folder = Path(environ.get(KUBERNETES_CREDENTIALS) or CREDENTIALS_FOLDER)
    return Review(url, folder, audience) if audience else None


def _rate_limits(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Without keys callers cannot be told apart: limits would be shared by all of them, and must be asked for."""
    default = OFF if environ.get(KEYS) == EVERYBODY else ""
    return tuple((environ.get(RATE_LIMITS) or default).split())


def _queue_limit(text: str) -> int | None:
    if text == OFF:
        return None
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise ConfigurationError(
            f"{QUEUE_LIMIT} is {text!r}; give a number of jobs per worker, for example 500, or {OFF}"
        )
    return int(text)


def _number(environ: Mapping[str, str], name: str, what: str) -> int | None:
    """A whole number above 0; None when it is not set."""
    text = environ.get(name, "")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise ConfigurationError(f"{name} is {text!r}; give a number of {what}")
    return int(text)


def _switch(environ: Mapping[str, str], name: str) -> bool:
    text = environ.get(name) or "false"
    if text not in ("true", "false"):
        raise ConfigurationError(f"{name} is {text!r}; give true or false")
    return text == "true"


def _keys(text: str) -> Path | None:
    if not text:
        raise ConfigurationError(f"{KEYS} is missing; set it to the folder of API keys, or to {EVERYBODY} for a laptop")
    return None if text == EVERYBODY else Path(text)


def key_pepper(environ: Mapping[str, str]) -> str:
    """What goes into the digests of keys. Raises `ConfigurationError`."""
    return _secret(environ, KEY_PEPPER, KEY_PEPPER_FILE)


def _webhook_secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    text = environ.get(WEBHOOK_SECRET, "")
    if file := environ.get(WEBHOOK_SECRET_FILE):
        text = _content(WEBHOOK_SECRET_FILE, file)
    return tuple(text.split())


def _secret(environ: Mapping[str, str], name: str, file_name: str) -> str:
    text = environ.get(name, "")
    if file := environ.get(file_name):
        text = _content(file_name, file)
    if not text.strip():
        raise ConfigurationError(f"{name} is missing; set it, or {file_name}, to a random text")
    return text.strip()


def _content(variable: str, file: str) -> str:
    try:
        return Path(file).read_text()
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"{variable} names {file}, which cannot be read: {error}") from error


def _linger_seconds(text: str) -> float:
    if not text.isascii() or not text.isdigit() or int(text) > LINGER_SECONDS_MAX:
        raise ConfigurationError(f"{LINGER_SECONDS} is {text!r}; give whole seconds, at most {LINGER_SECONDS_MAX}")
    return float(text)


def log_format(environ: Mapping[str, str]) -> str:
    """`text` or `json`. Raises `ConfigurationError`."""
    text = environ.get(LOG_FORMAT) or _FORMATS[0]
    if text not in _FORMATS:
        raise ConfigurationError(f"{LOG_FORMAT} is {text!r}; give {' or '.join(_FORMATS)}")
    return text


def log_level(environ: Mapping[str, str]) -> str:
    """The least level that is logged. Raises `ConfigurationError`."""
    text = environ.get(LOG_LEVEL) or "INFO"
    if text.upper() not in _LEVELS:
        raise ConfigurationError(f"{LOG_LEVEL} is {text!r}; give one of {', '.join(_LEVELS)}")
    return text.upper()
