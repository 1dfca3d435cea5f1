"""Idempotency keys: at most one job per endpoint, client and key."""

from submodel.contract.states import JobState
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.jobs.transition import Reason
from submodel_gateway.store import base
from submodel_gateway.store.base import Store
from tests.support.store_calls import NOW, applied, one, running, swept, taken
from tests.support.store_operations import ENDPOINT, RETENTION_MS, cancel, finish, keyed, submit, sweep

DAY_MS = 86_400_000


async def test_a_repeated_submit_leads_to_the_first_job(store: Store) -> None:
    applied(store, submit("a", idempotency=keyed()))
    assert one(store, submit("b", idempotency=keyed())) == base.Repeated("a", JobState.IN_QUEUE)
    assert await store.job(ENDPOINT, "b") is None
    assert store.tally(ENDPOINT) == Tally(queued=1, arrived=1)


async def test_a_repeated_submit_tells_the_present_state(store: Store) -> None:
    job = running(store, idempotency=keyed())
    assert one(store, submit("b", idempotency=keyed())) == base.Repeated("a", JobState.IN_PROGRESS)
    applied(store, finish(job))
    assert one(store, submit("b", idempotency=keyed())) == base.Repeated("a", JobState.COMPLETED)


async def test_repeats_in_one_group_make_one_job(store: Store) -> None:
    outcomes = store.apply([submit(id, idempotency=keyed()) for id in "abc"], NOW)
    assert outcomes[1:] == [base.Repeated("a", JobState.IN_QUEUE)] * 2
    assert store.tally(ENDPOINT) == Tally(queued=1, arrived=1)


async def test_the_same_id_and_key_again_is_the_same_job(store: Store) -> None:
    job = applied(store, submit("a", idempotency=keyed()))
    assert one(store, submit("a", idempotency=keyed())) == base.Refused(Reason.EXISTS, job)


async def test_a_key_with_another_body_is_refused(store: Store) -> None:
    job = applied(store, submit("a", idempotency=keyed(body="one")))
    assert one(store, submit("b", idempotency=keyed(body="two"))) == base.Refused(Reason.KEY_REUSED, job)
    assert await store.job(ENDPOINT, "b") is None


async def test_keys_of_other_clients_endpoints_and_names_are_others(store: Store) -> None:
    applied(store, submit("a", idempotency=keyed()))
    applied(store, submit("b", idempotency=keyed(principal="q")))
    applied(store, submit("c", endpoint="other", idempotency=keyed()))
    applied(store, submit("d", idempotency=keyed(key="l")))
    applied(store, submit("e"))
    applied(store, submit("f"))
    assert store.tally(ENDPOINT).arrived == 5


async def test_an_expired_key_is_free_again(store: Store) -> None:
    applied(store, submit("a", idempotency=keyed(expires_at=NOW + DAY_MS)))
    at_last = NOW + DAY_MS - 1
    assert one(store, submit("b", idempotency=keyed()), at_last) == base.Repeated("a", JobState.IN_QUEUE)
    applied(store, submit("b", idempotency=keyed(body="two", expires_at=NOW + 2 * DAY_MS)), NOW + DAY_MS)
    again = one(store, submit("c", idempotency=keyed(body="two")), NOW + DAY_MS)
    assert again == base.Repeated("b", JobState.IN_QUEUE)


async def test_a_key_outlives_its_job_and_remembers_how_that_ended(store: Store) -> None:
    job = running(store, idempotency=keyed(expires_at=NOW + DAY_MS))
    done = applied(store, finish(job, error="boom"))
    assert swept(store, NOW + RETENTION_MS) == ["a"]
    later = NOW + RETENTION_MS
    assert await store.job(ENDPOINT, done.id) is None
    assert one(store, submit("b", idempotency=keyed()), later) == base.Repeated("a", JobState.FAILED)
    assert one(store, submit("b", idempotency=keyed(body="two")), later) == base.Refused(Reason.KEY_REUSED)
    assert await store.job(ENDPOINT, "b") is None


async def test_the_end_of_an_old_job_does_not_touch_the_key_of_a_new_one(store: Store) -> None:
    old = running(store, idempotency=keyed(expires_at=NOW + 1_000))
    applied(store, submit("b", idempotency=keyed()), NOW + 1_000)
    applied(store, finish(old), NOW + 1_000)
    assert swept(store, NOW + 1_000 + RETENTION_MS) == ["a"]
    again = one(store, submit("c", idempotency=keyed()), NOW + 1_000 + RETENTION_MS)
    assert again == base.Repeated("b", JobState.IN_QUEUE)


