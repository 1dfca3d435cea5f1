"""Two operators and one Lease: one acts, the other follows when it ends, dies or is cut off."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from submodel_operator.handlers import PartFailed
from submodel_operator.settings import LeaseSettings
from tests.support.fake_apiserver import FakeApiServer
from tests.support.live_gateway import INTERNAL_TOKEN, LiveGateway
from tests.support.operator_thread import OperatorThread, settings_for

NAMESPACE = "team-a"
LEASE = LeaseSettings("submodel-operator", "submodel", seconds=5)


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    async with FakeApiServer().running() as server:
        yield server


@pytest.fixture
async def pair(server: FakeApiServer, gateway: LiveGateway, tmp_path: Path) -> AsyncIterator[list[OperatorThread]]:
    """The first one acts, the second one stands by."""
    settings = settings_for(gateway.internal, INTERNAL_TOKEN, lease=LEASE)
    operators = [OperatorThread(server, server.kubeconfig(tmp_path), settings)]
    try:
        await operators[0].watching()
        looks = reads(server)
        operators.append(OperatorThread(server, server.kubeconfig(tmp_path), settings))
        await server.store.until(lambda: reads(server) >= looks + 4)
        yield operators
    finally:
        for operator in operators:
            await operator.stop()


def reads(server: FakeApiServer) -> int:
    return sum(method == "GET" and "/leases/" in path for method, path in server.requests)


def holder(server: FakeApiServer) -> str:
    found = server.store.find("leases", LEASE.namespace, LEASE.name)
    return str(found["spec"]["holderIdentity"]) if found else ""


def create(server: FakeApiServer, name: str) -> None:
    spec = {"worker": {"handler": {"inline": "pass"}}}
    server.store.create("submodelendpoints", NAMESPACE, {"metadata": {"name": name}, "spec": spec})


def is_ready(server: FakeApiServer, name: str) -> bool:
    status = server.store.get("submodelendpoints", NAMESPACE, name).get("status") or {}
    return any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or ())


@pytest.mark.slow
async def test_a_standby_watches_and_writes_nothing(server: FakeApiServer, pair: list[OperatorThread]) -> None:
    first = holder(server)
    lists = [path for method, path in server.requests if method == "GET" and path.endswith("/pods")]
    create(server, "tokens-1")
    await server.store.until(lambda: is_ready(server, "tokens-1"))
    assert holder(server) == first
    assert len([path for method, path in server.writes if path.endswith("/deployments")]) == 1
    assert [path for method, path in server.requests if method == "GET" and path.endswith("/pods")] == lists


@pytest.mark.slow
async def test_a_standby_follows_at_once_when_the_holder_ends(
    server: FakeApiServer, pair: list[OperatorThread]
) -> None:
    first = holder(server)
    await pair[0].stop()
    assert pair[0].error is None
    await server.store.until(lambda: holder(server) not in ("", first))
    create(server, "tokens-2")
    await server.store.until(lambda: is_ready(server, "tokens-2"))


@pytest.mark.slow
async def test_a_holder_that_cannot_renew_stops_acting_and_the_standby_follows(
    server: FakeApiServer, pair: list[OperatorThread]
) -> None:
    first = holder(server)

    def refuse_the_first(request: web.Request) -> tuple[int, str] | None:
        renews = request.method == "PUT" and request.path.endswith(f"/leases/{LEASE.name}")
        return (503, "no leader") if renews and holder(server) == first and not pair[0].ended.is_set() else None

    server.faults.append(refuse_the_first)
    await pair[0].run_out()
    assert isinstance(pair[0].error, PartFailed)
    assert "the lease submodel-operator could not be renewed" in str(pair[0].error)
    server.store.failure = None
    await server.store.until(lambda: holder(server) not in ("", first))
