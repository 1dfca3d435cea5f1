"""What a job store promises, checked from outside: by operations, answers and reads alone.

`Promises` keeps a ghost of every job and judges each answer by it. It shares no code with the state machine, so that a
mistake which all engines make together does not hide.
"""

from collections import Counter
from dataclasses import dataclass, field

from submodel.contract.states import JobState
from submodel_gateway.jobs.record import Job, WebhookState
from submodel_gateway.jobs.transition import CHUNKS_MAX, Reason, Transition
from submodel_gateway.store import base

PRIORITY_MS = 300_000
PROBING_LOSSES = 6
PROBING_MS = 600_000
WEBHOOK_KEPT_MS = 7_200_000

QUEUED, RUNNING = JobState.IN_QUEUE, JobState.IN_PROGRESS


@dataclass(slots=True)
class Known:
    """A job as its answers told."""

    submit: base.Submit
    job: Job
    executions: int = 0
    """Charged ones of this generation."""

    progress: base.Payload | None = None
    content: base.Content = field(default_factory=base.Content)
    """Of the outcome."""

    items: list[bytes] = field(default_factory=list)
    ended_at: int = 0
    kept_until: int | None = None
    """When its retention is over, once that was shortened."""

    @property
    def state(self) -> JobState:
        return self.job.state

    @property
    def urgency(self) -> tuple[int, int]:
        """Lower goes first: waiting for `PRIORITY_MS` is worth one step of priority."""
        return self.job.queued_at - self.submit.pri * PRIORITY_MS, self.job.seq

    def ready(self, now: int) -> bool:
        return self.state is QUEUED and self.job.run_at <= now < self.job.deadline

    def answers_to(self, token: str) -> bool:
        job = self.job
        return token in (f"{job.attempt}-{job.nonce:016x}", f"{job.attempt}@{job.worker}")

    def forgettable(self, now: int) -> bool:
        """Whether retention is over, also for the sake of its webhook."""
        kept_until = self.ended_at + self.submit.retention_ms if self.kept_until is None else self.kept_until
        if not self.state.terminal or now < kept_until:
            return False
        told = self.job.webhook in (WebhookState.NONE, WebhookState.DELIVERED)
        return told or now >= self.ended_at + WEBHOOK_KEPT_MS


@dataclass(slots=True)
class Key:
    """What an idempotency key leads to."""

    job: str
    body_hash: str
    expires_at: int


