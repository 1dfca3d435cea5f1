"""Two gateways probe the open breakers of the same endpoints, in opposite orders: neither holds what the other wants.

Nothing is left to chance. A third session holds the lock that both need first; while they wait for it they must hold
nothing. If one of them held the other lock already, the two would wait for each other as soon as they met.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg
import pytest

from submodel_gateway.jobs.breaker import LOSSES_MAX
from submodel_gateway.store import base
from submodel_gateway.store.opening import open_store
from tests.support.postgres import PostgresServer
from tests.support.store_operations import gone, submit, take

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("races-locks")]

NOW = 1_700_000_000_000
FIRST, LAST = "ns.B", "ns.a"
"""As bytes; people's collations have it the other way round."""

WAITERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%breaker%FOR UPDATE%'
"""
HELD = "SELECT 1 FROM submodel.breaker WHERE endpoint = %s FOR UPDATE NOWAIT"


@pytest.fixture(params=["on", "off"])
def url(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[str]:
    """Of a database whose planner finds rows by an index, or else in the order in which they lie there."""
    with postgres.database() as created:
        name = urlsplit(created).path[1:]
        postgres.execute(f"ALTER DATABASE {name} SET enable_indexscan = {request.param}")
        yield created


async def opened(url: str) -> base.Store:
    store = open_store(url)
    await store.start(lambda endpoints: None)
    return store


def open_breaker(store: base.Store, endpoint: str) -> None:
    """More jobs lose a worker than the endpoint bears."""
    store.apply([submit(f"{endpoint}-{number}", endpoint) for number in range(LOSSES_MAX + 1)], NOW)
    store.apply([take(limit=LOSSES_MAX + 1, endpoint=endpoint)], NOW)
    store.apply([gone(endpoint=endpoint)], NOW)


@contextmanager
def holding(session: "psycopg.Connection[tuple[object, ...]]", endpoint: str) -> Iterator[None]:
    """The endpoint's breaker is locked within it."""
    with session.transaction():
        session.execute(HELD, [endpoint])
        yield


def probe(store: base.Store, endpoints: list[str], taken: list[base.Outcome]) -> threading.Thread:
    """A group of takes, applied in a thread of its own."""
    thread = threading.Thread(
        target=lambda: taken.extend(
            store.apply([take(endpoint=each, nonce=hash(each) & 0xFFFF) for each in endpoints], NOW)
        )
    )
    thread.start()
    return thread


async def test_groups_over_the_same_breakers_lock_them_in_one_order(url: str) -> None:
    gateways = [await opened(url), await opened(url)]
    for endpoint in (LAST, FIRST):  # as they lie in the table
        open_breaker(gateways[0], endpoint)
    taken: list[base.Outcome] = []
    with psycopg.connect(url, autocommit=True) as holder, psycopg.connect(url, autocommit=True) as watcher:
        with holding(holder, FIRST):
            threads = [
                probe(store, order, taken)
                for store, order in zip(gateways, ([FIRST, LAST], [LAST, FIRST]), strict=True)
            ]
            while watcher.execute(WAITERS).fetchall() != [(2,)]:
                assert all(thread.is_alive() for thread in threads)
            with watcher.transaction():
                # Raises where somebody holds it.
                watcher.execute(HELD, [LAST])
        for thread in threads:
            thread.join()
    leases = [lease.job.endpoint for each in taken if isinstance(each, base.Taken) for lease in each.leases]
    assert sorted(leases) == [FIRST, LAST], "one probe of each endpoint"
    for store in gateways:
        await store.close()
