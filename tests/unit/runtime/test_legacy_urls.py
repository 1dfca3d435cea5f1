"""The environment of a hosted platform."""

import pytest

from submodel.contract import legacy_env
from submodel.errors import ConfigurationError
from submodel.serverless import legacy_urls, settings

RUNPOD = {
    "RUNPOD_WEBHOOK_GET_JOB": "https://api.example/v2/e/job-take/$ID?gpu=A&t=$RUNPOD_POD_ID",
    "RUNPOD_WEBHOOK_POST_OUTPUT": "https://api.example/v2/e/job-done/$RUNPOD_POD_ID/$ID?gpu=A",
    "RUNPOD_WEBHOOK_POST_STREAM": "https://api.example/v2/e/job-stream/$RUNPOD_POD_ID/$ID?gpu=A",
    "RUNPOD_WEBHOOK_PING": "https://api.example/v2/e/ping/$RUNPOD_POD_ID",
    "RUNPOD_PING_INTERVAL": "4000",
    "RUNPOD_AI_API_KEY": "key",
    "RUNPOD_POD_ID": "pod 1",
    "RUNPOD_ENDPOINT_ID": "e",
}


def test_the_templates_of_a_hosted_platform_are_filled_in() -> None:
    read = settings.from_environment(RUNPOD)
    urls = read.legacy
    assert urls is not None
    assert (read.worker_id, read.endpoint_id, urls.family) == ("pod 1", "e", "runpod")
    assert urls.take == "https://api.example/v2/e/job-take/pod%201?gpu=A&t=pod%201"
    assert urls.take_batch == "https://api.example/v2/e/job-take-batch/pod%201?gpu=A&t=pod%201"
    assert urls.stop == "https://api.example/v2/e/job-stop/pod%201?gpu=A&t=pod%201"
    assert legacy_urls.of_job(urls.done, "a/b") == "https://api.example/v2/e/job-done/pod%201/a%2Fb?gpu=A"
    assert legacy_urls.of_job(urls.stream, "j") == "https://api.example/v2/e/job-stream/pod%201/j?gpu=A"
    assert (urls.ping, urls.ping_seconds, urls.api_key) == ("https://api.example/v2/e/ping/pod%201", 4.0, "key")


@pytest.mark.parametrize("prefix", legacy_env.PREFIXES)
def test_what_the_operator_sets_is_understood_in_either_spelling(prefix: str) -> None:
    environment = {**legacy_env.settings(prefix, "http://gw:80", "ns.e"), f"{prefix}POD_ID": "w-1"}
    urls = legacy_urls.from_environment(environment, "w-1")
    sdk = prefix.strip("_").lower()
    assert urls.take == f"http://gw:80/v2/ns.e/job-take/w-1?sdk={sdk}"
    assert urls.done == f"http://gw:80/v2/ns.e/job-done/w-1/$ID?sdk={sdk}"
    assert (urls.ping, urls.family) == (f"http://gw:80/v2/ns.e/ping/w-1?sdk={sdk}", sdk)


def test_a_worker_of_our_own_gateway_speaks_the_native_dialect_whatever_else_is_set() -> None:
    native = {
        "SUBMODEL_GATEWAY_URL": "http://gw",
        "SUBMODEL_ENDPOINT_ID": "e",
        "SUBMODEL_WORKER_ID": "w",
        "SUBMODEL_WORKER_TOKEN": "t",
    }
    assert settings.from_environment({**RUNPOD, **native}).legacy is None


def test_a_worker_without_a_name_takes_one() -> None:
    nameless = {name: value for name, value in RUNPOD.items() if name != "RUNPOD_POD_ID"}
    names = {settings.from_environment(nameless).worker_id for _ in range(2)}
    assert len(names) == 2


@pytest.mark.parametrize(("text", "seconds"), [("500", 1.0), ("", 10.0), ("often", 10.0), ("-3", 10.0), ("2500", 2.5)])
def test_an_odd_ping_interval_does_not_end_the_worker(text: str, seconds: float) -> None:
    assert legacy_urls.from_environment({**RUNPOD, "RUNPOD_PING_INTERVAL": text}, "w").ping_seconds == seconds


@pytest.mark.parametrize("level", ["TRACE", "loud", "notset"])
def test_a_log_level_of_the_hosted_platforms_does_not_end_the_worker(level: str) -> None:
    assert settings.from_environment({**RUNPOD, "RUNPOD_LOG_LEVEL": level}).log_level == "INFO"


def test_urls_of_which_no_others_can_be_made_leave_those_out() -> None:
    urls = legacy_urls.from_environment({**RUNPOD, "RUNPOD_WEBHOOK_GET_JOB": "http://gw/jobs"}, "w")
    assert (urls.take_batch, urls.stop) == ("", "")
    assert legacy_urls.with_query(urls.take, job_in_progress="0") == "http://gw/jobs?job_in_progress=0"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("RUNPOD_WEBHOOK_POST_OUTPUT", "", "RUNPOD_WEBHOOK_POST_OUTPUT is not"),
        ("RUNPOD_WEBHOOK_POST_OUTPUT", "JOB_DONE_URL", "RUNPOD_WEBHOOK_POST_OUTPUT='JOB_DONE_URL' is not a URL"),
        ("RUNPOD_WEBHOOK_GET_JOB", "gateway/job-take/$ID?", "RUNPOD_WEBHOOK_GET_JOB='gateway"),
    ],
)
def test_a_template_that_cannot_be_used_is_named(name: str, value: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        settings.from_environment({**RUNPOD, name: value})
