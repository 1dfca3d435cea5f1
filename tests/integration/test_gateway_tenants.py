"""Every route of the public port as another tenant sees it: nothing there, and nothing to be learnt from it."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import urllib3

from submodel_gateway.auth.keys import digest_of, key_text
from submodel_gateway.http.operations import BY_PATH, Base
from tests.support.gateway_ports import TOKEN, register
from tests.support.live_gateway import INTERNAL_TOKEN, LiveGateway

PEPPER = "pepper"
OURS, THEIRS = key_text("ours", "o" * 43), key_text("theirs", "t" * 43)
PUSHED = "smk_pushed_" + "p" * 43

CLIENT_ROUTES = [
    (method, f"{base}/{{endpoint}}/{path.format(id='x', path='v1/models', model='a/b')}")
    for base in Base
    for path, operation in BY_PATH.items()
    for method in operation.methods
]
WORKER_ROUTES = [
    ("POST", "/v2/{endpoint}/workers/w/exchange"),
    ("GET", "/v2/{endpoint}/ping/w"),
    ("POST", "/v2/{endpoint}/job-done/w/x"),
    ("POST", "/v2/{endpoint}/job-stream/w/x"),
]
"""Those that ask for jobs are held before they are refused: see the unit tests of the legacy dialect."""


@dataclass(frozen=True)
class Answer:
    """What a stranger can see of an answer."""

    status: int
    body: str
    headers: tuple[str, ...]


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("keys")
    for id, letter, reach in (("ours", "o", "ns.*"), ("theirs", "t", "theirs.*")):
        document = {"id": id, "digest": digest_of(PEPPER, letter * 43), "endpoints": [reach]}
        (folder / f"{id}.json").write_text(json.dumps(document))
    keys = {"SUBMODEL_GATEWAY_KEYS": str(folder), "SUBMODEL_GATEWAY_KEY_PEPPER": PEPPER}
    with LiveGateway(tmp_path_factory.mktemp("gateway"), **keys) as gateway:
        register(gateway, "ns.app")
        register(gateway, "theirs.app", workerTokens=[], apiKeys=[pushed()])
        yield gateway.public


def pushed() -> dict[str, str]:
    return {"id": "pushed", "sha256": hashlib.sha256(PUSHED.encode()).hexdigest()}


def ask(public: str, method: str, path: str, endpoint: str, credential: str) -> Answer:
    answer = urllib3.request(
        method,
        public + path.format(endpoint=endpoint),
        body=b'{"input": 1}' if method == "POST" else None,
        headers={"Authorization": f"Bearer {credential}"} if credential else {},
        retries=False,
    )
    headers = sorted(name.lower() for name in answer.headers if name.lower() != "content-length")
    return Answer(answer.status, answer.data.decode().replace(endpoint, "<endpoint>"), tuple(headers))


@pytest.mark.requirement("client.foreign")
@pytest.mark.parametrize(("method", "path"), CLIENT_ROUTES)
def test_an_endpoint_of_others_is_as_one_that_does_not_exist(public: str, method: str, path: str) -> None:
    for credential in (THEIRS, PUSHED):
        foreign = ask(public, method, path, "ns.app", credential)
        assert foreign.status == 404
        assert foreign == ask(public, method, path, "theirs.none" if credential == THEIRS else "ns.none", credential)


@pytest.mark.parametrize(("method", "path"), CLIENT_ROUTES)
def test_a_caller_without_a_key_learns_no_names(public: str, method: str, path: str) -> None:
    for credential in ("", "smk_nobody_" + "x" * 43, TOKEN, INTERNAL_TOKEN):
        answer = ask(public, method, path, "ns.app", credential)
        assert answer.status == 401
        assert answer == ask(public, method, path, "ns.none", credential)


@pytest.mark.parametrize(("method", "path"), WORKER_ROUTES)
def test_routes_of_workers_tell_clients_and_strangers_nothing(public: str, method: str, path: str) -> None:
    for credential in ("", "unknown", OURS, PUSHED, INTERNAL_TOKEN):
        answer = ask(public, method, path, "ns.app", credential)
        assert answer.status == 401
        assert answer == ask(public, method, path, "ns.none", credential)


@pytest.mark.parametrize(("method", "path"), WORKER_ROUTES)
def test_a_worker_finds_no_endpoint_but_its_own(public: str, method: str, path: str) -> None:
    foreign = ask(public, method, path, "theirs.app", TOKEN)
    assert foreign.status == 404
    assert foreign == ask(public, method, path, "theirs.none", TOKEN)


def test_a_key_of_an_endpoint_opens_it(public: str) -> None:
    assert ask(public, "GET", "/v2/{endpoint}/health", "theirs.app", PUSHED).status == 200
    assert ask(public, "GET", "/v2/{endpoint}/health", "theirs.app", THEIRS).status == 200
