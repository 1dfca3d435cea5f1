"""What a handler did -> what is published (pure)."""

import dataclasses
import datetime
import decimal
import enum
import functools
import json
import math
import pathlib
import uuid
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from submodel.contract import limits
from submodel.serverless import encoding, outcome
from submodel.serverless.outcome import Identity, Outcome

IDENTITY = Identity("host", "worker", "1.2.3")


def output_of(value: object) -> Any:
    result = outcome.of_value(value)
    assert result.error is None
    assert result.output is not None
    return json.loads(result.output)


@pytest.mark.requirement("handler.value")
@pytest.mark.parametrize(
    "value", ["text", 3, 2.5, True, None, [], [1, {"a": None}], {"output": 1}, {"status": "IN_PROGRESS"}]
)
def test_a_value_is_the_output_as_it_is(value: object) -> None:
    assert output_of(value) == value


def test_a_tuple_is_a_list() -> None:
    assert output_of((1, (2,))) == [1, [2]]


@pytest.mark.requirement("handler.value")
def test_an_empty_dict_completes_without_output() -> None:
    assert outcome.of_value({}) == Outcome()


def test_what_is_refused_says_why_without_what_it_was() -> None:
    unencodable = outcome.of_value({"secret-key": b"secret"})
    assert unencodable.refusal == "its output cannot be sent as JSON; the job's error says which part of it"
    assert (
        outcome.of_value("x" * 30 * 2**20).refusal
        == "its output is too large: 30.0 MiB is more than the limit of 20 MiB"
    )
    refused = outcome.chunk(b"secret", 3)
    assert isinstance(refused, Outcome)
    assert refused.refusal.startswith("stream[3] cannot be sent as JSON")
    assert not outcome.of_value({"error": "mine"}).refusal


@pytest.mark.requirement("handler.error")
def test_a_truthy_error_fails_and_the_rest_is_the_output() -> None:
    assert outcome.of_value({"error": "no", "step": 2}) == Outcome(b'{"step":2}', "no")
    assert outcome.of_value({"error": "no"}) == Outcome(None, "no")


@pytest.mark.requirement("handler.error")
@pytest.mark.parametrize("nothing", ["", None, 0, {}, []])
def test_a_falsy_error_is_dropped(nothing: object) -> None:
    assert outcome.of_value({"error": nothing, "a": 1}) == Outcome(b'{"a":1}')


@pytest.mark.requirement("worker.refresh")
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"refresh_worker": True, "a": 1}, Outcome(b'{"a":1}', stop_worker=True)),
        ({"refresh_worker": True}, Outcome(stop_worker=True)),
        ({"refresh_worker": True, "error": "no"}, Outcome(None, "no", stop_worker=True)),
        ({"refresh_worker": False, "a": 1}, Outcome(b'{"a":1}')),
    ],
)
def test_a_refresh_is_no_part_of_the_output(value: object, expected: Outcome) -> None:
    assert outcome.of_value(value) == expected


def test_an_error_that_is_no_string_is_json_text() -> None:
    assert outcome.of_value({"error": {"code": 3}}).error == '{"code":3}'
    assert "object at" in str(outcome.of_value({"error": object()}).error)


def test_the_returned_dict_is_left_as_it_is() -> None:
    constant = {"error": "no", "a": 1}
    assert outcome.of_value(constant) == outcome.of_value(constant)


def test_nan_and_infinity_are_null() -> None:
    assert output_of({"a": [math.nan, math.inf, -math.inf, 1.5], "b": (math.nan,)}) == {
        "a": [None] * 3 + [1.5],
        "b": [None],
    }


def test_lone_surrogates_are_replaced_and_pairs_are_joined() -> None:
    assert output_of({"\ud800": "a\udfffb \ud83d\ude00"}) == {"�": "a�b 😀"}


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: float
    when: datetime.date


class Box(msgspec.Struct):
    side: int


class Pydantic:
    def model_dump(self, mode: str) -> dict[str, str]:
        return {"mode": mode}


class Numpy:
    def tolist(self) -> list[float]:
        return [1.0, math.nan]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Colour.RED, "red"),
        (Point(1.5, datetime.date(2024, 5, 6)), {"x": 1.5, "when": "2024-05-06"}),
        (datetime.datetime(2024, 5, 6, 7, tzinfo=datetime.timezone.utc), "2024-05-06T07:00:00+00:00"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (decimal.Decimal("1.10"), "1.10"),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        ({3}, [3]),
        (range(3), [0, 1, 2]),
        (Box(2), {"side": 2}),
        (Pydantic(), {"mode": "json"}),
        (Numpy(), [1.0, None]),
        ({2: "a", True: "b", None: "c"}, {"2": "a", "true": "b", "null": "c"}),
        ({uuid.UUID(int=1): [Colour.RED]}, {"00000000-0000-0000-0000-000000000001": ["red"]}),
        (2**80, 2**80),
    ],
)
def test_well_known_types_are_sent(value: object, expected: object) -> None:
    assert output_of({"deep": [value]}) == {"deep": [expected]}