class Promises:
    """Watches one store. Every operation that it was given goes through `saw`, in order."""

    def __init__(self) -> None:
        self.jobs: dict[str, Known] = {}
        """Those that must be found."""

        self.forgotten: dict[str, JobState] = {}
        self.totals: dict[str, Counter[str]] = {}
        self.keys: dict[tuple[str, str, str], Key] = {}
        self.losses: dict[str, dict[str, int]] = {}
        """Endpoint -> job -> when it last lost a worker."""

        self.webhooks: dict[str, tuple[int, int]] = {}
        """Job whose webhook is on its way -> nonce and end of its lease, zeros when nobody has it."""

        self.endpoints: dict[str, bytes] = {}
        self.swept_at = 0
        self.back_at = self.hold_until = 0
        self.seq = 0

    def saw(self, operation: base.Operation, outcome: base.Outcome, now: int) -> None:
        """Judge an answer, and remember what it said."""
        changes = base.changes(outcome)
        if isinstance(operation, base.Sweep):
            self._marked(operation, now)
        if isinstance(operation, base.Submit):
            self._submitted(operation, outcome, now)
        elif isinstance(operation, base.Take):
            self._taken(operation, outcome, now)
        elif isinstance(operation, base.WorkerGone | base.Purge | base.Sweep):
            self._many(operation, changes, now)
        elif isinstance(operation, base.LeaseWebhooks):
            self._webhooks_leased(operation, outcome, now)
        elif isinstance(operation, base.SettleWebhook | base.ReleaseWebhook | base.ReplayWebhook):
            self._webhook_told(operation, outcome, now)
        elif isinstance(operation, base.Shorten):
            self._shortened(operation, outcome, now)
        elif isinstance(operation, base.PutEndpoint):
            self.endpoints[operation.endpoint] = operation.registration
        elif isinstance(operation, base.DeleteEndpoint):
            self._endpoint_deleted(operation.endpoint)
        else:
            self._written(operation, outcome, now)
        if isinstance(operation, base.Sweep):
            self._swept(operation, changes, now)

    def probing(self, endpoint: str, now: int) -> bool:
        """Whether so many jobs lost a worker lately that one at a time may run."""
        losses = self.losses.get(endpoint, {}).values()
        return sum(now - at < PROBING_MS for at in losses) >= PROBING_LOSSES

    def of(self, endpoint: str, *states: JobState) -> list[Known]:
        """Jobs of an endpoint that must be found."""
        jobs = (known for known in self.jobs.values() if known.submit.endpoint == endpoint)
        return [known for known in jobs if not states or known.state in states]

    def _changed(self, operation: base.Operation, change: Transition, now: int) -> Known:
        """Follow one change, and check what holds for every one."""
        before, after = change.before, change.after
        assert before is not None, "only a submit makes a job"
        known = self.jobs[before.id]
        assert before == known.job, "each change starts from where the last one ended"
        if after is None:
            assert isinstance(operation, base.Sweep)
            assert known.forgettable(now), "a job is kept for its retention, and for its webhook"
            self.forgotten[before.id] = before.state
            self.webhooks.pop(before.id, None)
            del self.jobs[before.id]
            return known
        assert (after.attempt == before.attempt + 1) == isinstance(operation, base.Take), "each take is an attempt"
        assert after.attempt >= before.attempt
        assert (after.gen == before.gen + 1) == isinstance(operation, base.Retry)
        assert (after.lease_until is not None) == (after.state is RUNNING), "running jobs have a lease, others none"
        if before.state.terminal and not isinstance(operation, base.Retry):
            free = {"webhook"} | ({"keep_until"} if isinstance(operation, base.Shorten) else set())
            kept = {name: getattr(after, name) for name in Job.__struct_fields__ if name not in free}
            assert all(getattr(before, name) == value for name, value in kept.items()), "an outcome never changes"
        self._count(known, before.state, after.state, reopened=isinstance(operation, base.Retry))
        known.job = after
        if before.state is RUNNING and after.state is QUEUED:
            known.items, known.progress = [], None
        if after.state.terminal and not before.state.terminal:
            self._ended(known, change, now)
        return known

    def _ended(self, known: Known, change: Transition, now: int) -> None:
        known.ended_at, known.progress = now, None
        known.content = base.Content(None, change.error)
        has_url = known.submit.webhook is not None
        assert (known.job.webhook is WebhookState.PENDING) == has_url, "an end is told exactly to those who asked"
        if has_url:
            self.webhooks[known.job.id] = (0, 0)

    def _count(self, known: Known, before: JobState | None, after: JobState, *, reopened: bool) -> None:
        total = self.totals.setdefault(known.submit.endpoint, Counter())
        total["arrived"] += before is None or reopened
        total["arrived_low"] += known.submit.low_priority and (before is None or reopened)
        total["retried"] += before is RUNNING and after is QUEUED
        if after.terminal and before is not after:
            total[after.value.lower()] += 1

    def _submitted(self, op: base.Submit, outcome: base.Outcome, now: int) -> None:
        known = self.jobs.get(op.id)
        asked = op.idempotency
        place = (op.endpoint, asked.principal, asked.key) if asked else None
        key = self.keys.get(place) if place else None
        if known is not None:
            assert outcome == base.Refused(Reason.EXISTS, known.job)
            return
        if asked is not None and key is not None and key.expires_at > now:
            first = self.jobs.get(key.job)
            if key.body_hash != asked.body_hash:
                assert outcome == base.Refused(Reason.KEY_REUSED, first.job if first else None)
            else:
                state = first.state if first else self.forgotten[key.job]
                assert outcome == base.Repeated(key.job, state), "one job per key"
            return
        assert isinstance(outcome, base.Applied)
        job = outcome.change.after
        assert outcome.change.before is None
        assert job is not None
        assert job.seq > self.seq, "queue numbers grow"
        assert (job.id, job.endpoint, job.state, job.attempt) == (op.id, op.endpoint, QUEUED, 0)
        self.seq = job.seq
        self.forgotten.pop(op.id, None)
        self.jobs[op.id] = Known(op, job)
        self._count(self.jobs[op.id], None, QUEUED, reopened=False)
        if asked is not None and place is not None:
            self.keys[place] = Key(op.id, asked.body_hash, asked.expires_at)

    def _taken(self, op: base.Take, outcome: base.Outcome, now: int) -> None:
        assert isinstance(outcome, base.Taken)
        ready = sorted((known for known in self.of(op.endpoint) if known.ready(now)), key=lambda known: known.urgency)
        limit = op.limit
        if self.probing(op.endpoint, now):
            limit = 0 if self.of(op.endpoint, RUNNING) else min(1, limit)
        expected = [known.job.id for known in ready[:limit]]
        assert [lease.job.id for lease in outcome.leases] == expected, "the most urgent go, and none is left behind"
        tokens = [lease.job.token for lease in outcome.leases]
        assert len({*tokens}) == len(tokens)
        for lease, change in zip(outcome.leases, outcome.changes, strict=True):
            known = self._changed(op, change, now)
            assert lease.job == known.job
            assert (lease.input, lease.extra) == (known.submit.input, known.submit.extra)
            assert (lease.job.worker, lease.job.session) == (op.worker, op.session)
            known.executions += 1
            assert known.executions <= known.submit.max_attempts, "a generation runs so often and no more"

    def _written(self, op: base.JobOperation, outcome: base.Outcome, now: int) -> None:
        known = self.jobs.get(op.id)
        if known is None or known.submit.endpoint != op.endpoint:
            assert outcome == base.Refused(Reason.UNKNOWN), "nobody sees what is another's, or gone"
            return
        if isinstance(op, base.Cancel):
            self._cancelled(op, known, outcome, now)
        elif isinstance(op, base.Retry):
            self._retried(op, known, outcome, now)
        elif known.state is RUNNING and known.answers_to(op.token):
            self._by_holder(op, known, outcome, now)
        elif isinstance(outcome, base.Applied):
            assert isinstance(op, base.Finish), "only the holder writes"
            assert known.state.terminal
            assert known.answers_to(op.token)
            assert known.job.result_attempt == known.job.attempt, "only the outcome's own author is told it stands"
            assert outcome.change.duplicate
            assert outcome.change.after == known.job
        else:
            assert outcome == base.Refused(Reason.STALE, known.job)

    def _cancelled(self, op: base.Cancel, known: Known, outcome: base.Outcome, now: int) -> None:
        if known.state.terminal:
            assert outcome == base.Refused(Reason.FINISHED, known.job)
            return
        assert isinstance(outcome, base.Applied)
        assert outcome.change.stop == (known.state is RUNNING)
        self._changed(op, outcome.change, now)
        assert known.state is JobState.CANCELLED

    def _retried(self, op: base.Retry, known: Known, outcome: base.Outcome, now: int) -> None:
        if known.forgettable(now):
            assert outcome == base.Refused(Reason.UNKNOWN)
            return
        if known.state not in (JobState.FAILED, JobState.TIMED_OUT):
            assert outcome == base.Refused(Reason.NOT_FAILED, known.job)
            return
        assert isinstance(outcome, base.Applied)
        self._changed(op, outcome.change, now)
        assert (known.state, known.job.queued_at) == (QUEUED, now)
        assert known.job.deadline == now + known.submit.ttl_ms
        assert known.job.seq > self.seq, "a retried job is behind all others"
        self.seq = known.job.seq
        known.executions, known.items, known.content, known.kept_until = 0, [], base.Content(), None
        self.webhooks.pop(op.id, None)

    def _by_holder(self, op: base.JobOperation, known: Known, outcome: base.Outcome, now: int) -> None:
        if isinstance(op, base.AppendChunk):
            self._appended(op, known, outcome, now)
            return
        assert isinstance(outcome, base.Applied), "the holder writes"
        assert not outcome.change.duplicate
        lease_until = known.job.lease_until or 0
        self._changed(op, outcome.change, now)
        if isinstance(op, base.Heartbeat):
            assert known.job.lease_until == max(lease_until, now + op.lease_ms)
        elif isinstance(op, base.Progress):
            known.progress = op.value
        elif isinstance(op, base.Finish):
            self._finished(op, known)
        elif isinstance(op, base.Release):
            assert known.state is QUEUED
            known.executions -= 1
        elif isinstance(op, base.Lose):
            self._lost(known, now, charged=op.charged)

    def _appended(self, op: base.AppendChunk, known: Known, outcome: base.Outcome, now: int) -> None:
        stored, last = len(known.items), op.seq + len(op.items) - 1
        if op.seq > stored + 1 or op.seq < 1:
            assert outcome == base.Refused(Reason.GAP, known.job)
            return
        if last > max(stored, CHUNKS_MAX):
            assert outcome == base.Refused(Reason.TOO_LARGE, known.job)
            return
        assert isinstance(outcome, base.Applied)
        assert outcome.change.duplicate == (last <= stored)
        self._changed(op, outcome.change, now)
        known.items += op.items[stored + 1 - op.seq :]
        assert known.job.chunks == len(known.items)

    def _finished(self, op: base.Finish, known: Known) -> None:
        again = op.error is not None and known.submit.retry_errors and not op.final
        if again and known.executions < known.submit.max_attempts:
            assert known.state is QUEUED
            return
        assert known.state is (JobState.COMPLETED if op.error is None else JobState.FAILED)
        known.content = base.Content(op.output, op.error)
        self.losses.pop(op.endpoint, None)

    def _lost(self, known: Known, now: int, *, charged: bool) -> None:
        if not charged:
            assert known.state is QUEUED
            known.executions -= 1
            return
        used_up = known.executions >= known.submit.max_attempts
        assert known.state is (JobState.FAILED if used_up else QUEUED)
        self.losses.setdefault(known.submit.endpoint, {})[known.job.id] = now

    def _many(self, op: base.WorkerGone | base.Purge | base.Sweep, changes: tuple[Transition, ...], now: int) -> None:
        if not isinstance(op, base.Sweep):
            expected = {known.job.id for known in self.of(op.endpoint) if _concerns(op, known)}
            found = [change.before.id for change in changes if change.before]
            limit = op.limit if isinstance(op, base.Purge) else len(expected)
            assert len({*found}) == len(found) == min(limit, len(expected))
            assert expected >= {*found}, "nobody else's jobs, no running ones, none that came later"
        for change in changes:
            assert change.before is not None
            is_held = now < self.hold_until and (change.before.taken_at or now) < self.back_at
            overtime = change.before.deadline <= now or (change.before.exec_limit or now + 1) <= now
            known = self._changed(op, change, now)
            if isinstance(op, base.WorkerGone):
                self._lost(known, now, charged=op.charged)
            elif isinstance(op, base.Purge):
                assert known.state is JobState.CANCELLED
            elif change.after is not None and is_held:
                assert known.state is RUNNING, "while jobs are held, none of them ends by itself"
            elif change.after is not None and overtime:
                assert known.state is JobState.TIMED_OUT
            elif change.after is not None:
                self._lost(known, now, charged=True)

    def _marked(self, op: base.Sweep, now: int) -> None:
        if now - max(self.swept_at, op.seen_at) > op.away_ms:
            self.back_at, self.hold_until = now, now + op.hold_ms
        self.swept_at = now

    def _swept(self, op: base.Sweep, changes: tuple[Transition, ...], now: int) -> None:
        assert len(changes) <= op.limit
        if len(changes) == op.limit:
            return
        for known in self.jobs.values():
            job = known.job
            assert not known.forgettable(now), "nothing is kept longer than promised"
            if not job.state.terminal:
                assert job.deadline > now, "every job ends by its deadline"
                assert (job.lease_until or now + 1) > now, "no job runs without a lease"
                assert (job.exec_limit or now + 1) > now

    def _webhooks_leased(self, op: base.LeaseWebhooks, outcome: base.Outcome, now: int) -> None:
        assert isinstance(outcome, base.Webhooks)
        assert len(outcome.due) <= op.limit
        for due in outcome.due:
            known = self.jobs[due.webhook.id]
            assert known.state.terminal, "nothing is told before it is so"
            assert (due.webhook.gen, due.webhook.endpoint) == (known.job.gen, known.submit.endpoint)
            assert due.url == known.submit.webhook
            _, until = self.webhooks[due.webhook.id]
            assert until <= now, "a webhook is in one pair of hands"
            self.webhooks[due.webhook.id] = (op.nonce, now + op.lease_ms)
        if len(outcome.due) < op.limit:
            assert all(until != 0 for _, until in self.webhooks.values()), "no webhook that may go is left behind"

    def _webhook_told(
        self,
        op: base.SettleWebhook | base.ReleaseWebhook | base.ReplayWebhook,
        outcome: base.Outcome,
        now: int,
    ) -> None:
        known = self.jobs.get(op.id)
        if known is None or known.submit.endpoint != op.endpoint:
            assert isinstance(outcome, base.Refused)
            assert outcome.job is None
            return
        if isinstance(op, base.ReplayWebhook):
            possible = known.submit.webhook is not None and known.state.terminal and not known.forgettable(now)
            assert isinstance(outcome, base.Applied) == possible
        else:
            nonce, _ = self.webhooks.get(op.id, (0, 0))
            mine = known.state.terminal and op.gen == known.job.gen and op.nonce == nonce != 0
            assert isinstance(outcome, base.Refused) != mine, "only who has the webhook says how it went"
        if isinstance(outcome, base.Refused):
            return
        if isinstance(outcome, base.Applied):
            self._changed(op, outcome.change, now)
        if isinstance(op, base.ReplayWebhook):
            assert known.job.webhook is WebhookState.PENDING
            self.webhooks[op.id] = (0, 0)
        elif isinstance(op, base.SettleWebhook) and isinstance(outcome, base.Applied):
            assert known.job.webhook is (WebhookState.DELIVERED if op.delivered else WebhookState.DEAD)
            del self.webhooks[op.id]
        elif isinstance(op, base.SettleWebhook):
            assert not op.delivered
            self.webhooks[op.id] = (op.nonce, now + 1)
        else:
            self.webhooks[op.id] = (0, now + op.delay_ms)

    def _shortened(self, op: base.Shorten, outcome: base.Outcome, now: int) -> None:
        known = self.jobs.get(op.id)
        if known is None or known.submit.endpoint != op.endpoint or known.forgettable(now):
            assert outcome == base.Refused(Reason.UNKNOWN)
        elif not known.state.terminal:
            assert outcome == base.Refused(Reason.NOT_READY, known.job)
        else:
            assert isinstance(outcome, base.Applied)
            assert known.job.keep_until is not None
            known.kept_until = min(known.job.keep_until, now + op.keep_ms)
            self._changed(op, outcome.change, now)
            assert known.job.keep_until == known.kept_until

    def _endpoint_deleted(self, endpoint: str) -> None:
        self.endpoints.pop(endpoint, None)
        self.losses.pop(endpoint, None)
        self.keys = {place: key for place, key in self.keys.items() if place[0] != endpoint}


def _concerns(op: base.WorkerGone | base.Purge, known: Known) -> bool:
    if isinstance(op, base.WorkerGone):
        return known.state is RUNNING and known.job.worker == op.worker and op.concerns(known.job.session)
    wanted = known.state is QUEUED or (op.running and known.state is RUNNING)
    return wanted and known.job.seq <= op.up_to
