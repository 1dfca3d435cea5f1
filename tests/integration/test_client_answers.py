"""Both clients and answers that a gateway gives only under load, or that another server gives."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import submodel
from submodel import errors
from submodel.client import calls
from submodel.client.answers import NoAnswer
from submodel.client.connections import Connections
from submodel.client.sessions import Sessions
from submodel.client.settings import Target
from tests.support.client_world import CLIENTS, ENDPOINT, ClientFace, Kind
from tests.support.free_ports import free_port
from tests.support.scripted_server import Asked, Reply, ScriptedServer

HEALTH = calls.health(ENDPOINT)
SUBMITTED = Reply(body=b'{"id": "j-1", "status": "IN_QUEUE"}')


@pytest.fixture(params=CLIENTS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return CLIENTS[request.param]


class World:
    """A server that gives some answers in order, then one for ever."""

    def __init__(self, *first: Reply, then: Reply = SUBMITTED) -> None:
        self._first = list(first)
        self._then = then
        self.server = ScriptedServer(self._answer)

    def _answer(self, asked: Asked) -> Reply:
        return self._first.pop(0) if self._first else self._then

    @contextmanager
    def client(self, kind: Kind, key: str | None = None) -> Iterator[ClientFace]:
        with self.server, pytest.MonkeyPatch.context() as patch:
            patch.setattr(submodel, "endpoint_url_base", f"{self.server.url}/v2", raising=False)
            client = kind(ENDPOINT, key)
            yield client
            client.close()


def test_a_busy_gateway_is_asked_again_with_the_same_request(kind: Kind) -> None:
    world = World(*(Reply(status, b'{"error": "busy"}', {"Retry-After": "0"}) for status in (429, 502, 503)))
    with world.client(kind) as client:
        assert client.run({"items": 1}).id == "j-1"
    asked = world.server.asked
    assert [one.path for one in asked] == [f"/v2/{ENDPOINT}/run"] * 4
    assert len({(one.headers["idempotency-key"], one.body) for one in asked}) == 1


def test_two_submits_have_keys_of_their_own(kind: Kind) -> None:
    world = World()
    with world.client(kind) as client:
        client.run({})
        client.run({})
    assert len({one.headers["idempotency-key"] for one in world.server.asked}) == 2


def test_a_time_that_the_caller_does_not_have_is_not_waited_for(kind: Kind) -> None:
    world = World(then=Reply(429, b'{"error": "too many"}', {"Retry-After": "3600"}))
    with world.client(kind) as client, pytest.raises(errors.GatewayUnavailable, match="too many"):
        client.health()
    assert len(world.server.asked) == 1


def test_the_key_is_sent_as_bearer_token(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submodel, "api_key", "of the process", raising=False)
    sent = []
    for key in (None, "of the endpoint"):
        world = World()
        with world.client(kind, key) as client:
            client.run({}).status()
        sent += [one.headers["authorization"] for one in world.server.asked]
    assert sent == ["Bearer of the process"] * 2 + ["Bearer of the endpoint"] * 2


def test_a_refused_key_is_an_error_of_its_own(kind: Kind) -> None:
    world = World(then=Reply(401, b'{"error": "the API key is unknown"}'))
    with world.client(kind) as client, pytest.raises(errors.Unauthorized, match="the API key is unknown"):
        client.run({})
    assert len(world.server.asked) == 1


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED", "TIMED_OUT"])
def test_loops_end_with_every_final_status(kind: Kind, status: str) -> None:
    body = b'{"id": "j-1", "status": "%s", "stream": [], "error": "why"}' % status.encode()
    world = World(then=Reply(body=body))
    with world.client(kind) as client:
        with pytest.raises(errors.JobEnded, match="why"):
            list(client.job("j-1").stream())
        with pytest.raises(errors.JobEnded, match="why"):
            client.job("j-1").output(timeout=20)
        with pytest.raises(errors.JobEnded, match="why"):
            client.run_sync({})
    assert len(world.server.asked) == 4


@pytest.mark.parametrize("reply", [Reply(body=b"<html>"), Reply(302, headers={"Location": "/login"})])
def test_another_server_at_the_base_url_is_told(kind: Kind, reply: Reply) -> None:
    world = World(then=reply)
    with world.client(kind) as client, pytest.raises(errors.ConfigurationError, match="is the base URL right"):
        client.run({})
    assert len(world.server.asked) == 1


async def test_a_try_tells_whether_it_may_have_been_carried_out() -> None:
    nobody = Target(f"http://127.0.0.1:{free_port()}/v2", None)
    with ScriptedServer(lambda asked: Reply(headers={"Content-Length": "9"}, cut=True)) as server:
        cutting = Target(f"{server.url}/v2", None)
        for target, carried_out in ((nobody, False), (cutting, True)):
            connections, sessions = Connections(target), Sessions(target, None)
            outcomes = connections.exchange(HEALTH, 5), await sessions.exchange(HEALTH, 5)
            assert [isinstance(one, NoAnswer) and one.carried_out for one in outcomes] == [carried_out] * 2
            connections.close()
            await sessions.close()
