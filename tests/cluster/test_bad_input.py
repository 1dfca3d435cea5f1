"""What a person reads who got something wrong, and that nothing else is disturbed."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from submodel_operator.api.v1alpha1 import NAME_RULES, SPEC_RULES, TRANSITION_RULES, Rule
from tests.cluster.job_api import JobApi
from tests.cluster.kubernetes import get, kubectl
from tests.cluster.test_endpoint import ECHO, apply
from tests.support.broken_specs import BREAKING

HANDLER = {"handler": {"inline": "pass"}}

REFUSALS: list[tuple[dict[str, object], str]] = [
    ({"worker": HANDLER, "scaling": {"workersMax": 5000}}, "less than or equal to 1000"),
    ({"worker": HANDLER, "scaling": {"scalerType": "FASTER"}}, 'supported values: "QUEUE_DELAY", "REQUEST_COUNT"'),
    ({"worker": HANDLER, "scaling": {"scalerValue": 0}}, "use 0.5 to 3600"),
    ({"worker": HANDLER, "scaling": {"scalerType": "REQUEST_COUNT", "scalerValue": 10**6}}, "or equal to 10000"),
    ({"worker": HANDLER, "scaling": {"schedules": [{"cron": "at dawn on Mondays", "workersMin": 1}]}}, "should match"),
    ({"worker": {**HANDLER, "imagee": "x"}}, 'unknown field "spec.worker.imagee"'),
]


REFUSALS += [(yaml.safe_load(spec), rule.message) for rule, spec in zip(SPEC_RULES, BREAKING, strict=True)]


@pytest.mark.parametrize(("spec", "words"), REFUSALS, ids=[words for _, words in REFUSALS])
def test_the_cluster_refuses_a_bad_manifest_and_says_why(namespace: str, spec: dict[str, object], words: str) -> None:
    refused(namespace, words, spec)


@pytest.mark.parametrize(
    ("rule", "name"),
    list(zip(NAME_RULES, ["x" * 46, "with.a.dot"], strict=True)),
    ids=[rule.message for rule in NAME_RULES],
)
def test_the_cluster_refuses_a_name_that_pods_or_ids_could_not_carry(namespace: str, rule: Rule, name: str) -> None:
    refused(namespace, rule.message, {"worker": HANDLER}, name)


CHANGES: list[list[dict[str, object]]] = [
    [{"endpointId": "taken-once"}, {"endpointId": "taken-twice"}, {}],
]
"""For each rule about changes: what is there first, and what it must not become."""


@pytest.mark.parametrize(
    ("rule", "specs"),
    list(zip(TRANSITION_RULES, CHANGES, strict=True)),
    ids=[rule.message for rule in TRANSITION_RULES],
)
def test_the_cluster_refuses_a_change_that_cannot_be_and_says_what_to_do(
    namespace: str, rule: Rule, specs: list[dict[str, object]]
) -> None:
    first, *others = [{"worker": HANDLER, **spec} for spec in specs]
    kubectl("apply", "-n", namespace, "-f", "-", stdin=document(first, "first"))
    for spec in others:
        ran = kubectl("replace", "-n", namespace, "-f", "-", stdin=document(spec, "first"), check=False)
        assert ran.code != 0
        assert rule.message in ran.err


def test_every_rule_of_the_definition_has_a_manifest_that_it_refuses(release: str) -> None:
    definition = get("crd/submodelendpoints.serverless.submodel.ai")
    (version,) = definition["spec"]["versions"]
    known = {rule.rule for rule in (*SPEC_RULES, *NAME_RULES, *TRANSITION_RULES)}
    assert set(rules(version["schema"]["openAPIV3Schema"])) == known, "those above are tried, one by one"


def rules(node: object) -> Iterator[str]:
    """All CEL rules in a schema."""
    if isinstance(node, dict):
        yield from (each["rule"] for each in node.get("x-kubernetes-validations", ()))
        for below in node.values():
            yield from rules(below)


def refused(namespace: str, words: str, spec: dict[str, object], name: str = "wrong") -> None:
    """The cluster does not take it, with these words."""
    ran = kubectl("apply", "-n", namespace, "-f", "-", stdin=document(spec, name), check=False)
    assert ran.code != 0
    assert words in ran.err
    assert get("sme", "-n", namespace)["items"] == []


def document(spec: dict[str, object], name: str) -> str:
    """The manifest of an endpoint."""
    head = {"apiVersion": "serverless.submodel.ai/v1alpha1", "kind": "SubModelEndpoint", "metadata": {"name": name}}
    return yaml.safe_dump({**head, "spec": spec})


def test_bad_requests_get_one_sentence_and_disturb_nothing(namespace: str, api: JobApi) -> None:
    endpoint = apply(namespace, ECHO.format(greeting="fine"))
    for path, raw, status, words in (
        (f"/v2/{endpoint}/run", b"{not json", 400, "JSON"),
        (f"/v2/{endpoint}/run", b'{"inputs": 1}', 400, "input"),
        (f"/v2/{namespace}.nobody/run", b'{"input": 1}', 404, "nobody"),
    ):
        code, answer = api.call(path, raw=raw)
        assert code == status
        assert words in answer["error"]
    assert api.finished(endpoint, api.run(endpoint))["output"] == "fine"


def test_explain_has_a_text_for_every_field(release: str) -> None:
    served = kubectl("get", "--raw", "/openapi/v3/apis/serverless.submodel.ai/v1alpha1").out
    schemas = json.loads(served)["components"]["schemas"]
    ours = next(schema for name, schema in schemas.items() if name.endswith(".SubModelEndpoint"))
    texts = {name: text for part in ("spec", "status") for name, text in described(ours["properties"][part], part)}
    assert [name for name, text in texts.items() if not text] == []
    assert {"spec.worker.env.valueFrom.secretKeyRef.key", "status.coldStart.firstPollSeconds"} <= texts.keys()
    deep = "spec.worker.env.valueFrom.secretKeyRef.optional"
    said = " ".join(kubectl("explain", f"submodelendpoints.{deep}").out.split())
    assert texts[deep] in said


def described(node: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """Every field below a node with its text; fields of list items as if there were no list."""
    node = {**node, **node.get("items", {}), "description": node.get("description", "")}
    yield path, node["description"]
    for name, below in node.get("properties", {}).items():
        yield from described(below, f"{path}.{name}")
