"""Manifests: what is read, and the sentences an author gets for what cannot be read."""

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from submodel_operator.api.manifest import parse_endpoint, read_manifest
from submodel_operator.api.v1alpha1 import SPEC_RULES, Rule
from submodel_operator.errors import InvalidEndpoint
from tests.support.broken_specs import BREAKING

HEAD = "apiVersion: serverless.submodel.ai/v1alpha1\nkind: SubModelEndpoint\nmetadata: {name: tokens}\n"


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidEndpoint) as refusal:
        read_manifest(text, "endpoint.yaml")
    return list(refusal.value.problems)


def spec_problems(spec: str) -> list[str]:
    return problems(f"{HEAD}spec: {spec}")


def test_a_manifest_of_a_few_lines_is_a_whole_endpoint() -> None:
    endpoint = read_manifest(f"{HEAD}spec:\n  worker:\n    image: example/worker:1\n", "endpoint.yaml")
    assert (endpoint.metadata.name, endpoint.metadata.namespace) == ("tokens", "default")
    assert endpoint.spec.worker.image == "example/worker:1"
    assert (endpoint.spec.scaling.workers_min, endpoint.spec.scaling.workers_max) == (0, 3)


def test_a_field_that_is_left_empty_takes_its_default() -> None:
    endpoint = read_manifest(f"{HEAD}spec:\n  worker: {{image: x, env: }}\n  scaling:\n  jobs:\n", "endpoint.yaml")
    assert endpoint.spec.worker.env == []
    assert endpoint.spec.scaling.idle_timeout == 5


def test_an_object_of_the_api_server_is_read_whatever_its_metadata_and_status_hold() -> None:
    endpoint = parse_endpoint(
        _object(status={"workers": {"ready": 2, "napping": 1}, "mood": "good"}, uid="u", generation=3, managedFields=[])
    )
    assert endpoint.status is not None
    assert endpoint.status.workers is not None
    assert endpoint.status.workers.ready == 2


def test_a_status_that_cannot_be_read_does_not_stand_in_the_way_of_the_spec() -> None:
    assert parse_endpoint(_object(status={"workers": "many"})).status is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("spec: [1", "endpoint.yaml: line 1, column 9: is no valid YAML (expected ',' or ']', but got '<stream end>')"),
        ("a: 1\n\tb: 2", "endpoint.yaml: line 2, column 1: is no valid YAML"),
        ("a: \x07", "endpoint.yaml: line 1: holds a control character; remove it"),
        ("a: !!int x", "endpoint.yaml: holds a value that does not fit its YAML tag; remove the tag"),
        ("[" * 20_000, "endpoint.yaml: is nested too deeply"),
        ("", "endpoint.yaml: holds no document; write exactly one SubModelEndpoint into a file"),
        (f"{HEAD}---\n{HEAD}", "endpoint.yaml: holds 2 documents; write exactly one SubModelEndpoint into a file"),
        ("- 1", "endpoint.yaml: holds no mapping; begin with apiVersion, kind, metadata and spec"),
        ("a: 1\nb:\n  c: 1\n  c: 2", "endpoint.yaml: line 4, column 3: the key c stands here for the second time"),
        ("on: 1", "endpoint.yaml: line 1, column 1: a key must be text; put it in quotes"),
    ],
)
def test_text_that_is_no_manifest_is_refused_with_its_place(text: str, problem: str) -> None:
    assert problems(text)[0].startswith(problem)


def test_an_empty_document_beside_the_endpoint_is_passed_over() -> None:
    text = f"---\n---\n{HEAD}spec: {{worker: {{image: x}}}}\n---\n"
    assert read_manifest(text, "endpoint.yaml").spec.worker.image == "x"


