"""Sessions under the names that they have on the hosted platforms, for `AsyncioEndpoint` and for handlers.

They carry no credential: whoever passes one on to another server gives it away.
"""

import importlib
from typing import TYPE_CHECKING, Any

from submodel.errors import ConfigurationError

if TYPE_CHECKING:
    import aiohttp

__all__ = ["AsyncClientSession", "SyncClientSession"]

TOTAL_SECONDS = 600.0


def AsyncClientSession(*args: Any, **kwargs: Any) -> "aiohttp.ClientSession":
    """An `aiohttp.ClientSession` with any number of connections; `args` and `kwargs` are that class's.

    Raises `ConfigurationError` when aiohttp is not installed.
    """
    try:
        import aiohttp
    except ImportError as error:
        raise ConfigurationError("AsyncClientSession needs aiohttp; install submodel-runtime[asyncio]") from error
    kwargs.setdefault("timeout", aiohttp.ClientTimeout(total=TOTAL_SECONDS))
    if "connector" not in kwargs:
        kwargs["connector"] = aiohttp.TCPConnector(limit=0)
    return aiohttp.ClientSession(*args, **kwargs)


def SyncClientSession() -> Any:
    """A `requests.Session`. Raises `ConfigurationError` when requests is not installed; nothing here needs it."""
    try:
        return importlib.import_module("requests").Session()
    except ImportError as error:
        raise ConfigurationError("SyncClientSession needs requests; add it to the worker's requirements") from error
