"""Store operations with the fields that a test does not care about filled in."""

from typing import Any

from submodel_gateway.jobs.outbox import Webhook
from submodel_gateway.jobs.record import Job
from submodel_gateway.store import base

ENDPOINT = "ns.app"
LEASE_MS = 45_000
TTL_MS = 86_400_000
RETENTION_MS = 60_000
WEBHOOK_LEASE_MS = 30_000
EVER = 2**60


def submit(id: str, endpoint: str = ENDPOINT, **fields: Any) -> base.Submit:
    values = {
        "input": b'{"n": 1}',
        "max_attempts": 3,
        "execution_timeout_ms": 600_000,
        "ttl_ms": TTL_MS,
        "retention_ms": RETENTION_MS,
        **fields,
    }
    return base.Submit(id=id, endpoint=endpoint, **values)


def keyed(key: str = "k", expires_at: int = EVER, principal: str = "p", body: str = "body") -> base.IdempotencyKey:
    return base.IdempotencyKey(principal=principal, key=key, body_hash=body, expires_at=expires_at)


def take(limit: int = 1, worker: str = "w", session: str = "s", nonce: int = 7, endpoint: str = ENDPOINT) -> base.Take:
    return base.Take(endpoint=endpoint, worker=worker, session=session, limit=limit, nonce=nonce, lease_ms=LEASE_MS)


def heartbeat(job: Job, token: str | None = None) -> base.Heartbeat:
    return base.Heartbeat(endpoint=job.endpoint, id=job.id, token=_or(token, job), lease_ms=LEASE_MS)


def finish(
    job: Job, output: base.Payload | None = b'"done"', error: str | None = None, token: str | None = None
) -> base.Finish:
    return base.Finish(endpoint=job.endpoint, id=job.id, token=_or(token, job), output=output, error=error)


def append(job: Job, seq: int, *items: bytes, token: str | None = None) -> base.AppendChunk:
    return base.AppendChunk(endpoint=job.endpoint, id=job.id, token=_or(token, job), seq=seq, items=items)


def progress(job: Job, value: bytes, token: str | None = None) -> base.Progress:
    return base.Progress(endpoint=job.endpoint, id=job.id, token=_or(token, job), value=value)


def release(job: Job, token: str | None = None) -> base.Release:
    return base.Release(endpoint=job.endpoint, id=job.id, token=_or(token, job))


def cancel(job: Job) -> base.Cancel:
    return base.Cancel(endpoint=job.endpoint, id=job.id)


def retry(job: Job) -> base.Retry:
    return base.Retry(endpoint=job.endpoint, id=job.id)


def lose(job: Job, charged: bool = True, token: str | None = None) -> base.Lose:
    return base.Lose(endpoint=job.endpoint, id=job.id, token=_or(token, job), reason="it was evicted", charged=charged)


def purge(up_to: int = EVER, limit: int = 1_000, running: bool = False, endpoint: str = ENDPOINT) -> base.Purge:
    return base.Purge(endpoint=endpoint, up_to=up_to, limit=limit, running=running)


def sweep(now: int, limit: int = 1_000) -> base.Sweep:
    """By a gateway that reached the store until now: nothing is held."""
    return base.Sweep(limit=limit, seen_at=now, hold_ms=LEASE_MS)


def lease_webhooks(limit: int = 10, nonce: int = 5) -> base.LeaseWebhooks:
    return base.LeaseWebhooks(limit=limit, nonce=nonce, lease_ms=WEBHOOK_LEASE_MS)


def settle(webhook: Webhook, delivered: bool = True, jitter: float = 0.0) -> base.SettleWebhook:
    return base.SettleWebhook(
        endpoint=webhook.endpoint,
        id=webhook.id,
        gen=webhook.gen,
        nonce=webhook.nonce,
        delivered=delivered,
        jitter=jitter,
    )


def gone(
    worker: str = "w",
    keep: str | None = None,
    only: str | None = None,
    charged: bool = True,
    endpoint: str = ENDPOINT,
) -> base.WorkerGone:
    reason = "it was evicted"
    return base.WorkerGone(endpoint=endpoint, worker=worker, reason=reason, keep=keep, only=only, charged=charged)


def _or(token: str | None, job: Job) -> str:
    return job.token if token is None else token
