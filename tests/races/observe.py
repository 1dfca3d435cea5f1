"""What can be seen of a race, as bytes that are equal for equal races."""

import re
from collections.abc import Sequence

import msgspec

from submodel_gateway.jobs.record import WebhookState
from submodel_gateway.store import base
from tests.races.catalogue import endpoint_of, id_of

_SEQ = re.compile(rb'"seq":\d+')
_encode = msgspec.json.Encoder().encode


def canonical(number: int, seen: object) -> bytes:
    """`seen` as JSON, without what differs between equal races: the number of the race, and places in the queue."""
    return _SEQ.sub(b'"seq":0', _encode(seen).replace(b"#%07d#" % number, b"#"))


def answer(number: int, outcome: base.Outcome) -> tuple[str, object]:
    """An outcome with its kind; of one that concerns many jobs, the part of this race."""
    if isinstance(outcome, base.Swept):
        id = id_of(number)
        return "Swept", [change for change in outcome.changes if change.before and change.before.id == id]
    return type(outcome).__name__, outcome


async def end(store: base.Store, number: int, *, shared: bool) -> Sequence[object]:
    """What readers see of the job and its endpoint.

    Where gateways share the store, counters come a moment late, and every read is a question over a wire: there, items
    that the record does not know of are not asked for, and the breaker is left to the other engines.
    """
    endpoint = endpoint_of(number)
    job = await store.job(endpoint, id_of(number))
    content = await store.content(job) if job else None
    items = await store.chunks(job, 0, 99) if job and (job.chunks or not shared) else []
    webhook = await store.webhook(endpoint, id_of(number)) if job and job.webhook is not WebhookState.NONE else None
    beside = None if shared else (store.tally(endpoint), await store.breaker(endpoint))
    return job, content, items, webhook, beside
