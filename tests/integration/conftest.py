"""A gateway that the tests of a module share, and its ports; a module whose gateway is another one says so itself."""

from collections.abc import Iterator

import pytest

from tests.support.gateway_ports import Ports
from tests.support.live_gateway import LiveGateway


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
