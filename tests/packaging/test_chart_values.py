"""The values of the chart and what it tells its readers."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from submodel_gateway.auth.folder import KeyFolder
from submodel_operator.api.manifest import read_manifest
from tests.chart import pages
from tests.chart.images import images
from tests.chart.values import documented
from tests.support.helm import CHART, KUBERNETES, RELEASE, helm, render

VALUES_TEXT = (CHART / "values.yaml").read_text(encoding="utf-8")
README = (CHART / "README.md").read_text(encoding="utf-8")
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
    assert list(documented(VALUES_TEXT))
    with pytest.raises(ValueError, match="bare has no comment"):
        list(documented("# This one has.\nfine: 1\nbare: 2\n"))


def test_the_parts_of_pages_that_are_made_from_the_chart_are_up_to_date() -> None:
    for path, text in pages.texts().items():
        assert path.read_text(encoding="utf-8") == text, "run make manifests and commit the result"


def test_a_table_of_values_shows_a_subtree_under_one_comment_as_one_value() -> None:
    text = "# Both.\npair:\n  a: 1\n  b: x | y\nsection:\n  # One of\n  # two lines.\n  leaf: true\n"
    assert [(each.path, each.default, each.meaning) for each in documented(text)] == [
        ("pair", '{"a": 1, "b": "x | y"}', "Both."),
        ("section.leaf", "true", "One of two lines."),
    ]


def test_the_listed_images_are_those_that_the_pods_and_the_workers_run() -> None:
    pods = [item["spec"].get("template", item)["spec"] for item in render() if item["kind"] in WITH_PODS]
    containers = [container for pod in pods for container in pod["containers"]]
    variables = [variable for container in containers for variable in container["env"]]
    workers = {each["value"] for each in variables if each["name"] == "SUBMODEL_OPERATOR_RUNTIME_IMAGE"}
    assert {container["image"] for container in containers} | workers == set(images())


WITH_PODS = ("Deployment", "StatefulSet", "Pod")


def test_the_credentials_that_the_readme_makes_open_the_gateway(tmp_path: Path) -> None:
    """The commands run as they stand, with a kubectl that writes down what it is asked for."""
    (commands, _) = re.findall(r"```console\n(.*?)```", README.partition("## Bring your own")[2], re.DOTALL)
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>{tmp_path}/asked\n', encoding="utf-8")
    kubectl.chmod(0o700)
    search = f"{tmp_path}:{os.defpath}"
    subprocess.run(["bash", "-euo", "pipefail", "-c", commands], env={"PATH": search}, check=True)
    literals = re.findall(r"--from-literal=([^=]+)=(.*)", (tmp_path / "asked").read_text(encoding="utf-8"))
    made = dict(literals)
    assert set(made) == {"api-key-pepper", "internal-token", "worker-token-key", "first.json", "api-key"}
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "first.json").write_text(made["first.json"], encoding="utf-8")
    assert KeyFolder(folder, made["api-key-pepper"]).keyring(0).find(made["api-key"], 0) is not None


@pytest.fixture
def notes(chart_with_notes: Path) -> str:
    """The text after an installation with the defaults."""
    return notes_of(chart_with_notes)


def notes_of(chart: Path, *settings: str) -> str:
    (rendered,) = [item for item in render(*settings, chart=chart) if item["kind"] == "Notes"]
    found: str = rendered["notes"]
    return found


@pytest.fixture
def chart_with_notes(tmp_path: Path) -> Path:
    """The chart with its notes as an object: helm renders them only against a cluster."""
    copy = tmp_path / "chart"
    shutil.copytree(CHART, copy)
    text = (copy / "templates" / "NOTES.txt").read_text(encoding="utf-8")
    (copy / "templates" / "_notes.tpl").write_text(f'{{{{ define "notes" }}}}{text}{{{{ end }}}}', encoding="utf-8")
    (copy / "templates" / "notes.yaml").write_text(
        'kind: Notes\nnotes: {{ include "notes" . | toJson }}', encoding="utf-8"
    )
    return copy


def test_the_endpoint_in_the_notes_can_be_applied(notes: str) -> None:
    manifest = notes.partition("<<'END'\n")[2].partition("\n  END")[0]
    endpoint = read_manifest("\n".join(line[2:] for line in manifest.splitlines()), "notes")
    assert endpoint.spec.worker.handler is not None
    compile(endpoint.spec.worker.handler.inline or "", "handler.py", "exec")
    assert f"/v2/team.{endpoint.metadata.name}/runsync" in notes
    assert f"get submodelendpoint/{endpoint.metadata.name}" in notes


def test_the_notes_name_objects_that_exist(notes: str, chart_with_notes: Path) -> None:
    names = {f"{item['kind'].lower()}/{item['metadata']['name']}" for item in render()}
    untested = notes_of(chart_with_notes, "test.enabled=false")
    for named, text in (
        ("service/demo-gateway", notes),
        ("statefulset/demo-gateway", untested),
        ("deployment/demo-operator", untested),
    ):
        assert named in names
        assert named in text


def test_the_notes_begin_with_the_two_next_commands(notes: str) -> None:
    commands = re.findall(r"^  ((?:helm|kubectl) .*)", notes, re.MULTILINE)
    assert commands[0] == "helm test demo --namespace team --logs"
    assert commands[1] == "kubectl --namespace team apply -f - <<'END'"


def test_the_notes_lead_to_the_ingress_where_there_is_one(notes: str, chart_with_notes: Path) -> None:
    assert "port-forward" in notes
    exposed = notes_of(chart_with_notes, "gateway.ingress.enabled=true", "gateway.ingress.host=jobs.example.com")
    assert "https://jobs.example.com/v2/team.hello/runsync" in exposed
    assert "port-forward" not in exposed


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("gateway.persistence.enabled=false",), "Jobs are lost"),
        (("auth.mode=None",), "auth.mode is None"),
        (
            ("gateway.ingress.enabled=true", "gateway.ingress.host=a.example", "gateway.ingress.tls.enabled=false"),
            "cross the network as they are",
        ),
        (("monitoring.enabled=true",), "networkPolicy.metricsFrom is empty"),
    ],
)
def test_the_notes_warn_of_what_one_may_regret(
    notes: str, chart_with_notes: Path, settings: tuple[str, ...], words: str
) -> None:
    assert "WARNING" not in notes
    assert words in notes_of(chart_with_notes, *settings)


def test_the_example_in_the_charts_annotations_is_an_endpoint() -> None:
    (example,) = yaml.safe_load(
        yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["annotations"]["artifacthub.io/crdsExamples"]
    )
    read_manifest(json.dumps(example), "Chart.yaml")
