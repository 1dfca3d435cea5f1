"""What a job store answers to `operations`."""

import msgspec

from submodel.contract.states import JobState
from submodel_gateway.errors import StoreAway, StoreError
from submodel_gateway.jobs.outbox import Webhook
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.transition import Reason, Transition
from submodel_gateway.store.operations import Payload


class Applied(msgspec.Struct, frozen=True):
    """The operation had its effect, now or (`change.duplicate`) before."""

    change: Transition


class Content(msgspec.Struct, frozen=True):
    """What a reader sees of a job beside its record. `output` of a running job is its latest progress value."""

    output: Payload | None = None
    error: str | None = None


class Refused(msgspec.Struct, frozen=True):
    """The operation had no effect. `job` is the job as it is, None when there is none of that id."""

    reason: Reason
    job: Job | None = None


class Lease(msgspec.Struct, frozen=True):
    """A job handed out, with its payload."""

    job: Job
    input: Payload
    extra: bytes


class Taken(msgspec.Struct, frozen=True):
    """What a take got, possibly nothing."""

    leases: tuple[Lease, ...]
    changes: tuple[Transition, ...]


class Swept(msgspec.Struct, frozen=True):
    """What an operation over many jobs changed."""

    changes: tuple[Transition, ...]


class Stored(msgspec.Struct, frozen=True):
    """A registry write is durable. `more` when it did only a part of what was asked, and is to be asked again."""

    more: bool = False


class Repeated(msgspec.Struct, frozen=True):
    """The submit's idempotency key belongs to this job, which may be forgotten already: its last state is known."""

    id: str
    state: JobState


class DueWebhook(msgspec.Struct, frozen=True):
    """A webhook in the hands of a dispatcher."""

    webhook: Webhook
    url: str


class Webhooks(msgspec.Struct, frozen=True):
    """What a dispatcher got, possibly nothing."""

    due: tuple[DueWebhook, ...]


class Failed(msgspec.Struct, frozen=True):
    """The operation raised, and had no effect unless that is `unknown`; made by the group commit, not by an engine."""

    error: StoreError

    @property
    def unknown(self) -> bool:
        """Whether the operation may have had its effect, or may have it yet."""
        return isinstance(self.error, StoreAway)


Outcome = Applied | Refused | Taken | Swept | Stored | Repeated | Webhooks | Failed


def changes(outcome: Outcome) -> tuple[Transition, ...]:
    """The transitions of an outcome, in order."""
    if isinstance(outcome, Applied):
        return (outcome.change,)
    return outcome.changes if isinstance(outcome, Taken | Swept) else ()
