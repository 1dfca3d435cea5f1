"""What `submodel up` leaves in its data folder for other commands: the endpoint's newest status."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from submodel_operator.errors import UsageError
from submodel_operator.ports import Key

FILE_NAME: Final = "status.json"


def write_local_status(folder: Path, key: Key, status: Mapping[str, Any]) -> None:
    """Put the status in the place of the one before. A reader finds the one or the other, never a part."""
    written = folder / f".{FILE_NAME}"
    written.write_text(json.dumps({"endpoint": f"{key.namespace}/{key.name}", "status": status}), encoding="utf-8")
    written.replace(folder / FILE_NAME)


def read_local_status(folder: Path) -> tuple[str, Mapping[str, Any]]:
    """Name and status of the endpoint that runs with this data folder.

    Raises:
        UsageError: none does.
    """
    path = folder / FILE_NAME
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return str(found["endpoint"]), dict(found["status"])
    except OSError as error:
        raise UsageError(f"--data: no endpoint runs with {folder}: {error.strerror}: {path}") from error
    except (ValueError, LookupError, TypeError) as error:
        raise UsageError(f"--data: {path} is damaged; it is written anew by the next submodel up") from error


def remove_local_status(folder: Path) -> None:
    """The endpoint does not run any more."""
    (folder / FILE_NAME).unlink(missing_ok=True)
