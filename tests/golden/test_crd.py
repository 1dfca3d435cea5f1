"""The generated files equal what the models say now, and the examples fit both model and schema."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from submodel_operator.api import conditions_reference, crd, reference
from submodel_operator.api.__main__ import main
from submodel_operator.api.manifest import read_manifest
from submodel_operator.api.v1alpha1 import NAME_RULES, SPEC_RULES, TRANSITION_RULES
from tests.support.endpoint_schema import openapi_schema, schema_problems

ROOT = Path(__file__).parents[2]
EXAMPLES = [
    path
    for path in sorted((ROOT / "docs" / "examples").rglob("*.yaml"))
    if "kind: SubModelEndpoint\n" in path.read_text(encoding="utf-8")
]


GENERATED = [crd.MANIFEST_PATH, crd.TEMPLATE_PATH, reference.PAGE_PATH, conditions_reference.PAGE_PATH]


@pytest.mark.parametrize("path", GENERATED, ids=["crds", "chart", "reference", "conditions"])
def test_the_generated_files_are_up_to_date(path: Path, tmp_path: Path) -> None:
    main(tmp_path)
    assert (ROOT / path).read_text(encoding="utf-8") == (tmp_path / path).read_text(encoding="utf-8"), (
        "the models changed: run make manifests and commit the result"
    )


def test_the_definition_has_one_served_version_with_a_status_subresource() -> None:
    spec = _definition()["spec"]
    (version,) = spec["versions"]
    assert (version["name"], version["served"], version["storage"]) == ("v1alpha1", True, True)
    assert version["subresources"]["status"] == {}
    assert spec["scope"] == "Namespaced"
    assert spec["names"]["shortNames"] == ["sme"]


def test_the_table_of_kubectl_shows_what_its_readers_ask_for() -> None:
    columns = _definition()["spec"]["versions"][0]["additionalPrinterColumns"]
    narrow = [column["name"] for column in columns if not column.get("priority")]
    wide = [column["name"] for column in columns if column.get("priority")]
    assert narrow == ["Ready", "Phase", "Workers", "Desired", "Min", "Max", "Queued", "Running", "Scaler", "GPU", "Age"]
    assert wide == ["Title", "Oldest", "P95", "Busy", "Starting", "Reason", "Image", "URL"]


def test_every_column_shows_a_field_that_exists() -> None:
    for column in _definition()["spec"]["versions"][0]["additionalPrinterColumns"]:
        node = openapi_schema()
        for name in column["jsonPath"].partition("[")[0].strip(".").split("."):
            if name == "creationTimestamp":
                break
            node = node["properties"][name]
        else:
            shown = "date" if node.get("format") == "date-time" else node["type"]
            assert column["type"] == ("string" if "[" in column["jsonPath"] else shown)


def test_kubectl_scale_reaches_fields_that_exist() -> None:
    scale = _definition()["spec"]["versions"][0]["subresources"]["scale"]
    for path, kind in zip(scale.values(), ("integer", "integer", "string"), strict=True):
        node = openapi_schema()
        for name in path.strip(".").split("."):
            node = node["properties"][name]
        assert node["type"] == kind, path


def test_every_rule_points_at_a_field_that_exists() -> None:
    """The API server refuses the whole definition over one path that leads nowhere."""
    schema = openapi_schema()
    for start, rules in ((schema, NAME_RULES), (schema["properties"]["spec"], (*SPEC_RULES, *TRANSITION_RULES))):
        assert [written["rule"] for written in start["x-kubernetes-validations"]] == [rule.rule for rule in rules]
        for written in start["x-kubernetes-validations"]:
            node = start
            for name in written["fieldPath"].strip(".").split("."):
                node = node["properties"][name]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_fits_model_and_schema(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    read_manifest(text, path.name)
    assert schema_problems(yaml.safe_load(text)) == []


def _definition() -> dict[str, Any]:
    definition: dict[str, Any] = yaml.safe_load((ROOT / crd.MANIFEST_PATH).read_text(encoding="utf-8"))
    return definition
