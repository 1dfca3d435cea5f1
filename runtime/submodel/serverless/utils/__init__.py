"""Utilities of handlers, under the names that they have on the hosted platforms: `rp_validator`, `rp_download`, ….

Each also goes by its `sm_` name, as on SubModel. Nothing is loaded before it is used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from submodel.serverless.utils.rp_download import download_files_from_urls as download_files_from_urls
    from submodel.serverless.utils.rp_upload import upload_file_to_bucket as upload_file_to_bucket
    from submodel.serverless.utils.rp_upload import upload_in_memory_object as upload_in_memory_object

_HOMES = {
    "download_files_from_urls": "rp_download",
    "upload_file_to_bucket": "rp_upload",
    "upload_in_memory_object": "rp_upload",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name.startswith(("rp_", "sm_")):
        try:
            return importlib.import_module(f"{__name__}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{name}":
                raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
