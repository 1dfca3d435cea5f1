"""What `submodel up` leaves in its data folder for other commands: the endpoint with its newest status, and where its
gateway listens."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from submodel_operator.errors import UsageError
from submodel_operator.ports import Key, Manifest

FILE_NAME: Final = "status.json"
GATEWAY_NAME: Final = "gateway.json"


def write_local_status(folder: Path, key: Key, status: Mapping[str, Any], manifest: Manifest | None = None) -> None:
    """Put the status in the place of the one before. A reader finds the one or the other, never a part."""
    document = {"endpoint": f"{key.namespace}/{key.name}", "status": status, "manifest": manifest}
    written = folder / f".{FILE_NAME}"
    written.write_text(json.dumps(document), encoding="utf-8")
    written.replace(folder / FILE_NAME)


def read_local_status(folder: Path, asked: str | None = None) -> tuple[str, Mapping[str, Any]]:
    """Namespace and name, and the status, of the endpoint that runs with this data folder.

    Args:
        asked: the name that it should have; None for whichever it is.

    Raises:
        UsageError: none does, or another one.
    """
    found = _read(folder, FILE_NAME)
    try:
        name, status = str(found["endpoint"]), dict(found["status"])
    except (LookupError, TypeError) as error:
        raise _damaged(folder / FILE_NAME) from error
    if asked is not None and asked != name.rpartition("/")[2]:
        remedy = "leave the name out, or name another folder"
        raise UsageError(f"--data: {folder} runs {name}, not {asked}; {remedy}")
    return name, status


def read_local_manifest(folder: Path, asked: str | None = None) -> Manifest:
    """The endpoint that runs with this data folder, with its status. Raises `UsageError` as `read_local_status`."""
    found = _read(folder, FILE_NAME)
    if not isinstance(found.get("manifest"), dict):
        raise _damaged(folder / FILE_NAME)
    return {**found["manifest"], "status": read_local_status(folder, asked)[1]}


def write_local_gateway(folder: Path, url: str, token: str) -> None:
    """Tell where the gateway's internal port is, and its token; to nobody but this user."""
    path = folder / GATEWAY_NAME
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        json.dump({"url": url, "token": token}, file)


def read_local_gateway(folder: Path) -> tuple[str, str]:
    """URL and token of the gateway's internal port. Raises `UsageError` when nothing runs with this data folder."""
    found = _read(folder, GATEWAY_NAME)
    try:
        return str(found["url"]), str(found["token"])
    except (LookupError, TypeError) as error:
        raise _damaged(folder / GATEWAY_NAME) from error


def remove_local_status(folder: Path) -> None:
    """The endpoint does not run any more."""
    for name in (FILE_NAME, GATEWAY_NAME):
        (folder / name).unlink(missing_ok=True)


def _read(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        remedy = "name the folder of a running submodel up"
        raise UsageError(f"--data: no endpoint runs with {folder} ({path}: {error.strerror}); {remedy}") from error
    except ValueError as error:
        raise _damaged(path) from error
    if not isinstance(found, dict):
        raise _damaged(path)
    return found


def _damaged(path: Path) -> UsageError:
    return UsageError(f"--data: {path} is damaged; it is written anew by the next submodel up")
