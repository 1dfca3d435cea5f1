"""Where the gateway is and who asks: an argument, else what `submodel` was told, else the environment.

| Variable | Default | Meaning |
|---|---|---|
| `SUBMODEL_ENDPOINT_BASE_URL`, `RUNPOD_ENDPOINT_BASE_URL` | `http://127.0.0.1:8000/v2` | base of the job API |
| `SUBMODEL_API_KEY`, `RUNPOD_API_KEY` | | sent as bearer token |
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import submodel
from submodel.contract.spelling import either
from submodel.errors import ConfigurationError

BASE_URL = "ENDPOINT_BASE_URL"
API_KEY = "API_KEY"
BASE_URL_DEFAULT = "http://127.0.0.1:8000/v2"
"""Where `submodel up` serves."""


@dataclass(frozen=True, slots=True)
class Target:
    """A job API. `base_url` has no trailing slash; without a key no credential is sent."""

    base_url: str
    api_key: str | None = field(repr=False)

    def headers(self) -> dict[str, str]:
        """What every request carries."""
        known = {"User-Agent": f"submodel-runtime/{submodel.__version__}", "Accept": "application/json"}
        return known | ({"Authorization": f"Bearer {self.api_key}"} if self.api_key else {})


def from_environment(environ: Mapping[str, str]) -> Target:
    """The target as the environment names it, unchecked."""
    return Target(either(environ, BASE_URL) or BASE_URL_DEFAULT, either(environ, API_KEY) or None)


def of_process() -> Target:
    """The target as this process's environment names it now."""
    return from_environment(os.environ)


def target(api_key: str | None) -> Target:
    """The target of a new client: `api_key` wins over `submodel.api_key`.

    Raises `ConfigurationError` when the base URL is none, or the key cannot be sent.
    """
    base_url = submodel.endpoint_url_base
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            f"the base URL {base_url!r} is not like {BASE_URL_DEFAULT}; set SUBMODEL_{BASE_URL} or "
            "submodel.endpoint_url_base"
        )
    key = api_key or submodel.api_key
    if key and not (key.isascii() and key.isprintable()):
        raise ConfigurationError("the API key holds characters that no key has; is there a line break in it?")
    return Target(base_url.rstrip("/"), key)


def key_in(headers: Mapping[str, str]) -> str | None:
    """The API key in an `Authorization` header, with or without `Bearer`."""
    given = next((value for name, value in headers.items() if name.lower() == "authorization"), "")
    return re.sub(r"^bearer\s+", "", given.strip(), flags=re.IGNORECASE) or None
