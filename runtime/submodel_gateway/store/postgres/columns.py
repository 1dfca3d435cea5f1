"""Rows as the tables hold them, and back.

Narrow rows travel to the server as one JSON document per statement: of all forms (arrays, COPY, one execution per row)
it costs this process the least. They come back as binary tuples.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from submodel.contract.states import JobState
from submodel_gateway.jobs.breaker import Breaker, Loss
from submodel_gateway.jobs.outbox import Webhook
from submodel_gateway.jobs.record import Job, WebhookState
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.store import base
from submodel_gateway.store.execute import KeyEntry

JOB_FIELDS = Job.__struct_fields__
_STATE = JOB_FIELDS.index("state")
_WEBHOOK = JOB_FIELDS.index("webhook")
SIZES = ("input_bytes", "result_bytes")
DERIVED = ("place", "due_at")
JOB_COLUMNS = JOB_FIELDS + SIZES
"""What is read of a job."""

_TEXTS = {"id", "endpoint", "state", "worker", "session", "webhook"}
_FLAGS = {"low_priority", "retry_errors", "keyed"}
_FIXED = {"id", "endpoint", "pri", "max", "created_at", "ttl_ms", "execution_timeout_ms", *_FLAGS}
JOB_WRITTEN = JOB_FIELDS + DERIVED + SIZES
JOB_CHANGING = tuple(name for name in JOB_WRITTEN if name not in _FIXED | {"retention_ms", "input_bytes"})

WEBHOOK_FIELDS = Webhook.__struct_fields__
COUNT_FIELDS = (*Tally.__struct_fields__, "kept", "bytes")

Count = tuple[int, ...]
"""What one gateway counted at an endpoint, in the order of `COUNT_FIELDS`."""

NOTHING: Count = (0,) * len(COUNT_FIELDS)

_states = {state.value: state for state in JobState}
_webhook_states = {state.value: state for state in WebhookState}
_losses = msgspec.json.Decoder(list[tuple[str, int]])
_encoder = msgspec.json.Encoder()


def job_type(name: str) -> str:
    """The column type of a field of a job."""
    return "text" if name in _TEXTS else "boolean" if name in _FLAGS else "bigint"


def job_of(row: Sequence[Any]) -> Job:
    """A job from its columns in the order of `JOB_FIELDS`; what follows them is left alone."""
    values = list(row[: len(JOB_FIELDS)])
    values[_STATE] = _states[values[_STATE]]
    values[_WEBHOOK] = _webhook_states[values[_WEBHOOK]]
    return Job(*values)


def job_row(job: Job, input_bytes: int, result_bytes: int) -> dict[str, Any]:
    """All columns of a job by name."""
    row = msgspec.structs.asdict(job)
    row["place"], row["due_at"] = job.place, job.due_at
    row["input_bytes"], row["result_bytes"] = input_bytes, result_bytes
    return row


def document(rows: Iterable[dict[str, Any]]) -> str:
    """Rows as one JSON array. A NUL, which no text column can hold, becomes the sign for what cannot be shown."""
    text: str = _encoder.encode(list(rows)).decode()
    return text.replace("\\u0000", "\\ufffd") if "\\u0000" in text else text


def text(value: str) -> str:
    """`value` as a text column holds it."""
    return value.replace("\0", "\ufffd")


def payload_of(inline: bytes | None, blob: str | None, size: int | None) -> base.Payload | None:
    """A payload from the three columns that hold it."""
    return inline if blob is None else base.Blob(blob, size or 0)


def payload_columns(payload: base.Payload | None) -> tuple[bytes | None, str | None, int | None]:
    """The three columns that hold a payload."""
    if isinstance(payload, base.Blob):
        return None, payload.name, payload.size
    return payload, None, None


def content_of(row: Sequence[Any]) -> base.Content:
    """A result from output, blob, blob_bytes and error."""
    inline, blob, size, error = row
    return base.Content(payload_of(inline, blob, size), None if error is None else error.decode("utf-8", "replace"))


def error_bytes(error: str | None) -> bytes | None:
    """An error text as its column holds it."""
    return None if error is None else error.encode("utf-8", "replace")


def key_entry_of(row: Sequence[Any]) -> KeyEntry:
    """An idempotency entry from job, body_hash, expires_at and state."""
    job, body_hash, expires_at, state = row
    return KeyEntry(job, body_hash, expires_at, None if state is None else _states[state])


def breaker_of(losses: str) -> Breaker:
    return Breaker(tuple(Loss(job, at) for job, at in _losses.decode(losses)))


def breaker_column(breaker: Breaker) -> str:
    return _encoder.encode([(text(loss.job), loss.at) for loss in breaker.losses]).decode()


def webhook_of(row: Sequence[Any]) -> Webhook:
    return Webhook(**dict(zip(WEBHOOK_FIELDS, row, strict=True)))


def webhook_row(webhook: Webhook) -> dict[str, Any]:
    return msgspec.structs.asdict(webhook)


def tally_of(count: Count) -> Tally:
    return Tally(**dict(zip(Tally.__struct_fields__, count, strict=False)))


def count_of(tally: Tally, kept: int, size: int) -> Count:
    return (*msgspec.structs.astuple(tally), kept, size)


def added(one: Count, other: Count) -> Count:
    return tuple(map(sum, zip(one, other, strict=True)))
