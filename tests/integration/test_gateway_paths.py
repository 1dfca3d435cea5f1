"""The same operations under every base and spelling that clients of the hosted platforms use."""

from collections.abc import Iterator

import pytest
import urllib3

from submodel.contract import limits
from submodel_gateway.http.openapi import PREFIX, document
from submodel_gateway.http.operations import OPENAI, OPERATIONS, Base, Operation
from tests.support.gateway_ports import Ports, register
from tests.support.live_gateway import LiveGateway

BASES = [base.value for base in Base]
JOB_API = [operation for operation in OPERATIONS if operation is not OPENAI]


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    with LiveGateway(tmp_path_factory.mktemp("gateway")) as gateway:
        opened = Ports(gateway)
        yield opened
        opened.close()


@pytest.mark.requirement("client.base.v2", "client.base.others")
@pytest.mark.parametrize("base", BASES)
def test_a_job_lives_under_every_base(ports: Ports, base: str) -> None:
    client, url = ports.client, f"{base}/ns.app"
    id = client.ok("POST", f"{url}/run", {"input": 1})["id"]
    assert client.ok("GET", f"{url}/status/{id}")["status"] == "IN_QUEUE"
    assert client.ok("POST", f"{url}/cancel/{id}")["status"] == "CANCELLED"
    assert client.ok("GET", f"/v2/ns.app/status/{id}")["status"] == "CANCELLED"


@pytest.mark.requirement("client.base.spellings")
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("operation", JOB_API, ids=lambda operation: operation.path)
def test_every_spelling_answers_to_the_methods_of_its_operation(ports: Ports, base: str, operation: Operation) -> None:
    for path in (operation.path, *operation.aliases):
        url = f"{base}/ns.app/{path.format(id='unknown', model='meta/llama')}?wait=1"
        for method in ("GET", "POST", "PUT", "DELETE"):
            status, answer = ports.client.call(method, url, {"input": 1})
            assert (status == 405) == (method not in operation.methods), (method, url, answer)
            assert "nothing at this path" not in str(answer)


@pytest.mark.parametrize("operation", JOB_API, ids=lambda operation: operation.path)
def test_what_is_said_of_odd_bodies_is_in_the_document(ports: Ports, operation: Operation) -> None:
    said = document()["paths"][PREFIX + operation.path]
    url = ports.gateway.public + "/v2/ns.app/" + operation.path.format(id="unknown", model="m")
    large = b'"' + b"x" * limits.RUNSYNC_BODY_BYTES + b'"'
    for method in operation.methods:
        for body, headers in ((large, {}), (b"{}", {"Content-Encoding": "gzip"}), (b"", {})):
            with urllib3.PoolManager(retries=False, timeout=30) as client:
                answer = client.request(method, url, body=body, headers=headers)
            assert str(answer.status) in said[method.lower()]["responses"], (method, headers, answer.data)


@pytest.mark.requirement("client.base.envelope")
def test_answers_carry_their_envelope_where_a_client_looks_for_one(ports: Ports) -> None:
    accepted = ports.client.ok("POST", "/api/v1/sl/ns.app/run", {"input": 1})
    job = {"id": accepted["id"], "status": "IN_QUEUE"}
    assert accepted == {"code": 20000, "message": "success", "data": job, **job}
    for base in ("/v2", "/v1", "/v1/sl"):
        assert "data" not in ports.client.ok("POST", f"{base}/ns.app/run", {"input": 1})


@pytest.mark.requirement("client.models")
@pytest.mark.parametrize("base", BASES)
def test_the_models_of_the_manifest_are_told_without_a_worker(ports: Ports, base: str) -> None:
    register(ports.gateway, "ns.models", models=["parrot", "meta/llama"])
    client, url = ports.client, f"{base}/ns.models/models"
    listed = client.ok("GET", url)
    assert (listed.get("data") or listed)["models"] == [{"id": "parrot"}, {"id": "meta/llama"}]
    assert client.ok("GET", f"{url}/meta/llama")["id"] == "meta/llama"
    missing = {"error": "the manifest of this endpoint names no model 'llama'"}
    assert client.call("GET", f"{url}/llama") == (404, missing)
    assert client.ok("GET", f"{base}/ns.app/models").get("models") == []


NO_PATHS = [
    "/v1",
    "/v1/sl",
    "/v2",
    "/v2/",
    "/v2?a=b",
    "/api/v1",
    "/api/v1/sl/ns.app",
    "/v3/ns.app/health",
    "/v2/ns.app",
]


@pytest.mark.parametrize("path", NO_PATHS)
def test_what_is_no_path_says_where_the_api_is(ports: Ports, path: str) -> None:
    status, answer = ports.client.call("GET", path)
    assert (status, answer) == (404, {"error": answer["error"]})
    assert "/v2/{endpoint}/{operation}" in answer["error"]


@pytest.mark.parametrize("path", ["job-take/w", "ping/w", "workers/w/exchange"])
def test_workers_are_served_under_one_base_only(ports: Ports, path: str) -> None:
    assert ports.client.call("GET", f"/v1/ns.app/{path}")[0] == 404
    assert ports.client.call("GET", f"/v2/ns.app/{path}")[0] in (401, 405)
