"""What a group of operations will look at, so that one round trip can lock and load it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from submodel_gateway.store import base

READY_MAX = 1_000
"""Jobs that are loaded for the takes of an endpoint at once; more are loaded when they are asked for."""

_SMALL = base.Heartbeat | base.Progress | base.AppendChunk

Key = tuple[str, str, str]
"""Endpoint, principal and idempotency key."""


@dataclass(slots=True)
class Needs:
    """A forecast: what is missing here is loaded later, one by one."""

    relaxed: bool
    """Only signs of life and streams: a crash of the database server may take the last moment of them back."""

    jobs: set[str] = field(default_factory=set)
    takes: dict[str, int] = field(default_factory=dict)
    """Endpoint -> how many ready jobs."""

    submits: dict[str, Key | None] = field(default_factory=dict)
    """Id of a new job -> its idempotency key."""

    keys: set[Key] = field(default_factory=set)
    webhooks: set[str] = field(default_factory=set)
    breakers: set[str] = field(default_factory=set)
    """Endpoints."""

    gone: set[tuple[str, str]] = field(default_factory=set)
    """Endpoint and worker."""

    purges: list[base.Purge] = field(default_factory=list)
    sweeps: bool = False


def needs_of(operations: Sequence[base.Operation]) -> Needs:
    """The forecast for a group."""
    needs = Needs(relaxed=all(isinstance(operation, _SMALL) for operation in operations))
    for operation in operations:
        if isinstance(operation, base.Submit):
            _submit(needs, operation)
        elif isinstance(operation, base.Take):
            wanted = needs.takes.get(operation.endpoint, 0) + operation.limit
            needs.takes[operation.endpoint] = min(wanted, READY_MAX)
            needs.breakers.add(operation.endpoint)
        elif isinstance(operation, base.SettleWebhook | base.ReleaseWebhook | base.ReplayWebhook):
            needs.webhooks.add(operation.id)
            needs.jobs.add(operation.id)
        elif isinstance(operation, base.Sweep):
            needs.sweeps = True
        elif isinstance(operation, base.WorkerGone):
            needs.gone.add((operation.endpoint, operation.worker))
        elif isinstance(operation, base.Purge):
            needs.purges.append(operation)
        elif isinstance(operation, base.JobOperation):
            needs.jobs.add(operation.id)
            if isinstance(operation, base.Finish | base.Lose):
                needs.breakers.add(operation.endpoint)
    # Those are found to be new, or loaded, together with their queue numbers.
    needs.jobs -= needs.submits.keys()
    return needs


def _submit(needs: Needs, operation: base.Submit) -> None:
    idempotency = operation.idempotency
    key = (operation.endpoint, idempotency.principal, idempotency.key) if idempotency else None
    if key is not None and key in needs.keys:
        needs.jobs.add(operation.id)
    elif operation.id not in needs.submits:
        needs.submits[operation.id] = key
    if key is not None:
        needs.keys.add(key)
