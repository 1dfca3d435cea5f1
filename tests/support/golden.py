"""Golden files: the whole output is compared, and `UPDATE_GOLDEN=1` rewrites it for review in the diff."""

import os
from pathlib import Path


def assert_golden(path: Path, text: str) -> None:
    """Compare `text` with the file at `path`."""
    if os.environ.get("UPDATE_GOLDEN"):  # noqa: TID251 # a switch for the person who runs the tests
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path} differs; UPDATE_GOLDEN=1 rewrites it"
