"""API keys over HTTP: the three ways to send one, every route asks for it, and workers' tokens are another thing."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from submodel_gateway.auth.keys import digest_of, key_text
from submodel_gateway.http.operations import BY_PATH
from tests.support.gateway_ports import TOKEN, register
from tests.support.live_gateway import INTERNAL_TOKEN, Http, LiveGateway

PEPPER = "pepper"
FULL = key_text("full", "f" * 43)
READER = key_text("reader", "r" * 43)
OTHER = key_text("other", "o" * 43)
OPERATIONS = [
    (method, path.format(id="x", path="v1/chat/completions", model="m"))
    for path, operation in BY_PATH.items()
    for method in operation.methods
]
READING = {"status", "_requests", "status-sync", "stream", "webhook", "requests", "health", "metrics", "models"}
"""The first words of what a key with the scope `read` may do."""


def reads(operation: str) -> bool:
    first, *rest = operation.split("/")
    return first in READING and rest[1:] != ["replay"]


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("keys")
    for id, letter, scopes in (("full", "f", ["read", "run"]), ("reader", "r", ["read"]), ("other", "o", ["run"])):
        document = {"id": id, "digest": digest_of(PEPPER, letter * 43), "scopes": scopes, "endpoints": ["ns.*"]}
        (folder / f"{id}.json").write_text(json.dumps(document))
    keys = {"SUBMODEL_GATEWAY_KEYS": str(folder), "SUBMODEL_GATEWAY_KEY_PEPPER": PEPPER}
    with LiveGateway(tmp_path_factory.mktemp("gateway"), **keys) as gateway:
        register(gateway, "ns.app")
        yield gateway.public


@pytest.mark.requirement("client.auth")
@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {FULL}"},
        {"Authorization": f"bearer {FULL}"},
        {"authorization": FULL},
        {"x-apikey": FULL},
        {"X-API-Key": FULL},
    ],
)
def test_a_key_may_be_sent_in_three_ways(public: str, headers: dict[str, str]) -> None:
    answer = urllib3.request("POST", f"{public}/v2/ns.app/run", body=b'{"input": 1}', headers=headers)
    assert (answer.status, answer.json()["status"]) == (200, "IN_QUEUE")


def test_an_idempotency_key_is_that_of_its_caller(public: str) -> None:
    def submitted(key: str) -> str:
        headers = {"Authorization": key, "Idempotency-Key": "order-7"}
        answer = urllib3.request("POST", f"{public}/v2/ns.app/run", body=b'{"input": 1}', headers=headers)
        return str(answer.json()["id"])

    assert submitted(FULL) == submitted(FULL)
    assert submitted(OTHER) != submitted(FULL)


@pytest.mark.requirement("client.errors")
@pytest.mark.parametrize(("method", "operation"), OPERATIONS)
def test_every_operation_needs_a_key(public: str, method: str, operation: str) -> None:
    for token in (None, TOKEN, INTERNAL_TOKEN, FULL[:-1]):
        with Http(public, token) as client:
            status, answer = client.call(method, f"/v2/ns.app/{operation}", {"input": 1})
            assert status == 401
            assert "API key" in str(answer["error"])


@pytest.mark.parametrize(("method", "operation"), OPERATIONS)
def test_a_key_that_may_read_changes_nothing(public: str, method: str, operation: str) -> None:
    with Http(public, READER) as client:
        status, answer = client.call(method, f"/v2/ns.app/{operation}", {"input": 1})
    if reads(operation):
        assert status in (200, 404)
    else:
        assert status == 403
        assert "the API key reader has no scope run" in str(answer["error"])


@pytest.mark.requirement("client.foreign")
def test_a_key_that_is_missing_has_the_shape_of_openais_api_there(public: str) -> None:
    with Http(public) as client:
        status, answer = client.call("POST", "/v2/ns.app/openai/v1/chat/completions", {})
    assert (status, answer["error"]["type"]) == (401, "authentication_error")


def test_a_key_that_may_read_shortens_no_retention(public: str) -> None:
    with Http(public, READER) as client:
        status, answer = client.call("GET", "/v2/ns.app/status/x?ttl=0")
    assert (status, answer["error"]) == (403, "the API key reader has no scope run; use a key that has it")


@pytest.mark.parametrize(("method", "operation"), OPERATIONS)
def test_endpoints_of_others_are_not_there(public: str, method: str, operation: str) -> None:
    with Http(public, FULL) as client:
        assert client.call(method, f"/v2/other.app/{operation}", {"input": 1})[0] == 404


def test_a_workers_token_is_no_key_and_a_key_no_workers_token(public: str) -> None:
    with Http(public, FULL) as client:
        message = {"session": "s", "request": 1, "phase": "ready"}
        assert client.call("POST", "/v2/ns.app/workers/w/exchange", message)[0] == 401


def test_keys_never_reach_the_log(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    keys = {"SUBMODEL_GATEWAY_KEYS": str(tmp_path / "keys"), "SUBMODEL_GATEWAY_KEY_PEPPER": PEPPER}
    with LiveGateway(tmp_path, SUBMODEL_GATEWAY_LOG_LEVEL="DEBUG", **keys) as gateway:
        with Http(gateway.public, FULL) as client:
            assert client.call("GET", "/v2/ns.app/health")[0] == 401
        gateway.terminate()
        assert not [line for line in gateway.log if "f" * 20 in line or PEPPER in line]
