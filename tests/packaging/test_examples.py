"""The examples: together they show every field of the spec, and the index leads to all of them."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from submodel_operator.api.manifest import read_manifest
from tests.support.endpoint_schema import openapi_schema

FOLDER = Path(__file__).parents[2] / "docs/examples"
INDEX = (FOLDER / "README.md").read_text(encoding="utf-8")
MANIFESTS = sorted(FOLDER.rglob("*.yaml"))
ENDPOINTS = [path for path in MANIFESTS if "kind: SubModelEndpoint\n" in path.read_text(encoding="utf-8")]


def fields(node: Mapping[str, Any], path: str) -> Iterator[str]:
    """The fields under a node of the schema that hold no further ones."""
    node = node["items"] if node.get("type") == "array" else node
    if "properties" not in node:
        yield path
    for name, below in node.get("properties", {}).items():
        yield from fields(below, f"{path}.{name}")


def written(value: object, path: str) -> Iterator[str]:
    """Every path that a manifest writes, with those of lists as if there were none."""
    yield path
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            for name, below in item.items():
                yield from written(below, f"{path}.{name}")


def test_every_field_of_the_spec_is_shown_by_an_example() -> None:
    shown = {place for path in ENDPOINTS for place in written(yaml.safe_load(path.read_text())["spec"], "spec")}
    missing = set(fields(openapi_schema()["properties"]["spec"], "spec")) - shown
    assert not missing, "show them in a manifest below docs/examples"


@pytest.mark.parametrize("path", ENDPOINTS, ids=lambda path: str(path.relative_to(FOLDER)))
def test_the_handler_of_every_example_compiles(path: Path) -> None:
    handler = read_manifest(path.read_text(encoding="utf-8"), path.name).spec.worker.handler
    if handler and handler.inline:
        compile(handler.inline, str(path), "exec")


def test_no_two_examples_have_one_name() -> None:
    names = [yaml.safe_load(path.read_text(encoding="utf-8"))["metadata"]["name"] for path in ENDPOINTS]
    assert len(names) == len(set(names))


def test_the_index_leads_to_every_example() -> None:
    linked = {target.split("/")[0] for target in re.findall(r"\]\(([^)]+)\)", INDEX)}
    assert linked == {path.name for path in FOLDER.iterdir() if path.is_dir() and not path.name.startswith((".", "_"))}


def test_what_an_example_refers_to_lies_beside_it_or_is_made_by_a_command_in_it() -> None:
    text = (FOLDER / "config-map/config-map.yaml").read_text(encoding="utf-8")
    source = yaml.safe_load(text)["data"]["handler.py"]
    compile(source, "handler.py", "exec")
    for folder in ("secrets", "api-keys"):
        assert "kubectl create secret generic" in (FOLDER / folder / "endpoint.yaml").read_text(encoding="utf-8")
