"""Requests of the clients as values."""

import json
from typing import Any

import pytest

from submodel.client import calls


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"prompt": "hi"}, {"input": {"prompt": "hi"}}),
        ({"input": {"prompt": "hi"}}, {"input": {"prompt": "hi"}}),
        ({"input": {}}, {"input": {}}),
        ({"input": None}, {"input": None}),
        ({"input": 1, "policy": {"ttl": 10000}}, {"input": 1, "policy": {"ttl": 10000}}),
        ({}, {"input": {}}),
        ("a text", {"input": "a text"}),
        ([1, 2], {"input": [1, 2]}),
        (None, {"input": None}),
        ({"text": "ä😀"}, {"input": {"text": "ä😀"}}),
    ],
)
def test_a_dict_with_an_input_is_a_whole_request_and_anything_else_is_the_input(given: Any, sent: Any) -> None:
    assert json.loads(calls.encoded(given)) == sent


@pytest.mark.parametrize("value", [object(), float("nan"), {"a": b"bytes"}, {("a", "b"): 1}])
def test_an_input_that_json_cannot_hold_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match=r"the input cannot be sent as JSON: .*; pass plain JSON values"):
        calls.encoded({"input": value})


def test_ids_cannot_lead_to_another_path() -> None:
    assert calls.status("ns.e", "../health?x").path == "/ns.e/status/..%2Fhealth%3Fx"


def test_only_a_purge_is_not_repeatable() -> None:
    every = [
        calls.run("e", {}, "k"),
        calls.runsync("e", {}, "k", 5),
        calls.status("e", "j"),
        calls.status_sync("e", "j", 5),
        calls.stream("e", "j", 0),
        calls.cancel("e", "j"),
        calls.health("e"),
    ]
    assert all(call.repeatable for call in every)
    assert not calls.purge_queue("e").repeatable


def test_submits_carry_their_key() -> None:
    assert calls.run("e", {}, "k").headers()["Idempotency-Key"] == "k"
    assert calls.runsync("e", {}, "k", 5).headers()["Idempotency-Key"] == "k"
    assert "Idempotency-Key" not in calls.cancel("e", "j").headers()


@pytest.mark.parametrize(("left", "wait"), [(5.5, 5500), (0, 0), (-3, 0), (86_400, 20_000)])
def test_a_wait_is_asked_for_in_milliseconds_and_is_bounded(left: float, wait: int) -> None:
    assert calls.status_sync("e", "j", left).path.endswith(f"?wait={wait}")
    assert calls.runsync("e", {}, "k", left).hold_seconds == wait / 1000


def test_a_stream_is_asked_for_from_an_offset() -> None:
    assert calls.stream("e", "j", 7).path == "/e/stream/j?wait=20000&offset=7"
