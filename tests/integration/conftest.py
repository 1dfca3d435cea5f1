"""What modules of tests share: a gateway with its ports, and databases. One whose gateway is another says so itself."""

from collections.abc import Iterator

import pytest

from tests.support.gateway_ports import Ports
from tests.support.live_gateway import LiveGateway
from tests.support.postgres import PostgresServer, shared_server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    with LiveGateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture
def ports(gateway: LiveGateway) -> Iterator[Ports]:
    """With a worker, and without jobs of the tests before."""
    opened = Ports(gateway)
    opened.exchange()
    opened.client.ok("POST", "/v2/ns.app/purge-queue")
    yield opened
    opened.close()


@pytest.fixture
def url() -> Iterator[str]:
    """Of an empty database, on a server that all tests of this process share."""
    with shared_server().database() as created:
        yield created


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A PostgreSQL for one module, which may stop it, restart it and change its settings."""
    with PostgresServer() as started:
        yield started


@pytest.fixture
def own_url(own_server: PostgresServer) -> Iterator[str]:
    """Of an empty database there."""
    with own_server.database() as created:
        yield created
