"""`rp_cleanup`, `rp_cuda`, `rp_model_cache`, `http_client`."""

import sys
from pathlib import Path

import pytest

from submodel import http_client
from submodel.errors import ConfigurationError
from submodel.serverless.utils import rp_cleanup, rp_cuda
from submodel.serverless.utils.rp_model_cache import resolve_model_cache_path_from_hugginface_repository


@pytest.mark.requirement("handler.cleanup")
def test_cleaning_removes_what_jobs_leave_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("input_objects", "output_objects", "job_files", "mine", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").touch()
    (tmp_path / "output.zip").touch()
    rp_cleanup.clean(["mine", "was never there"])
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    rp_cleanup.clean()


@pytest.mark.requirement("handler.gpu")
@pytest.mark.parametrize(
    ("script", "available"),
    [
        ("echo '| NVIDIA-SMI 550.54  Driver Version: 550.54  CUDA Version: 12.4 |'", True),
        ("echo 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver'; exit 9", False),
        (None, False),
    ],
)
def test_a_gpu_is_there_when_nvidia_smi_says_so(
    script: str | None, available: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if script:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert rp_cuda.is_available() is available


@pytest.mark.requirement("handler.gpu")
@pytest.mark.parametrize(
    ("repository", "path"),
    [
        ("org/model:experimental", "/runpod/cache/org/model/experimental"),
        ("org/model", "/runpod/cache/org/model/main"),
        ("model:main", "/runpod/cache/model/main"),
        ("model:", "/runpod/cache/model/"),
        (":experimental", None),
        ("", None),
    ],
)
def test_a_model_has_a_place_in_the_cache(repository: str, path: str | None) -> None:
    assert resolve_model_cache_path_from_hugginface_repository(repository) == path


def test_the_place_may_be_elsewhere() -> None:
    found = resolve_model_cache_path_from_hugginface_repository("org/model", path_template="/v/{model}@{revision}")
    assert found == "/v/org/model@main"


async def test_a_session_carries_no_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_AI_API_KEY", "secret")
    async with http_client.AsyncClientSession(headers={"X-Other": "1"}) as session:
        assert dict(session.headers) == {"X-Other": "1"}


async def test_a_session_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(ConfigurationError, match=r"submodel-runtime\[asyncio\]"):
        http_client.AsyncClientSession()
    monkeypatch.setitem(sys.modules, "requests", None)
    with pytest.raises(ConfigurationError, match="needs requests"):
        http_client.SyncClientSession()
