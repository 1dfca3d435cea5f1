"""Removes what the other utilities leave in the working directory."""

import contextlib
import os
import shutil
from collections.abc import Iterable

__all__ = ["clean"]

_FOLDERS = ("input_objects", "output_objects", "job_files")


def clean(folder_list: Iterable[str] | None = None) -> None:
    """Remove `input_objects`, `output_objects`, `job_files`, `output.zip` and the given folders, those that exist."""
    for folder in (*_FOLDERS, *(folder_list or ())):
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.remove("output.zip")
