"""Downloads of handlers from a real server."""

import gzip
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from submodel.errors import DownloadFailed, DownloadRefused
from submodel.serverless.utils import download_files_from_urls, rp_download
from submodel.serverless.utils.fetch import opened
from submodel.serverless.utils.rp_ssrf import DownloadLimits
from tests.support.scripted_server import Asked, Reply, ScriptedServer


class Files:
    """What the server has; a path may have several replies, which are given in order."""

    def __init__(self) -> None:
        self.replies: dict[str, list[Reply]] = {}

    def __call__(self, asked: Asked) -> Reply:
        replies = self.replies.get(asked.path, [Reply(404)])
        return replies.pop(0) if len(replies) > 1 else replies[0]


@pytest.fixture
def files() -> Files:
    return Files()


@pytest.fixture
def server(files: Files) -> Iterator[ScriptedServer]:
    with ScriptedServer(files) as server:
        yield server


@pytest.fixture(autouse=True)
def in_a_worker_that_may_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUBMODEL_ALLOW_PRIVATE_DOWNLOAD_URLS", "true")
    monkeypatch.setattr(rp_download, "FIRST_PAUSE_SECONDS", 0.0)


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


@pytest.mark.requirement("handler.download")
def test_files_land_in_the_jobs_folder_under_names_of_our_own(
    server: ScriptedServer, files: Files, tmp_path: Path
) -> None:
    files.replies = {
        "/a.png?sign=x": [Reply(body=b"A")],
        "/b": [Reply(body=b"B", headers={"Content-Disposition": 'attachment; filename="../../b.tar.gz"'})],
        "/c": [Reply(body=b"C")],
    }
    found = download_files_from_urls("job-1", [f"{server.url}{path}" for path in files.replies])
    paths = [Path(path or "") for path in found]
    assert [path.read_bytes() for path in paths] == [b"A", b"B", b"C"]
    assert [path.suffix for path in paths] == [".png", ".gz", ""]
    assert {path.parent for path in paths} == {tmp_path / "jobs" / "job-1" / "downloaded_files"}


def test_one_url_is_a_list_of_one(server: ScriptedServer, files: Files) -> None:
    files.replies = {"/a": [Reply(body=b"A")]}
    (path,) = download_files_from_urls("job-1", f"{server.url}/a")
    assert path
    assert Path(path).read_bytes() == b"A"


def test_what_cannot_be_fetched_is_none_and_the_others_are_there(
    server: ScriptedServer, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.replies = {"/a": [Reply(body=b"A")]}
    urls = [f"{server.url}/missing?token=secret", None, f"{server.url}/a", "http://name.invalid/"]
    found = download_files_from_urls("job-1", urls)
    assert [path is not None for path in found] == [False, False, True, False]
    log = capsys.readouterr().out
    assert "/missing: status 404" in log
    assert "secret" not in log


@pytest.mark.requirement("handler.download")
@pytest.mark.parametrize(
    "first", [Reply(503), Reply(429), Reply(body=b"half", headers={"Content-Length": "8"}, cut=True)]
)
def test_a_passing_fault_is_tried_three_times(
    server: ScriptedServer, files: Files, tmp_path: Path, first: Reply
) -> None:
    files.replies = {"/a": [first, first, Reply(body=b"whole")], "/b": [first]}
    good, bad = download_files_from_urls("job-1", [f"{server.url}/a", f"{server.url}/b"])
    assert good
    assert Path(good).read_bytes() == b"whole"
    assert bad is None
    assert sorted(asked.path for asked in server.asked) == ["/a"] * 3 + ["/b"] * 3
    assert left_over(tmp_path) == [Path(good).name], "no halves are left"


def test_a_file_of_unknown_length_is_fetched(server: ScriptedServer, files: Files) -> None:
    chunked = b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    files.replies = {"/a": [Reply(body=chunked, headers={"Transfer-Encoding": "chunked"})]}
    assert Path(rp_download.file(f"{server.url}/a")["file_path"]).read_bytes() == b"hello world"


def test_a_compressed_answer_is_unpacked_on_the_way(server: ScriptedServer, files: Files) -> None:
    plain = b"x" * 1_000_000
    files.replies = {"/a.txt": [Reply(body=gzip.compress(plain), headers={"Content-Encoding": "gzip"})]}
    assert Path(rp_download.file(f"{server.url}/a.txt")["file_path"]).read_bytes() == plain


def test_a_single_file_is_described(server: ScriptedServer, files: Files, tmp_path: Path) -> None:
    named = {"Content-Disposition": "attachment; filename*=UTF-8''na%C3%AFve%20name.PNG"}
    files.replies = {"/a": [Reply(body=b"A", headers=named)], "/b.txt": [Reply(body=b"B")]}
    found = rp_download.file(f"{server.url}/a")
    assert Path(found["file_path"]).parent == tmp_path / "job_files"
    assert (found["type"], found["original_name"], found["extracted_path"]) == ("PNG", "naïve name.PNG", None)
    assert rp_download.file(f"{server.url}/b.txt")["original_name"] == "b.txt"
    with pytest.raises(DownloadFailed, match="status 404"):
        rp_download.file(f"{server.url}/c")


@pytest.mark.requirement("handler.download")
def test_a_zip_is_unpacked_beside_it(server: ScriptedServer, files: Files) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as made:
        made.writestr("inside/a.txt", "A")
    files.replies = {"/a.zip": [Reply(body=content.getvalue())]}
    found = rp_download.file(f"{server.url}/a.zip")
    assert (Path(found["extracted_path"]) / "inside" / "a.txt").read_text() == "A"
    assert (found["type"], found["original_name"]) == ("zip", "a.zip")


def test_a_hostile_zip_leaves_nothing(server: ScriptedServer, files: Files, tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as made:
        made.writestr("../out", "x")
    files.replies = {"/a.zip": [Reply(body=content.getvalue())]}
    with pytest.raises(ValueError, match="leads out of its folder"):
        rp_download.file(f"{server.url}/a.zip")
    assert left_over(tmp_path) == []


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"x" * 101),
        Reply(body=b"65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n", headers={"Transfer-Encoding": "chunked"}),
        Reply(body=gzip.compress(b"x" * 101), headers={"Content-Encoding": "gzip"}),
    ],
    ids=["declared", "not declared", "compressed"],
)
def test_a_file_that_is_too_large_is_refused(
    server: ScriptedServer, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reply: Reply
) -> None:
    monkeypatch.setenv("SUBMODEL_MAX_DOWNLOAD_BYTES", "100")
    files.replies = {"/a": [reply]}
    with pytest.raises(rp_download.SSRFError, match="more than 100 bytes"):
        rp_download.file(f"{server.url}/a")
    assert left_over(tmp_path) == []
    assert len(server.asked) == 1, "it will not be smaller the next time"


