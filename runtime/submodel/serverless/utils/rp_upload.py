"""Puts a job's files into an S3 bucket and gives URLs for them. Needs the extra `s3` (boto3).

Without credentials files stay in the working directory and their path is given instead, for work on a laptop.
"""

import functools
import io
import re
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from submodel.errors import ConfigurationError, UploadFailed
from submodel.serverless.environment import plain_variable
from submodel.serverless.modules.rp_logger import RunPodLogger

__all__ = [
    "bucket_upload",
    "extract_region_from_url",
    "files",
    "get_boto_client",
    "upload_file_to_bucket",
    "upload_image",
    "upload_in_memory_object",
]

URL_SECONDS = 7 * 24 * 3600
PART_BYTES = 25 * 2**20
AT_ONCE = 8

BucketCreds = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Credentials:
    endpoint_url: str
    access_id: str
    access_secret: str = field(repr=False)


def upload_image(
    job_id: str,
    image_location: str,
    result_index: int = 0,
    results_list: list[str | None] | None = None,
    bucket_name: str | None = None,
) -> str:
    """Store a file as `<job_id>/<random name>`, and its URL also in `results_list[result_index]`."""
    suffix = PurePosixPath(image_location).suffix
    name = uuid.uuid4().hex[:8] + suffix
    client, transfer = get_boto_client()
    if client is None:
        result = _kept(name, "simulated_uploaded", lambda place: shutil.copyfile(image_location, place))
    else:
        kind = {"ContentType": f"image/{suffix.removeprefix('.')}"} if suffix else {}
        with open(image_location, "rb") as content:
            result = _stored(client, transfer, content, bucket_name or _bucket(None), f"{job_id}/{name}", kind)
    if results_list is not None:
        results_list[result_index] = result
    return result


def files(job_id: str, file_list: Sequence[str]) -> list[str]:
    """`upload_image` for several files at once; their URLs in the order of the files."""
    get_boto_client()  # made here once, and not by each of the threads
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return list(pool.map(lambda location: upload_image(job_id, location), file_list))


def bucket_upload(job_id: str, file_list: Sequence[str], bucket_creds: BucketCreds) -> list[str]:
    """Store files as `<job_id>/<file>` in the bucket `bucket_creds["bucketName"]`; their URLs, which are not signed."""
    client, transfer = get_boto_client(bucket_creds)
    bucket = _needed(bucket_creds, "bucketName")
    urls = []
    for location in file_list:
        with open(location, "rb") as content:
            _stored(client, transfer, content, bucket, f"{job_id}/{location}")
        urls.append(f"{bucket_creds['endpointUrl'].rstrip('/')}/{bucket}/{job_id}/{location}")
    return urls


def upload_file_to_bucket(
    file_name: str,
    file_location: str,
    bucket_creds: BucketCreds | None = None,
    bucket_name: str | None = None,
    prefix: str | None = None,
    extra_args: dict[str, Any] | None = None,
) -> str:
    """Store a file as `[<prefix>/]<file_name>`; a URL of it that is valid for seven days.

    Args:
        bucket_creds: `endpointUrl`, `accessId`, `accessSecret` and, as far as `bucket_name` is not given,
            `bucketName`; else the variables `BUCKET_ENDPOINT_URL`, `BUCKET_ACCESS_KEY_ID`, `BUCKET_SECRET_ACCESS_KEY`.
        bucket_name: without one the bucket is named after the month, `MM-YY`.
        extra_args: of boto3's `upload_fileobj`.

    Raises `UploadFailed`, and `ConfigurationError` when there are credentials and no boto3.
    """
    client, transfer = get_boto_client(bucket_creds)
    if client is None:
        return _kept(file_name, "local_upload", lambda place: shutil.copyfile(file_location, place))
    with open(file_location, "rb") as content:
        bucket = bucket_name or _bucket(bucket_creds)
        return _stored(client, transfer, content, bucket, _key(prefix, file_name), extra_args)


