"""Whether the CustomResourceDefinition of a cluster knows all that this operator reads and writes. Pure.

An API server drops fields that its definition does not know, without a word: a spec would lose a part of its meaning,
and a status would be written again and again because it never reads as it was written.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from submodel_operator.api import constants, crd

_SHOWN: Final = 4


def older_definition(definition: Mapping[str, Any]) -> str:
    """Why the definition is too old for this operator, as a sentence that says what to do; empty when it is not."""
    served = [each for each in definition["spec"]["versions"] if each["name"] == constants.VERSION]
    known = {path for version in served for path in _paths(version)}
    (ours,) = crd.custom_resource_definition()["spec"]["versions"]
    missing = [path for path in _paths(ours) if path not in known and path.rpartition(".")[0] in {"", *known}]
    if not missing:
        return ""
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    return (
        f"the CustomResourceDefinition {crd.NAME} of the cluster is older than this operator, it lacks "
        f"{', '.join(missing[:_SHOWN])}{more}: apply the one of this release (helm upgrade does so)"
    )


def _paths(version: Mapping[str, Any]) -> Iterator[str]:
    """Paths of all fields of spec and status, outer ones first."""
    fields = version["schema"]["openAPIV3Schema"].get("properties", {})
    for name in ("spec", "status"):
        if name in fields:
            yield name
            yield from _below(name, fields[name])


def _below(path: str, schema: Mapping[str, Any]) -> Iterator[str]:
    items = schema.get("items", schema)
    for name, field in items.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from _below(f"{path}.{name}", field)
