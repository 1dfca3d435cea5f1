"""What a commit wakes: the sessions that hold a job, those who wait for it or for any, what counts it, its webhook.

Made by `Gateway`; a store tells of every group that it has written, so this is on the way of each request.
"""

from collections.abc import Callable, Iterable

from submodel.contract.states import JobState
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.transition import Transition
from submodel_gateway.metrics.measures import Measures
from submodel_gateway.service import canary
from submodel_gateway.service.clock import Clock
from submodel_gateway.service.endpoints import Endpoints, EndpointState
from submodel_gateway.service.records import Records
from submodel_gateway.service.session import Session
from submodel_gateway.service.stores import Stores
from submodel_gateway.service.streams import Streams
from submodel_gateway.service.waiting import JobWatchers
from submodel_gateway.service.webhooks import Webhooks
from submodel_gateway.store import base


class Commits:
    """Passes on what has become of jobs. `changed` is told when that is news for the operator."""

    def __init__(
        self,
        stores: Stores,
        endpoints: Endpoints,
        clock: Clock,
        measures: Measures,
        records: Records,
        watchers: JobWatchers,
        streams: Streams,
        webhooks: Webhooks,
        changed: Callable[[EndpointState], None],
    ) -> None:
        self._stores = stores
        self._endpoints = endpoints
        self._clock = clock
        self._measures = measures
        self._records = records
        self._watchers = watchers
        self._streams = streams
        self._webhooks = webhooks
        self._changed = changed

    def committed(self, done: Iterable[tuple[base.Operation, base.Outcome]]) -> None:
        """A store has written these; called once per group, in the order of its commits."""
        now = self._clock.now_ms()
        touched: dict[str, None] = {}
        for operation, outcome in done:
            for change in base.changes(outcome):
                job = change.after or change.before
                if job is None or job.endpoint == canary.ENDPOINT:
                    continue
                if _counts(change):
                    touched[job.endpoint] = None
                    self._tell_session(change, now)
                    self._note_run(change)
                    self._measures.changed(change, expired=change.lost and self._expired(change))
                    if change.ended:
                        self._records.ended(job)
                if change.after is None:
                    self._streams.forget(job.id)
                self._watchers.tell(
                    job.endpoint, job.id, change.after, _content(operation, change), _items(operation, change)
                )
                self._webhooks.committed(change)
        for endpoint in touched:
            state = self._endpoints.find(endpoint)
            if state is not None:
                self.wake_takers(state)
                self._changed(state)

    def wake_takers(self, state: EndpointState) -> None:
        """Let as many of those who wait for jobs look for one as there are jobs."""
        state.wake_takers(self._stores.tally(state.id).queued)

    def _expired(self, change: Transition) -> bool:
        """Whether the lease had come to its end."""
        before = change.before
        if before is None or before.lease_until is None:
            return False
        return before.lease_until <= self._stores.now_ms(before.endpoint)

    def _tell_session(self, change: Transition, now: int) -> None:
        before, after = change.before, change.after
        if before is not None and before.state is JobState.IN_PROGRESS and (session := self._holder(before)):
            session.lose(before.id, now, stop=change.stop)
            if not change.lost and after is not None:
                session.completed += after.state is JobState.COMPLETED
                session.failed += after.state is JobState.FAILED
        if after is not None and after.state is JobState.IN_PROGRESS and (session := self._holder(after)):
            session.hold(after, now)

    def _note_run(self, change: Transition) -> None:
        job = change.after
        if job is None or job.state is not JobState.COMPLETED or job.taken_at is None or job.finished_at is None:
            return
        if (state := self._endpoints.find(job.endpoint)) is not None:
            state.runs_ms.append(job.finished_at - job.taken_at)

    def _holder(self, job: Job) -> Session | None:
        state = self._endpoints.find(job.endpoint)
        session = state.sessions.get(job.worker or "") if state else None
        return session if session and session.id == job.session else None


def _content(operation: base.Operation, change: Transition) -> base.Content | None:
    """What a job ended with by this operation; None where only the store knows."""
    if isinstance(operation, base.Finish) and change.ended:
        return base.Content(operation.output, operation.error)
    return None


def _items(operation: base.Operation, change: Transition) -> tuple[bytes, ...]:
    """What this operation added to the job's stream: of what was sent, all that was new."""
    if isinstance(operation, base.AppendChunk) and change.before is not None:
        return operation.items[change.before.chunks + 1 - operation.seq :]
    return ()


def _counts(change: Transition) -> bool:
    """Whether a tally or a session is different after it; heartbeats, chunks and progress change neither."""
    before, after = change.before, change.after
    return before is None or after is None or before.state is not after.state
