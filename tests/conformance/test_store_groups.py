"""Groups: one transaction, whose operations see each other, all or none."""

from typing import Any

import pytest

from submodel.contract.states import JobState
from submodel_gateway.errors import StoreError
from submodel_gateway.jobs.record import lease_token
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.jobs.transition import Reason
from submodel_gateway.store import base
from submodel_gateway.store.base import Store
from tests.support.store_calls import NOW, applied, one, read, running, state
from tests.support.store_operations import (
    ENDPOINT,
    append,
    cancel,
    finish,
    gone,
    keyed,
    lease_webhooks,
    purge,
    release,
    retry,
    submit,
    sweep,
    take,
)

TOKEN = lease_token(1, 7)


def finish_by_token(id: str = "a", token: str = TOKEN, **fields: Any) -> base.Finish:
    return base.Finish(endpoint=ENDPOINT, id=id, token=token, **fields)


def reasons(outcomes: list[base.Outcome]) -> list[str]:
    return [outcome.reason if isinstance(outcome, base.Refused) else type(outcome).__name__ for outcome in outcomes]


async def test_a_whole_life_fits_into_one_group(store: Store) -> None:
    chunk = base.AppendChunk(endpoint=ENDPOINT, id="a", token=TOKEN, seq=1, items=(b"1",))
    more = base.AppendChunk(endpoint=ENDPOINT, id="a", token=TOKEN, seq=2, items=(b"2",))
    outcomes = store.apply(
        [submit("a", webhook="https://x.example"), take(), chunk, more, finish_by_token(output=b"1"), lease_webhooks()],
        NOW,
    )
    assert reasons(outcomes) == ["Applied", "Taken", "Applied", "Applied", "Applied", "Webhooks"]
    assert isinstance(outcomes[-1], base.Webhooks)
    assert [due.webhook.id for due in outcomes[-1].due] == ["a"]
    job = await read(store)
    assert (job.state, job.chunks, await store.chunks(job, 0, 9)) == (JobState.COMPLETED, 2, [b"1", b"2"])
    assert store.tally(ENDPOINT) == Tally(arrived=1, completed=1)


async def test_two_takes_of_a_group_share_the_queue(store: Store) -> None:
    outcomes = store.apply([*(submit(id) for id in "abc"), take(limit=2), take(limit=2, worker="v", nonce=9)], NOW)
    first, second = outcomes[3:]
    assert isinstance(first, base.Taken)
    assert isinstance(second, base.Taken)
    assert [lease.job.id for lease in first.leases] == ["a", "b"]
    assert [lease.job.id for lease in second.leases] == ["c"]
    assert await store.holders(ENDPOINT) == {"w": 2, "v": 1}


async def test_what_changes_in_the_queue_between_two_takes_of_a_group_is_seen_by_the_second(store: Store) -> None:
    store.apply([submit(id) for id in "abcdf"], NOW)
    cancelled = base.Cancel(endpoint=ENDPOINT, id="c")
    takes = [take(nonce=nonce) for nonce in range(1, 6)]
    outcomes = store.apply([takes[0], cancelled, *takes[1:3], submit("e", pri=1), *takes[3:]], NOW)
    taken = [lease.job.id for outcome in outcomes if isinstance(outcome, base.Taken) for lease in outcome.leases]
    assert taken == ["a", "b", "d", "e", "f"]


async def test_cancel_and_finish_in_one_group_leave_the_first(store: Store) -> None:
    job = running(store)
    assert reasons(store.apply([cancel(job), finish(job)], NOW)) == ["Applied", Reason.STALE]
    assert await state(store) is JobState.CANCELLED
    other = running(store, "b")
    assert reasons(store.apply([finish(other), cancel(other)], NOW)) == ["Applied", Reason.FINISHED]
    assert await state(store, "b") is JobState.COMPLETED


async def test_a_released_job_is_taken_by_another_in_the_same_group(store: Store) -> None:
    job = running(store)
    applied(store, append(job, 1, b"old"))
    new = lease_token(2, 9)
    chunk = base.AppendChunk(endpoint=ENDPOINT, id="a", token=new, seq=1, items=(b"new",))
    outcomes = store.apply([release(job), take(worker="v", nonce=9), finish(job), chunk], NOW)
    assert reasons(outcomes) == ["Applied", "Taken", Reason.STALE, "Applied"]
    assert await store.chunks(await read(store), 0, 9) == [b"new"]


async def test_a_job_that_fails_is_retried_and_taken_in_the_same_group(store: Store) -> None:
    job = running(store)
    outcomes = store.apply([finish(job, error="boom"), retry(job), take(nonce=9), finish(job)], NOW)
    assert reasons(outcomes) == ["Applied", "Applied", "Taken", Reason.STALE]
    again = await read(store)
    assert (again.gen, again.attempt, await store.content(again)) == (2, 2, base.Content())
    assert store.tally(ENDPOINT) == Tally(in_progress=1, arrived=2, failed=1)


