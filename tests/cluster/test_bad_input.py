"""What a person reads who got something wrong, and that nothing else is disturbed."""

import pytest
import yaml

from submodel_operator.api.v1alpha1 import SPEC_RULES
from tests.cluster.job_api import JobApi
from tests.cluster.kubernetes import get, kubectl
from tests.cluster.test_endpoint import ECHO, apply
from tests.support.broken_specs import BREAKING

HANDLER = {"handler": {"inline": "pass"}}

REFUSALS: list[tuple[dict[str, object], str]] = [
    ({"worker": HANDLER, "scaling": {"workersMax": 5000}}, "less than or equal to 1000"),
    ({"worker": HANDLER, "scaling": {"scalerType": "FASTER"}}, 'supported values: "QUEUE_DELAY", "REQUEST_COUNT"'),
    ({"worker": {**HANDLER, "imagee": "x"}}, 'unknown field "spec.worker.imagee"'),
]


REFUSALS += [(yaml.safe_load(spec), rule.message) for rule, spec in zip(SPEC_RULES, BREAKING, strict=True)]


@pytest.mark.parametrize(("spec", "words"), REFUSALS, ids=[words for _, words in REFUSALS])
def test_the_cluster_refuses_a_bad_manifest_and_says_why(namespace: str, spec: dict[str, object], words: str) -> None:
    document = {
        "apiVersion": "serverless.submodel.ai/v1alpha1",
        "kind": "SubModelEndpoint",
        "metadata": {"name": "wrong"},
        "spec": spec,
    }
    ran = kubectl("apply", "-n", namespace, "-f", "-", stdin=yaml.safe_dump(document), check=False)
    assert ran.code != 0
    assert words in ran.err
    assert get("sme", "-n", namespace)["items"] == []


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
    text = kubectl("explain", "submodelendpoints.spec", "--recursive").out
    assert "workersMax" in text
    assert "<no description>" not in kubectl("explain", "submodelendpoints.spec.scaling").out


def test_an_id_that_was_given_cannot_be_changed_and_says_what_to_do(namespace: str) -> None:
    def document(**spec: object) -> str:
        return yaml.safe_dump(
            {
                "apiVersion": "serverless.submodel.ai/v1alpha1",
                "kind": "SubModelEndpoint",
                "metadata": {"name": "named"},
                "spec": {"worker": HANDLER, **spec},
            }
        )

    kubectl("apply", "-n", namespace, "-f", "-", stdin=document(endpointId=f"{namespace}-a"))
    for spec in ({"endpointId": f"{namespace}-b"}, {}):
        ran = kubectl("replace", "-n", namespace, "-f", "-", stdin=document(**spec), check=False)
        assert ran.code != 0
        assert "delete the endpoint and create it anew" in ran.err
