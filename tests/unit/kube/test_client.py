"""What the client makes of the API server's answers."""

import json
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from submodel_operator.errors import ClusterRefused, ClusterUnavailable, Conflict, OperatorError
from submodel_operator.kube import KubeClient, load_connection, open_client
from submodel_operator.kube.client import DEPTH_MAX, PAGE_SIZE, _decoded, _plural
from submodel_operator.kube.resources import CONFIG_MAPS, ENDPOINTS
from tests.support.fake_apiserver import FakeApiServer


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    async with FakeApiServer().running() as server:
        yield server


@pytest.fixture
async def client(server: FakeApiServer, tmp_path: Path) -> AsyncIterator[KubeClient]:
    async with open_client({"KUBECONFIG": server.kubeconfig(tmp_path)}) as client:
        yield client


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, ClusterRefused),
        (403, ClusterRefused),
        (409, Conflict),
        (422, ClusterRefused),
        (401, ClusterUnavailable),
        (410, ClusterUnavailable),
        (429, ClusterUnavailable),
        (500, ClusterUnavailable),
        (503, ClusterUnavailable),
    ],
)
async def test_an_error_keeps_the_servers_words(
    server: FakeApiServer, client: KubeClient, status: int, error: type[OperatorError]
) -> None:
    server.faults.append(lambda request: (status, "words of the server"))
    with pytest.raises(error, match="words of the server") as raised:
        await client.get(ENDPOINTS, "n", "e")
    assert type(raised.value) is error


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("soon", 0.0)])
async def test_an_overloaded_server_says_when_to_come_back(
    server: FakeApiServer, client: KubeClient, header: str, seconds: float
) -> None:
    server.faults.append(lambda request: web.Response(status=429, headers={"Retry-After": header}))
    with pytest.raises(ClusterUnavailable) as raised:
        await client.get(ENDPOINTS, "n", "e")
    assert raised.value.retry_after_seconds == seconds


async def test_no_answer_is_unavailable(server: FakeApiServer, client: KubeClient) -> None:
    def cut(request: web.Request) -> None:
        if request.transport:
            request.transport.abort()

    server.faults.append(cut)
    with pytest.raises(ClusterUnavailable, match="GET /apis/"):
        await client.get(ENDPOINTS, "n", "e")


async def test_absence_is_a_value(client: KubeClient) -> None:
    assert await client.get(CONFIG_MAPS, "n", "c") is None
    await client.delete(CONFIG_MAPS, "n", "c", "uid-1")


async def test_a_taken_name_is_a_value(client: KubeClient) -> None:
    manifest = {"metadata": {"name": "c"}, "data": {}}
    assert await client.create(CONFIG_MAPS, "n", manifest, "m") is not None
    assert await client.create(CONFIG_MAPS, "n", manifest, "m") is None


async def test_a_list_comes_in_pages(server: FakeApiServer, client: KubeClient) -> None:
    for number in range(PAGE_SIZE + 1):
        server.store.create("configmaps", "n", {"metadata": {"name": f"c{number}"}})
    assert [len(page) async for page in client.pages(CONFIG_MAPS, "n")] == [PAGE_SIZE, 1]


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("read", [lambda text: _decoded(text, "/"), json.loads], ids=["lists", "watches"])
def test_an_object_as_deep_as_the_api_server_takes_it_can_be_read(read: Callable[[bytes], Any]) -> None:
    levels = DEPTH_MAX - 1
    found = read(b'{"a":' * levels + b"{}" + b"}" * levels)
    assert list(found) == ["a"]
    assert len(json.dumps(found)) > levels, "as it is hashed"


async def test_a_list_that_expires_midway_starts_over(server: FakeApiServer, client: KubeClient) -> None:
    for number in range(PAGE_SIZE + 1):
        server.store.create("configmaps", "n", {"metadata": {"name": f"c{number}"}})
    expired: list[str] = []

    def expire(request: web.Request) -> tuple[int, str] | None:
        if request.query.get("continue") and not expired:
            expired.append(request.path)
            return 410, "the provided continue parameter is too old"
        return None

    server.faults.append(expire)
    assert [len(page) async for page in client.pages(CONFIG_MAPS, "n")] == [PAGE_SIZE, PAGE_SIZE, 1]


async def test_the_credentials_of_the_kubeconfig_are_sent(
    server: FakeApiServer, client: KubeClient, tmp_path: Path
) -> None:
    seen: list[str | None] = []
    server.faults.append(lambda request: seen.append(request.headers.get("Authorization")))
    await client.get(ENDPOINTS, "n", "e")
    assert seen == ["Bearer fake"]
    connection = await load_connection({"KUBECONFIG": server.kubeconfig(tmp_path)})
    assert (connection.server, connection.token) == (server.url, "fake")


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/api/v1/namespaces/team/pods/a", "pods"),
        ("/apis/apps/v1/namespaces/team/deployments/a/scale", "deployments/scale"),
        ("/apis/serverless.submodel.ai/v1alpha1/submodelendpoints", "submodelendpoints"),
        ("/apis/serverless.submodel.ai/v1alpha1", "discovery"),
    ],
)
def test_requests_are_counted_by_kind_and_never_by_name(path: str, resource: str) -> None:
    assert _plural(path) == resource


async def test_the_server_hears_who_asks(server: FakeApiServer, client: KubeClient) -> None:
    heard: list[str] = []
    server.faults.append(lambda request: heard.append(request.headers["User-Agent"]))
    await client.get(ENDPOINTS, "n", "e")
    assert heard == [f"submodel-operator/{version('submodel-operator')}"]