async def test_a_result_that_is_retried_in_its_own_group_is_never_shown(store: Store) -> None:
    job = running(store, webhook="https://x.example")
    store.apply([append(job, 1, b"1"), finish(job, b"[1]", "boom"), retry(job)], NOW)
    again = await read(store)
    assert await store.content(again) == base.Content()
    assert await store.chunks(again, 0, 9) == []
    assert await store.next_webhook() is None


async def test_a_take_overlooks_no_job_between_those_that_its_group_names(store: Store) -> None:
    store.apply([submit(id) for id in "abc"], NOW)
    outcomes = store.apply(
        [base.Cancel(endpoint=ENDPOINT, id="a"), finish_by_token("c", output=b"1"), take(limit=1)], NOW
    )
    assert reasons(outcomes) == ["Applied", Reason.STALE, "Taken"]
    assert (await state(store, "b"), await state(store, "c")) == (JobState.IN_PROGRESS, JobState.IN_QUEUE)


async def test_queue_operations_see_what_came_before_them(store: Store) -> None:
    outcomes = store.apply([submit("a"), submit("b"), take(), gone(), purge(), submit("c")], NOW)
    assert [len(base.changes(outcome)) for outcome in outcomes] == [1, 1, 1, 1, 2, 1]
    assert [(await state(store, id)).value for id in "abc"] == ["CANCELLED", "CANCELLED", "IN_QUEUE"]


async def test_a_job_may_come_and_go_in_one_group(store: Store) -> None:
    outcomes = store.apply(
        [submit("a", retention_ms=0, idempotency=keyed()), base.Cancel(endpoint=ENDPOINT, id="a"), sweep(NOW)], NOW
    )
    assert [len(base.changes(outcome)) for outcome in outcomes] == [1, 1, 1]
    assert await store.job(ENDPOINT, "a") is None
    assert one(store, submit("b", idempotency=keyed())) == base.Repeated("a", JobState.CANCELLED)
    assert store.tally(ENDPOINT) == Tally(arrived=1, cancelled=1)


async def test_an_id_is_free_again_once_its_job_is_forgotten_even_within_a_group(store: Store) -> None:
    outcomes = store.apply(
        [
            submit("a", retention_ms=0),
            base.Cancel(endpoint=ENDPOINT, id="a"),
            sweep(NOW),
            submit("a", input=b"2"),
            take(),
        ],
        NOW,
    )
    taken = outcomes[-1]
    assert isinstance(taken, base.Taken)
    assert [lease.input for lease in taken.leases] == [b"2"]


async def test_an_operation_that_raises_takes_its_whole_group_with_it_and_nothing_else(store: Store) -> None:
    job = running(store, "held", webhook="https://x.example")
    one(store, base.PutEndpoint(endpoint=ENDPOINT, registration=b"1"))
    seq, tally = await store.last_seq(), store.tally(ENDPOINT)
    foreign = submit("held", endpoint="other")
    group: list[base.Operation] = [
        submit("a", idempotency=keyed()),
        take(worker="v", nonce=8),
        append(job, 1, b"1"),
        finish(job, error="boom"),
        base.PutEndpoint(endpoint="new", registration=b"1"),
        base.DeleteEndpoint(endpoint=ENDPOINT),
        sweep(NOW + 9),
    ]
    with pytest.raises(StoreError):
        store.apply([*group, foreign], NOW + 9)
    assert await store.job(ENDPOINT, "a") is None
    assert await store.job(ENDPOINT, "held") == job
    assert await store.content(job) == base.Content()
    assert await store.chunks(job, 0, 9) == []
    assert (store.tally(ENDPOINT), store.tally("other")) == (tally, Tally())
    assert await store.last_seq() >= seq, "a sequence that gateways share does not go back"
    assert await store.endpoints() == {ENDPOINT: b"1"}
    assert (await store.next_webhook(), (await store.time()).mark_ms) == (None, NOW)
    assert reasons(store.apply(group, NOW + 9)) == [
        "Applied",
        "Taken",
        "Applied",
        "Applied",
        "Stored",
        "Stored",
        "Swept",
    ]
    assert store.tally(ENDPOINT) == Tally(in_progress=1, arrived=2, failed=1)


async def test_a_large_group_is_applied_in_order(store: Store) -> None:
    ids = [f"job-{number}" for number in range(300)]
    store.apply([submit(id) for id in ids], NOW)
    outcomes = store.apply([take(limit=3, worker=f"w-{number}", nonce=10 * number) for number in range(100)], NOW)
    got = [lease.job.id for outcome in outcomes if isinstance(outcome, base.Taken) for lease in outcome.leases]
    assert got == ids
    finishing: list[base.Operation] = [
        finish(lease.job) for outcome in outcomes if isinstance(outcome, base.Taken) for lease in outcome.leases
    ]
    assert reasons(store.apply(finishing, NOW)) == ["Applied"] * 300
    assert store.tally(ENDPOINT) == Tally(arrived=300, completed=300)
