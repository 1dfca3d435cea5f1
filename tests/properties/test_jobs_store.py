"""SQLite against the reference store: the same operations at the same instants have the same outcomes.

Beside comparing the two, the machine keeps a ghost of its own (who holds what, what was answered) and checks the
promises against it, so that a mistake both engines share does not hide.
"""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from submodel.contract.states import JobState
from submodel_gateway.jobs.record import Job
from submodel_gateway.store import base
from submodel_gateway.store.memory import MemoryStore
from submodel_gateway.store.sqlite import SqliteStore
from tests.support.store_operations import append, finish, gone, heartbeat, progress, release, submit

ENDPOINTS = ("e", "f")
WORKERS = ("w", "v")


class StoreComparison(RuleBasedStateMachine):
    leases: Bundle[Job] = Bundle("leases")

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "jobs.db"
        self.sqlite = SqliteStore(self.path)
        self.memory = MemoryStore()
        self.now = 1_000
        self.submitted: list[tuple[str, str]] = []
        self.live: dict[str, str] = {}
        """Ghost: job id -> live token."""

        self.final: dict[str, tuple[JobState, base.Content]] = {}
        """Ghost: what was published."""

        self.nonce = 0

    def teardown(self) -> None:
        if hasattr(self, "sqlite"):
            self.sqlite.close()
            self.folder.cleanup()

    def apply(self, *operations: base.Operation) -> list[base.Outcome]:
        outcomes = self.sqlite.apply(operations, self.now)
        assert outcomes == self.memory.apply(operations, self.now)
        for change in (change for outcome in outcomes for change in base.changes(outcome)):
            before, after = change.before, change.after
            if before is not None and after is not before:
                self.live.pop(before.id, None)
            if after is not None and after.state is JobState.IN_PROGRESS:
                self.live[after.id] = after.token
        return outcomes

    def accepted(self, operation: base.Operation, job: Job) -> bool:
        """Apply a worker's write; checks that it went through exactly when its token is the live one."""
        live = self.live.get(job.id) == job.token
        (outcome,) = self.apply(operation)
        fresh = isinstance(outcome, base.Applied) and not outcome.change.duplicate
        assert fresh == live, (operation, outcome)
        return fresh

    @rule(
        endpoint=st.sampled_from(ENDPOINTS),
        size=st.integers(1, 3),
        pri=st.integers(0, 1),
        limits=st.sampled_from([(0, 60_000), (5_000, 60_000), (20_000, 10_000)]),
    )
    def submit(self, endpoint: str, size: int, pri: int, limits: tuple[int, int]) -> None:
        timeout, ttl = limits
        ids = [f"job-{len(self.submitted) + number}" for number in range(size)]
        common: dict[str, Any] = {"pri": pri, "execution_timeout_ms": timeout, "ttl_ms": ttl, "max_attempts": 2}
        self.apply(*(submit(id, endpoint, input=id.encode(), retention_ms=15_000, **common) for id in ids))
        self.submitted.extend((endpoint, id) for id in ids)

    @rule(
        target=leases,
        endpoint=st.sampled_from(ENDPOINTS),
        worker=st.sampled_from(WORKERS),
        session=st.sampled_from("st"),
        limit=st.integers(1, 4),
    )
    def take(self, endpoint: str, worker: str, session: str, limit: int) -> Any:
        self.nonce += 10
        held = dict(self.live)
        operation = base.Take(
            endpoint=endpoint, worker=worker, session=session, limit=limit, nonce=self.nonce, lease_ms=8_000
        )
        (outcome,) = self.apply(operation)
        assert isinstance(outcome, base.Taken)
        for lease in outcome.leases:
            assert lease.job.id not in held, "a job has one live lease"
            assert lease.input == lease.job.id.encode()
        return multiple(*(lease.job for lease in outcome.leases))

    @rule(job=leases)
    def heartbeat(self, job: Job) -> None:
        self.accepted(heartbeat(job), job)

    @rule(job=leases, value=st.binary(max_size=3))
    def progress(self, job: Job, value: bytes) -> None:
        self.accepted(progress(job, value), job)

    @rule(job=leases, seq=st.integers(1, 4), items=st.lists(st.binary(max_size=3), min_size=1, max_size=3))
    def append(self, job: Job, seq: int, items: list[bytes]) -> None:
        (outcome,) = self.apply(append(job, seq, *items))
        if isinstance(outcome, base.Applied):
            assert self.live.get(job.id) == job.token

    @rule(job=consumes(leases), failed=st.booleans(), again=st.booleans())
    def finish(self, job: Job, failed: bool, again: bool) -> None:
        operation = finish(job, b'"out"', "boom" if failed else None)
        if self.accepted(operation, job) and again:
            (outcome,) = self.apply(operation)
            assert isinstance(outcome, base.Applied)
            assert outcome.change.duplicate

    @rule(job=leases)
    def release(self, job: Job) -> None:
        self.accepted(release(job), job)

    @rule(job=leases, charged=st.booleans())
    def lose(self, job: Job, charged: bool) -> None:
        lost = base.Lose(endpoint=job.endpoint, id=job.id, token=job.token, reason="-", charged=charged)
        self.accepted(lost, job)

    @precondition(lambda self: bool(getattr(self, "submitted", [])))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        endpoint, id = data.draw(st.sampled_from(self.submitted))
        (outcome,) = self.apply(base.Cancel(endpoint=endpoint, id=id))
        assert id not in self.live
        assert isinstance(outcome, base.Applied) == (id not in self.final and self.sqlite.job(endpoint, id) is not None)

    @rule(endpoint=st.sampled_from(ENDPOINTS), worker=st.sampled_from(WORKERS), charged=st.booleans())
    def worker_gone(self, endpoint: str, worker: str, charged: bool) -> None:
        self.apply(gone(worker, "t", charged, endpoint))
        assert all(job.session == "t" for job in self.sqlite.held(endpoint, worker))

    @rule(endpoint=st.sampled_from(ENDPOINTS), limit=st.integers(1, 3), running=st.booleans())
    def purge(self, endpoint: str, limit: int, running: bool) -> None:
        self.apply(base.Purge(endpoint=endpoint, up_to=self.sqlite.last_seq(), limit=limit, running=running))

    @rule(limit=st.integers(1, 5))
    def sweep(self, limit: int) -> None:
        self.apply(base.Sweep(limit=limit))

    @rule()
    def extend(self) -> None:
        self.apply(base.ExtendLeases(until=self.now + 8_000))

    @rule(later=st.sampled_from([1, 999, 2_000, 8_000, 15_000]))
    def advance(self, later: int) -> None:
        self.now += later

    @rule()
    def reopen(self) -> None:
        self.sqlite.close()
        self.sqlite = SqliteStore(self.path)

    @invariant()
    def both_say_the_same(self) -> None:
        if not hasattr(self, "sqlite"):
            return
        for endpoint, id in self.submitted:
            job = self.sqlite.job(endpoint, id)
            assert job == self.memory.job(endpoint, id)
            if job is not None:
                content = self.sqlite.content(job)
                assert content == self.memory.content(job)
                assert self.sqlite.chunks(job, 0, 99) == self.memory.chunks(job, 0, 99)
                assert len(self.sqlite.chunks(job, 0, 99)) == job.chunks
                if job.state.terminal:
                    assert self.final.setdefault(id, (job.state, content)) == (job.state, content)
                else:
                    assert id not in self.final
        for endpoint in ENDPOINTS:
            late_at = self.now - 1_000
            assert self.sqlite.backlog(endpoint, late_at) == self.memory.backlog(endpoint, late_at)
            assert self.sqlite.tally(endpoint) == self.memory.tally(endpoint)
        assert self.sqlite.next_due() == self.memory.next_due()

    @invariant()
    def counts_equal_a_recount(self) -> None:
        if not hasattr(self, "sqlite"):
            return
        for endpoint in ENDPOINTS:
            tally = self.sqlite.tally(endpoint)
            jobs = [self.sqlite.job(where, id) for where, id in self.submitted if where == endpoint]
            states = [job.state for job in jobs if job is not None]
            assert tally.queued == states.count(JobState.IN_QUEUE)
            assert tally.in_progress == states.count(JobState.IN_PROGRESS)
            ended = tally.completed + tally.failed + tally.cancelled + tally.timed_out
            assert tally.arrived == len(jobs) == tally.queued + tally.in_progress + ended


StoreComparison.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestStoreComparison = StoreComparison.TestCase
