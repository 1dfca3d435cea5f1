"""Bytes and errors in OpenAI's shape, from what workers send."""

import json
from typing import Any

import pytest

from submodel.contract.states import JobState
from submodel_gateway.http import openai_frames
from submodel_gateway.http.openai_frames import Failure, Framer

FRAMES = [
    (
        [b'"data: {\\"a\\":1}\\n\\ndata: {"', b'"\\"b\\":\\"\\u00e9\\"}\\n"', b'"\\n"'],
        'data: {"a":1}\n\ndata: {"b":"é"}\n\n',
    ),
    ([b'{"a":1}', b'{"b":"x"}'], 'data: {"a":1}\n\ndata: {"b":"x"}\n\ndata: [DONE]\n\n'),
    ([b'[{"a":1},{"b":2}]', b"[]"], 'data: {"a":1}\n\ndata: {"b":2}\n\ndata: [DONE]\n\n'),
    ([b'{"a":\n  1}'], 'data: {"a":1}\n\ndata: [DONE]\n\n'),
    ([b'""'], ""),
]


@pytest.mark.parametrize(("items", "expected"), FRAMES)
def test_texts_pass_as_they_are_and_documents_get_their_frame(items: list[bytes], expected: str) -> None:
    together, apart = Framer(), Framer()
    assert together.frame(items) + together.end() == expected.encode()
    assert b"".join(apart.frame([item]) for item in items) + apart.end() == expected.encode()


def test_the_end_of_the_events_is_seen_wherever_the_worker_cut_it() -> None:
    framer = Framer()
    seen = []
    for text in ("data: {}\n\nda", "ta: [DO", "NE]\n", "\n"):
        framer.frame([json.dumps(text).encode()])
        seen.append(framer.done)
    assert seen == [False, False, True, True]


WHOLE: list[tuple[list[bytes], bytes | None, bytes]] = [
    ([b'{"id": 1}'], b'[{"id": 1}]', b'{"id": 1}'),
    ([], b'{"id": 1}', b'{"id": 1}'),
    ([], b'[{"id": 1}]', b'{"id": 1}'),
    ([b'"{\\"id\\": 1}"'], b"[]", b'{"id": 1}'),
]


@pytest.mark.parametrize(("items", "output", "expected"), WHOLE)
def test_the_one_answer_is_the_body_as_it_is(items: list[bytes], output: bytes | None, expected: bytes) -> None:
    assert openai_frames.whole(items, output) == expected


@pytest.mark.parametrize(("items", "found"), [([b"1", b"2"], "2 answers"), ([], "no answer")])
def test_anything_but_one_answer_is_an_error(items: list[bytes], found: str) -> None:
    failure = openai_frames.whole(items, None)
    assert isinstance(failure, Failure)
    assert failure.status == 500
    assert found in failure.body.decode()


TRACE = json.dumps({"error_type": "<class 'ValueError'>", "error_message": "boom", "error_traceback": "secret.py"})
FAILURES: list[tuple[JobState, str | None, int, dict[str, Any]]] = [
    (JobState.FAILED, "boom", 500, {"message": "boom", "type": "worker_error"}),
    (JobState.FAILED, None, 500, {"message": "the worker failed without saying why"}),
    (JobState.FAILED, "{'message': 'too long', 'type': 'BadRequestError', 'code': 400}", 400,
     {"message": "too long", "type": "BadRequestError", "code": 400}),
    (JobState.FAILED, '{"error": {"message": "no such model", "code": 404}}', 404, {"message": "no such model"}),
    (JobState.FAILED, "{'message': 'too hot', 'param': 'temperature'}", 500, {"param": "temperature"}),
    (JobState.FAILED, "{'message': 'too hot', 'param': {}}", 500, {"param": None}),
    (JobState.FAILED, '{"message": "odd", "code": 200}', 500, {"message": "odd", "code": 200}),
    (JobState.FAILED, '{"message": "named", "code": "x_y", "type": 3}', 500, {"code": "x_y", "type": "worker_error"}),
    (JobState.FAILED, TRACE, 500, {"message": "<class 'ValueError'>: boom", "type": "worker_error"}),
    (JobState.FAILED, "handler: boom \ntraceback: secret.py", 500, {"message": "boom", "type": "worker_error"}),
    (JobState.FAILED, "{'a': ", 500, {"message": "{'a': "}),
    (JobState.FAILED, "{" * 70_000, 500, {"type": "worker_error"}),
    (JobState.FAILED, "{" * 60_000, 500, {"type": "worker_error"}),
    (JobState.FAILED, f"{{'message': 0x{'f' * 9_000}}}", 500, {"type": "worker_error"}),
    (JobState.FAILED, f"{{'message': 'x', 'code': 0x{'f' * 9_000}}}", 500, {"type": "worker_error"}),
    (JobState.FAILED, r"{'message': '\ud800'}", 500, {"message": r"{'message': '\ud800'}"}),
    (JobState.TIMED_OUT, "too slow", 504, {"message": "too slow", "type": "timeout"}),
    (JobState.CANCELLED, None, 500, {"message": "the job is CANCELLED", "type": "cancelled"}),
]  # fmt: skip


@pytest.mark.parametrize(("state", "text", "status", "expected"), FAILURES)
def test_a_job_that_did_not_complete_is_an_error(
    state: JobState, text: str | None, status: int, expected: dict[str, Any]
) -> None:
    failure = openai_frames.failed(state, text)
    told = json.loads(failure.body)["error"]
    assert (failure.status, sorted(told)) == (status, ["code", "message", "param", "type"])
    assert {key: told[key] for key in expected} == expected
    assert "secret.py" not in failure.body.decode()


KINDS = [(400, "invalid_request_error"), (401, "authentication_error"), (404, "invalid_request_error")]
KINDS += [(429, "rate_limit_error"), (500, "server_error"), (503, "server_error")]


@pytest.mark.parametrize(("status", "kind"), KINDS)
def test_errors_of_the_gateway_have_their_type(status: int, kind: str) -> None:
    expected = {"error": {"message": "a sentence", "type": kind, "param": None, "code": None}}
    assert json.loads(openai_frames.error_body(status, "a sentence")) == expected
