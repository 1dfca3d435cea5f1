"""The logger of handlers: its lines and its levels."""

import json

import pytest

import submodel
from submodel.serverless.modules.rp_logger import MAX_MESSAGE_LENGTH, RunPodLogger

VARIABLES = ("ENDPOINT_ID", "LOG_LEVEL", "DEBUG_LEVEL")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        for prefix in ("SUBMODEL_", "RUNPOD_"):
            monkeypatch.delenv(prefix + name, raising=False)
    monkeypatch.setattr(RunPodLogger, "_instance", None)


def test_there_is_one_logger_under_both_names() -> None:
    assert submodel.SubModelLogger is submodel.RunPodLogger
    assert submodel.RunPodLogger() is submodel.SubModelLogger()


@pytest.mark.requirement("handler.logger")
def test_a_plain_line_has_level_job_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    log = RunPodLogger()
    log.info("hello", "job-1")
    log.warn("careful")
    log.warning("careful", request_id="job-2")
    log.tip("read the manual")
    assert capsys.readouterr().out.splitlines() == [
        "INFO   | job-1 | hello",
        "WARN   | careful",
        "WARN   | job-2 | careful",
        "TIP    | read the manual",
    ]


@pytest.mark.requirement("handler.logger")
@pytest.mark.parametrize("prefix", ["SUBMODEL_", "RUNPOD_"])
def test_in_a_worker_a_line_is_a_json_object(
    prefix: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"{prefix}ENDPOINT_ID", "ns.e")
    RunPodLogger().error("first\nsecond", "job-1")
    RunPodLogger().debug({"a": 1})
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"requestId": "job-1", "message": "first\nsecond", "level": "ERROR"},
        {"requestId": None, "message": "{'a': 1}", "level": "DEBUG"},
    ]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("NOTSET", []),
        ("TRACE", ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "TIP"]),
        ("DEBUG", ["DEBUG", "INFO", "WARN", "ERROR", "TIP"]),
        ("info", ["INFO", "WARN", "ERROR", "TIP"]),
        ("WARN", ["WARN", "ERROR", "TIP"]),
        ("WARNING", ["WARN", "ERROR", "TIP"]),
        ("ERROR", ["ERROR", "TIP"]),
    ],
)
@pytest.mark.parametrize("variable", ["SUBMODEL_LOG_LEVEL", "RUNPOD_LOG_LEVEL", "RUNPOD_DEBUG_LEVEL"])
def test_the_level_leaves_out_what_is_less(
    level: str,
    expected: list[str],
    variable: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, level)
    log = RunPodLogger()
    for write in (log.trace, log.debug, log.info, log.warn, log.error, log.tip):
        write("text")
    assert [line.split("|")[0].strip() for line in capsys.readouterr().out.splitlines()] == expected


@pytest.mark.requirement("handler.logger")
def test_a_level_that_nobody_knows_does_not_end_the_worker(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SUBMODEL_LOG_LEVEL", "LOUD")
    assert RunPodLogger().level == "DEBUG"
    assert "Invalid debug level: LOUD" in capsys.readouterr().out


@pytest.mark.parametrize("level", ["LOUD", 6, -1, None])
def test_setting_a_level_that_nobody_knows_is_refused(level: str) -> None:
    with pytest.raises(ValueError, match="Invalid debug level"):
        RunPodLogger().set_level(level)


def test_a_level_is_set_by_name_or_by_place() -> None:
    log = RunPodLogger()
    log.set_level("ERROR")
    assert log.level == "ERROR"
    log.set_level(3)
    assert log.level == "INFO"


def test_a_long_message_loses_its_middle(capsys: pytest.CaptureFixture[str]) -> None:
    RunPodLogger().info("a" * MAX_MESSAGE_LENGTH + "b" * 10)
    line = capsys.readouterr().out
    assert "...TRUNCATED 10 CHARACTERS..." in line
    assert line.endswith("a" * 10 + "b" * 10 + "\n")
    RunPodLogger().info("a" * MAX_MESSAGE_LENGTH)
    assert "TRUNCATED" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("secret", "shown"), [("test_secret", "t*********t"), ("abc", "****"), ("", "****"), (12345, "1***5")]
)
def test_a_secret_is_not_written(secret: object, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    RunPodLogger().secret("name", secret)
    assert capsys.readouterr().out == f"INFO   | name: {shown}\n"
