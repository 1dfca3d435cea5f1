"""Turns what pydantic found in a manifest into sentences for its author. Called by `manifest`.

Each sentence begins with the path of the field and says what to do. Text values are not repeated, because an
environment variable may hold a secret.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from submodel_operator.api.schema import Schema, structural
from submodel_operator.api.v1alpha1 import BrokenRules, EndpointSpec

_BOOLEAN_TRAP: Final = "YAML reads y, n, yes, no, on, off, true and false as booleans"

Path = tuple[int | str, ...]


def sentences(error: ValidationError) -> list[str]:
    """One sentence per problem, in the order of the fields."""
    return [sentence for detail in error.errors(include_url=False) for sentence in _sentences(detail)]


def dotted(path: Sequence[int | str]) -> str:
    """`path` as people write it: `spec.worker.env[0].name`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _sentences(detail: ErrorDetails) -> list[str]:
    path = detail["loc"]
    if detail["type"] == "value_error":
        reason = detail["ctx"]["error"]
        if isinstance(reason, BrokenRules):
            return [f"spec{rule.field_path}: {rule.message}" for rule in reason.rules]
        return [f"{dotted(path)}: {reason}"]
    if detail["type"] == "extra_forbidden":
        return [f"{dotted(path)}: unknown field; {_remedy(path)}"]
    if detail["type"] == "model_type":
        return [f"{dotted(path)}: {_mapping(detail['input'], {})}; below it go {', '.join(_names(path))}{_hint(path)}"]
    phrase = _PHRASES.get(detail["type"], _unforeseen)
    return [f"{dotted(path)}: {phrase(detail['input'], detail.get('ctx', {}))}"]


def _unforeseen(_: Any, __: Mapping[str, Any]) -> str:
    return "does not fit; compare it with what kubectl explain says of this field"


def _text(value: Any, _: Mapping[str, Any]) -> str:
    if isinstance(value, bool):
        return f"must be text, not a boolean ({_BOOLEAN_TRAP}); put the value in quotes"
    if isinstance(value, int | float):
        return "must be text, not a number; put the value in quotes"
    return f"must be text, not {_kind(value)}"


def _number(wanted: str) -> Callable[[Any, Mapping[str, Any]], str]:
    def phrase(value: Any, _: Mapping[str, Any]) -> str:
        quoted = isinstance(value, str) and value.strip().lstrip("+-").replace(".", "", 1).isdecimal()
        return f"must be {wanted}, not {_kind(value)}{'; remove the quotes' if quoted else ''}"

    return phrase


def _boolean(value: Any, _: Mapping[str, Any]) -> str:
    return f"must be true or false, not {_kind(value)}"


def _list(value: Any, _: Mapping[str, Any]) -> str:
    return f'must be a list, not {_kind(value)}; begin every item with "- "'


def _mapping(value: Any, _: Mapping[str, Any]) -> str:
    return f"must be a mapping of names to values, not {_kind(value)}"


def _choice(value: Any, bounds: Mapping[str, Any]) -> str:
    shown = repr(value) if isinstance(value, str) else _kind(value)
    return f"must be {bounds['expected'].replace(chr(39), '')}, not {shown}"


_PHRASES: Final[Mapping[str, Callable[[Any, Mapping[str, Any]], str]]] = {
    "missing": lambda _, __: "is missing; add it",
    "string_type": _text,
    "int_type": _number("a whole number"),
    "float_type": _number("a number"),
    "bool_type": _boolean,
    "list_type": _list,
    "dict_type": _mapping,
    "enum": _choice,
    "greater_than_equal": lambda value, ctx: f"must be at least {_plain(ctx['ge'])}, not {_plain(value)}",
    "less_than_equal": lambda value, ctx: f"must be at most {_plain(ctx['le'])}, not {_plain(value)}",
    "string_too_short": lambda _, __: "must not be empty",
    "string_too_long": lambda value, ctx: f"must have at most {ctx['max_length']} characters, not {len(value)}",
    "too_long": lambda value, ctx: f"must have at most {ctx['max_length']} entries, not {len(value)}",
    "string_pattern_mismatch": lambda _, ctx: f"must match {ctx['pattern']}; replace the other characters",
}


def _hint(path: Path) -> str:
    """Where other platforms name a file or a function, ours has the source itself."""
    return ' (the source of the handler itself, after "inline: |")' if path[-1] == "handler" else ""


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return f"the boolean {str(value).lower()}"
        case int() | float():
            return f"the number {_plain(value)}"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "a mapping"


def _plain(number: float) -> str:
    return str(number).removesuffix(".0")


def _remedy(path: Sequence[int | str]) -> str:
    name = _folded(str(path[-1]))
    siblings = {_folded(known): known for known in _names(path[:-1])}
    above = tuple(part for part in path if not isinstance(part, int))
    places = {_folded(place[-1]): dotted(place) for place in _places() if place != above[: len(place)]}
    # The very word elsewhere says more than a similar one here: hosted configurations are flat.
    for candidates, cutoff in ((siblings, 1.0), (places, 1.0), (siblings, 0.6), (places, 0.8)):
        if near := difflib.get_close_matches(name, candidates, n=1, cutoff=cutoff):
            return f"did you mean {candidates[near[0]]}?"
    return f"remove it, or use one of {', '.join(siblings.values())}"


def _folded(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


@cache
def _tree() -> Schema:
    text = {"type": "string"}
    metadata = {"properties": {"name": text, "namespace": text}}
    spec = structural(EndpointSpec, defaults=False)
    return {"properties": {"apiVersion": text, "kind": text, "metadata": metadata, "spec": spec}}


def _names(path: Sequence[int | str]) -> list[str]:
    """Names of the fields below `path`."""
    node = _tree()
    for part in path:
        node = node["items"] if isinstance(part, int) else node["properties"][part]
    return list(node["properties"])


@cache
def _places() -> tuple[tuple[str, ...], ...]:
    """Paths of all fields outside lists, outer ones last, so that they win over inner namesakes."""
    return tuple(sorted(_below(_tree(), ()), key=len, reverse=True))


def _below(node: Schema, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, field in node.get("properties", {}).items():
        yield (*path, name)
        yield from _below(field, (*path, name))
