"""Bodies of `/run`: payloads stay the bytes they were, and what is not available is refused by name."""

import json

import pytest

from submodel_gateway.errors import InvalidRequest
from submodel_gateway.http.envelope import LARGE_BYTES, new_job


@pytest.mark.requirement("client.run")
@pytest.mark.parametrize("input", [b"null", b"1.50", b'"\xc3\xa9"', b"[1, 2]", b'{ "a" : {} }', b"false", b"1e400"])
def test_input_may_be_any_json_and_is_kept_byte_for_byte(input: bytes) -> None:
    assert new_job(b'{"input": ' + input + b"}").input == input


@pytest.mark.requirement("client.run", "platform.policy")
def test_other_fields_go_to_the_worker_but_policy_does_not() -> None:
    new = new_job(b'{"input": 1, "s3Config": {"accessId": "x"}, "foo": [1], "policy": {"ttl": 10000}}')
    assert json.loads(new.extra) == {"s3Config": {"accessId": "x"}, "foo": [1]}
    assert (new.ttl_ms, new.execution_timeout_ms) == (10_000, None)


def test_a_time_to_live_alone_may_be_shorter_than_the_endpoints_execution_limit() -> None:
    assert new_job(b'{"input": 1, "policy": {"ttl": 10000}}').ttl_ms == 10_000
    both = new_job(b'{"input": 1, "policy": {"ttl": 10000, "executionTimeout": 10000}}')
    assert (both.ttl_ms, both.execution_timeout_ms) == (10_000, 10_000)


@pytest.mark.requirement("platform.webhook")
@pytest.mark.parametrize(
    "fields",
    [
        b'"webhook": "%s"',
        b'"webhookV2": "%s"',
        b'"webhook": "", "webhookV2": "%s"',
        b'"webhook": "%s", "webhookV2": "%s"',
    ],
)
def test_a_webhook_has_two_names(fields: bytes) -> None:
    job = new_job(b'{"input": 1, ' + fields.replace(b"%s", b"https://a/b") + b"}")
    assert job.webhook == "https://a/b"
    assert job.extra == b"{}"


def test_fields_of_the_same_name_may_be_at_different_places() -> None:
    job = new_job(
        b'{"input": {"input": "input", "policy": [{"policy": 1}]}, "policy": {}, "a": "\\"a\\": 1", "b": "\\u0061"}'
    )
    assert job.input == b'{"input": "input", "policy": [{"policy": 1}]}'
    assert json.loads(job.extra) == {"a": '"a": 1', "b": "a"}


def test_sixty_four_levels_and_a_hundred_fields_are_taken() -> None:
    deep = b"[" * 63 + b"]" * 63
    assert new_job(b'{"input": ' + deep + b', "a": "[[[[[", "b": [' + b"[]," * 100 + b"[]]}").input == deep
    many = new_job(b'{"input": 1, ' + b", ".join(b'"f%d": 1' % n for n in range(99)) + b"}")
    assert len(json.loads(many.extra)) == 99


@pytest.mark.parametrize("option", [b'"policy": null', b'"policy": {}', b'"webhook": ""', b'"webhook": null'])
def test_empty_options_are_no_options(option: bytes) -> None:
    job = new_job(b'{"input": 1, ' + option + b"}")
    assert (job.ttl_ms, job.webhook) == (None, None)


@pytest.mark.requirement("platform.policy", "client.errors")
@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "the body is empty; send"),
        (b"hello", r"not JSON.*byte 0"),
        (b'{"input": NaN}', r"not JSON.*byte 10"),
        (b'{"input": 1', "not JSON"),
        (b'{"input": 1} x', r"not JSON.*byte 14"),
        (b'{"input": "\xff"}', r"not UTF-8 \(byte 11\)"),
        (b'{"input": "\\ud800"}', r"not JSON.*half of a pair"),
        (b'{"input": "\\uDC80.txt"}', r"not JSON.*half of a pair"),
        (b'{"input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"input": ' + b"[" * 64 + b"]" * 64 + b"}", "nested too deeply; send a document of at most 64 levels"),
        (b'{"input": 1, ' + b", ".join(b'"f%d": 1' % n for n in range(100)) + b"}", "more than 100 fields; put"),
        (b'{"input": 1, "input": 2}', "the field 'input' is there twice"),
        (b'{"input": 1, "\\u0069nput": 2}', "a field of the body is there twice"),
        (b'{"input": 1, "a/b": 1, "a\\/b": 2}', "a field of the body is there twice"),
        (b'{"input": 1, "": 1, "": 2}', "the field '' is there twice"),
        (b'{"input": {"policy": 1}, "policy": {}, "policy": {}}', "the field 'policy' is there twice"),
        (b'{"input": "' + b"x" * LARGE_BYTES + b'", "input": 2}', "the field 'input' is there twice"),
        (b'{"input": "' + b"x" * LARGE_BYTES + b'", "a": ' + b"[" * 64 + b"]" * 64 + b"}", "nested too deeply"),
        (b"[1]", "Expected `object`"),
        (b"{}", '"input" is missing'),
        (b'{"Input": 1}', '"input" is missing'),
        (b'{"input": 1, "webhook": 5}', '"webhook" is no text'),
        (b'{"input": 1, "webhookV2": {}}', '"webhookV2" is no text'),
        (b'{"input": 1, "webhook": "https://a", "webhookV2": "https://b"}', "two different URLs; give one"),
        (b'{"input": 1, "policy": 5}', '"policy" does not fit'),
        (b'{"input": 1, "policy": {"ttl": "1h"}}', r'"policy" does not fit.*\$\.ttl'),
        (b'{"input": 1, "policy": {"ttl": 9999}}', r'"policy.ttl" is 9999; give 10000 to 604800000'),
        (b'{"input": 1, "policy": {"ttl": 604800001}}', '"policy.ttl" is 604800001'),
        (b'{"input": 1, "policy": {"executionTimeout": 4999}}', '"policy.executionTimeout" is 4999; give 5000'),
        (b'{"input": 1, "policy": {"ttl": 10000, "executionTimeout": 10001}}', "policy.ttl must not be shorter than"),
        (b'{"input": 1, "policy": {"timeout": 1}}', '"policy" does not fit.*timeout'),
    ],
)
def test_what_cannot_be_served_is_refused_with_a_sentence(body: bytes, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        new_job(body)


def test_a_job_of_low_priority_says_so_in_its_policy() -> None:
    assert new_job(b'{"input": 1, "policy": {"lowPriority": true}}').low_priority
    assert not new_job(b'{"input": 1, "policy": {"lowPriority": false}}').low_priority
