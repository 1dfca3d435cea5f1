"""The statements on the hot path go by their indexes, whether the tables are new or full."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
import pytest_asyncio

from submodel_gateway.store.postgres import PostgresStore
from submodel_gateway.store.postgres import statements as sql
from submodel_gateway.store.postgres.asking import Desk
from submodel_gateway.store.postgres.columns import document
from tests.support.postgres_store import started
from tests.support.store_operations import ENDPOINT, EVER, keyed, submit, take

NOW = 1_700_000_000_000
JOBS = 3_000
PURGES = document([{"endpoint": ENDPOINT, "up_to": EVER, "most": 9, "running": True}])
WORKERS = document([{"endpoint": ENDPOINT, "worker": "w"}])

PLANS: list[tuple[str, Sequence[Any], set[str]]] = [
    (sql.LOCK_JOBS, (["a", "b"],), {"job_pkey"}),
    (sql.LOCK_MANY, (["a"], WORKERS, PURGES, PURGES), {"job_pkey", "job_holder", "job_ready"}),
    (sql.READY, (ENDPOINT, NOW, NOW, 9), {"job_ready", "payload_pkey"}),
    (sql.DUE, (NOW, 9), {"job_due"}),
    (sql.QUEUED, (ENDPOINT, EVER, 9), {"job_ready"}),
    (sql.HELD, (ENDPOINT, "w"), {"job_holder"}),
    (sql.ANY_RUNNING, (ENDPOINT,), {"job_holder"}),
    (sql.UPDATE_JOBS, ("[]",), {"job_pkey"}),
    (sql.DROP_RESULTS, (["a"],), {"result_pkey", "blob_part_pkey"}),
    (sql.DUE_WEBHOOKS, (NOW, 9), {"webhook_due"}),
    (sql.EXPIRE_KEYS, (NOW, 9), {"idempotency_expiry", "idempotency_pkey"}),
    (sql.DROP_ENDPOINTS_KEYS, (ENDPOINT, 9), {"idempotency_pkey"}),
    (sql.NEW_JOBS, ("[]", NOW), {"job_pkey", "idempotency_pkey"}),
    (sql.READ_JOBS, (["a"],), {"job_pkey"}),
    (sql.RESULTS, (["a"],), {"result_pkey", "job_pkey"}),
    (sql.NEWEST, (ENDPOINT, 9, ["FAILED"], 9), {"job_newest"}),
    (sql.BACKLOGS, ([ENDPOINT], [NOW]), {"job_waiting", "job_low"}),
    (sql.AHEAD, (ENDPOINT, NOW, 9), {"job_ready"}),
    (sql.NEXT_DUE, (NOW,), {"job_due", "job_delayed", "idempotency_expiry"}),
    (sql.READER, ("a",), {"reader_pkey"}),
]


@pytest.fixture(params=["new", "full"])
def tables(request: pytest.FixtureRequest) -> str:
    """As what the server knows its tables."""
    return str(request.param)


@pytest_asyncio.fixture
async def store(url: str, tables: str) -> AsyncIterator[PostgresStore]:
    async with started(url) as store:
        if tables != "new":
            await _fill(store)
            await store._desk.fetch("ANALYZE")
        yield store


@pytest_asyncio.fixture
async def plans(store: PostgresStore) -> list[tuple[str, set[str], list[dict[str, Any]]]]:
    """Statements, the indexes that each is made for, and the nodes of its plan that look rows up."""
    return [(each, indexes, await _scans(store._desk, each, values)) for each, values, indexes in PLANS]


async def test_the_hot_statements_go_by_their_indexes(plans: list[tuple[str, set[str], list[dict[str, Any]]]]) -> None:
    for statement, indexes, scans in plans:
        assert {scan.get("Index Name") for scan in scans} >= indexes, f"{scans} of {statement}"


async def test_the_hot_statements_read_no_table_and_no_index_as_a_whole(
    plans: list[tuple[str, set[str], list[dict[str, Any]]]],
) -> None:
    # A join that goes through all of an index is as slow as one through all of its table.
    whole = [(statement, scan) for statement, _, scans in plans for scan in scans if "Index Cond" not in scan]
    assert not whole


async def test_a_take_reads_no_more_of_the_queue_than_it_takes(store: PostgresStore) -> None:
    explain = f"EXPLAIN (COSTS OFF) {sql.READY}"
    plan = "\n".join(row[0] for row in await store._desk.fetch(explain, ENDPOINT, NOW, NOW, 9))
    first, *_ = plan.partition("->  CTE Scan")
    assert "LockRows" in first
    assert "Index Scan using job_ready" in first


async def _fill(store: PostgresStore) -> None:
    """Jobs, of which every other one runs."""
    submits = [submit(f"job-{number}", idempotency=keyed(f"k-{number}"), webhook="u") for number in range(JOBS)]
    await asyncio.to_thread(store.apply, [*submits, take(limit=JOBS // 2)], NOW)


async def _scans(desk: Desk, statement: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    ((plans,),) = await desk.fetch(f"EXPLAIN (COSTS OFF, FORMAT JSON) {statement}", *values)
    return list(_lookups(plans[0]["Plan"]))


def _lookups(plan: Any) -> Iterator[dict[str, Any]]:
    """The nodes that look rows up."""
    if "Index Name" in plan or plan["Node Type"] == "Seq Scan":
        yield plan
    for below in plan.get("Plans", ()):
        yield from _lookups(below)
