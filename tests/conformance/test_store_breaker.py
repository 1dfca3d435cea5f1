"""The breaker of an endpoint: jobs that take worker after worker down get one worker at a time."""

from submodel_gateway.jobs.breaker import CLOSED, LOSSES_MAX, WINDOW_MS, is_open
from submodel_gateway.store import base
from submodel_gateway.store.base import Store
from tests.support.store_calls import NOW, applied, one, read, running, state, swept, taken
from tests.support.store_operations import ENDPOINT, LEASE_MS, cancel, finish, gone, lose, submit, take

POISONED = [f"job-{number}" for number in range(LOSSES_MAX + 1)]


def lose_a_worker(store: Store, *ids: str, now: int = NOW) -> None:
    """New jobs, each of which takes down a worker, as do those that are queued already."""
    store.apply([submit(id) for id in ids], now)
    taken(store, take(limit=99), now)
    one(store, gone(), now)


async def test_it_opens_when_more_than_five_jobs_lost_a_worker_and_lets_one_probe_through(store: Store) -> None:
    lose_a_worker(store, *POISONED[:-1])
    assert not is_open(await store.breaker(ENDPOINT), NOW)
    lose_a_worker(store, POISONED[-1])
    breaker = await store.breaker(ENDPOINT)
    assert is_open(breaker, NOW)
    assert sorted(loss.job for loss in breaker.losses) == POISONED
    assert len(taken(store, take(limit=9))) == 1
    assert taken(store, take(limit=9, worker="v", nonce=8)) == []


async def test_one_job_that_is_lost_again_and_again_does_not_open_it(store: Store) -> None:
    running(store, max_attempts=99)
    for _ in range(LOSSES_MAX + 3):
        one(store, gone())
        (job,) = taken(store, now=(await read(store)).run_at or NOW)
    one(store, lose(job))
    assert not is_open(await store.breaker(ENDPOINT), NOW)


async def test_losses_that_are_not_charged_and_releases_do_not_count(store: Store) -> None:
    store.apply([submit(id) for id in POISONED], NOW)
    taken(store, take(limit=9))
    one(store, gone(charged=False))
    assert await store.breaker(ENDPOINT) == CLOSED


async def test_the_probe_that_is_lost_is_followed_by_the_next_one(store: Store) -> None:
    lose_a_worker(store, *POISONED)
    (probe,) = taken(store, take(limit=9))
    one(store, lose(probe))
    (other,) = taken(store, take(limit=9))
    assert other.id != probe.id


async def test_a_delivered_result_closes_it(store: Store) -> None:
    lose_a_worker(store, *POISONED)
    (probe,) = taken(store, take(limit=9))
    applied(store, finish(probe))
    assert await store.breaker(ENDPOINT) == CLOSED
    assert len(taken(store, take(limit=9))) == len(POISONED) - 1


async def test_a_delivered_error_closes_it_too(store: Store) -> None:
    lose_a_worker(store, *POISONED)
    (probe,) = taken(store)
    applied(store, finish(probe, error="boom"))
    assert await store.breaker(ENDPOINT) == CLOSED


async def test_what_ends_without_a_worker_does_not_close_it(store: Store) -> None:
    lose_a_worker(store, *POISONED)
    (probe,) = taken(store)
    applied(store, cancel(probe))
    assert is_open(await store.breaker(ENDPOINT), NOW)


async def test_an_open_breaker_closes_with_time(store: Store) -> None:
    lose_a_worker(store, *POISONED)
    assert len(taken(store, take(limit=2), NOW + WINDOW_MS - 1)) == 1
    assert len(taken(store, take(limit=2, nonce=8), NOW + WINDOW_MS)) == 2


async def test_it_closes_before_anything_is_handed_out_in_the_same_group(store: Store) -> None:
    lose_a_worker(store, *POISONED)
    (probe,) = taken(store)
    outcomes = store.apply([finish(probe), take(limit=2, nonce=8)], NOW)
    assert isinstance(outcomes[1], base.Taken)
    assert len(outcomes[1].leases) == 2


async def test_expired_leases_and_failures_for_good_count_as_losses(store: Store) -> None:
    store.apply([submit(id, max_attempts=1) for id in POISONED], NOW)
    taken(store, take(limit=9))
    assert len(swept(store, NOW + LEASE_MS)) == len(POISONED)
    assert {(await state(store, id)).value for id in POISONED} == {"FAILED"}
    assert is_open(await store.breaker(ENDPOINT), NOW + LEASE_MS)


async def test_an_open_breaker_holds_back_no_other_endpoint(store: Store) -> None:
    lose_a_worker(store, *POISONED)
    store.apply([submit(id, endpoint="other") for id in ("x", "y")], NOW)
    assert await store.breaker("other") == CLOSED
    assert len(taken(store, take(limit=9, endpoint="other"))) == 2
    one(store, gone(endpoint="other"))
    assert len((await store.breaker("other")).losses) == 2
    assert len(taken(store, take(limit=9))) == 1


async def test_a_result_at_another_endpoint_does_not_close_it(store: Store) -> None:
    lose_a_worker(store, *POISONED)
    applied(store, submit("x", endpoint="other"))
    (other,) = taken(store, take(endpoint="other"))
    applied(store, finish(other))
    assert is_open(await store.breaker(ENDPOINT), NOW)


async def test_a_deleted_endpoint_takes_its_breaker_along(store: Store) -> None:
    lose_a_worker(store, *POISONED)
    one(store, base.DeleteEndpoint(endpoint=ENDPOINT))
    assert await store.breaker(ENDPOINT) == CLOSED
