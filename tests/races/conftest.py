"""The engines that race: the model itself is in memory, so it is not among them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio

from submodel_gateway.store.opening import open_store
from tests.races.arena import Arena
from tests.support.postgres import PostgresServer

GATEWAYS = {"sqlite": 1, "postgres": 2}


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Groups of two gateways that want the same jobs may end in a deadlock; this server sees that soon."""
    with closing(PostgresServer(deadlock_timeout="10ms")) as server:
        yield server


@pytest.fixture(params=GATEWAYS)
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[str]]:
    """One per gateway."""
    if request.param == "sqlite":
        yield [f"sqlite://{tmp_path}/jobs.db"]
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.database() as url:
        yield [url] * GATEWAYS[request.param]


@pytest_asyncio.fixture
async def arena(urls: list[str]) -> AsyncIterator[Arena]:
    stores = [open_store(url) for url in urls]
    for store in stores:
        await store.start(lambda endpoints: None)
    opened = Arena(stores)
    yield opened
    await opened.close()
