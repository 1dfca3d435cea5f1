"""Every engine against the store in memory, and both against what was promised.

The same operations at the same instants have the same outcomes and the same reads. The store in memory is given each
operation alone, the engine gets them in groups of several; `Promises` judges the answers by themselves, so that a
mistake which both share does not hide.
"""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from msgspec.structs import replace

from submodel.contract.states import JobState
from submodel_gateway.errors import StoreError
from submodel_gateway.jobs.outbox import Webhook
from submodel_gateway.jobs.record import Job, attempt_token
from submodel_gateway.store import base
from tests.support.jobs import job
from tests.support.store_engines import DURABLE
from tests.support.store_machine import ENDPOINTS, StoreMachine
from tests.support.store_operations import append, finish, gone, heartbeat, keyed, lose, progress, release, submit
from tests.support.store_promises import Known

WORKERS = ("w", "v")
LEASE_MS = 8_000
RETENTION_MS = 15_000
LATER_MS = (1, 999, 2_000, 8_000, 15_000, 100_000, 300_000, 600_000, 7_200_000)
URL = "https://example.com/hook"

endpoints = st.sampled_from(ENDPOINTS)
workers = st.sampled_from(WORKERS)
sizes = st.sampled_from([1, 2, 4, 6, 6])
picks = st.integers(0, 999)
KINDS = ("submit", "submit", "take", "take", "cancel", "release", "end worker", "purge", "sweep")

NEVER = job(JobState.IN_PROGRESS, id="never", endpoint=ENDPOINTS[0])


