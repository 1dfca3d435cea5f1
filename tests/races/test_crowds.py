"""More than two at once: every job has one history, and what can be had once goes to one."""

from collections import Counter

import pytest

from submodel.contract.states import JobState
from submodel_gateway.jobs.record import Job
from submodel_gateway.store import base
from tests.races.arena import Arena
from tests.races.catalogue import LEASE_MS, OPERATIONS, STARTS, endpoint_of, id_of
from tests.races.history import chain, check_ends, check_token
from tests.support.store_operations import submit

pytestmark = pytest.mark.slow

JOBS = 400
STORM_STARTS = ("queued", "running", "given back", "failed")
STORM = [name for name in OPERATIONS if name != "replay webhook"]
"""A webhook that is sent again makes a record anew that was there before: of such, no chain is put together."""

ENDPOINT = "crowd"


async def test_all_operations_at_once_leave_each_job_one_history(arena: Arena) -> None:
    races = {number: STORM_STARTS[number % len(STORM_STARTS)] for number in arena.numbers(JOBS)}
    await arena.prepare([make(number) for number, start in races.items() for make in STARTS[start]])
    starts = {number: await read(arena, number) for number in races}
    rivals = [[OPERATIONS[name](number) for name in STORM for _ in range(2)] for number in races]
    for number, operations, outcomes in zip(races, rivals, await arena.race(rivals), strict=True):
        records = chain(starts[number], [change for outcome in outcomes for change in base.changes(outcome)])
        assert records[-1] == await read(arena, number)
        check_ends(records)
        for operation, outcome in zip(operations, outcomes, strict=True):
            check_token(operation, outcome)
            if isinstance(outcome, base.Refused):
                assert outcome.job in records


async def test_a_crowd_of_takers_gets_every_job_of_a_queue_once(arena: Arena) -> None:
    ids = [id_of(number) for number in arena.numbers(JOBS)]
    await arena.prepare([submit(id, ENDPOINT) for id in ids])
    takes = [take(nonce=number * 10) for number in range(JOBS)]
    leases = [lease.job for (outcome,) in await arena.race([[each] for each in takes]) for lease in leased(outcome)]
    assert Counter(job.id for job in leases) == Counter(ids)
    assert len({job.token for job in leases}) == JOBS


async def test_takers_and_cancellers_never_get_the_same_queued_job(arena: Arena) -> None:
    ids = [id_of(number) for number in arena.numbers(JOBS)]
    await arena.prepare([submit(id, "cancelled") for id in ids])
    cancels: list[base.Operation] = [base.Cancel(endpoint="cancelled", id=id) for id in ids]
    takes = [take("cancelled", nonce=number * 10) for number in range(JOBS // 4)]
    answers = [outcome for (outcome,) in await arena.race([[each] for each in (*cancels, *takes)])]
    for cancelled in (outcome.change for outcome in answers if isinstance(outcome, base.Applied)):
        assert cancelled.after is not None
        held = [lease.job for outcome in answers[JOBS:] for lease in leased(outcome)]
        mine = [job for job in held if job.id == cancelled.after.id]
        assert mine == ([cancelled.before] if cancelled.stop else [])
    ended = [await arena.store.job("cancelled", id) for id in ids]
    assert Counter(job.state for job in ended if job) == {JobState.CANCELLED: JOBS}


async def test_submits_with_one_key_make_one_job(arena: Arena) -> None:
    rivals = [[keyed(number, copy) for copy in "abcd"] for number in arena.numbers(JOBS // 4)]
    for outcomes in await arena.race(rivals):
        (made,) = [outcome.change.after for outcome in outcomes if isinstance(outcome, base.Applied)]
        assert made is not None
        others = [outcome for outcome in outcomes if not isinstance(outcome, base.Applied)]
        assert others == [base.Repeated(made.id, JobState.IN_QUEUE)] * 3


async def test_a_webhook_goes_to_one_dispatcher(arena: Arena) -> None:
    numbers = arena.numbers(JOBS)
    ended = [make(number) for number in numbers for make in STARTS["failed"][:-1]]
    await arena.prepare(ended)
    dispatchers = [base.LeaseWebhooks(limit=7, nonce=number, lease_ms=LEASE_MS) for number in range(1, JOBS // 4)]
    due = [outcome for (outcome,) in await arena.race([[each] for each in dispatchers])]
    got = [each.webhook.id for outcome in due if isinstance(outcome, base.Webhooks) for each in outcome.due]
    assert Counter(got) == Counter(id_of(number) for number in numbers)


async def read(arena: Arena, number: int) -> Job:
    job = await arena.store.job(endpoint_of(number), id_of(number))
    assert job is not None
    return job


def take(endpoint: str = ENDPOINT, *, nonce: int) -> base.Take:
    return base.Take(endpoint=endpoint, worker="w", session="s", limit=3, nonce=nonce, lease_ms=LEASE_MS)


def leased(outcome: base.Outcome) -> tuple[base.Lease, ...]:
    assert isinstance(outcome, base.Taken)
    return outcome.leases


def keyed(number: int, copy: str) -> base.Submit:
    key = base.IdempotencyKey(principal="p", key=str(number), body_hash="h", expires_at=2**60)
    return submit(f"{id_of(number)}{copy}", "keyed", idempotency=key)
