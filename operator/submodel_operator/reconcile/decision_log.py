"""Appends decisions to a file, for `submodel replay`. A full disk costs lines, never a decision."""

import logging
from pathlib import Path

from submodel_operator.scaling.log import Record, encode_record

_log = logging.getLogger(__name__)


class DecisionLog:
    """A file of decisions, a line each; `/dev/stdout` is one, too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failing = False

    def write(self, record: Record) -> None:
        """Add a decision. Whoever moves the file away finds a new one in its place."""
        try:
            with self._path.open("ab") as file:
                file.write(encode_record(record))
        except OSError as error:
            if not self._failing:
                _log.warning("decisions cannot be written to %s: %s", self._path, error.strerror)
            self._failing = True
        else:
            self._failing = False
