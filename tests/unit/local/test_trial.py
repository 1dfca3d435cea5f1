"""`python handler.py` without a platform: one job, what is shown of it, and the exit code."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from submodel import serverless
from submodel.errors import ConfigurationError
from submodel.serverless import ServerlessConfig

Start = Callable[..., tuple[int | str | None, str]]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Start:
    """Runs `start` as if by `python handler.py <line>` in an empty folder: its exit code and what it printed."""
    for name in ("SUBMODEL_GATEWAY_URL", "RUNPOD_WEBHOOK_GET_JOB", "SUBMODEL_WEBHOOK_GET_JOB", "SUBMODEL_ENDPOINT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def run(handler: Any, *line: str, **config: Any) -> tuple[int | str | None, str]:
        monkeypatch.setattr(sys, "argv", ["handler.py", *line])
        with pytest.raises(SystemExit) as ending:
            serverless.start(cast("ServerlessConfig", {"handler": handler, **config}))
        return ending.value.code, capsys.readouterr().out

    return run


def value_of(job: dict[str, Any]) -> Any:
    return job["input"]


async def coroutine(job: dict[str, Any]) -> Any:
    await asyncio.sleep(0)  # noqa: TID251 # a turn of the loop
    return job["input"]


def generator(job: dict[str, Any]) -> Iterator[Any]:
    yield from job["input"]


async def async_generator(job: dict[str, Any]) -> AsyncIterator[Any]:
    for item in job["input"]:
        yield item


def raises(job: dict[str, Any]) -> Any:
    raise ValueError("wrong " + job["input"])


def leaves(job: dict[str, Any]) -> Any:
    sys.exit(job["input"])


@pytest.mark.requirement("handler.desk.test")
def test_a_job_of_the_command_line_is_run_and_its_result_is_shown(start: Start) -> None:
    code, printed = start(value_of, "--test_input", '{"input": {"prompt": "hé"}}')
    assert code == 0
    assert printed.splitlines()[-3:] == [
        "INFO   | Job local_test completed successfully.",
        'INFO   | Job result: {"output": {"prompt": "hé"}}',
        "INFO   | Local testing complete, exiting.",
    ]


@pytest.mark.parametrize("handler", [coroutine, lambda job: coroutine(job)])
def test_a_coroutine_is_awaited(start: Start, handler: Any) -> None:
    assert 'Job result: {"output": 5}' in start(handler, "--test_input", '{"input": 5}')[1]


@pytest.mark.parametrize("handler", [generator, async_generator, lambda job: generator(job)])
@pytest.mark.requirement("handler.desk.test")
def test_a_generator_is_run_to_its_end_and_each_item_is_shown(start: Start, handler: Any) -> None:
    code, printed = start(handler, "--test_input", '{"input": ["a", {"b": 1}]}', return_aggregate_stream=True)
    assert code == 0
    assert 'local_test | Chunk 1: "a"\n' in printed
    assert 'local_test | Chunk 2: {"b": 1}\n' in printed
    assert 'Job result: {"output": ["a", {"b": 1}]}' in printed


def test_a_generator_whose_items_nobody_collects_has_an_empty_output(start: Start) -> None:
    assert 'Job result: {"output": []}' in start(generator, "--test_input", '{"input": [1]}')[1]


@pytest.mark.requirement("handler.desk.test")
def test_an_exception_is_shown_as_its_traceback_and_ends_with_1(start: Start) -> None:
    code, printed = start(raises, "--test_input", '{"input": "thing"}')
    assert code == 1
    assert "ERROR  | Job local_test failed with error: wrong thing\nTraceback (most recent call last):\n" in printed
    assert f'File "{__file__}", line' in printed
    assert "executor.py" not in printed, "frames of the runtime tell nothing"
    assert """Job result: {"error": "<class 'ValueError'>: wrong thing"}""" in printed


@pytest.mark.parametrize("kind", [Iterator, AsyncIterator])
@pytest.mark.requirement("handler.desk.test")
def test_an_exception_of_a_generator_is_shown_like_any_other(start: Start, kind: type) -> None:
    def broken(job: dict[str, Any]) -> Iterator[Any]:
        yield 1
        raise ValueError("wrong " + job["input"])

    async def broken_async(job: dict[str, Any]) -> AsyncIterator[Any]:
        yield 1
        raise ValueError("wrong " + job["input"])

    code, printed = start(broken if kind is Iterator else broken_async, "--test_input", '{"input": "thing"}')
    assert code == 1
    assert "Chunk 1: 1" in printed
    assert "ERROR  | Job local_test failed with error: wrong thing\nTraceback (most recent call last):\n" in printed
    assert f'File "{__file__}", line' in printed
    assert "executor.py" not in printed, "frames of the runtime tell nothing"
    assert """Job result: {"error": "ValueError: wrong thing"}""" in printed


def test_an_empty_input_is_one(start: Start) -> None:
    assert start(value_of, "--test_input", '{"input": {}}')[0] == 0


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ({"error": "no"}, '{"error": "no"}'),
        ({"error": {"code": 3}, "step": 2}, '{"output": {"step": 2}, "error": "{\\"code\\":3}"}'),
        (b"png", '{"error": "output: bytes cannot be sent as JSON; encode it, for example with base64"}'),
    ],
)
@pytest.mark.requirement("handler.desk.test")
def test_a_failure_without_an_exception_ends_with_1(start: Start, value: Any, result: str) -> None:
    code, printed = start(lambda job: value, "--test_input", '{"input": 1}')
    assert code == 1
    assert f"Job result: {result}" in printed.replace("\n", "").replace("  ", " ").replace("{ ", "{")


@pytest.mark.parametrize(("asked", "code"), [(5, 5), (0, 1), ("text", 1)])
def test_a_handler_that_ends_the_process_has_failed(start: Start, asked: Any, code: int) -> None:
    ending, printed = start(leaves, "--test_input", json.dumps({"input": asked}))
    assert ending == code
    assert "Job local_test failed" in printed


def test_a_handler_that_vanishes_has_failed_first(tmp_path: Path) -> None:
    program = 'import os, submodel; submodel.serverless.start({"handler": lambda job: os._exit(job["input"])})'
    command = [sys.executable, "-c", program, "--test_input", '{"input": 3}']
    ran = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True)
    assert ran.returncode == 3
    assert "Job local_test failed with error: the handler ended its process with os._exit(3)" in ran.stdout


@pytest.mark.requirement("handler.desk.test")
def test_the_file_in_the_working_directory_is_used(start: Start, tmp_path: Path) -> None:
    tmp_path.joinpath("test_input.json").write_text('\ufeff{"id": "mine", "input": 1, "extra": [2]}', "utf-8")
    code, printed = start(dict)
    assert code == 0
    assert "Using test_input.json as job input." in printed
    assert "Job mine completed successfully." in printed
    assert '{"output": {"extra": [2], "id": "mine", "input": 1}}' in printed


@pytest.mark.requirement("handler.desk.test")
def test_the_command_line_wins_over_the_file(start: Start, tmp_path: Path) -> None:
    tmp_path.joinpath("test_input.json").write_text('{"input": "file"}')
    tmp_path.joinpath("other.json").write_text('{"input": "other"}')
    assert '{"output": "line"}' in start(value_of, "--test_input", '{"input": "line"}')[1]
    assert '{"output": "other"}' in start(value_of, "--test_input", "@other.json")[1]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ([], "test_input.json not found, exiting."),
        (["--test_input", "@none.json"], "none.json cannot be read"),
        (["--test_input", "{"], "--test_input is not JSON"),
        (["--test_input", "mine.json"], "; a file is named with an @: @mine.json"),
        (["--test_input", '{"input": null}'], 'Job has no input parameter. Unable to run. Give {"input": …}.'),
        (["--test-input", "{}"], "--test-input is no option of submodel: it is left to the handler."),
        (["--rp_log_level", "loud"], "'loud' must be one of"),
    ],
)
@pytest.mark.requirement("handler.desk.test")
def test_nothing_to_run_ends_with_1_and_a_sentence(start: Start, line: list[str], sentence: str) -> None:
    code, printed = start(value_of, *line)
    assert code == 1
    assert sentence in printed
    assert "Traceback" not in printed


def test_the_log_level_hides_what_is_less(start: Start) -> None:
    assert start(value_of, "--test_input", '{"input": 1}', "--sm_log_level", "ERROR") == (0, "")


def test_progress_is_shown(start: Start) -> None:
    def handler(job: dict[str, Any]) -> None:
        serverless.progress_update(job, {"percent": 50})

    assert 'local_test | Progress: {"percent": 50}' in start(handler, "--test_input", '{"input": 1}')[1]


def test_a_long_result_is_on_lines_of_its_own(start: Start) -> None:
    _, printed = start(value_of, "--test_input", json.dumps({"input": ["x" * 60, "y" * 60]}))
    assert f'Job result: \n{{\n  "output": [\n    "{"x" * 60}",\n' in printed


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.requirement("handler.desk.debugger")
def test_the_debugger_adds_its_times_to_a_dict(start: Start, asynchronous: bool) -> None:
    from submodel.serverless.utils.rp_debugger import LineTimer

    def handler(job: dict[str, Any]) -> Any:
        with LineTimer("load"):
            return {"a": 1}

    async def later(job: dict[str, Any]) -> Any:
        return handler(job)

    code, printed = start(later if asynchronous else handler, "--test_input", '{"input": 1}', "--rp_debugger")
    output = json.loads(printed.partition("Job result:")[2].partition("INFO")[0])["output"]
    assert code == 0
    assert output["a"] == 1
    assert [item["name"] for item in output["rp_debugger"]["timestamps"]] == ["load"]
    assert output["rp_debugger"]["ready_delay_ms"] > 0
    assert output["rp_debugger"]["system_info"]["python_version"]


@pytest.mark.parametrize("handler", [value_of, generator])
@pytest.mark.requirement("handler.desk.debugger")
def test_the_debugger_leaves_other_outputs_as_they_are(start: Start, handler: Any) -> None:
    line = ["--test_input", '{"input": [1]}', "--rp_debugger"]
    code, printed = start(handler, *line, return_aggregate_stream=True)
    assert code == 0
    assert 'Job result: {"output": [1]}' in printed


@pytest.mark.requirement("handler.desk.options")
def test_the_arguments_are_taken_from_the_line_and_given_to_the_handler(
    start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def handler(job: dict[str, Any]) -> Any:
        return [sys.argv, config["rp_args"]["rp_api_port"], config["sm_args"]["sm_api_port"]]

    monkeypatch.setattr(sys, "argv", ["handler.py", "--test_input", '{"input": 1}', "--mine", "x"])
    config: dict[str, Any] = {"handler": handler}
    with pytest.raises(SystemExit):
        serverless.start(cast("ServerlessConfig", config))
    assert '{"output": [["handler.py", "--mine", "x"], 8000, 8000]}' in capsys.readouterr().out


def test_an_option_that_does_not_exist_is_told(start: Start) -> None:
    code, printed = start(value_of, "--test_input", '{"input": 1}', "--rp_server_api", "--mine")
    assert code == 0
    assert "WARN   | --rp_server_api is no option of submodel: it is left to the handler." in printed
    assert "--mine is" not in printed


def test_a_failure_before_the_first_line_of_the_handlers_own_is_told_without_an_empty_traceback(start: Start) -> None:
    code, printed = start(chr, "--test_input", '{"input": 1}')
    assert code == 1
    assert "object cannot be interpreted as an integer\nTypeError: " in printed
    assert "Traceback" not in printed


def test_a_handler_that_cannot_be_called_with_a_job_is_refused_with_its_place(start: Start) -> None:
    def handler() -> None:
        """Forgets the job."""

    with pytest.raises(ConfigurationError, match=rf"is handler\(\) of {__file__}:\d+; it is called with one argument"):
        start(handler, "--test_input", '{"input": 1}')


def test_what_is_no_handler_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="not a callable"):
        serverless.start(cast("ServerlessConfig", {"handler": "text"}))
