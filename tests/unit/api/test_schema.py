"""Structural schemas: what is translated, what is refused, and that the CRD's own schema is structural."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from submodel_operator.api import base
from submodel_operator.api.schema import structural, with_defaults
from tests.support.endpoint_schema import openapi_schema


class Part(BaseModel):
    """What the models below have in common with those of the API."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Inner(Part):
    """An inner object."""

    count: int = 3
    """How many."""


class Outer(Part):
    """An outer object."""

    title: Annotated[str, Field(max_length=5)] | None = None
    """A field that is called like a keyword."""

    mode: Literal["A"] = "A"
    """One word."""

    above: Annotated[int, Field(gt=0, lt=9)] = 1
    """Between two bounds."""

    size: int | Annotated[str, Field(pattern="^[0-9]+$", max_length=9)] = 1
    """A quantity."""

    inner: Inner = Inner()
    """An object
    over two lines."""

    parts: Annotated[list[Inner], Field(max_length=2)] = []
    """A list."""

    places: Annotated[dict[str, Inner], Field(max_length=2)] = {}
    """A map."""


FIELDS = structural(Outer, defaults=True)["properties"]


def test_references_are_written_out_with_the_description_of_the_field() -> None:
    assert FIELDS["inner"] == {
        "description": "An object over two lines.",
        "type": "object",
        "properties": {"count": {"description": "How many.", "type": "integer", "default": 3}},
        "default": {},
    }


def test_a_field_that_is_called_title_stays_while_the_keyword_goes() -> None:
    assert FIELDS["title"] == {
        "description": "A field that is called like a keyword.",
        "type": "string",
        "maxLength": 5,
    }


def test_a_constant_is_an_enumeration_of_one() -> None:
    assert FIELDS["mode"]["enum"] == ["A"]
    assert "const" not in FIELDS["mode"]


def test_an_exclusive_bound_is_a_bound_and_a_flag() -> None:
    bounds = {key: value for key, value in FIELDS["above"].items() if "imum" in key}
    assert bounds == {"minimum": 0, "exclusiveMinimum": True, "maximum": 9, "exclusiveMaximum": True}


def test_whole_number_or_text_is_int_or_string_with_the_pattern_of_the_text() -> None:
    assert FIELDS["size"] == {
        "description": "A quantity.",
        "x-kubernetes-int-or-string": True,
        "maxLength": 9,
        "pattern": "^[0-9]+$",
        "default": 1,
    }


def test_the_status_has_no_defaults() -> None:
    assert not [node for node in _nodes(structural(Outer, defaults=False)) if "default" in node]


def test_defaults_are_filled_in_from_outside_inwards_and_null_counts_as_not_given() -> None:
    schema = structural(Outer, defaults=True)
    stored = with_defaults(schema, {"inner": None, "parts": [{}, {"count": 4}], "places": {"a": {}}})
    assert stored["inner"] == {"count": 3}
    assert stored["parts"] == [{"count": 3}, {"count": 4}]
    assert stored["places"] == {"a": {"count": 3}}


class Itself(Part):
    """Recursive."""

    again: "Itself | None" = None
    """Once more."""


class NoDescription(Part):
    """A field without a description."""

    name: bool = True


class OpenText(Part):
    """Text of any length."""

    name: str = ""
    """A name."""


class OpenList(Part):
    """A list of any length."""

    names: list[bool] = []
    """Names."""


class OpenMap(Part):
    """A map of any size."""

    names: dict[str, bool] = {}
    """Names."""


class FreeForm(Part):
    """Anything."""

    anything: Annotated[dict[str, Any], Field(max_length=3)] = {}
    """Values of any type."""


class Kubernetes(Part):
    """Fields that are not ours."""

    fields: base.FreeForm = {}
    """Anything, and said to be so."""


def test_fields_of_kubernetes_itself_are_kept_as_they_are() -> None:
    assert structural(Kubernetes, defaults=True)["properties"]["fields"] == {
        "description": "Anything, and said to be so.",
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "default": {},
    }


class OtherUnion(Part):
    """A union of two types that is no int-or-string."""

    either: bool | int = True
    """One or the other."""


class Null(Part):
    """A field of no type that a CRD has."""

    nothing: None = None
    """Nothing."""


class TextWithFormat(Part):
    """An int-or-string whose text has more than a pattern."""

    either: int | Annotated[str, Field(max_length=9, json_schema_extra={"format": "date"})] = 1
    """One or the other."""


class StrayKeyword(Part):
    """A keyword that a CRD knows nothing of."""

    even: Annotated[int, Field(multiple_of=2)] = 2
    """An even number."""


class KeyThatMayBeMissing(Part):
    """A list map over an optional field."""

    parts: Annotated[list[Inner], Field(max_length=3, json_schema_extra={"x-kubernetes-list-map-keys": ["count"]})] = []
    """Parts."""


class OtherDefault(Part):
    """An object whose default differs from those of its fields."""

    inner: Inner = Inner(count=4)
    """An object."""


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        (Itself, "Itself.again: Itself holds itself"),
        (NoDescription, "NoDescription.name: a field needs a description"),
        (OpenText, "OpenText.name: a string needs max_length"),
        (OpenList, "OpenList.names: a list needs max_length"),
        (OpenMap, "OpenMap.names: a map needs max_length"),
        (FreeForm, "FreeForm.anything: an object has either fields or values of one type"),
        (OtherUnion, "OtherUnion.either: the only union is int | str"),
        (Null, "Null.nothing: null is no type of a structural schema"),
        (TextWithFormat, "TextWithFormat.either: no translation for format in the text of int | str"),
        (StrayKeyword, "StrayKeyword.even: no translation for multipleOf"),
        (KeyThatMayBeMissing, "KeyThatMayBeMissing.parts: the keys of a list map are required"),
        (OtherDefault, "OtherDefault.inner: the default of an object is what its fields default to"),
    ],
)
def test_what_has_no_structural_form_is_refused_with_its_path(model: type[Part], complaint: str) -> None:
    with pytest.raises(ValueError) as refusal:
        structural(model, defaults=True)
    assert str(refusal.value).startswith(complaint)


ALLOWED = {
    "type", "description", "default", "properties", "required", "items", "additionalProperties", "enum", "format",
    "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems",
    "maxItems", "maxProperties", "x-kubernetes-int-or-string", "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
    "x-kubernetes-validations", "x-kubernetes-preserve-unknown-fields",
}  # fmt: skip


def test_every_node_of_the_crd_has_a_type_and_only_words_of_a_structural_schema() -> None:
    nodes = list(_nodes(openapi_schema()))
    assert len(nodes) > 50
    for node in nodes:
        assert ("type" in node) != ("x-kubernetes-int-or-string" in node), node
        assert not node.keys() - ALLOWED, node


def test_every_field_of_the_crd_is_described() -> None:
    schema = openapi_schema()
    described = [*_nodes(schema["properties"]["spec"]), *_nodes(schema["properties"]["status"])]
    assert not [
        name
        for node in described
        for name, field in node.get("properties", {}).items()
        if not field["description"].endswith(".")
    ]


def test_rules_stand_where_no_default_covers_them() -> None:
    """An object with both would make the API server refuse the CRD: defaults are checked without nested defaults."""
    assert not [node for node in _nodes(openapi_schema()) if "default" in node and "x-kubernetes-validations" in node]


def _nodes(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield schema
    for field in schema.get("properties", {}).values():
        yield from _nodes(field)
    for below in ("items", "additionalProperties"):
        if below in schema:
            yield from _nodes(schema[below])
