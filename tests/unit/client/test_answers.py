"""What came of a request, as a document or a typed error."""

import pytest

from submodel import errors
from submodel.client.answers import Answer, NoAnswer, document, field, retry_after_seconds

URL = "http://gateway/v2/e/run"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidRequest),
        (401, errors.Unauthorized),
        (403, errors.Unauthorized),
        (404, errors.NotFound),
        (405, errors.GatewayRefused),
        (409, errors.Conflict),
        (413, errors.InvalidRequest),
        (429, errors.GatewayUnavailable),
        (500, errors.GatewayUnavailable),
        (502, errors.GatewayUnavailable),
        (503, errors.GatewayUnavailable),
        (302, errors.ConfigurationError),
    ],
)
def test_each_status_is_an_error_of_its_kind(status: int, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        document(Answer(status, b'{"error": "the sentence"}'), URL)
    assert type(caught.value) is kind
    assert kind is errors.ConfigurationError or "the sentence" in str(caught.value)
    assert isinstance(caught.value, errors.SubModelError)


def test_any_2xx_with_an_object_is_a_document() -> None:
    assert document(Answer(200, b'{"id": "1"}'), URL) == {"id": "1"}
    assert document(Answer(202, b"{}"), URL) == {}


@pytest.mark.parametrize("body", [b"<html>welcome</html>", b"[]", b"", b"\xff"])
def test_another_server_at_the_url_is_a_wrong_base_url(body: bytes) -> None:
    with pytest.raises(errors.ConfigurationError, match="is the base URL right"):
        document(Answer(200, body), URL)


def test_a_refusal_of_a_proxy_is_quoted_in_part() -> None:
    with pytest.raises(errors.NotFound) as caught:
        document(Answer(404, b"<html>" + b"x" * 10_000), URL)
    assert "<html>xxx" in str(caught.value)
    assert len(str(caught.value)) < 700
    with pytest.raises(errors.GatewayRefused, match="no reason given"):
        document(Answer(418, b""), URL)


def test_no_answer_is_told_with_its_reason() -> None:
    with pytest.raises(errors.GatewayUnavailable, match=r"http://gateway/v2/e/run: connection refused"):
        document(NoAnswer("connection refused"), URL)


def test_a_missing_field_is_a_wrong_base_url() -> None:
    assert field({"id": "1"}, "id", URL) == "1"
    with pytest.raises(errors.ConfigurationError, match="without 'id'"):
        field({"id": 1}, "id", URL)


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("7", None, 7.0),
        ("0", None, 0.0),
        (None, None, None),
        ("", None, None),
        ("soon", None, None),
        ("-1", None, None),
        ("Wed, 21 Oct 2026 07:28:30 GMT", "Wed, 21 Oct 2026 07:28:00 GMT", 30.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:30 GMT", 0.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None, None),
        ("Wed, 21 Oct 2026 07:28:00", "Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str | None, date: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, date) == seconds
