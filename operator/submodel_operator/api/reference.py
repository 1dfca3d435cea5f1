"""The reference page of the custom resource, from the same schema that the API server enforces. Pure.

Called by `python -m submodel_operator.api`, which writes the page, and by the test that compares it.
"""

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, Final

from submodel_operator.api import crd
from submodel_operator.api.v1alpha1 import NAME_RULES, SPEC_RULES, TRANSITION_RULES

PAGE_PATH: Final = PurePosixPath("docs/reference/custom-resource.md")

_PAGE: Final = """\
<!-- generated from operator/submodel_operator/api/v1alpha1.py; do not edit; run make manifests -->

# SubModelEndpoint

{description}

`kubectl explain submodelendpoints.spec --recursive` shows the same on a cluster.

## Spec

{spec}

## Rules over several fields

{rules}

## Status

{status}
"""


def page_text() -> str:
    """The page, in Markdown."""
    (version,) = crd.custom_resource_definition()["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    return _PAGE.format(
        description=schema["description"],
        spec=_table("spec", schema["properties"]["spec"]),
        rules="\n".join(f"- {rule.message}" for rule in (*SPEC_RULES, *TRANSITION_RULES, *NAME_RULES)),
        status=_table("status", schema["properties"]["status"]),
    )


def _table(name: str, schema: dict[str, Any]) -> str:
    rows = ["| Field | Type | Default | Bounds | Meaning |", "|---|---|---|---|---|"]
    rows += [_row(path, field) for path, field in _fields(name, schema)]
    return "\n".join(rows)


def _fields(path: str, schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from _fields(f"{path}.{name}", field)
        yield from _fields(f"{path}.{name}[]", field.get("items", {}))


def _row(path: str, field: dict[str, Any]) -> str:
    default = f"`{json.dumps(field['default'])}`" if "default" in field and not field.get("properties") else ""
    meaning = " ".join(field.get("description", "").split()).replace("|", "\\|")
    return f"| `{path}` | {_type(field)} | {default} | {_bounds(field)} | {meaning} |"


def _type(field: dict[str, Any]) -> str:
    if field.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if "additionalProperties" in field:
        return f"map of {_type(field['additionalProperties'])}"
    if field["type"] == "array":
        return f"list of {_type(field['items'])}"
    return str(field["type"])


def _bounds(field: dict[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None and high is not None:
        return f"{low:,} … {high:,}"
    most = next((field[name] for name in ("maxLength", "maxItems", "maxProperties") if name in field), None)
    return "" if most is None else f"≤ {most:,} {_COUNTED[field.get('type', 'string')]}"


_COUNTED: Final = {"string": "characters", "array": "items", "object": "entries"}
