"""Checks a job's input against a schema. The error texts are those of the hosted platforms: clients compare them."""

import json
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any

__all__ = ["validate"]

_NAMED_TYPES: dict[str, type] = {kind.__name__: kind for kind in (bool, bytes, dict, float, int, list, str, tuple)}

Rules = Mapping[str, Any]


def validate(raw_input: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Check `raw_input` and fill in defaults; neither argument is changed.

    Args:
        schema: for each input its rules: `type`, `required` (bool), `default` (needed when not required) and
            `constraints`, a function that says whether a value other than the default is allowed. Rules may be JSON
            text, with the type's name. A value of the type of its default is taken, whatever `type` says.

    Returns:
        `{"validated_input": {…}}`, or `{"errors": [text, …]}`.

    Raises:
        TypeError: the input is no dictionary.
    """
    if not isinstance(raw_input, dict):
        raise TypeError(f"the input must be a dictionary, not {type(raw_input).__name__}")
    errors = [f"Unexpected input. {key} is not a valid input option." for key in raw_input if key not in schema]
    known = {key: _rules(rules) for key, rules in schema.items()}
    errors += [f"Schema error, {key} is not a dictionary." for key, rules in known.items() if rules is None]
    checked = dict(raw_input)
    usable = {key: rules for key, rules in known.items() if rules is not None}
    for key, rules in usable.items():
        errors += _complete(key, rules, checked)
    for key, rules in usable.items():
        if key in checked:
            errors += _check(key, rules, checked)
    return {"errors": errors} if errors else {"validated_input": checked}


def _rules(rules: Any) -> Rules | None:
    if isinstance(rules, str | bytes):
        try:
            rules = json.loads(rules)
        except ValueError:
            return None
    return rules if isinstance(rules, Mapping) else None


def _kind(rules: Rules) -> Any:
    """What `isinstance` is asked for; None when the rules name no type."""
    kind = rules.get("type")
    if isinstance(kind, str):
        return _NAMED_TYPES.get(kind)
    return kind if isinstance(kind, type | tuple | UnionType) else None


def _complete(key: str, rules: Rules, checked: dict[str, Any]) -> list[str]:
    """Fill in a default; the errors of what is missing."""
    errors = [] if _kind(rules) is not None else [f"Schema error, missing type for {key}."]
    if "required" not in rules or (rules["required"] and key not in checked):
        errors.append(f"{key} is a required input.")
    elif key not in checked and "default" in rules:
        checked[key] = rules["default"]
    elif key not in checked:
        errors.append(f"Schema error, missing default value for {key}.")
    return errors


def _check(key: str, rules: Rules, checked: dict[str, Any]) -> list[str]:
    """The errors of a value that is there; a whole number for a float becomes one."""
    errors = []
    kind = _kind(rules)
    if kind is float and type(checked[key]) is int:
        checked[key] = float(checked[key])
    value = checked[key]
    kinds = (kind, type(rules["default"])) if "default" in rules else (kind,)
    if kind is not None and not isinstance(value, kinds):
        errors.append(f"{key} should be {kind} type, not {type(value)}.")
    # A default is the author's own: None and an empty text are common, and no constraint is written for them.
    is_default = "default" in rules and value == rules["default"]
    if "constraints" in rules and not is_default and not _allowed(rules["constraints"], value):
        errors.append(f"{key} does not meet the constraints.")
    return errors


def _allowed(constraints: Callable[[Any], object], value: Any) -> bool:
    try:
        return bool(constraints(value))
    except Exception:  # a comparison with a value of another type: what it was written for is not what came
        return False
