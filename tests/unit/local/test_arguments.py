"""The command line of a handler's file (pure)."""

from typing import Any

import pytest

from submodel.errors import ConfigurationError
from submodel.serverless.local import mode
from submodel.serverless.local.arguments import Arguments, job_of, parse
from submodel.serverless.local.mode import Mode

GATEWAY = {"SUBMODEL_GATEWAY_URL": "http://gateway"}


@pytest.mark.parametrize("prefix", ["--rp_", "--sm_"])
@pytest.mark.requirement("handler.desk.options")
def test_each_option_has_both_spellings(prefix: str) -> None:
    line = (
        f"{prefix}serve_api {prefix}api_port 9000 {prefix}api_host 0.0.0.0 {prefix}api_concurrency 3 "
        f"{prefix}no_reload {prefix}log_level warning {prefix}debugger"
    )
    assert parse(line.split()) == (
        Arguments("WARN", True, True, 9000, 3, "0.0.0.0", reload=False),
        [],
    )


@pytest.mark.requirement("handler.desk.options")
def test_what_is_not_ours_stays_in_its_order() -> None:
    given, rest = parse(["--model", "small", "--rp_debugger", "file.txt", "--rp_server_api", "--test_output", "{}"])
    assert given == Arguments(debugger=True)
    assert rest == ["--model", "small", "file.txt", "--rp_server_api", "--test_output", "{}"]


def test_an_option_may_be_cut_short() -> None:
    assert parse(["--rp_serve"])[0].serve_api


@pytest.mark.parametrize("line", ["--rp_api_port x", "--rp_api_port 65536", "--rp_api_concurrency 0", "--test_input"])
def test_a_value_that_cannot_be_used_ends_with_2(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        parse(line.split())
    assert ending.value.code == 2
    assert line.split()[0] in capsys.readouterr().err


def test_a_log_level_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigurationError, match=r"'loud' must be one of NOTSET, TRACE, DEBUG, INFO, WARN, ERROR"):
        parse(["--rp_log_level", "loud"])


def test_handlers_find_the_options_under_their_hosted_names() -> None:
    given = Arguments(debugger=True, api_port=1, test_input="{}")
    assert given.as_config("sm") == {
        "sm_log_level": None,
        "sm_debugger": True,
        "sm_serve_api": False,
        "sm_api_port": 1,
        "sm_api_concurrency": 1,
        "sm_api_host": "localhost",
        "test_input": "{}",
    }


@pytest.mark.parametrize(
    ("text", "job"),
    [
        ('{"input": {}}', {"input": {}, "id": "local_test"}),
        ('{"input": 0, "id": 7, "webhook": "x"}', {"input": 0, "id": "7", "webhook": "x"}),
    ],
)
def test_a_job_is_read_with_its_id_or_with_one_of_its_own(text: str, job: Any) -> None:
    assert job_of(text, "x") == job


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "x is not JSON"),
        ("[]", "must be an object .* not list"),
        ("{}", "Job has no input parameter"),
        ('{"input": null}', "Job has no input parameter"),
    ],
)
def test_a_job_without_an_input_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        job_of(text, "x")


MODES: list[tuple[list[str], dict[str, str], Mode]] = [
    ([], {}, Mode.TEST),
    ([], GATEWAY, Mode.WORKER),
    ([], {"RUNPOD_WEBHOOK_GET_JOB": "http://x/job-take/1?"}, Mode.WORKER),
    ([], {"SUBMODEL_ENDPOINT_ID": "a.b"}, Mode.TEST),
    (["--test_input", "{}"], GATEWAY, Mode.TEST),
    (["--rp_debugger"], GATEWAY, Mode.WORKER),
    (["--rp_serve_api"], {**GATEWAY, "RUNPOD_REALTIME_PORT": "80"}, Mode.SERVE_API),
    (["--test_input", "{}"], {**GATEWAY, "RUNPOD_REALTIME_PORT": "80"}, Mode.REALTIME),
    ([], {"RUNPOD_REALTIME_PORT": "0"}, Mode.TEST),
]


@pytest.mark.parametrize(("argv", "environ", "expected"), MODES)
@pytest.mark.requirement("handler.desk.test")
def test_the_first_thing_that_is_asked_for_is_done(argv: list[str], environ: dict[str, str], expected: Mode) -> None:
    assert mode.choose(parse(argv)[0], environ) is expected


@pytest.mark.parametrize(
    ("argv", "environ", "expected"),
    [([], {}, Mode.HOOKS), ([], GATEWAY, Mode.WORKER), (["--test_input", "{}"], {}, Mode.TEST)],
)
@pytest.mark.requirement("handler.hooks")
def test_a_fetcher_of_jobs_counts_where_nothing_else_is_asked_for(
    argv: list[str], environ: dict[str, str], expected: Mode
) -> None:
    assert mode.choose(parse(argv)[0], environ, hooked=True) is expected


def test_arguments_of_a_handlers_own_need_no_parser() -> None:
    assert not mode.has_flags(["--model", "small", "-x"])
    assert all(mode.has_flags([flag]) for flag in ("--rp_serve", "--sm_debugger", "--test_input", "-h", "--help"))
