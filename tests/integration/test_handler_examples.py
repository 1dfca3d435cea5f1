"""The handlers of the documentation do what their pages say, each run as `python handler.py --test_input …`."""

import base64
import json
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from submodel import serverless
from submodel.serverless.modules.rp_logger import RunPodLogger
from submodel_operator.api.manifest import read_manifest
from tests.support.bucket_server import BucketServer

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs/examples"
PAGE = ROOT / "docs/how-to/write-a-handler.md"
HANDLERS = sorted(EXAMPLES.glob("handlers/*.py"))
PROJECTS = [EXAMPLES / "echo", EXAMPLES / "image"]

Run = Callable[[Path, Any], tuple[int | str | None, dict[str, Any], str]]

REFUSED = ["text is a required input.", "times does not meet the constraints."]
CASES: list[tuple[str, Any, int, Any]] = [
    ("handlers/function.py", {"name": "Ada"}, 0, {"output": {"greeting": "Hello, Ada"}}),
    ("handlers/coroutine.py", {"words": ["a", "bc"]}, 0, {"output": [{"a": 1}, {"bc": 2}]}),
    ("handlers/generator.py", {"prompt": "a b"}, 0, {"output": ["A", "B"]}),
    ("handlers/async_generator.py", {"steps": 2}, 0, {"output": []}),
    ("handlers/model.py", {"text": "good bad good"}, 0, {"output": 1}),
    ("handlers/failures.py", {"steps": 4}, 0, {"output": {"share": 25}}),
    ("handlers/failures.py", {"steps": "x"}, 1, {"error": "steps must be a whole number"}),
    ("handlers/failures.py", {"steps": 0}, 1, {"error": "<class 'ZeroDivisionError'>: division by zero"}),
    ("handlers/progress.py", {"pages": 2}, 0, {"output": {"read": 2}}),
    ("handlers/concurrency.py", "x", 0, {"output": "x"}),
    ("handlers/fitness.py", {"text": "four"}, 0, {"output": 4}),
    ("handlers/fresh.py", {"last": True}, 0, {"output": {"output_tokens": 7}}),
    ("echo/handler.py", {"text": "hi", "times": 2, "shout": True}, 0, {"output": {"echo": ["HI", "HI"]}}),
    (
        "echo/handler.py",
        {"times": 0},
        1,
        {"error": '["text is a required input.","times does not meet the constraints."]'},
    ),
]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a file in an empty folder: its exit code, its result, and what it printed."""
    for name in ("SUBMODEL_GATEWAY_URL", "BUCKET_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(RunPodLogger(), "level", "DEBUG")
    monkeypatch.setattr(serverless, "_progress", None)

    def run(path: Path, job: Any) -> tuple[int | str | None, dict[str, Any], str]:
        monkeypatch.setattr(sys, "argv", [str(path), "--test_input", json.dumps(job)])
        with pytest.raises(SystemExit) as ending:
            runpy.run_path(str(path), run_name="__main__")
        printed = capsys.readouterr().out
        shown = printed.partition("Job result:")[2].partition("\nINFO ")[0]
        return ending.value.code, {} if "TRUNCATED" in shown else json.loads(shown), printed

    return run


@pytest.mark.parametrize(("name", "job_input", "code", "result"), CASES)
def test_a_handler_gives_what_its_page_says(run: Run, name: str, job_input: Any, code: int, result: Any) -> None:
    assert run(EXAMPLES / name, {"input": job_input})[:2] == (code, result)


def test_items_and_progress_are_shown_as_they_come(run: Run) -> None:
    assert 'Chunk 2: {"step": 1}' in run(EXAMPLES / "handlers/async_generator.py", {"input": {"steps": 2}})[2]
    assert 'Progress: {"page": 2, "of": 2}' in run(EXAMPLES / "handlers/progress.py", {"input": {"pages": 2}})[2]


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.name)
def test_a_project_runs_with_its_own_input_and_its_manifest_holds_it(run: Run, project: Path) -> None:
    code, _, _ = run(project / "handler.py", json.loads((project / "test_input.json").read_text()))
    assert code == 0
    handler = read_manifest(
        (project / "endpoint.yaml").read_text(encoding="utf-8"), "endpoint.yaml"
    ).spec.worker.handler
    assert handler
    assert handler.inline == (project / "handler.py").read_text(encoding="utf-8")


@pytest.mark.slow  # boto3 takes seconds to import
def test_an_image_is_part_of_the_output_without_a_bucket_and_in_the_bucket_with_one(run: Run) -> None:
    path = EXAMPLES / "image/handler.py"
    job: dict[str, Any] = {"input": {"prompt": "a lighthouse", "width": 16, "height": 16, "steps": 1}}
    code, result, _ = run(path, job)
    assert code == 0
    image = base64.b64decode(result["output"]["image"].removeprefix("data:image/png;base64,"))
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(image) == result["output"]["bytes"]
    with BucketServer() as bucket:
        _, stored, _ = run(path, {**job, "id": "job-1", "s3Config": {**bucket.credentials(), "bucketName": "results"}})
        assert stored["output"]["image"].startswith(f"{bucket.url}/results/job-1/image.png?")
        assert bucket.objects == {"/results/job-1/image.png": image}


def test_the_page_shows_the_handlers_as_they_are() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    files = [*HANDLERS, *(project / "handler.py" for project in PROJECTS)]
    assert sorted(blocks) == sorted(file.read_text(encoding="utf-8") for file in files)


def test_every_handler_of_the_page_is_run_here() -> None:
    assert {EXAMPLES / name for name, *_ in CASES} >= set(HANDLERS)


def test_the_migrated_handler_runs(run: Run, tmp_path: Path) -> None:
    page = (ROOT / "docs/how-to/migrate-from-runpod.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    file = tmp_path / "migrated.py"
    file.write_text(program)
    assert run(file, {"input": {"prompt": "hi"}})[:2] == (0, {"output": "HI"})
