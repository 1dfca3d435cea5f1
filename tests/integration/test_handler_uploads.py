"""Uploads of handlers with boto3 to a bucket, and what is done without one."""

import re
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from submodel.errors import ConfigurationError, UploadFailed
from submodel.serverless.utils import rp_upload, upload_file_to_bucket, upload_in_memory_object
from tests.support.bucket_server import BucketServer
from tests.support.scripted_server import Reply

pytestmark = pytest.mark.slow

VARIABLES = {"BUCKET_ENDPOINT_URL": "endpointUrl", "BUCKET_ACCESS_KEY_ID": "accessId"}


@pytest.fixture
def bucket() -> Iterator[BucketServer]:
    with BucketServer() as bucket:
        yield bucket


@pytest.fixture(autouse=True)
def in_a_worker_without_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for name in (*VARIABLES, "BUCKET_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def in_the_environment(bucket: BucketServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, key in VARIABLES.items():
        monkeypatch.setenv(name, bucket.credentials()[key])
    monkeypatch.setenv("BUCKET_SECRET_ACCESS_KEY", "secret")


@pytest.fixture
def image(tmp_path: Path) -> str:
    (tmp_path / "image.png").write_bytes(b"PNG")
    return str(tmp_path / "image.png")


def read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as answer:
        content: bytes = answer.read()
        return content


@pytest.mark.requirement("handler.upload")
def test_a_file_is_stored_and_its_url_reads_it(bucket: BucketServer, image: str) -> None:
    url = upload_file_to_bucket("out.png", image, bucket.credentials(), "results", "job-1")
    assert bucket.objects == {"/results/job-1/out.png": b"PNG"}
    assert read(url) == b"PNG"


def test_a_large_file_goes_in_parts(bucket: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rp_upload, "PART_BYTES", 5 * 2**20)
    content = bytes(range(256)) * 4096 * 12
    (tmp_path / "large").write_bytes(content)
    url = upload_file_to_bucket("large", str(tmp_path / "large"), bucket.credentials(), "results")
    assert bucket.objects["/results/large"] == content
    assert len([asked for asked in bucket.asked if "partNumber" in asked.path]) == 3
    assert read(url) == content


def test_what_is_in_memory_is_stored(bucket: BucketServer) -> None:
    url = upload_in_memory_object("out.json", b"{}", bucket.credentials(), "results", "job-1")
    assert (bucket.objects, read(url)) == ({"/results/job-1/out.json": b"{}"}, b"{}")


@pytest.mark.requirement("handler.upload")
def test_the_bucket_is_the_one_of_the_credentials_or_of_the_month(bucket: BucketServer, image: str) -> None:
    upload_file_to_bucket("a", image, {**bucket.credentials(), "bucketName": "named"})
    upload_file_to_bucket("b", image, bucket.credentials())
    first, second = bucket.objects
    assert first == "/named/a"
    assert re.fullmatch(r"/\d\d-\d\d/b", second)


def test_extra_arguments_are_passed_on(bucket: BucketServer, image: str) -> None:
    upload_file_to_bucket("a", image, bucket.credentials(), "results", extra_args={"ContentType": "image/webp"})
    assert bucket.kinds == {"/results/a": "image/webp"}


@pytest.mark.usefixtures("in_the_environment")
def test_images_are_stored_under_the_jobs_id(bucket: BucketServer, image: str) -> None:
    results: list[str | None] = [None, None]
    url = rp_upload.upload_image("job-1", image, 1, results, bucket_name="results")
    (path,) = bucket.objects
    assert re.fullmatch(r"/results/job-1/[0-9a-f]{8}\.png", path)
    assert bucket.kinds[path] == "image/png"
    assert (read(url), results) == (b"PNG", [None, url])


@pytest.mark.requirement("handler.upload")
@pytest.mark.usefixtures("in_the_environment")
def test_several_files_are_stored_in_their_order(bucket: BucketServer, tmp_path: Path) -> None:
    names = []
    for number in range(10):
        (tmp_path / f"{number}.txt").write_text(str(number))
        names.append(str(tmp_path / f"{number}.txt"))
    assert [read(url) for url in rp_upload.files("job-1", names)] == [str(number).encode() for number in range(10)]


def test_a_bucket_of_the_jobs_own_is_written_with_plain_urls(bucket: BucketServer, image: str) -> None:
    urls = rp_upload.bucket_upload("job-1", ["image.png"], {**bucket.credentials(), "bucketName": "own"})
    assert urls == [f"{bucket.url}/own/job-1/image.png"]
    assert bucket.objects == {"/own/job-1/image.png": b"PNG"}


def test_a_refusal_of_the_bucket_is_told_without_the_secret(bucket: BucketServer, image: str) -> None:
    bucket.refuse = Reply(403, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>")
    with pytest.raises(UploadFailed, match=r"a could not be stored in bucket results: .*AccessDenied") as caught:
        upload_file_to_bucket("a", image, bucket.credentials(), "results")
    assert "secret" not in str(caught.value)


def test_one_of_several_files_that_fails_is_not_hidden(
    bucket: BucketServer, in_the_environment: None, image: str
) -> None:
    bucket.refuse = Reply(403, b"<Error><Code>AccessDenied</Code></Error>")
    with pytest.raises(UploadFailed):
        rp_upload.files("job-1", [image, image])


def test_incomplete_credentials_are_told_by_their_name(image: str) -> None:
    with pytest.raises(ConfigurationError, match="have no 'accessSecret'"):
        upload_file_to_bucket("a", image, {"endpointUrl": "http://bucket", "accessId": "id"})
    creds = {"endpointUrl": "http://bucket", "accessId": "id", "accessSecret": "secret"}
    with pytest.raises(ConfigurationError, match="have no 'bucketName'"):
        rp_upload.bucket_upload("job-1", [image], creds)


def test_credentials_without_boto3_are_an_error_and_no_file_that_nobody_finds(
    image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "boto3"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "boto3", None)
    creds = {"endpointUrl": "http://bucket", "accessId": "id", "accessSecret": "secret"}
    with pytest.raises(ConfigurationError, match=r"submodel-runtime\[s3\]"):
        upload_file_to_bucket("a", image, creds)
    assert [path.name for path in tmp_path.iterdir()] == ["image.png"]


def test_without_credentials_files_stay_here(image: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rp_upload.get_boto_client() == (None, None)
    assert upload_file_to_bucket("deep/out.png", image) == "local_upload/deep/out.png"
    assert upload_in_memory_object("out.json", b"{}") == "local_upload/out.json"
    results: list[str | None] = [None]
    kept = rp_upload.upload_image("job-1", image, 0, results)
    assert re.fullmatch(r"simulated_uploaded/[0-9a-f]{8}\.png", kept)
    assert results == [kept]
    assert (tmp_path / "local_upload/deep/out.png").read_bytes() == (tmp_path / kept).read_bytes() == b"PNG"
    assert (tmp_path / "local_upload/out.json").read_bytes() == b"{}"
    assert "No bucket credentials are set" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "a/../../out"])
def test_a_name_cannot_lead_out_of_the_folder(image: str, name: str) -> None:
    with pytest.raises(ConfigurationError, match="leads out of local_upload"):
        upload_file_to_bucket(name, image)


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://bucket.s3.eu-central-1.amazonaws.com", "eu-central-1"),
        ("https://s3.us-east-2.amazonaws.com", "us-east-2"),
        ("https://s3-us-west-1.amazonaws.com", "us-west-1"),
        ("https://s3.us-west-004.backblazeb2.com", "us-west-004"),
        ("https://bucket.nyc3.digitaloceanspaces.com", "nyc3"),
        ("https://nyc3.digitaloceanspaces.com", "nyc3"),
        ("https://s3.amazonaws.com", None),
        ("http://minio.storage.svc:9000", None),
        ("http://127.0.0.1:9000", None),
    ],
)
def test_the_region_is_in_the_url(url: str, region: str | None) -> None:
    assert rp_upload.extract_region_from_url(url) == region
