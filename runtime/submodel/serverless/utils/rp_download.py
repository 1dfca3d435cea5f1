"""Fetches the files that a job's input names, into the working directory."""

import random
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from email.utils import collapse_rfc2231_value
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from submodel.errors import DownloadFailed, DownloadRefused
from submodel.serverless.modules.rp_logger import RunPodLogger
from submodel.serverless.utils.fetch import Body, opened
from submodel.serverless.utils.rp_ssrf import DownloadLimits, SSRFError
from submodel.serverless.utils.unpack import unpack

__all__ = [
    "SSRFError",
    "calculate_chunk_size",
    "download_files_from_urls",
    "extract_disposition_params",
    "file",
    "parse_content_length",
]

TRIES_MAX = 3
AT_ONCE = 8
FIRST_PAUSE_SECONDS = 0.5


def download_files_from_urls(job_id: str, urls: str | Sequence[str | None]) -> list[str | None]:
    """Fetch files, several at once, into `jobs/<job_id>/downloaded_files`.

    Returns the absolute path of each, None for one that could not be fetched in three tries.

    Raises `SSRFError` (a `ValueError`) when a URL is not public or its file too large, and `DownloadRefused` for an id
    that could lead out of the folder.
    """
    if not re.fullmatch(r"[\w-][\w.-]*", job_id):
        raise DownloadRefused(f"{job_id!r} is no job id")
    folder = Path("jobs", job_id, "downloaded_files").absolute()
    wanted = [urls] if isinstance(urls, str) else list(urls)
    limits = DownloadLimits.of_worker()
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return list(pool.map(lambda url: _one_of_many(url, folder, limits), wanted))


def file(file_url: str) -> dict[str, Any]:
    """Fetch a file into `job_files`; a `.zip` is unpacked beside it.

    Returns `file_path` (absolute), `type` (its extension), `original_name` and `extracted_path` (None for other files).

    Raises `DownloadFailed`, and `SSRFError` (a `ValueError`) when the URL is not public or the content not safe.
    """
    limits = DownloadLimits.of_worker()
    path, name = _fetched(file_url, Path("job_files").absolute(), limits)
    extracted = None
    if path.suffix.lower() == ".zip":
        extracted = path.with_suffix("")
        try:
            unpack(path, extracted, limits.max_bytes)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    return {
        "file_path": str(path),
        "type": path.suffix.removeprefix("."),
        "original_name": name,
        "extracted_path": None if extracted is None else str(extracted),
    }


def calculate_chunk_size(file_size: int) -> int:
    """How many bytes the hosted platforms read at once from a file of this size."""
    if file_size <= 2**20:
        return 2**10
    return 2**20 if file_size <= 2**30 else 10 * 2**20


def parse_content_length(headers: Mapping[str, str]) -> int:
    """The `Content-Length`, 0 when it is missing or none."""
    try:
        return int(headers.get("Content-Length", 0))
    except (TypeError, ValueError):
        return 0


def extract_disposition_params(content_disposition: str) -> dict[str, str]:
    """The parameters of a `Content-Disposition` header, `filename` above all; names in lower case."""
    message = Message()
    message["Content-Disposition"] = content_disposition
    found = message.get_params(failobj=[], header="Content-Disposition")[1:]
    return {name.lower(): collapse_rfc2231_value(value) for name, value in found}


def _one_of_many(url: str | None, folder: Path, limits: DownloadLimits) -> str | None:
    if url is None:
        return None
    try:
        return str(_fetched(url, folder, limits)[0])
    except DownloadFailed as error:
        RunPodLogger().error(f"Failed to download {error}")
        return None


def _fetched(url: str, folder: Path, limits: DownloadLimits) -> tuple[Path, str]:
    """The file, under a name of ours, and the name that it had."""
    tries = 0
    while True:
        tries += 1
        try:
            with opened(url, limits) as body:
                return _saved(body, folder)
        except DownloadFailed as error:
            if tries == TRIES_MAX or not error.temporary:
                raise
        time.sleep(FIRST_PAUSE_SECONDS * 2 ** (tries - 1) * (1 + random.random()) / 2)


def _saved(body: Body, folder: Path) -> tuple[Path, str]:
    name = _name(body)
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{uuid.uuid4()}.part"
    try:
        with part.open("wb") as target:
            for piece in body.pieces():
                target.write(piece)
        return part.rename(part.with_suffix(_extension(name, body.url))), name
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _name(body: Body) -> str:
    """The file's own name, without folders."""
    told = extract_disposition_params(body.headers["Content-Disposition"] or "").get("filename", "")
    return PurePosixPath(told.replace("\\", "/")).name or PurePosixPath(unquote(urlsplit(body.url).path)).name


def _extension(name: str, url: str) -> str:
    for known in (name, urlsplit(url).path):
        if re.fullmatch(r"\.[A-Za-z0-9_-]{1,16}", suffix := PurePosixPath(known).suffix):
            return suffix
    return ""
