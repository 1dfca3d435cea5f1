"""What a job can be when a race begins, and the operations that race for it.

Each job has an endpoint of its own, so that operations on queues meet this job and no other. All lease tokens are the
same, so that every operation is known in advance. One instant rules the whole race: what is due is due from the start.
"""

from collections.abc import Callable, Mapping
from typing import Any

from submodel_gateway.jobs.record import lease_token
from submodel_gateway.store import base
from tests.support.store_operations import submit

NOW = 1_700_000_000_000
NONCE = 7
TOKEN = lease_token(1, NONCE)
"""Of the worker that took the job before the race."""

WORKER = "w"
RIVAL_NONCE = 9
LEASE_MS = 45_000
EVER = 2**60

Make = Callable[[int], base.Operation]


def id_of(number: int) -> str:
    """The job of a race; `canonical` in `observe` knows its form."""
    return f"j#{number:07d}#"


def endpoint_of(number: int) -> str:
    return f"e#{number:07d}#"


def _submit(**fields: Any) -> Make:
    def make(number: int) -> base.Operation:
        return submit(id_of(number), endpoint_of(number), **fields)

    return make


def _take(worker: str = WORKER, nonce: int = NONCE, lease_ms: int = LEASE_MS) -> Make:
    def make(number: int) -> base.Operation:
        return base.Take(
            endpoint=endpoint_of(number), worker=worker, session="s", limit=1, nonce=nonce, lease_ms=lease_ms
        )

    return make


def _write(kind: Callable[..., base.Operation], **fields: object) -> Make:
    def make(number: int) -> base.Operation:
        return kind(endpoint=endpoint_of(number), id=id_of(number), **fields)

    return make


def _queue(kind: Callable[..., base.Operation], **fields: object) -> Make:
    def make(number: int) -> base.Operation:
        return kind(endpoint=endpoint_of(number), **fields)

    return make


_FINISH = _write(base.Finish, token=TOKEN, output=b'"done"')
_FAIL = _write(base.Finish, token=TOKEN, error="boom")
_RELEASE = _write(base.Release, token=TOKEN)

_LEASE_WEBHOOK = base.LeaseWebhooks(limit=10_000, nonce=NONCE, lease_ms=LEASE_MS)


def _lease_webhook(_: int) -> base.Operation:
    """Meets the webhook of the job that ended just before; others were leased or settled, or are left from a race."""
    return _LEASE_WEBHOOK


STARTS: Mapping[str, tuple[Make, ...]] = {
    "unknown": (),
    "queued": (_submit(),),
    "out of time": (_submit(ttl_ms=0),),
    "running": (_submit(), _take()),
    "running out of lease": (_submit(), _take(lease_ms=0)),
    "given back": (_submit(), _take(), _RELEASE),
    "failed": (_submit(webhook="https://example.com"), _take(), _FAIL, _lease_webhook),
    "completed": (_submit(), _take(), _FINISH),
    "expired": (_submit(retention_ms=0), _take(), _FAIL),
}

OPERATIONS: Mapping[str, Make] = {
    "submit": _submit(),
    "take": _take("v", RIVAL_NONCE),
    "heartbeat": _write(base.Heartbeat, token=TOKEN, lease_ms=LEASE_MS + 1),
    "progress": _write(base.Progress, token=TOKEN, value=b"0.5"),
    "append": _write(base.AppendChunk, token=TOKEN, seq=1, items=(b"1", b"2")),
    "finish": _FINISH,
    "fail": _FAIL,
    "release": _RELEASE,
    "lose": _write(base.Lose, token=TOKEN, reason="it is gone"),
    "cancel": _write(base.Cancel),
    "retry": _write(base.Retry),
    "shorten": _write(base.Shorten, keep_ms=LEASE_MS),
    "settle webhook": _write(base.SettleWebhook, gen=1, nonce=NONCE, delivered=True),
    "release webhook": _write(base.ReleaseWebhook, gen=1, nonce=NONCE, delay_ms=LEASE_MS),
    "replay webhook": _write(base.ReplayWebhook),
    "worker gone": _queue(base.WorkerGone, worker=WORKER, reason="it was evicted"),
    "purge": _queue(base.Purge, up_to=EVER, limit=10),
}

SWEEP = base.Sweep(limit=100_000, seen_at=NOW, hold_ms=LEASE_MS)
"""Meets every job that is due, so a batch of races shares one."""