def upload_in_memory_object(
    file_name: str,
    file_data: bytes,
    bucket_creds: BucketCreds | None = None,
    bucket_name: str | None = None,
    prefix: str | None = None,
) -> str:
    """`upload_file_to_bucket` of what is in memory."""
    client, transfer = get_boto_client(bucket_creds)
    if client is None:
        return _kept(file_name, "local_upload", lambda place: place.write_bytes(file_data))
    bucket = bucket_name or _bucket(bucket_creds)
    return _stored(client, transfer, io.BytesIO(file_data), bucket, _key(prefix, file_name))


def get_boto_client(bucket_creds: BucketCreds | None = None) -> tuple[Any, Any]:
    """A boto3 client of the bucket and its transfer configuration; both None without credentials.

    Raises `ConfigurationError` when there are credentials and no boto3: files that stay here would be lost.
    """
    credentials = _credentials(bucket_creds)
    if credentials is None:
        return None, None
    try:
        from boto3.s3.transfer import TransferConfig
    except ImportError as error:
        raise ConfigurationError("uploads to a bucket need boto3; install submodel-runtime[s3]") from error
    return _client(credentials), TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES)


@functools.lru_cache(maxsize=8)
def _client(credentials: _Credentials) -> Any:
    """Making one takes longer than most uploads; threads may share it."""
    from boto3.session import Session
    from botocore.config import Config

    return Session().client(
        "s3",
        endpoint_url=credentials.endpoint_url,
        aws_access_key_id=credentials.access_id,
        aws_secret_access_key=credentials.access_secret,
        region_name=extract_region_from_url(credentials.endpoint_url),
        config=Config(
            signature_version="s3v4",
            max_pool_connections=AT_ONCE * 10,
            retries={"max_attempts": 3, "mode": "standard"},
            # Stores of other makers do not all know the checksums that boto3 sends by itself.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def extract_region_from_url(endpoint_url: str) -> str | None:
    """The region in the URL of AWS, Backblaze or DigitalOcean; None when it names none."""
    host = urlsplit(endpoint_url).hostname or ""
    found = re.search(r"(?:^|\.)s3[.-]([a-z0-9-]+)\.|([a-z0-9-]+)\.digitaloceanspaces\.com$", host)
    region = (found[1] or found[2]) if found else None
    return None if region == "amazonaws" else region


def _stored(
    client: Any, transfer: Any, content: BinaryIO, bucket: str, key: str, extra: dict[str, Any] | None = None
) -> str:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client.upload_fileobj(content, bucket, key, ExtraArgs=extra, Config=transfer)
        url = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=URL_SECONDS)
    except (Boto3Error, BotoCoreError, ClientError) as error:
        raise UploadFailed(f"{key} could not be stored in bucket {bucket}: {error}") from error
    return str(url)


def _kept(name: str, folder: str, write: Callable[[Path], object]) -> str:
    place = Path(folder, name)
    if ".." in place.parts or Path(name).is_absolute():
        raise ConfigurationError(f"the file name {name!r} leads out of {folder}")
    RunPodLogger().warn(f"No bucket credentials are set: the file stays in {folder}, where no client finds it.")
    place.parent.mkdir(parents=True, exist_ok=True)
    write(place)
    return str(place)


def _credentials(creds: BucketCreds | None) -> _Credentials | None:
    if creds:
        return _Credentials(*(_needed(creds, name) for name in ("endpointUrl", "accessId", "accessSecret")))
    names = ("BUCKET_ENDPOINT_URL", "BUCKET_ACCESS_KEY_ID", "BUCKET_SECRET_ACCESS_KEY")
    values = [plain_variable(name) for name in names]
    return _Credentials(*values) if all(values) else None


def _needed(creds: BucketCreds, name: str) -> str:
    if not creds.get(name):
        raise ConfigurationError(f"the bucket's credentials have no {name!r}")
    return str(creds[name])


def _bucket(creds: BucketCreds | None) -> str:
    return (creds or {}).get("bucketName") or time.strftime("%m-%y")


def _key(prefix: str | None, name: str) -> str:
    return f"{prefix}/{name}" if prefix else name
