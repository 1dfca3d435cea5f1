"""A store on PostgreSQL for one test."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from submodel_gateway.store.postgres import PostgresStore


@asynccontextmanager
async def started(
    url: str, news: Callable[[Iterable[str]], None] = lambda endpoints: None
) -> AsyncIterator[PostgresStore]:
    """Of the database at `url`; closed afterwards."""
    store = PostgresStore(url)
    await store.start(news)
    yield store
    await store.close()
