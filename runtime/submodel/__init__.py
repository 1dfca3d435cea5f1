"""What users import: `submodel.serverless.start({"handler": fn})` in a worker, `submodel.Endpoint(id)` in a client.

Importing the package is cheap: everything is loaded at first use, so that the gateway and the operator can import
`submodel.contract` without the worker, and a worker does not carry the clients.

`submodel.api_key` and `submodel.endpoint_url_base` are the environment's until they are assigned.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from submodel import client as client
    from submodel import errors as errors
    from submodel import http_client as http_client
    from submodel import serverless as serverless
    from submodel.client.asyncio_endpoint import AsyncioEndpoint as AsyncioEndpoint
    from submodel.client.asyncio_endpoint import AsyncioJob as AsyncioJob
    from submodel.client.endpoint import Endpoint as Endpoint
    from submodel.client.endpoint import Job as Job
    from submodel.serverless.config import Handler as Handler
    from submodel.serverless.config import ServerlessConfig as ServerlessConfig
    from submodel.serverless.modules.rp_logger import RunPodLogger as RunPodLogger
    from submodel.serverless.modules.rp_logger import SubModelLogger as SubModelLogger

    api_key: str | None
    endpoint_url_base: str

__version__ = "0.1.0"

_MODULES = {"client", "errors", "http_client", "serverless"}
_HOMES = {
    "AsyncioEndpoint": "submodel.client.asyncio_endpoint",
    "AsyncioJob": "submodel.client.asyncio_endpoint",
    "Endpoint": "submodel.client.endpoint",
    "Handler": "submodel.serverless.config",
    "Job": "submodel.client.endpoint",
    "RunPodLogger": "submodel.serverless.modules.rp_logger",
    "ServerlessConfig": "submodel.serverless.config",
    "SubModelLogger": "submodel.serverless.modules.rp_logger",
}


if not TYPE_CHECKING:  # a type checker knows the names above, and finds a misspelled one

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return importlib.import_module(f"submodel.{name}")
        if name in _HOMES:
            return getattr(importlib.import_module(_HOMES[name]), name)
        if name == "api_key":
            return importlib.import_module("submodel.client.settings").of_process().api_key
        if name == "endpoint_url_base":
            return importlib.import_module("submodel.client.settings").of_process().base_url
        raise AttributeError(f"module 'submodel' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_HOMES, "api_key", "endpoint_url_base"})
