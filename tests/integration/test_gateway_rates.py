"""Rate limits over HTTP: what an answer says of them, what a refusal looks like, and that workers have none."""

import json
from collections.abc import Iterator

import pytest
import urllib3

from submodel_gateway.auth.keys import digest_of, key_text
from tests.support.gateway_ports import TOKEN, register
from tests.support.live_gateway import Http, LiveGateway

PEPPER = "pepper"
FEW, MANY = key_text("few", "f" * 43), key_text("many", "m" * 43)


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("keys")
    for id, letter in (("few", "f"), ("many", "m")):
        document = {"id": id, "digest": digest_of(PEPPER, letter * 43), "scopes": ["read", "run"]}
        (folder / f"{id}.json").write_text(json.dumps(document))
    settings = {
        "SUBMODEL_GATEWAY_KEYS": str(folder),
        "SUBMODEL_GATEWAY_KEY_PEPPER": PEPPER,
        "SUBMODEL_GATEWAY_RATE_LIMITS": "run=3/off/0 status=off/1 requests=off openai=1/off/0",
        "SUBMODEL_GATEWAY_QUEUE_LIMIT": "1",
    }
    with LiveGateway(tmp_path_factory.mktemp("gateway"), **settings) as gateway:
        register(gateway, "ns.app", workersMax=1, models=["a"])
        yield gateway.public


def call(public: str, key: str, method: str, path: str, body: bytes | None = None) -> urllib3.BaseHTTPResponse:
    headers = {"Authorization": f"Bearer {key}"}
    return urllib3.request(method, f"{public}/v2/ns.app/{path}", body=body, headers=headers, retries=False)


@pytest.mark.requirement("platform.rates")
def test_answers_say_what_is_left_and_refusals_when_to_come_back(public: str) -> None:
    answers = [call(public, FEW, "POST", "run", b'{"input": 1}') for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert {answer.headers["RateLimit-Limit"] for answer in answers} == {"3"}
    assert 1 <= int(answers[3].headers["Retry-After"]) <= 4
    assert 1 <= int(answers[3].headers["RateLimit-Reset"]) <= 10
    assert answers[3].json()["error"] == "more than 3 requests of run in 10 s at this endpoint; come back later"
    assert "Retry-After" not in answers[0].headers


def test_an_error_after_the_door_counts_and_says_what_is_left(public: str) -> None:
    answer = call(public, MANY, "POST", "run", b"no json")
    assert (answer.status, answer.headers["RateLimit-Remaining"]) == (400, "2")


def test_a_caller_who_is_not_let_in_hears_nothing_of_limits(public: str) -> None:
    for key, status in ((FEW[:-1], 401), ("", 401)):
        answer = call(public, key, "POST", "run", b'{"input": 1}')
        assert answer.status == status
        assert not [name for name in answer.headers if name.lower().startswith("ratelimit")]


def test_an_operation_without_a_rate_says_nothing_of_one(public: str) -> None:
    for _ in range(20):
        answer = call(public, MANY, "GET", "requests")
        assert answer.status == 200
        assert "RateLimit-Limit" not in answer.headers


def test_a_held_request_is_under_way_until_its_caller_goes(public: str) -> None:
    job = call(public, MANY, "POST", "run", b'{"input": 1}').json()["id"]
    pool = urllib3.PoolManager(timeout=0.5, retries=False, headers={"Authorization": f"Bearer {MANY}"})
    with pytest.raises(urllib3.exceptions.TimeoutError):
        pool.request("GET", f"{public}/v2/ns.app/status-sync/{job}")
    for _ in range(2_000):
        # The gateway sees the connection end in its own time; until then there is no second one.
        answer = call(public, MANY, "GET", f"status/{job}")
        if answer.status == 200:
            return
        assert "1 requests of status at this endpoint are under way" in answer.json()["error"]
    raise AssertionError("the request of a caller who is gone is still under way")


def test_clients_of_openais_api_are_refused_in_its_words(public: str) -> None:
    answers = [call(public, MANY, "GET", "openai/v1/models") for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 429]
    assert answers[1].json()["error"]["message"].startswith("more than 1 requests of openai")
    assert answers[1].headers["RateLimit-Remaining"] == "0"
    assert int(answers[1].headers["Retry-After"]) >= 1


def test_workers_have_no_limit(public: str) -> None:
    with Http(public, TOKEN) as worker:
        for number in range(1, 30):
            message = {"session": "s", "request": number, "phase": "ready"}
            worker.ok("POST", "/v2/ns.app/workers/w-1/exchange", message)