class StoreComparison(StoreMachine):
    def __init__(self) -> None:
        super().__init__()
        self.leases: list[Job] = []
        """All that were ever given, as those of webhooks."""

        self.told: list[Webhook] = []
        self.gave_up = False

    @initialize(size=sizes)
    def begin(self, size: int) -> None:
        self.size = size

    @rule(
        endpoint=endpoints,
        count=st.integers(1, 3),
        pri=st.integers(-1, 2),
        limits=st.sampled_from([(0, 60_000), (5_000, 60_000), (20_000, 10_000), (0, 900_000)]),
        policy=st.sampled_from([(1, False), (2, False), (2, True)]),
        low_priority=st.booleans(),
        webhook=st.sampled_from([None, URL]),
    )
    def submit(
        self,
        endpoint: str,
        count: int,
        pri: int,
        limits: tuple[int, int],
        policy: tuple[int, bool],
        low_priority: bool,
        webhook: str | None,
    ) -> None:
        timeout_ms, ttl_ms = limits
        max_attempts, retry_errors = policy
        for _ in range(count):
            self.submit_one(
                endpoint,
                pri=pri,
                execution_timeout_ms=timeout_ms,
                ttl_ms=ttl_ms,
                max_attempts=max_attempts,
                retry_errors=retry_errors,
                low_priority=low_priority,
                webhook=webhook,
            )

    def submit_one(self, endpoint: str, *, stashed: bool = False, **fields: Any) -> str:
        self.number += 1
        id = f"job-{self.number}"
        operation = submit(id, endpoint, input=id.encode(), **{"retention_ms": RETENTION_MS, **fields})
        if stashed:
            ours, theirs = self.stash(id.encode())
            self.do(replace(operation, input=ours), replace(operation, input=theirs))
        else:
            self.do(operation)
        return id

    @rule(endpoint=endpoints)
    def submit_stashed(self, endpoint: str) -> None:
        self.submit_one(endpoint, stashed=True, max_attempts=1)

    @rule(
        endpoint=endpoints,
        lasts_ms=st.sampled_from([1_000, 100_000]),
        later=st.sampled_from([0, 0, 999, 1_000, RETENTION_MS]),
        principal=st.sampled_from("ppq"),
        body=st.sampled_from("aab"),
    )
    def submit_with_a_key_twice(self, endpoint: str, lasts_ms: int, later: int, principal: str, body: str) -> None:
        for asked in (keyed("k", self.now + lasts_ms, "p", "a"), keyed("k", self.now + 100_000, principal, body)):
            self.submit_one(endpoint, idempotency=asked, max_attempts=1)
            if later:
                self.advance_and_sweep(later, self.size, seen=True)

    @rule(pick=picks)
    def submit_again(self, pick: int) -> None:
        known = self.some_job(pick)
        self.do(submit(known.job.id, known.submit.endpoint, input=b"other"))

    @rule(endpoint=endpoints, worker=workers, session=st.sampled_from("st"), limit=st.integers(1, 4))
    def take(self, endpoint: str, worker: str, session: str, limit: int) -> None:
        self.number += 10
        operation = base.Take(
            endpoint=endpoint, worker=worker, session=session, limit=limit, nonce=self.number, lease_ms=LEASE_MS
        )
        outcome = self.do(operation)
        assert isinstance(outcome, base.Taken)
        self.leases += [lease.job for lease in outcome.leases]

    def some_job(self, pick: int, *states: JobState) -> Known:
        """One that is known, of these states if there is any, else a new one."""
        known = [each for each in self.promises.jobs.values() if not states or each.state in states]
        known = known or [*self.promises.jobs.values()]
        if not known:
            known = [self.promises.jobs[self.submit_one(ENDPOINTS[0], max_attempts=2)]]
        return known[pick % len(known)]

    def some_lease(self, pick: int) -> Job:
        """Mostly a live one, sometimes any that ever was, else a new one."""
        live = [known.job for known in self.promises.jobs.values() if known.state is JobState.IN_PROGRESS]
        if pick % 4 == 3 and self.leases:
            return self.leases[pick // 4 % len(self.leases)]
        if live:
            return live[pick // 4 % len(live)]
        retry_errors, url = bool(pick & 4), URL if pick & 8 else None
        self.submit_one(ENDPOINTS[0], pri=9, max_attempts=2, retry_errors=retry_errors, webhook=url)
        self.take(ENDPOINTS[0], "w", "s", 1)
        return next(reversed(self.leases), NEVER)

    @rule(pick=picks, progress_value=st.none() | st.binary(max_size=3), by_attempt=st.booleans())
    def show_life(self, pick: int, progress_value: bytes | None, by_attempt: bool) -> None:
        job = self.some_lease(pick)
        token = _token(job, by_attempt)
        if progress_value is None:
            self.do(replace(heartbeat(job, token), lease_ms=LEASE_MS))
        else:
            self.do(progress(job, progress_value, token))

    @rule(
        pick=picks,
        gap=st.sampled_from([1, 1, 2, 0, -1, 2, -9]),
        items=st.lists(st.binary(max_size=3), min_size=1, max_size=3),
    )
    def append(self, pick: int, gap: int, items: list[bytes]) -> None:
        job = self.some_lease(pick)
        known = self.promises.jobs.get(job.id)
        self.do(append(job, (len(known.items) if known else 0) + gap, *items))

    @rule(pick=picks, failed=st.booleans(), final=st.booleans(), by_attempt=st.booleans(), again=st.booleans())
    def finish(self, pick: int, failed: bool, final: bool, by_attempt: bool, again: bool) -> None:
        job = self.some_lease(pick)
        token = _token(job, by_attempt)
        self.do(replace(finish(job, b'"out"', "boom" if failed else None, token), final=final))
        if again:
            self.do(finish(job, b'"other"', None, token))

    @rule(pick=picks, failed=st.booleans())
    def finish_stashed(self, pick: int, failed: bool) -> None:
        job = self.some_lease(pick)
        ours, theirs = self.stash(b"large")
        operation = finish(job, ours, "boom" if failed else None)
        outcome = self.do(operation, replace(operation, output=theirs))
        if not (isinstance(outcome, base.Applied) and outcome.change.ended):
            self.commit_group()
            self.runner.run(self.memory.discard(ours))
            self.runner.run(self.store.discard(theirs))

    @rule(pick=picks, how=st.sampled_from(["released", "lost", "not charged"]))
    def give_back(self, pick: int, how: str) -> None:
        job = self.some_lease(pick)
        self.do(release(job) if how == "released" else lose(job, charged=how == "lost"))

    @rule(pick=picks, endpoint=endpoints)
    def write_at_some_endpoint(self, pick: int, endpoint: str) -> None:
        self.do(finish(replace(self.some_lease(pick), endpoint=endpoint)))

    @rule(endpoint=endpoints, worker=workers, keep=st.sampled_from([None, "t"]), charged=st.booleans())
    def end_worker(self, endpoint: str, worker: str, keep: str | None, charged: bool) -> None:
        self.do(gone(worker, keep, charged=charged, endpoint=endpoint))

    @rule(endpoint=endpoints)
    def crash_loop(self, endpoint: str) -> None:
        """Jobs of their own take down worker after worker."""
        for _ in range(6):
            self.submit_one(endpoint, pri=9, max_attempts=1)
        self.take(endpoint, "w", "s", 6)
        self.do(gone("w", endpoint=endpoint))

    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        known = self.some_job(pick, JobState.IN_QUEUE, JobState.IN_PROGRESS)
        self.do(base.Cancel(endpoint=known.submit.endpoint, id=known.job.id))

    @rule(pick=picks, possible=st.booleans())
    def retry(self, pick: int, possible: bool) -> None:
        if possible and not any(known.state is JobState.FAILED for known in self.promises.jobs.values()):
            self.do(replace(finish(self.some_lease(pick), b"[1]", "boom"), final=True))
        known = self.some_job(pick, JobState.FAILED, JobState.TIMED_OUT) if possible else self.some_job(pick)
        self.do(base.Retry(endpoint=known.submit.endpoint, id=known.job.id))

    @rule(pick=picks, keep_ms=st.integers(0, 2_000))
    def shorten(self, pick: int, keep_ms: int) -> None:
        known = self.some_job(pick)
        self.do(base.Shorten(endpoint=known.submit.endpoint, id=known.job.id, keep_ms=keep_ms))

    @rule(endpoint=endpoints, limit=st.integers(1, 3), running=st.booleans(), back=st.integers(0, 3))
    def purge(self, endpoint: str, limit: int, running: bool, back: int) -> None:
        up_to = self.promises.seq - back
        self.do(base.Purge(endpoint=endpoint, up_to=up_to, limit=limit, running=running))

    @rule(limit=st.sampled_from([1, 3, 1_000]), seen=st.booleans())
    def sweep(self, limit: int, seen: bool) -> None:
        self.do(base.Sweep(limit=limit, seen_at=self.now if seen else 0, hold_ms=LEASE_MS))

    @rule(
        later=st.sampled_from([1, 4_000, LEASE_MS, RETENTION_MS]), size=sizes, seen=st.sampled_from([True, True, False])
    )
    def advance_and_sweep(self, later: int, size: int, seen: bool) -> None:
        self.advance(later, size)
        self.sweep(1_000, seen)

    @rule(pick=picks, size=sizes)
    def outlive_a_lease(self, pick: int, size: int) -> None:
        self.some_lease(pick)
        self.advance_and_sweep(LEASE_MS, size, seen=True)

    @rule(endpoint=endpoints, size=sizes)
    def see_an_outage_in_between(self, endpoint: str, size: int) -> None:
        """Jobs with a short limit, of which one is taken before and one after it."""
        for gap_ms in (6_000, 1):
            self.submit_one(endpoint, execution_timeout_ms=5_000, max_attempts=1)
            self.take(endpoint, "w", "s", 1)
            self.advance_and_sweep(gap_ms, size, seen=False)
        self.advance_and_sweep(5_000, size, seen=True)

    @rule(limit=st.integers(1, 3))
    def lease_webhooks(self, limit: int) -> None:
        self.number += 1
        outcome = self.do(base.LeaseWebhooks(limit=limit, nonce=self.number, lease_ms=5_000))
        assert isinstance(outcome, base.Webhooks)
        self.told += [due.webhook for due in outcome.due]

    def some_webhook(self, pick: int) -> Webhook:
        """Mostly one of the latest, sometimes any that ever was, else a new one."""
        if not self.told:
            id = self.submit_one(ENDPOINTS[0], webhook=URL)
            self.do(base.Cancel(endpoint=ENDPOINTS[0], id=id))
            self.lease_webhooks(9)
        if not self.told:
            return Webhook(id="never", endpoint=ENDPOINTS[0], gen=1, next_at=None)
        some = self.told if pick % 4 == 3 else self.told[-3:]
        return some[pick // 4 % len(some)]

    @rule(
        pick=picks, how=st.sampled_from(["delivered", "failed", "released"]), jitter=st.sampled_from([-1.0, 0.0, 0.77])
    )
    def settle_webhook(self, pick: int, how: str, jitter: float) -> None:
        address = _address(self.some_webhook(pick))
        if how == "released":
            self.do(base.ReleaseWebhook(**address, delay_ms=500))
        else:
            self.do(base.SettleWebhook(**address, delivered=how == "delivered", answer="HTTP 1", jitter=jitter))

    @precondition(lambda self: not self.gave_up)
    @rule()
    def give_up_on_webhooks(self) -> None:
        """Every try fails, until the last one: much time passes, so once is enough."""
        self.gave_up = True
        self.some_webhook(0)
        for _ in range(9):
            self.number += 1
            self.advance(900_000, self.size)
            outcome = self.do(base.LeaseWebhooks(limit=99, nonce=self.number, lease_ms=5_000))
            assert isinstance(outcome, base.Webhooks)
            for due in outcome.due:
                self.do(base.SettleWebhook(**_address(due.webhook), delivered=False))

    @rule(pick=picks)
    def replay_webhook(self, pick: int) -> None:
        self.some_webhook(pick)
        told = [known for known in self.promises.jobs.values() if known.state.terminal and known.submit.webhook]
        known = told[pick % len(told)] if told and pick % 4 else self.some_job(pick)
        self.do(base.ReplayWebhook(endpoint=known.submit.endpoint, id=known.job.id))

    @rule(endpoint=endpoints, registration=st.none() | st.binary(max_size=3))
    def register(self, endpoint: str, registration: bytes | None) -> None:
        if registration is None:
            self.do(base.DeleteEndpoint(endpoint=endpoint))
        else:
            self.do(base.PutEndpoint(endpoint=endpoint, registration=registration))

    @rule(endpoint=endpoints, kinds=st.lists(st.sampled_from(KINDS), min_size=3, max_size=6), pick=picks)
    def act_at_once(self, endpoint: str, kinds: list[str], pick: int) -> None:
        """Operations of one group, on one queue."""
        self.commit_group()
        self.size = len(kinds)
        for kind in kinds:
            self.act(endpoint, kind, pick)

    def act(self, endpoint: str, kind: str, pick: int) -> None:
        match kind:
            case "submit":
                self.submit_one(endpoint, pri=pick % 3, max_attempts=2)
            case "take":
                self.take(endpoint, "w", "s", 1 + pick % 2)
            case "cancel" | "release":
                known = self.some_job(pick, JobState.IN_QUEUE if kind == "cancel" else JobState.IN_PROGRESS)
                self.do(base.Cancel(endpoint=endpoint, id=known.job.id) if kind == "cancel" else release(known.job))
            case "end worker":
                self.do(gone("w", charged=False, endpoint=endpoint))
            case "purge":
                self.do(base.Purge(endpoint=endpoint, up_to=self.promises.seq, limit=1 + pick % 3))
            case _:
                self.do(base.Sweep(seen_at=self.now, hold_ms=LEASE_MS))

    @rule(pick=picks, size=sizes)
    def fail_as_a_whole(self, pick: int, size: int) -> None:
        """A group whose last operation raises has no effect."""
        known = self.some_job(pick)
        endpoint, id = known.submit.endpoint, known.job.id
        self.commit_group()
        other = ENDPOINTS[ENDPOINTS.index(endpoint) - 1]
        group: list[base.Operation] = [
            submit("twice", endpoint),
            base.Cancel(endpoint=endpoint, id=id),
            base.Take(endpoint=endpoint, worker="w", session="s", limit=3, nonce=1, lease_ms=1),
            base.Purge(endpoint=other, up_to=self.promises.seq, limit=9, running=True),
            base.Sweep(hold_ms=1),
        ]
        with pytest.raises(StoreError):
            self.store.apply([*group[:size], submit("twice", other)], self.now)
        self.look_at_everything()
        # Numbers that a failed group drew may be lost.
        last_seq = self.runner.run(self.store.last_seq())
        assert last_seq >= self.promises.seq
        self.memory.skip_to(last_seq)
        self.promises.seq = last_seq

    @rule(later=st.sampled_from(LATER_MS), size=sizes)
    def advance(self, later: int, size: int) -> None:
        self.commit_group()
        self.now += later
        self.size = size

    @rule()
    def commit(self) -> None:
        self.commit_group()

    @precondition(lambda self: self.engine_name in DURABLE)
    @rule()
    def reopen(self) -> None:
        self.commit_group()
        self.runner.run(self.store.close())
        self.store = self.opened()
        self.in_time = False
        self.look_at_everything()


def _token(job: Job, by_attempt: bool) -> str:
    return attempt_token(job.attempt, job.worker or "") if by_attempt else job.token


def _address(webhook: Webhook) -> dict[str, Any]:
    return {"endpoint": webhook.endpoint, "id": webhook.id, "gen": webhook.gen, "nonce": webhook.nonce}


class MemoryComparison(StoreComparison):
    engine_name = "memory"


class SqliteComparison(StoreComparison):
    engine_name = "sqlite"


class PostgresComparison(StoreComparison):
    engine_name = "postgres"


LONG = settings(stateful_step_count=50)
MemoryComparison.TestCase.settings = LONG
SqliteComparison.TestCase.settings = LONG
PostgresComparison.TestCase.settings = settings(LONG, max_examples=1 + LONG.max_examples // 3)

# As slow as the machine is busy; what hangs is ended all the same.
patient = pytest.mark.timeout(6 * LONG.max_examples)
TestMemory = patient(MemoryComparison.TestCase)
TestSqlite = patient(SqliteComparison.TestCase)
TestPostgres = pytest.mark.slow(patient(PostgresComparison.TestCase))
