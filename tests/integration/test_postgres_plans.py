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
from tests.support.postgres import shared_server
from tests.support.store_operations import ENDPOINT, EVER, keyed, submit, take

NOW = 1_700_000_000_000
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
    (sql.NEW_JOBS, ("[]", NOW), {"job_pkey", "idempotency_pkey"}),
    (sql.READ_JOBS, (["a"],), {"job_pkey"}),
    (sql.RESULTS, (["a"],), {"result_pkey", "job_pkey"}),
    (sql.NEWEST, (ENDPOINT, 9, ["FAILED"], 9), {"job_newest"}),
    (sql.BACKLOGS, ([ENDPOINT], [NOW]), {"job_waiting", "job_low"}),
    (sql.AHEAD, (ENDPOINT, NOW, 9), {"job_ready"}),
    (sql.NEXT_DUE, (NOW,), {"job_due", "job_delayed", "idempotency_expiry"}),
]


@pytest.fixture(params=["new", "full"])
def jobs(request: pytest.FixtureRequest) -> int:
    return 0 if request.param == "new" else 3_000


@pytest.fixture
def url() -> Iterator[str]:
    with shared_server().database() as created:
        yield created


@pytest_asyncio.fixture
async def desk(url: str, jobs: int) -> AsyncIterator[Desk]:
    store = PostgresStore(url)
    await store.start(lambda endpoints: None)
    submits = [submit(f"job-{number}", idempotency=keyed(f"k-{number}"), webhook="u") for number in range(jobs)]
    if submits:
        await asyncio.to_thread(store.apply, [*submits, take(limit=jobs // 2)], NOW)
        await store._desk.fetch("ANALYZE")
    yield store._desk
    await store.close()


async def test_the_hot_statements_go_by_their_indexes(desk: Desk) -> None:
    for statement, values, indexes in PLANS:
        plan = "\n".join(row[0] for row in await desk.fetch(f"EXPLAIN (COSTS OFF) {statement}", *values))
        assert "Seq Scan" not in plan, plan
        assert {index for index in indexes if f" {index}" in plan} == indexes, plan


async def test_a_take_reads_no_more_of_the_queue_than_it_takes(desk: Desk) -> None:
    plan = "\n".join(row[0] for row in await desk.fetch(f"EXPLAIN (COSTS OFF) {sql.READY}", ENDPOINT, NOW, NOW, 9))
    first, *_ = plan.partition("->  CTE Scan")
    assert "LockRows" in first
    assert "Index Scan using job_ready" in first
