"""The values of the chart and what it tells its readers."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from submodel_operator.api.manifest import read_manifest
from tests.support.helm import CHART, KUBERNETES, RELEASE, helm, render

VALUES_TEXT = (CHART / "values.yaml").read_text(encoding="utf-8")
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))


def objects(schema: Mapping[str, Any], values: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    if "properties" in schema:
        yield path, schema, values
        for name, below in schema["properties"].items():
            if name != "global":
                yield from objects(
                    below, values[name] if isinstance(values, dict) and name in values else {}, f"{path}.{name}"
                )


def test_the_default_values_fit_their_schema() -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(yaml.safe_load(VALUES_TEXT))


def test_every_value_is_known_to_the_schema_and_every_known_value_has_a_default() -> None:
    optional = {".affinity", ".resources.limits", ".resources.requests"}
    for path, schema, values in objects(SCHEMA, yaml.safe_load(VALUES_TEXT)):
        assert schema["additionalProperties"] is False, path
        if not any(path.endswith(end) for end in optional):
            assert set(schema["properties"]) - {"global"} == set(values), path


def test_helm_refuses_a_value_that_does_not_exist() -> None:
    result = helm("template", RELEASE, str(CHART), "--kube-version", KUBERNETES, "--set", "gateway.replica=2")
    assert result.returncode != 0
    assert "replica" in result.stderr


def test_every_value_has_a_comment() -> None:
    lines = VALUES_TEXT.splitlines()
    keys = [index for index, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")]
    bare = []
    for index in keys:
        indent = len(lines[index]) - len(lines[index].lstrip())
        opens = lines[index].endswith(":")
        inside_resources = "requests:" in lines[index] or "limits:" in lines[index] or indent >= 6
        if not opens and not inside_resources and not lines[index - 1].lstrip().startswith("#"):
            bare.append(lines[index])
    assert not bare


@pytest.fixture
def notes(tmp_path: Path) -> str:
    """The text after an installation. Helm renders it only against a cluster, so it is rendered as an object here."""
    copy = tmp_path / "chart"
    shutil.copytree(CHART, copy)
    text = (copy / "templates" / "NOTES.txt").read_text(encoding="utf-8")
    (copy / "templates" / "_notes.tpl").write_text(f'{{{{ define "notes" }}}}{text}{{{{ end }}}}', encoding="utf-8")
    (copy / "templates" / "notes.yaml").write_text(
        'kind: Notes\nnotes: {{ include "notes" . | toJson }}', encoding="utf-8"
    )
    (rendered,) = [item for item in render(chart=copy) if item["kind"] == "Notes"]
    found: str = rendered["notes"]
    return found


def test_the_endpoint_in_the_notes_can_be_applied(notes: str) -> None:
    manifest = notes.partition("<<'END'\n")[2].partition("\n  END")[0]
    endpoint = read_manifest("\n".join(line[2:] for line in manifest.splitlines()), "notes")
    assert endpoint.spec.worker.handler is not None
    compile(endpoint.spec.worker.handler.inline or "", "handler.py", "exec")
    assert f"/v2/team.{endpoint.metadata.name}/runsync" in notes
    assert f"submodelendpoint/{endpoint.metadata.name}" in notes


def test_the_notes_name_objects_that_exist(notes: str) -> None:
    names = {f"{item['kind'].lower()}/{item['metadata']['name']}" for item in render()}
    for named in ("statefulset/demo-gateway", "deployment/demo-operator", "service/demo-gateway"):
        assert named in names
        assert named in notes


def test_the_example_in_the_charts_annotations_is_an_endpoint() -> None:
    (example,) = yaml.safe_load(
        yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["annotations"]["artifacthub.io/crdsExamples"]
    )
    read_manifest(json.dumps(example), "Chart.yaml")
