"""The rows of the store in memory: dictionaries, and scans for what an engine has indexes for."""

from collections.abc import Iterable
from copy import copy

from msgspec.structs import replace

from submodel.contract.states import JobState
from submodel_gateway.errors import OperationFailed
from submodel_gateway.jobs.breaker import CLOSED, Breaker
from submodel_gateway.jobs.outbox import Webhook
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.tally import Tally, count
from submodel_gateway.jobs.transition import Transition
from submodel_gateway.store import base
from submodel_gateway.store.execute import KeyEntry, Mark


class MemoryRows:
    """See `execute.Rows`. `jobs_max` bounds the jobs that are admitted, kept ones included."""

    def __init__(self, jobs_max: int | None) -> None:
        self.jobs_max = jobs_max
        self.jobs: dict[str, Job] = {}
        self.payloads: dict[str, tuple[base.Payload, bytes]] = {}
        self.urls: dict[str, str] = {}
        self.blobs: dict[str, bytes] = {}
        self.results: dict[str, base.Content] = {}
        self.progress: dict[str, bytes] = {}
        self.chunks: dict[str, tuple[bytes, ...]] = {}
        self.tallies: dict[str, Tally] = {}
        self.endpoints: dict[str, bytes] = {}
        self.breakers: dict[str, Breaker] = {}
        self.keys: dict[tuple[str, str, str], KeyEntry] = {}
        self.webhooks: dict[str, Webhook] = {}
        self.seq = 0
        self._mark = Mark()

    def copy(self) -> "MemoryRows":
        """Rows of their own with the same content."""
        copied = copy(self)
        for name, table in vars(self).items():
            if isinstance(table, dict):
                setattr(copied, name, dict(table))
        return copied

    def admits(self) -> bool:
        return self.jobs_max is None or len(self.jobs) < self.jobs_max

    def load(self, endpoint: str, id: str) -> Job | None:
        job = self.jobs.get(id)
        return job if job and job.endpoint == endpoint else None

    def next_seq(self) -> int:
        self.seq += 1
        return self.seq

    def save(self, change: Transition) -> None:
        job = change.after or change.before
        assert job is not None, "a transition has a job on one side at least"
        if change.before is None and job.id in self.jobs:
            raise OperationFailed("the job's id is in use at another endpoint")
        self.tallies[job.endpoint] = count(self.tallies.get(job.endpoint, Tally()), change)
        if change.after is None:
            self._forget(job)
            return
        self.jobs[job.id] = change.after
        if change.requeued or change.reopened:
            self.chunks.pop(job.id, None)
        if change.requeued or job.state.terminal:
            self.progress.pop(job.id, None)
        if change.reopened:
            self._drop_result(job.id)
            self.webhooks.pop(job.id, None)
        if change.error is not None:
            self.put_result(job, None, change.error)

    def put_payload(self, job: Job, input: base.Payload, extra: bytes, webhook: str | None) -> None:
        self.payloads[job.id] = (input, extra)
        if webhook is not None:
            self.urls[job.id] = webhook

    def payload(self, job: Job) -> tuple[base.Payload, bytes]:
        return self.payloads[job.id]

    def webhook_url(self, job: str) -> str:
        return self.urls[job]

    def put_result(self, job: Job, output: base.Payload | None, error: str | None) -> None:
        self._drop_result(job.id)
        self.results[job.id] = base.Content(output, error)

    def put_progress(self, job: Job, value: bytes) -> None:
        self.progress[job.id] = value

    def append_chunks(self, job: Job, first: int, items: Iterable[bytes]) -> None:
        stored = self.chunks.get(job.id, ())
        assert len(stored) == first - 1, "the transition leaves no hole"
        self.chunks[job.id] = (*stored, *items)

    def ready(self, endpoint: str, now: int, limit: int) -> list[Job]:
        jobs = [job for job in self.queued(endpoint) if job.run_at <= now < job.deadline]
        return jobs[:limit]

    def due(self, now: int, limit: int) -> list[Job]:
        jobs = [job for job in self.jobs.values() if job.due_at <= now]
        return sorted(jobs, key=lambda job: (job.due_at, job.seq))[:limit]

    def running(self, endpoint: str) -> bool:
        return any(job.endpoint == endpoint for job in self.leased())

    def held(self, endpoint: str, worker: str) -> list[Job]:
        return [job for job in self.leased() if job.endpoint == endpoint and job.worker == worker]

    def live(self, endpoint: str, up_to: int, limit: int, *, running: bool) -> list[Job]:
        jobs = self.queued(endpoint)
        if running:
            jobs += [job for job in self.leased() if job.endpoint == endpoint]
        return [job for job in jobs if job.seq <= up_to][:limit]

    def mark(self) -> Mark:
        return self._mark

    def put_mark(self, mark: Mark) -> None:
        self._mark = mark

    def breaker(self, endpoint: str) -> Breaker:
        return self.breakers.get(endpoint, CLOSED)

    def put_breaker(self, endpoint: str, breaker: Breaker) -> None:
        self.breakers[endpoint] = breaker

    def key(self, endpoint: str, principal: str, key: str) -> KeyEntry | None:
        return self.keys.get((endpoint, principal, key))

    def put_key(self, endpoint: str, principal: str, key: str, entry: KeyEntry) -> None:
        self.keys[endpoint, principal, key] = entry

    def settle_keys(self, job: Job) -> None:
        for place, entry in self.keys.items():
            if entry.job == job.id:
                self.keys[place] = replace(entry, state=job.state)

    def expire_keys(self, now: int, limit: int) -> None:
        expired = sorted((entry.expires_at, place) for place, entry in self.keys.items() if entry.expires_at <= now)
        for _, place in expired[:limit]:
            del self.keys[place]

    def webhook(self, endpoint: str, id: str) -> Webhook | None:
        webhook = self.webhooks.get(id)
        return webhook if webhook and webhook.endpoint == endpoint else None

    def put_webhook(self, webhook: Webhook) -> None:
        self.webhooks[webhook.id] = webhook

    def due_webhooks(self, now: int, limit: int) -> list[Webhook]:
        due = [(at, webhook.id, webhook) for webhook in self.webhooks.values() if (at := webhook.next_at) is not None]
        return [webhook for at, _, webhook in sorted(due) if at <= now][:limit]

    def put_endpoint(self, endpoint: str, registration: bytes) -> None:
        self.endpoints[endpoint] = registration

    def delete_endpoint(self, endpoint: str, limit: int) -> bool:
        dropped = [place for place in self.keys if place[0] == endpoint][:limit]
        for place in dropped:
            del self.keys[place]
        if len(dropped) == limit:
            return True
        self.endpoints.pop(endpoint, None)
        self.breakers.pop(endpoint, None)
        return False

    def queued(self, endpoint: str) -> list[Job]:
        """In order of the queue."""
        jobs = [job for job in self.jobs.values() if job.endpoint == endpoint and job.state is JobState.IN_QUEUE]
        return sorted(jobs, key=lambda job: (job.place, job.seq))

    def leased(self) -> list[Job]:
        """All running jobs in order of `seq`."""
        jobs = [job for job in self.jobs.values() if job.state is JobState.IN_PROGRESS]
        return sorted(jobs, key=lambda job: job.seq)

    def _forget(self, job: Job) -> None:
        self._drop_result(job.id)
        input, _ = self.payloads.pop(job.id)
        self._drop_blob(input)
        for table in (self.jobs, self.urls, self.progress, self.chunks, self.webhooks):
            table.pop(job.id, None)

    def _drop_result(self, job: str) -> None:
        if (content := self.results.pop(job, None)) is not None:
            self._drop_blob(content.output)

    def _drop_blob(self, payload: base.Payload | None) -> None:
        if isinstance(payload, base.Blob):
            self.blobs.pop(payload.name, None)