def test_another_kind_is_named_alone() -> None:
    assert problems("apiVersion: apps/v1\nkind: Deployment\nspec: {replicas: 1}") == [
        "apiVersion: must be serverless.submodel.ai/v1alpha1, not 'apps/v1'",
        "kind: must be SubModelEndpoint, not 'Deployment'",
    ]
    assert problems("metadata: {name: a}") == [
        "apiVersion: is missing; write serverless.submodel.ai/v1alpha1",
        "kind: is missing; write SubModelEndpoint",
    ]


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (
            "{worker: {image: x}, scaling: {workerMax: 3}}",
            "spec.scaling.workerMax: unknown field; did you mean workersMax?",
        ),
        (
            "{worker: {image: x}, scaling: {idle_timeout: 3}}",
            "spec.scaling.idle_timeout: unknown field; did you mean idleTimeout?",
        ),
        (
            "{worker: {image: x}, workersMax: 3}",
            "spec.workersMax: unknown field; did you mean spec.scaling.workersMax?",
        ),
        ("{worker: {image: x}, name: a}", "spec.name: unknown field; did you mean metadata.name?"),
        (
            "{worker: {image: x}, zzz: 1}",
            "spec.zzz: unknown field; remove it, or use one of displayName, endpointId, suspend, worker, gpu, "
            "networkVolume, placement, scaling, jobs, openai, auth",
        ),
        (
            "{worker: {image: x, env: [{name: A, vale: b}]}}",
            "spec.worker.env[0].vale: unknown field; did you mean value?",
        ),
        (
            "{worker: {image: x}, scaling: {schedules: [{cron: 0 8 * * *, workersMin: 1, schedule: x}]}}",
            "spec.scaling.schedules[0].schedule: unknown field; remove it, or use one of cron, timeZone, workersMin",
        ),
        ("{scaling: {}}", "spec.worker: is missing; add it"),
        (
            "3",
            "spec: must be a mapping of names to values, not the number 3; below it go displayName, endpointId, "
            "suspend, worker, gpu, networkVolume, placement, scaling, jobs, openai, auth",
        ),
        (
            "{worker: {handler: handler.py}}",
            "spec.worker.handler: must be a mapping of names to values, not text; below it go inline, configMapRef "
            '(the source of the handler itself, after "inline: |")',
        ),
        (
            "{worker: {image: y}}",
            "spec.worker.image: must be text, not a boolean (YAML reads y, n, yes, no, on, off, true and false as "
            "booleans); put the value in quotes",
        ),
        (
            "{worker: {image: x, env: [{name: A, value: 3}]}}",
            "spec.worker.env[0].value: must be text, not a number; put the value in quotes",
        ),
        ("{worker: {image: [x]}}", "spec.worker.image: must be text, not a list"),
        ("{worker: {image: ''}}", "spec.worker.image: must not be empty"),
        (f"{{worker: {{image: {'x' * 513}}}}}", "spec.worker.image: must have at most 512 characters, not 513"),
        (
            "{worker: {image: x, env: {A: b}}}",
            'spec.worker.env: must be a list, not a mapping; begin every item with "- "',
        ),
        (
            "{worker: {image: x, env: [{name: 1A}]}}",
            "spec.worker.env[0].name: must match ^[A-Za-z_][A-Za-z0-9_]*$; replace the other characters",
        ),
        (
            "{worker: {handler: {configMapRef: {name: ../../other/secrets/keys}}}}",
            "spec.worker.handler.configMapRef.name: must match ^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$; "
            "replace the other characters",
        ),
        (
            "{worker: {image: x, env: [{name: A}, {name: A}]}}",
            "spec.worker.env: repeats A; keep one entry for each name",
        ),
        (
            "{worker: {image: x, env: [{name: A, valueFrom: {secretKeyRef: {name: a, key: b, optional: 'no'}}}]}}",
            "spec.worker.env[0].valueFrom.secretKeyRef.optional: must be true or false, not text",
        ),
        (
            "{worker: {image: x, resources: {limits: {memory: 2GB}}}}",
            'spec.worker.resources.limits.memory: must be a quantity such as 1, "0.5", 500m or 2Gi',
        ),
        (
            f"{{worker: {{image: x, resources: {{limits: {{{', '.join(f'r{n}: 1' for n in range(33))}}}}}}}}}",
            "spec.worker.resources.limits: must have at most 32 entries, not 33",
        ),
        (
            "{worker: {image: x}, scaling: {workersMax: 5000}}",
            "spec.scaling.workersMax: must be at most 1000, not 5000",
        ),
        (
            "{worker: {image: x}, scaling: {scalerValue: 0.25}}",
            "spec.scaling.scalerValue: must be at least 0.5, not 0.25",
        ),
        (
            "{worker: {image: x}, scaling: {workersMax: '5'}}",
            "spec.scaling.workersMax: must be a whole number, not text; remove the quotes",
        ),
        (
            "{worker: {image: x}, scaling: {workersMax: 1.5}}",
            "spec.scaling.workersMax: must be a whole number, not the number 1.5",
        ),
        (
            "{worker: {image: x}, scaling: {workersMax: yes}}",
            "spec.scaling.workersMax: must be a whole number, not the boolean true",
        ),
        (
            "{worker: {image: x}, scaling: {scalerType: queue_delay}}",
            "spec.scaling.scalerType: must be QUEUE_DELAY, REQUEST_COUNT or ADAPTIVE, not 'queue_delay'",
        ),
    ],
)
def test_a_field_that_does_not_fit_is_named_with_its_remedy(spec: str, problem: str) -> None:
    assert spec_problems(spec) == [problem]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a" * 46, "use a name of at most 45 characters, because the names of pods are built from it"),
        ("a.b", "use hyphens instead of dots, because the endpoint's id is <namespace>.<name>"),
        ("A_b", "must be lower-case letters, digits and hyphens, with a letter or digit at both ends"),
    ],
)
def test_a_name_that_children_could_not_carry_is_refused(name: str, problem: str) -> None:
    text = f"{HEAD.replace('tokens', name)}spec: {{worker: {{image: x}}}}"
    assert problems(text) == [f"metadata.name: {problem}"]


@pytest.mark.parametrize(("rule", "spec"), list(zip(SPEC_RULES, BREAKING, strict=True)))
def test_a_broken_rule_is_reported_in_the_words_of_the_api_server(rule: Rule, spec: str) -> None:
    assert spec_problems(spec) == [f"spec{rule.field_path}: {rule.message}"]


def test_all_broken_rules_are_reported_together() -> None:
    assert len(spec_problems("{worker: {}, scaling: {workersMin: 4}, jobs: {ttlMs: 10000}}")) == 3


def test_a_value_that_may_be_secret_is_not_repeated() -> None:
    found = spec_problems("{worker: {image: [hunter2], env: [{name: A, value: {a: hunter2}}, {name: B, value: 472}]}}")
    assert len(found) == 3
    assert not [problem for problem in found if "hunter2" in problem or "472" in problem]


def test_reading_a_manifest_needs_neither_kopf_nor_a_kubernetes_client() -> None:
    script = "import sys, submodel_operator.api.manifest; sys.exit(bool({'kopf', 'kubernetes'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def _object(status: Mapping[str, Any], **metadata: object) -> dict[str, Any]:
    return {
        "apiVersion": "serverless.submodel.ai/v1alpha1",
        "kind": "SubModelEndpoint",
        "metadata": {"name": "tokens", "namespace": "team", **metadata},
        "spec": {"worker": {"image": "x"}},
        "status": status,
    }
