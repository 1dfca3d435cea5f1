"""Judges an endpoint as an API server would by the schema of the CRD alone: nulls, defaults, unknown fields, types."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import jsonschema

from submodel_operator.api import crd
from submodel_operator.api.schema import with_defaults


@cache
def openapi_schema() -> dict[str, Any]:
    """The schema of the whole object, as it stands in the CRD."""
    schema: dict[str, Any] = crd.custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def schema_problems(endpoint: Mapping[str, Any]) -> list[str]:
    """What strict field validation and the structural schema find wrong with the spec of `endpoint`."""
    schema = {**openapi_schema(), "properties": {"spec": openapi_schema()["properties"]["spec"]}}
    stored = with_defaults(schema, {name: value for name, value in endpoint.items() if name == "spec"})
    validator = jsonschema.Draft202012Validator(_as_json_schema(schema))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(stored)]


def _as_json_schema(node: Mapping[str, Any]) -> dict[str, Any]:
    """JSON schema has no int-or-string, and leaves objects open where strict field validation closes them."""
    translated = {key: value for key, value in node.items() if not key.startswith("x-kubernetes-")}
    if node.get("x-kubernetes-int-or-string"):
        translated["type"] = ["integer", "string"]
    if "properties" in node:
        translated["properties"] = {name: _as_json_schema(field) for name, field in node["properties"].items()}
        translated["additionalProperties"] = False
    for below in ("items", "additionalProperties"):
        if isinstance(node.get(below), Mapping):
            translated[below] = _as_json_schema(node[below])
    return translated
