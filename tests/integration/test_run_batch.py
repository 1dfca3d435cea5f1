"""Batches of jobs: each request is accepted or refused by itself."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import urllib3

from submodel_gateway.auth.keys import digest_of, key_text
from tests.support.gateway_ports import Ports, register
from tests.support.live_gateway import Http, LiveGateway

BATCH = "/v2/ns.app/run-batch"


def batch(ports: Ports, *requests: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ports.client.ok("POST", BATCH, {"requests": list(requests)})["requests"]
    return found


def finish(ports: Ports, jobs: Sequence[dict[str, Any]]) -> None:
    """Jobs that go with their worker's session would hold the endpoint back."""
    ports.exchange(results=[{"id": job["id"], "token": job["token"], "output": 1} for job in jobs])


def test_the_jobs_of_a_batch_are_queued_in_its_order(ports: Ports) -> None:
    told = batch(ports, *({"input": number, "extra": "x"} for number in range(20)))
    assert {each["status"] for each in told} == {"IN_QUEUE"}
    jobs = ports.exchange(capacity=20)["jobs"]
    assert [(job["id"], job["input"], job["extra"]) for job in jobs] == [
        (each["id"], number, {"extra": "x"}) for number, each in enumerate(told)
    ]
    finish(ports, jobs)


def test_what_is_wrong_with_one_request_is_said_in_its_place(ports: Ports) -> None:
    told = batch(
        ports,
        {"input": 1},
        {},
        7,
        {"input": 1, "policy": {"ttl": 1}},
        {"input": 1, "webhook": "http://a.example/"},
        {"input": 1, "idempotencyKey": 5},
        {"input": 1, "input ": 2},
    )
    assert [each.get("code", 200) for each in told] == [200, 400, 400, 400, 400, 400, 200]
    sentences = ['"input" is missing', "does not fit", "policy.ttl", "use https", '"idempotencyKey" is no text']
    for sentence, each in zip(sentences, told[1:], strict=False):
        assert sentence in each["error"]
    assert ports.client.ok("GET", "/v2/ns.app/health")["jobs"]["inQueue"] == 2


def test_a_request_with_a_known_key_leads_to_its_job(ports: Ports) -> None:
    first, second, other, clash = batch(
        ports,
        {"input": 1, "idempotencyKey": "k-1"},
        {"input": 1, "idempotencyKey": "k-1"},
        {"input": 1, "idempotencyKey": "k-2"},
        {"input": 2, "idempotencyKey": "k-1"},
    )
    assert first["id"] == second["id"] != other["id"]
    assert (clash["code"], "another body" in clash["error"]) == (422, True)
    jobs = ports.exchange(capacity=9)["jobs"]
    assert [(job["id"], job.get("extra", {})) for job in jobs] == [(first["id"], {}), (other["id"], {})]
    finish(ports, jobs)


BAD = [
    (b"{", "not JSON"),
    (b"[]", "does not fit"),
    (b"{}", '"requests"'),
    (b'{"requests": {}}', "does not fit"),
    (b'{"requests": []}', "send 1 to 500"),
    (json.dumps({"requests": [{"input": 1}] * 501}).encode(), "501 items"),
    (b'{"requests": [{"input": 1}], "policy": {}}', "and no other"),
]


@pytest.mark.parametrize(("body", "sentence"), BAD)
def test_a_body_that_is_no_batch_stores_nothing(ports: Ports, body: bytes, sentence: str) -> None:
    status, answer = ports.client.call("POST", BATCH, raw=body)
    assert (status, sentence in answer["error"]) == (400, True), answer
    assert ports.client.ok("GET", "/v2/ns.app/health")["jobs"]["inQueue"] == 0


def test_a_batch_beyond_the_rate_is_accepted_as_far_as_the_rate_goes(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    document = {"id": "mine", "digest": digest_of("pepper", "k" * 43)}
    (tmp_path / "keys/mine.json").write_text(json.dumps(document))
    settings = {
        "SUBMODEL_GATEWAY_KEYS": str(tmp_path / "keys"),
        "SUBMODEL_GATEWAY_KEY_PEPPER": "pepper",
        "SUBMODEL_GATEWAY_RATE_LIMITS": "run=4/1/0",
    }
    with LiveGateway(tmp_path, **settings) as gateway:
        register(gateway, "ns.app")
        with Http(gateway.public, key_text("mine", "k" * 43)) as client:
            url, body = gateway.public + BATCH, b'{"requests": [{"input": 1}, {"input": 2}, {"input": 3}]}'
            answer = urllib3.request("POST", url, body=body, headers=client.headers)
            assert [each.get("code", 200) for each in answer.json()["requests"]] == [200] * 3
            assert answer.headers["RateLimit-Remaining"] == "1"
            told = client.ok("POST", BATCH, {"requests": [{"input": 1}] * 3})["requests"]
            assert [each.get("code", 200) for each in told] == [200, 429, 429]
            assert client.call("POST", "/v2/ns.app/run", {"input": 1})[0] == 429


def test_a_key_for_the_whole_batch_is_refused_with_what_to_do(ports: Ports) -> None:
    ports.client.headers["idempotency-key"] = "k"
    status, answer = ports.client.call("POST", BATCH, {"requests": [{"input": 1}]})
    assert (status, '"idempotencyKey"' in answer["error"]) == (400, True)
