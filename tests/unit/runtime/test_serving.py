"""What `start(config)` was asked for."""

import functools
from typing import Any

import pytest

from submodel.errors import ConfigurationError
from submodel.serverless.modifier import Modifier
from submodel.serverless.serving import Serving, read


def test_the_keys_that_have_a_meaning_are_read_and_others_are_ignored() -> None:
    config = {
        "handler": print,
        "return_aggregate_stream": True,
        "refresh_worker": 1,
        "concurrency_modifier": abs,
        "rp_args": {},
    }
    assert read(config) == Serving(print, True, True, abs)
    assert read({"handler": print}) == Serving(print)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({}, 'config["handler"] is missing; pass'),
        ({"handler": None}, 'config["handler"] is missing; pass'),
        ({"handlr": print, "x": 1}, 'config["handler"] is missing beside "handlr", "x"; pass'),
        (print, 'start() is given builtin_function_or_method; it takes a dict: start({"handler": fn})'),
        ({"handler": "f"}, 'config["handler"] is str, not a callable'),
        ({"handler": print, "concurrency_modifier": 3}, 'config["concurrency_modifier"] is int'),
    ],
)
def test_what_cannot_be_called_is_named(config: object, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(config)
    assert text in str(caught.value)


class Box:
    def __init__(self, size: int, colour: str) -> None: ...

    def handle(self, job: dict[str, Any]) -> None: ...


def no_argument() -> None: ...


def two_arguments(job: dict[str, Any], context: object) -> None: ...


@pytest.mark.parametrize(
    "handler", [no_argument, two_arguments, functools.partial(two_arguments, {}, 1), lambda: 1, Box]
)
def test_a_handler_that_cannot_be_called_with_a_job_is_named_with_its_place(handler: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"start\(\): config\[\"handler\"\] is .*; it is called with one arg"):
        read({"handler": handler})
    with pytest.raises(
        ConfigurationError, match=rf"two_arguments\(job, context\) of {__file__}:\d+; it is called with"
    ):
        read({"handler": two_arguments})


def test_what_takes_a_job_or_does_not_say_is_a_handler() -> None:
    @functools.wraps(two_arguments)
    def given_more(*arguments: Any) -> None:
        two_arguments({}, *arguments)

    takes_all = [given_more, lambda job, context=1: 1, lambda *a, **k: 1, functools.partial(two_arguments, context=1)]
    for handler in (*takes_all, print, dict, Box(3, "red").handle):
        read({"handler": handler})
    read({"handler": no_argument, "jobs_handler": print})


@pytest.mark.parametrize(
    ("answer", "changes"), [(4, [4]), (1, []), (0, []), (-3, []), (2.7, [2]), ("3", [3]), (None, []), ("many", [])]
)
@pytest.mark.requirement("handler.concurrency")
def test_a_modifier_changes_the_concurrency_or_nothing(answer: Any, changes: list[int]) -> None:
    seen: list[int] = []
    Modifier(lambda current: answer, 1, seen.append).ask()
    assert seen == changes


def test_a_modifier_hears_its_own_last_answer() -> None:
    heard: list[int] = []

    def double(current: int) -> int:
        heard.append(current)
        return current * 2

    modifier = Modifier(double, 1, lambda number: None)
    modifier.ask()
    modifier.ask()
    assert heard == [1, 2]