# Where a download may lead:


def test_a_private_address_is_refused_by_default(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUBMODEL_ALLOW_PRIVATE_DOWNLOAD_URLS")
    for url in (
        f"{server.url}/a",
        f"http://localhost:{server.port}/a",
        "http://169.254.169.254/latest",
        "http://[::1]/",
    ):
        with pytest.raises(DownloadRefused, match="which is not public"):
            rp_download.file(url)
        with pytest.raises(ValueError, match="which is not public"):
            download_files_from_urls("job-1", [url])
    assert server.asked == []


def test_a_redirect_is_followed_and_checked_anew(server: ScriptedServer, files: Files) -> None:
    with ScriptedServer(files, host="127.0.0.2") as other:
        files.replies = {
            "/here": [Reply(302, headers={"Location": "/a"})],
            "/there": [Reply(307, headers={"Location": f"{other.url}/a"})],
            "/a": [Reply(body=b"A")],
        }
        only_first = DownloadLimits(private=frozenset({"127.0.0.1"}))
        with opened(f"{server.url}/here", only_first) as body:
            assert b"".join(body.pieces()) == b"A"
            assert body.url == f"{server.url}/a"
        with pytest.raises(DownloadRefused, match=r"127\.0\.0\.2, which is not public"):
            with opened(f"{server.url}/there", only_first):
                raise AssertionError("it was followed")
        assert other.asked == []


def test_redirects_end(server: ScriptedServer, files: Files) -> None:
    files.replies = {"/a": [Reply(302, headers={"Location": "/a"})]}
    with pytest.raises(DownloadRefused, match="more than 5 redirects"):
        rp_download.file(f"{server.url}/a")
    assert len(server.asked) == 6


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://host/a", "/a", "", "http://", "http:///a", "http://host:0/", "http://[bad/"]
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(DownloadRefused):
        rp_download.file(url)


def test_a_job_id_cannot_lead_to_another_folder() -> None:
    for job_id in ("../x", "a/b", "..", ""):
        with pytest.raises(DownloadRefused, match="is no job id"):
            download_files_from_urls(job_id, [])


def test_a_download_ends_when_its_time_is_up(server: ScriptedServer, files: Files) -> None:
    files.replies = {"/a": [Reply(body=b"A")]}
    with opened(f"{server.url}/a", DownloadLimits(private=None, total_seconds=0.0)) as body:
        with pytest.raises(DownloadFailed, match="not complete after 0 seconds"):
            list(body.pieces())


def test_a_path_is_sent_as_a_browser_would(server: ScriptedServer, files: Files) -> None:
    files.replies = {"/a%20b/%C3%A4.txt?q=%C3%BC&r=1%2F2": [Reply(body=b"A")]}
    found = rp_download.file(f"{server.url}/a b/ä.txt?q=ü&r=1%2F2")
    assert found["original_name"] == "ä.txt"