SELF: list[object] = []
SELF.append(SELF)


class Broken:
    def tolist(self) -> object:
        raise RuntimeError("device lost")


@pytest.mark.requirement("handler.unsendable")
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            {"images": [1, 2, b"x"]},
            "output.images[2]: bytes cannot be sent as JSON; encode it, for example with base64",
        ),
        ({"a b": bytearray()}, "output['a b']: bytearray cannot be sent as JSON; encode it, for example with base64"),
        (b"x", "output: bytes cannot be sent as JSON; encode it, for example with base64"),
        ([functools.partial(print)], "output[0]: functools.partial cannot be sent as JSON"),
        ({"a": Point}, "output.a: type cannot be sent as JSON"),
        ({"a": {(1, 2): 3}}, "output.a: a key is of type tuple; JSON keys are strings"),
        (SELF, "output[0]: the value contains itself and cannot be sent as JSON"),
        ({"t": Broken()}, "output.t: device lost"),
    ],
)
def test_what_json_cannot_hold_fails_with_its_path(value: object, text: str) -> None:
    result = outcome.of_value(value)
    assert result.output is None
    assert str(result.error).startswith(text)


def test_deep_nesting_fails_with_a_sentence() -> None:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    assert "nested too deeply" in str(outcome.of_value(value).error)


def test_an_output_above_every_limit_fails_with_its_size() -> None:
    result = outcome.of_value("x" * limits.RUNSYNC_BODY_BYTES)
    assert result.error == "output: 20.0 MiB is more than the limit of 20 MiB; upload it and return its URL"


@pytest.mark.requirement("handler.exception")
def test_an_exception_is_a_json_text_with_the_keys_in_order() -> None:
    try:
        raise ValueError("naïve 😀")
    except ValueError as error:
        result = outcome.of_exception(error, IDENTITY)
    assert result.error is not None
    assert result.error.isascii()
    report = json.loads(result.error)
    assert list(report) == [
        "error_type",
        "error_message",
        "error_traceback",
        "hostname",
        "worker_id",
        "runpod_version",
        "submodel_version",
    ]
    assert report["error_type"] == "<class 'ValueError'>"
    assert report["error_message"] == "naïve 😀"
    assert "test_outcome.py" in report["error_traceback"]


@pytest.mark.requirement("handler.generator.error")
def test_an_exception_of_a_generator_is_a_plain_text() -> None:
    try:
        raise ValueError("na\u00efve \ud800")
    except ValueError as error:
        result = outcome.of_broken_stream(error)
    head, trace = str(result.error).split(" \ntraceback: ")
    assert head == "handler: na\u00efve \ufffd"
    assert trace.startswith("Traceback (most recent call last):\n")
    assert trace.endswith("ValueError: na\u00efve \ufffd\n")
    assert "test_outcome.py" in trace


def test_an_exception_whose_text_raises_still_fails_the_job() -> None:
    class Nasty(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    result = outcome.of_exception(Nasty(), IDENTITY)
    assert "Nasty" in json.loads(str(result.error))["error_type"]


@pytest.mark.requirement("handler.generator.error")
def test_a_yielded_error_ends_the_stream() -> None:
    assert outcome.chunk({"error": "no", "a": 1}, 0) == Outcome(error="no")
    assert outcome.chunk({"error": None, "a": 1}, 0) == b'{"error":null,"a":1}'


def test_a_yielded_value_that_json_cannot_hold_ends_the_stream() -> None:
    ended = outcome.chunk({"a": b"x"}, 3)
    assert isinstance(ended, Outcome)
    assert str(ended.error).startswith("stream[3].a: bytes cannot be sent")


def test_a_chunk_above_the_limit_ends_the_stream() -> None:
    ended = outcome.chunk("x" * limits.CHUNK_BYTES, 0)
    assert isinstance(ended, Outcome)
    assert ended.error == "stream[0]: 1.0 MiB is more than the limit of 1 MiB; yield smaller pieces"


@pytest.mark.requirement("handler.generator")
def test_collected_chunks_are_a_list() -> None:
    assert outcome.of_stream([]) == Outcome(b"[]", streamed=True)
    assert outcome.of_stream([b"1", b'"a"']) == Outcome(b'[1,"a"]', streamed=True)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just(object()),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers() | st.tuples(), inner),
)


@given(VALUES)
def test_every_value_gives_json_or_a_sentence(value: object) -> None:
    result = outcome.of_value({"value": value})
    if result.error is None:
        assert result.output is not None
        msgspec.json.decode(result.output)
    else:
        assert result.error.startswith("output.value")


@given(st.floats() | st.lists(st.floats()))
def test_encoded_text_is_strict_json(value: object) -> None:
    msgspec.json.decode(encoding.encode(value, "output"))
