"""Structural OpenAPI v3 schemas, as a CRD wants them, from the JSON schemas that pydantic writes.

Pydantic's schema is not structural: it holds references, `anyOf` with null, `const`, numeric `exclusiveMinimum`. This
module translates what it knows and raises on everything else, because a CRD that guesses is worse than none.
Called by `crd` to write the CRD and by `problems` to know the names of the fields.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

Schema = dict[str, Any]

_NULL: Final = {"type": "null"}
_ANNOTATIONS: Final = frozenset({"title", "description", "default"})
_FREE: Final = "x-kubernetes-preserve-unknown-fields"
_KEYWORDS: Final[Mapping[str, frozenset[str]]] = {
    "object": frozenset({"properties", "required", "additionalProperties", "maxProperties", _FREE}),
    "array": frozenset({"items", "minItems", "maxItems", "x-kubernetes-list-map-keys"}),
    "string": frozenset({"enum", "format", "minLength", "maxLength", "pattern"}),
    "integer": frozenset({"format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}),
    "boolean": frozenset(),
}


def structural(model: type[BaseModel], *, defaults: bool) -> Schema:
    """The structural schema of `model`; `defaults` tells whether defaults stay in it.

    Raises:
        ValueError: the model holds something that has no structural form, a field without a description, or a list,
            map or string without a bound. The text begins with the path of the field.
    """
    document = model.model_json_schema(by_alias=True)
    return _Translation(document.pop("$defs", {}), defaults).node(document, model.__name__, ())


def with_defaults(schema: Mapping[str, Any], value: Any) -> Any:
    """`value` as the API server stores it: nulls of known fields dropped, then defaults filled in, outermost first."""
    if isinstance(value, list):
        return [with_defaults(schema.get("items", {}), item) for item in value]
    if not isinstance(value, Mapping):
        return value
    fields: Mapping[str, Schema] = schema.get("properties", {})
    other: Schema = schema.get("additionalProperties", {})
    filled = {name: field["default"] for name, field in fields.items() if "default" in field}
    filled |= {name: item for name, item in value.items() if item is not None or name not in fields}
    return {name: with_defaults(fields.get(name, other), item) for name, item in filled.items()}


class _Translation:
    """One run over a document; `within` are the definitions around a node, to find recursion."""

    def __init__(self, definitions: Mapping[str, Schema], defaults: bool) -> None:
        self._definitions = definitions
        self._defaults = defaults

    def node(self, raw: Schema, path: str, within: tuple[str, ...]) -> Schema:
        raw, within = self._resolved(raw, path, within)
        if "anyOf" in raw:
            return self._annotated(raw, _int_or_string(raw, path), path)
        if "const" in raw:
            raw = {**_without(raw, "const"), "enum": [raw["const"]]}
        kind = str(raw.get("type"))
        if kind not in _KEYWORDS:
            raise ValueError(f"{path}: {kind} is no type of a structural schema")
        if unknown := raw.keys() - _ANNOTATIONS - _KEYWORDS[kind] - {"type"}:
            raise ValueError(f"{path}: no translation for {', '.join(sorted(unknown))} in a schema of type {kind}")
        match kind:
            case "object":
                body = self._object(raw, path, within)
            case "array":
                body = self._list(raw, path, within)
            case "string":
                body = _string(raw, path)
            case _:
                body = _number(raw)
        return self._annotated(raw, {"type": kind, **body}, path)

    def _resolved(self, raw: Schema, path: str, within: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        """`raw` without a reference and without the null of an optional field."""
        while True:
            if "$ref" in raw:
                name = raw["$ref"].removeprefix("#/$defs/")
                if name in within:
                    raise ValueError(f"{path}: {name} holds itself; a structural schema cannot")
                raw, within = {**self._definitions[name], **_without(raw, "$ref")}, (*within, name)
            elif _NULL in raw.get("anyOf", ()):
                branches = [branch for branch in raw["anyOf"] if branch != _NULL]
                rest = _without(raw, "anyOf", *(["default"] if raw.get("default", ...) is None else []))
                raw = {**branches[0], **rest} if len(branches) == 1 else {**rest, "anyOf": branches}
            else:
                return raw, within

    def _annotated(self, raw: Schema, body: Schema, path: str) -> Schema:
        description = {"description": " ".join(raw["description"].split())} if raw.get("description") else {}
        default = {"default": _default(body, raw["default"], path)} if self._defaults and "default" in raw else {}
        return {**description, **body, **default}

    def _object(self, raw: Schema, path: str, within: tuple[str, ...]) -> Schema:
        if raw.get(_FREE):
            return {_FREE: True}
        if "properties" in raw and not raw.get("additionalProperties"):
            fields = {name: self._field(field, f"{path}.{name}", within) for name, field in raw["properties"].items()}
            return {"properties": fields, **({"required": list(raw["required"])} if raw.get("required") else {})}
        if "properties" in raw or not isinstance(raw.get("additionalProperties"), dict):
            raise ValueError(f"{path}: an object has either fields or values of one type")
        if "maxProperties" not in raw:
            raise ValueError(f"{path}: a map needs max_length")
        values = self.node(raw["additionalProperties"], f"{path}.*", within)
        return {"maxProperties": raw["maxProperties"], "additionalProperties": values}

    def _field(self, raw: Schema, path: str, within: tuple[str, ...]) -> Schema:
        field = self.node(raw, path, within)
        if "description" not in field:
            raise ValueError(f"{path}: a field needs a description")
        return field

    def _list(self, raw: Schema, path: str, within: tuple[str, ...]) -> Schema:
        if "maxItems" not in raw:
            raise ValueError(f"{path}: a list needs max_length")
        items = self.node(raw["items"], f"{path}[]", within)
        bounds: Schema = {word: raw[word] for word in ("minItems", "maxItems") if word in raw}
        keys = list(raw.get("x-kubernetes-list-map-keys", ()))
        if not keys:
            return {**bounds, "x-kubernetes-list-type": "atomic", "items": items}
        if missing := set(keys) - set(items.get("required", ())):
            raise ValueError(f"{path}: the keys of a list map are required fields; {', '.join(sorted(missing))} is not")
        return {**bounds, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys, "items": items}


def _string(raw: Schema, path: str) -> Schema:
    if not raw.keys() & {"enum", "maxLength"} and raw.get("format") != "date-time":
        raise ValueError(f"{path}: a string needs max_length")
    return {word: raw[word] for word in ("format", "minLength", "maxLength", "pattern", "enum") if word in raw}


def _number(raw: Schema) -> Schema:
    """Bounds of a number: an exclusive bound is the bound itself and a flag beside it."""
    body: Schema = {word: raw[word] for word in ("format", "minimum", "maximum") if word in raw}
    for exclusive, inclusive in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if exclusive in raw:
            body |= {inclusive: raw[exclusive], exclusive: True}
    return body


def _int_or_string(raw: Schema, path: str) -> Schema:
    """The API server checks both types by the flag; writing them out as `anyOf` makes three messages of one error."""
    branches = raw["anyOf"]
    if len(branches) != 2 or branches[0] != {"type": "integer"} or branches[1].get("type") != "string":
        raise ValueError(f"{path}: the only union is int | str; use an object with one field for each form")
    if unknown := branches[1].keys() - {"type", "pattern", "minLength", "maxLength"}:
        raise ValueError(f"{path}: no translation for {', '.join(sorted(unknown))} in the text of int | str")
    return {"x-kubernetes-int-or-string": True, **_string(branches[1], path)}


def _default(schema: Schema, value: Any, path: str) -> Any:
    """The default to write: `{}` for an object, whose fields bring their own defaults."""
    if "properties" not in schema:
        return value
    if with_defaults(schema, {}) != with_defaults(schema, value):
        raise ValueError(f"{path}: the default of an object is what its fields default to")
    return {}


def _without(raw: Schema, *names: str) -> Schema:
    return {name: value for name, value in raw.items() if name not in names}