async def test_sweeps_remove_expired_keys_the_earliest_first(store: Store) -> None:
    for number, id in enumerate("cab"):
        applied(store, submit(id, ttl_ms=DAY_MS, idempotency=keyed(key=id, expires_at=NOW + 1_000 - number)))
    assert await store.next_due() == NOW + 998
    later = NOW + 5_000
    for left in (NOW + 999, NOW + 1_000, NOW + DAY_MS):
        assert one(store, sweep(later, limit=1), later) == base.Swept(())
        assert await store.next_due() == left


async def test_a_key_that_has_not_expired_stays(store: Store) -> None:
    applied(store, submit("a", idempotency=keyed(expires_at=NOW + 1_000)))
    swept(store, NOW + 999)
    assert one(store, submit("b", idempotency=keyed()), NOW + 999) == base.Repeated("a", JobState.IN_QUEUE)


async def test_a_deleted_endpoint_takes_its_keys_along(store: Store) -> None:
    job = applied(store, submit("a", idempotency=keyed()))
    applied(store, submit("b", endpoint="other", idempotency=keyed()))
    store.apply([base.DeleteEndpoint(endpoint=ENDPOINT), cancel(job)], NOW)
    assert applied(store, submit("c", idempotency=keyed())).id == "c"
    assert swept(store, NOW + RETENTION_MS) == ["a"]
    assert one(store, submit("d", idempotency=keyed())) == base.Repeated("c", JobState.IN_QUEUE)
    again = one(store, submit("e", endpoint="other", idempotency=keyed()))
    assert again == base.Repeated("b", JobState.IN_QUEUE)


async def test_the_keys_of_a_deleted_endpoint_go_in_batches_and_its_registration_with_the_last(store: Store) -> None:
    store.apply([base.PutEndpoint(endpoint=ENDPOINT, registration=b"{}")], NOW)
    for id in "abcde":
        applied(store, submit(id, idempotency=keyed(id)))
    applied(store, submit("f", endpoint="other", idempotency=keyed("a")))
    delete = base.DeleteEndpoint(endpoint=ENDPOINT, limit=2)
    assert one(store, delete) == base.Stored(more=True)
    assert await store.endpoints() == {ENDPOINT: b"{}"}
    assert store.apply([delete, delete], NOW) == [base.Stored(more=True), base.Stored()]
    assert await store.endpoints() == {}
    for id in "abcde":
        assert applied(store, submit(f"{id}2", idempotency=keyed(id))).id == f"{id}2"
    again = one(store, submit("g", endpoint="other", idempotency=keyed("a")))
    assert again == base.Repeated("f", JobState.IN_QUEUE)


async def test_a_key_that_went_with_a_batch_is_free_for_the_rest_of_its_group(store: Store) -> None:
    applied(store, submit("a", idempotency=keyed("k\0")))
    delete = base.DeleteEndpoint(endpoint=ENDPOINT, limit=1)
    again, deleted, fresh = store.apply(
        [submit("b", idempotency=keyed("k\0")), delete, submit("c", idempotency=keyed("k\0"))], NOW
    )
    assert (again, deleted) == (base.Repeated("a", JobState.IN_QUEUE), base.Stored(more=True))
    assert isinstance(fresh, base.Applied)
    assert one(store, submit("d", idempotency=keyed("k\0"))) == base.Repeated("c", JobState.IN_QUEUE)


async def test_a_refused_submit_leaves_no_key(store: Store) -> None:
    applied(store, submit("a"))
    one(store, submit("a", idempotency=keyed()))
    assert applied(store, submit("b", idempotency=keyed())).id == "b"
    assert len(taken(store)) == 1


async def test_sweeps_of_one_group_forget_as_many_keys_as_they_would_alone(store: Store) -> None:
    for number, id in enumerate("abc"):
        applied(store, submit(id, idempotency=keyed(id, expires_at=NOW + number)))
    store.apply([sweep(NOW + 10, limit=1), sweep(NOW + 10, limit=1)], NOW + 10)
    assert await store.next_due() == NOW + 2
