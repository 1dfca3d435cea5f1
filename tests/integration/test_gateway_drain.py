"""A gateway that goes down while its database is away: what workers deliver waits as long as it can."""

import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.gateway_ports import TOKEN, register
from tests.support.live_gateway import Http, LiveGateway
from tests.support.postgres import PostgresServer
from tests.support.postgres_proxy import PostgresProxy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def proxy(own_server: PostgresServer) -> Iterator[PostgresProxy]:
    with PostgresProxy(own_server) as between:
        yield between


@pytest.fixture
def gateway(tmp_path: Path, own_server: PostgresServer, proxy: PostgresProxy) -> Iterator[LiveGateway]:
    with own_server.database() as url, LiveGateway(tmp_path, SUBMODEL_GATEWAY_STORE=proxy.url(url)) as started:
        register(started)
        yield started


def taken(gateway: LiveGateway) -> str:
    """A job that an SDK of the hosted platforms runs."""
    with Http(gateway.public) as client, Http(gateway.public, TOKEN) as worker:
        id: str = client.ok("POST", "/v2/e/run", {"input": 1})["id"]
        assert worker.ok("GET", "/v2/e/job-take/w-1?job_in_progress=0")["id"] == id
        return id


def deliver(gateway: LiveGateway, id: str) -> int:
    with Http(gateway.public, TOKEN) as worker:
        return worker.call("POST", f"/v2/e/job-done/w-1/{id}?isStream=false", {"output": "kept"})[0]


@contextmanager
def delivering(gateway: LiveGateway, proxy: PostgresProxy) -> Iterator[tuple[str, Future[int]]]:
    """A job, and the status that its delivery will get, which waits for a database that does not answer."""
    id = taken(gateway)
    proxy.refuse()
    with ThreadPoolExecutor(1) as pool:
        delivery = pool.submit(deliver, gateway, id)
        gateway.wait_for("a worker's delivery waits for the job store")
        yield id, delivery


def test_a_delivery_waits_for_the_database_to_come_back(gateway: LiveGateway, proxy: PostgresProxy) -> None:
    with delivering(gateway, proxy) as (id, delivery):
        assert not delivery.done()
        proxy.allow()
        assert delivery.result(60) == 200
    with Http(gateway.public) as client:
        assert client.ok("GET", f"/v2/e/status/{id}")["output"] == "kept"


def test_a_delivery_is_finished_by_a_gateway_that_goes_down_meanwhile(
    gateway: LiveGateway, proxy: PostgresProxy
) -> None:
    with delivering(gateway, proxy) as (_, delivery):
        gateway.process.send_signal(signal.SIGTERM)
        gateway.wait_for("going down")
        assert not delivery.done()
        proxy.allow()
        assert delivery.result(60) == 200
    assert gateway.terminate() == 0


def test_an_upgrade_takes_a_delivery_that_waits_along(gateway: LiveGateway, proxy: PostgresProxy) -> None:
    with delivering(gateway, proxy) as (id, delivery):
        gateway.process.send_signal(signal.SIGUSR2)
        gateway.wait_for("a fresh process is to take over")
        proxy.allow()
        gateway.wait_for("listening")
        assert delivery.result(60) == 200
    with Http(gateway.public) as client:
        assert client.ok("GET", f"/v2/e/status/{id}")["output"] == "kept"
