"""How a job carries its trace, and when there is one at all."""

import logging

import pytest

from submodel.contract.tracing import wanted
from submodel_gateway.errors import ConfigurationError
from submodel_gateway.tracing.opening import open_spans
from submodel_gateway.tracing.spans import behind_url, carried, of_extra, of_url
from submodel_gateway.webhooks.targets import rules

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


def test_a_trace_goes_beside_the_other_fields_of_a_job_and_comes_back() -> None:
    extra = b'{"s3Config":{"a":1}}'
    assert of_extra(carried(extra, TRACE)) == TRACE
    assert (carried(extra, ""), of_extra(extra)) == (extra, "")


def test_a_newer_trace_takes_the_place_of_the_one_before() -> None:
    assert of_extra(carried(carried(b"{}", "00-old"), TRACE)) == TRACE


def test_a_field_of_that_name_that_is_no_text_is_no_trace() -> None:
    assert of_extra(b'{"$traceparent":{"a":1}}') == ""


def test_a_trace_goes_behind_a_webhooks_url_where_no_request_shows_it() -> None:
    url = "https://example.com/hook?a=1"
    kept = behind_url(url, TRACE)
    assert of_url(kept) == (url, TRACE)
    assert of_url(url) == (url, "")
    # A gateway that knows nothing of it, of the version before, sends the same request.
    assert rules([]).target(kept).url == url


@pytest.mark.parametrize(
    ("environ", "there"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_SERVICE_NAME": "jobs"}, False),
    ],
)
def test_opentelemetrys_own_variables_ask_for_traces(environ: dict[str, str], there: bool) -> None:
    assert wanted(environ) is there


def test_without_them_nothing_is_said() -> None:
    spans = open_spans({})
    assert not spans.on
    with spans.submit("ns.app", "j") as trace:
        assert trace == ""


def test_a_protocol_that_is_not_spoken_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"OTEL_EXPORTER_OTLP_PROTOCOL is grpc; .* http/protobuf"):
        open_spans({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})


def test_where_the_library_is_missing_there_are_no_traces_and_a_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "submodel_gateway.tracing.otel", None)
    with caplog.at_level(logging.WARNING):
        assert not open_spans(ENDPOINT).on
    assert "install submodel-runtime[otel]" in caplog.text
