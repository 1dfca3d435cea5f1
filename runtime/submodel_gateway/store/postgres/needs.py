"""What a group of operations will look at, so that one round trip can lock and load it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from submodel_gateway.store import base

READY_MAX = 1_000
"""Jobs that are loaded for the takes of an endpoint at once; more are loaded when they are asked for."""

_SMALL = {base.Heartbeat, base.Progress, base.AppendChunk}

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
    needs = Needs(relaxed=all(type(operation) in _SMALL for operation in operations))
    for operation in operations:
        if (foresee := _FORESIGHT.get(type(operation))) is not None:
            foresee(needs, operation)
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


def _take(needs: Needs, operation: base.Take) -> None:
    wanted = needs.takes.get(operation.endpoint, 0) + operation.limit
    needs.takes[operation.endpoint] = min(wanted, READY_MAX)
    needs.breakers.add(operation.endpoint)


def _job(needs: Needs, operation: base.JobOperation | base.Shorten) -> None:
    needs.jobs.add(operation.id)


def _end(needs: Needs, operation: base.Finish | base.Lose) -> None:
    needs.jobs.add(operation.id)
    needs.breakers.add(operation.endpoint)


def _webhook(needs: Needs, operation: base.SettleWebhook | base.ReleaseWebhook | base.ReplayWebhook) -> None:
    needs.jobs.add(operation.id)
    needs.webhooks.add(operation.id)


def _worker_gone(needs: Needs, operation: base.WorkerGone) -> None:
    needs.gone.add((operation.endpoint, operation.worker))


def _purge(needs: Needs, operation: base.Purge) -> None:
    needs.purges.append(operation)


def _sweep(needs: Needs, operation: base.Sweep) -> None:
    needs.sweeps = True


# Any: each function takes its own kind of operation, and the table pairs them by that kind.
_FORESIGHT: dict[type, Callable[[Needs, Any], None]] = {
    base.Submit: _submit,
    base.Take: _take,
    base.Heartbeat: _job,
    base.Progress: _job,
    base.AppendChunk: _job,
    base.Finish: _end,
    base.Release: _job,
    base.Lose: _end,
    base.Cancel: _job,
    base.Retry: _job,
    base.Shorten: _job,
    base.WorkerGone: _worker_gone,
    base.Purge: _purge,
    base.Sweep: _sweep,
    base.SettleWebhook: _webhook,
    base.ReleaseWebhook: _webhook,
    base.ReplayWebhook: _webhook,
}
