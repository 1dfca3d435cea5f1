"""Store operations with the fields that a test does not care about filled in."""

from typing import Any

from submodel_gateway.jobs.record import Job
from submodel_gateway.store import base

ENDPOINT = "ns.app"
LEASE_MS = 45_000


def submit(id: str, endpoint: str = ENDPOINT, **fields: Any) -> base.Submit:
    """`fields` are those of `base.Submit`."""
    values: dict[str, Any] = {
        "input": b'{"n": 1}',
        "max_attempts": 3,
        "execution_timeout_ms": 600_000,
        "ttl_ms": 86_400_000,
        "retention_ms": 60_000,
        **fields,
    }
    return base.Submit(id=id, endpoint=endpoint, **values)


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


def gone(worker: str = "w", keep: str | None = None, charged: bool = True, endpoint: str = ENDPOINT) -> base.WorkerGone:
    return base.WorkerGone(endpoint=endpoint, worker=worker, reason="it was evicted", keep=keep, charged=charged)


def _or(token: str | None, job: Job) -> str:
    return job.token if token is None else token
