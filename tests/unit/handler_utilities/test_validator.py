"""`validate`, row by row: the errors are compared by clients, letter by letter."""

import copy
from typing import Any

import pytest

from submodel.serverless.utils.rp_validator import validate

POSITIVE = {"type": int, "required": True, "constraints": lambda number: number > 0}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any] | list[str]]] = {
    "what is expected": ({"x": 1}, {"x": {"type": int, "required": True}}, {"x": 1}),
    "nothing is expected": ({}, {}, {}),
    "a required input is missing": ({}, {"x": {"type": int, "required": True}}, ["x is a required input."]),
    "a required input is missing and has constraints": ({}, {"x": POSITIVE}, ["x is a required input."]),
    "an optional input is missing": ({}, {"x": {"type": int, "required": False, "default": 5}}, {"x": 5}),
    "an optional input is there": ({"x": 3}, {"x": {"type": int, "required": False, "default": 5}}, {"x": 3}),
    "an optional input without a default is there": ({"x": 3}, {"x": {"type": int, "required": False}}, {"x": 3}),
    "an optional input without a default is missing": (
        {},
        {"x": {"type": int, "required": False}},
        ["Schema error, missing default value for x."],
    ),
    "a default of None": ({}, {"x": {"type": str, "required": False, "default": None}}, {"x": None}),
    "None where the default is None": (
        {"x": None},
        {"x": {"type": str, "required": False, "default": None}},
        {"x": None},
    ),
    "None where it is not": (
        {"x": None},
        {"x": {"type": str, "required": True}},
        ["x should be <class 'str'> type, not <class 'NoneType'>."],
    ),
    "an input that nobody expects": (
        {"y": 1},
        {"x": {"type": int, "required": False, "default": 1}},
        ["Unexpected input. y is not a valid input option."],
    ),
    "rules without `required`, although the input is there": (
        {"x": 1},
        {"x": {"type": int}},
        ["x is a required input."],
    ),
    "rules without a type": ({"x": 1}, {"x": {"required": True}}, ["Schema error, missing type for x."]),
    "a wrong type": (
        {"x": "1"},
        {"x": {"type": int, "required": True}},
        ["x should be <class 'int'> type, not <class 'str'>."],
    ),
    "a whole number for a float": ({"x": 1}, {"x": {"type": float, "required": True}}, {"x": 1.0}),
    "a bool for a whole number": ({"x": True}, {"x": {"type": int, "required": True}}, {"x": True}),
    "a bool for a float": (
        {"x": True},
        {"x": {"type": float, "required": True}},
        ["x should be <class 'float'> type, not <class 'bool'>."],
    ),
    "a float for a whole number": (
        {"x": 1.5},
        {"x": {"type": int, "required": True}},
        ["x should be <class 'int'> type, not <class 'float'>."],
    ),
    "one of several types": ({"x": "a"}, {"x": {"type": (int, str), "required": True}}, {"x": "a"}),
    "one of several types, written with a bar": ({"x": "a"}, {"x": {"type": int | str, "required": True}}, {"x": "a"}),
    "a value of the type of its default, which is another than the rules'": (
        {"x": "auto"},
        {"x": {"type": int, "required": False, "default": "none"}},
        {"x": "auto"},
    ),
    "constraints are met": ({"x": 1}, {"x": POSITIVE}, {"x": 1}),
    "constraints are not met": ({"x": 0}, {"x": POSITIVE}, ["x does not meet the constraints."]),
    "constraints of a value of its default's type": (
        {"x": -1},
        {"x": {"type": int, "required": False, "default": 1, "constraints": lambda number: number > 0}},
        ["x does not meet the constraints."],
    ),
    "a default that does not meet the constraints": (
        {},
        {"x": {"type": int, "required": False, "default": None, "constraints": lambda number: number > 0}},
        {"x": None},
    ),
    "a default that does not meet the constraints, given all the same": (
        {"x": ""},
        {"x": {"type": str, "required": False, "default": "", "constraints": lambda text: text in ("a", "b")}},
        {"x": ""},
    ),
    "constraints that raise on a wrong type": (
        {"x": "1"},
        {"x": POSITIVE},
        ["x should be <class 'int'> type, not <class 'str'>.", "x does not meet the constraints."],
    ),
    "rules as JSON text": ({"x": "a"}, {"x": '{"type": "str", "required": true}'}, {"x": "a"}),
    "a wrong type for rules as JSON text": (
        {"x": 1},
        {"x": '{"type": "str", "required": true}'},
        ["x should be <class 'str'> type, not <class 'int'>."],
    ),
    "a type that nobody knows": (
        {"x": 1},
        {"x": {"type": "uint8", "required": True}},
        ["Schema error, missing type for x."],
    ),
    "rules that are text but no JSON": ({"x": 1}, {"x": "int"}, ["Schema error, x is not a dictionary."]),
    "rules that are JSON but no object": ({"x": 1}, {"x": "5"}, ["Schema error, x is not a dictionary."]),
    "rules that are neither": ({"x": 1}, {"x": int}, ["Schema error, x is not a dictionary."]),
    "several errors, in this order": (
        {"a": "text", "y": 1},
        {"a": {"type": int, "required": True}, "b": {"type": int, "required": True}},
        [
            "Unexpected input. y is not a valid input option.",
            "b is a required input.",
            "a should be <class 'int'> type, not <class 'str'>.",
        ],
    ),
}


@pytest.mark.requirement("handler.validator")
@pytest.mark.parametrize("case", CASES)
def test_an_input_is_checked_against_its_schema(case: str) -> None:
    given, schema, expected = CASES[case]
    before = copy.copy(given), copy.copy(schema)
    result = validate(given, schema)
    assert result == ({"errors": expected} if isinstance(expected, list) else {"validated_input": expected})
    assert (given, schema) == before, "neither argument is changed"
    if isinstance(expected, dict):
        assert {name: type(value) for name, value in result["validated_input"].items()} == {
            name: type(value) for name, value in expected.items()
        }


@pytest.mark.parametrize("given", [None, [], "text"])
def test_an_input_that_is_no_dictionary_is_a_type_error(given: Any) -> None:
    with pytest.raises(TypeError, match="the input must be a dictionary, not"):
        validate(given, {})
