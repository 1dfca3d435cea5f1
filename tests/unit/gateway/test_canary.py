"""The gateway's own job: it moves as all jobs do, nobody sees it, and it says when no job moves."""

from collections.abc import Sequence

import pytest

from submodel_gateway.errors import InvalidRequest, NotFound, StoreAway, StoreError, StoreFull
from submodel_gateway.http.internal import internal_app
from submodel_gateway.jobs.transition import Reason
from submodel_gateway.metrics import table
from submodel_gateway.service import canary
from submodel_gateway.service.canary import PATIENCE_MS, Canary
from submodel_gateway.store import base
from submodel_gateway.store.memory import MemoryStore
from tests.support.gateway_world import ENDPOINT, World, here, world
from tests.support.legacy_worker import Call


class Moody(MemoryStore):
    """The store in memory; `trouble` is raised instead of applying operations of the kind `at`."""

    def __init__(self) -> None:
        super().__init__()
        self.trouble: StoreError | None = None
        self.at: type[base.Operation] = base.Submit
        self.full = False
        self.applied: list[base.Operation] = []

    def apply(self, operations: Sequence[base.Operation], now: int) -> list[base.Outcome]:
        if self.trouble is not None and any(type(each) is self.at for each in operations):
            raise self.trouble
        if self.full and isinstance(operations[0], base.Submit):
            return [base.Refused(Reason.FULL) for _ in operations]
        self.applied += operations
        return super().apply(operations, now)


def only(w: World) -> Canary:
    (found,) = w.gateway.canaries
    return found


async def probed(w: World) -> tuple[int, bytes]:
    answer = await Call(internal_app(w.gateway, "token"), "GET", "/readyz", {}, b"").answer()
    return answer.status, answer.body


async def test_it_goes_through_the_store_and_leaves_nothing_there() -> None:
    store = Moody()
    async with world(store) as w:
        await only(w).begin()
        kinds = [type(each) for each in store.applied if getattr(each, "endpoint", "") == canary.ENDPOINT]
        assert kinds == [base.Submit, base.Take, base.Finish]
        assert len((await store.requests(canary.ENDPOINT, None, 10)).jobs) == 1
        await w.pass_time(1_000)
        assert (await store.requests(canary.ENDPOINT, None, 10)).jobs == ()
        assert only(w).sight().moved_at is not None


async def test_nobody_sees_the_canary_among_the_jobs_of_others() -> None:
    async with world() as w:
        w.gateway.ready = True
        await only(w).begin()
        assert not w.gateway.measures.counts[table.SUBMITTED]
        assert [each.endpoint_id for each in (await w.gateway.snapshots.read(0, None, 0, here())).endpoints] == [
            ENDPOINT
        ]
        with pytest.raises(NotFound):
            await w.gateway.clients.requests(canary.ENDPOINT, None, 10, ())
        with pytest.raises(NotFound):
            await w.gateway.clients.health(canary.ENDPOINT)
        answer = await Call(internal_app(w.gateway, "token"), "GET", "/metrics", {}, b"").answer()
        assert canary.ENDPOINT.encode() not in answer.body
        assert b'submodel_canary_seconds_count{store="1"} 1.0' in answer.body
        with pytest.raises(InvalidRequest, match="the gateway's own"):
            await w.register(canary.ENDPOINT)


async def test_a_gateway_through_whose_store_no_job_moved_is_not_ready_and_says_why() -> None:
    store = Moody()
    store.trouble = StoreAway("the database does not answer")
    async with world(store) as w:
        w.gateway.ready = True
        await only(w).begin()
        status, body = await probed(w)
        assert (status, body) == (
            503,
            b'{"error":"not ready: no job has moved through store 1 yet: the database does not answer"}',
        )
        store.trouble = None
        await only(w).fly()
        status, body = await probed(w)
        assert status == 200
        assert b'"stores":[{"store":"1","movedAtMs":' in body
        assert w.gateway.measures.counts[table.CANARY_FAILURES] == {("1",): 1}


@pytest.mark.parametrize("at", [base.Submit, base.Take, base.Finish])
async def test_a_store_that_goes_away_counts_only_when_workers_are_not_held_for_it_any_longer(
    at: type[base.Operation],
) -> None:
    store = Moody()
    async with world(store) as w:
        w.gateway.ready = True
        await only(w).begin()
        store.trouble, store.at = StoreAway("the database does not answer"), at
        w.clock.ms += PATIENCE_MS - 1
        await only(w).fly()
        status, body = await probed(w)
        assert status == 200
        assert b'"trouble":"the database does not answer"' in body
        w.clock.ms += 1
        status, body = await probed(w)
        assert status == 503
        assert b"through store 1 for 180 seconds: the database does not answer" in body
        store.trouble = None
        await only(w).fly()
        assert (await probed(w))[0] == 200


async def test_one_that_hangs_counts_as_well() -> None:
    async with world() as w:
        w.gateway.ready = True
        await only(w).begin()
        w.clock.ms += PATIENCE_MS
        assert b"for 180 seconds: the last one is still under way" in (await probed(w))[1]


@pytest.mark.parametrize("full", [StoreFull("no space"), None])
async def test_a_full_store_keeps_the_gateway_ready_for_the_jobs_that_are_there(full: StoreError | None) -> None:
    store = Moody()
    async with world(store) as w:
        w.gateway.ready = True
        store.trouble = full
        store.full = full is None
        await only(w).begin()
        assert (await probed(w))[0] == 200


async def test_what_others_left_behind_is_finished_along() -> None:
    store = Moody()
    async with world(store) as w:
        for number in range(3):
            store.apply([left_behind(f"left-{number}")], w.clock.ms)
        await only(w).fly()
        assert not only(w).sight().trouble
        await w.pass_time(1_000)
        assert (await store.requests(canary.ENDPOINT, None, 10)).jobs == ()


def left_behind(id: str) -> base.Submit:
    return base.Submit(
        id=id,
        endpoint=canary.ENDPOINT,
        input=b"null",
        max_attempts=1,
        execution_timeout_ms=60_000,
        ttl_ms=60_000,
        retention_ms=0,
    )


async def test_one_that_another_gateway_finished_meanwhile_has_moved() -> None:
    class Shared(Moody):
        """Another gateway takes whatever is there, right after a submit."""

        def apply(self, operations: Sequence[base.Operation], now: int) -> list[base.Outcome]:
            outcomes = super().apply(operations, now)
            if isinstance(operations[0], base.Submit):
                other = base.Take(
                    endpoint=canary.ENDPOINT, worker="canary", session="other", limit=16, nonce=7, lease_ms=10_000
                )
                super().apply([other], now)
            return outcomes

    async with world(Shared()) as w:
        await only(w).fly()
        assert not only(w).sight().trouble
        assert only(w).sight().moved_at == w.clock.ms
