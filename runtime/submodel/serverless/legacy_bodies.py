"""What hosted platforms hand out, and what they want to be posted, as JSON. Pure; used by `legacy_session`."""

import json
from typing import Any

import msgspec

from submodel.contract.exchange import JobPolicy, LeasedJob
from submodel.serverless.encoding import sound
from submodel.serverless.outcome import Outcome

_Fields = dict[str, msgspec.Raw]
_JOBS = msgspec.json.Decoder(_Fields | list[msgspec.Raw] | None)


def jobs(body: bytes) -> list[LeasedJob]:
    """The jobs in an answer, without tokens. What is no job is left out; a job without an input has null.

    Raises `ValueError` when the body is not JSON of that kind.
    """
    if not body.strip():
        return []
    try:
        found = _JOBS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = _JOBS.decode(_sound(body))  # NaN and halves of surrogate pairs are usual there
    items = [_fields(item) for item in found] if isinstance(found, list) else [found]
    return [job for fields in items if fields and (job := _job(fields)) is not None]


def _fields(item: msgspec.Raw) -> _Fields | None:
    """None for what is no object: the jobs beside it in a batch are here all the same."""
    try:
        return msgspec.json.decode(item, type=_Fields)
    except msgspec.DecodeError:
        return None


def stops(body: bytes) -> list[str]:
    """The ids in an answer to the question what to stop; none when it holds something else."""
    try:
        found = json.loads(body)
    except ValueError:
        return []
    ids = found.get("jobsToStop") if isinstance(found, dict) else None
    return [name for name in ids if isinstance(name, str)] if isinstance(ids, list) else []


def result(outcome: Outcome) -> bytes:
    """The body that ends a job."""
    fields: dict[str, Any] = {}
    if outcome.output is not None:
        fields["output"] = msgspec.Raw(outcome.output)
    if outcome.error is not None:
        fields["error"] = outcome.error
    if outcome.stop_worker:
        fields["stopPod"] = True
    return msgspec.json.encode(fields)


def progress(value: bytes) -> bytes:
    return msgspec.json.encode({"status": "IN_PROGRESS", "output": msgspec.Raw(value)})


def chunk(value: bytes) -> bytes:
    return msgspec.json.encode({"output": msgspec.Raw(value)})


def _job(fields: _Fields) -> LeasedJob | None:
    raw = fields.pop("id", None)
    try:
        name = msgspec.json.decode(raw) if raw is not None else None
    except msgspec.DecodeError:
        return None
    if not isinstance(name, str | int) or isinstance(name, bool) or name == "":
        return None
    payload = fields.pop("input", msgspec.Raw(b"null"))
    return LeasedJob(id=str(name), token="", input=payload, policy=_policy(fields.get("policy")), extra=fields)


class _Policy(msgspec.Struct, rename="camel"):
    """The limits as clients write them; in milliseconds."""

    execution_timeout: float = 0


_POLICY = msgspec.json.Decoder(_Policy)


def _policy(raw: msgspec.Raw | None) -> JobPolicy:
    """The limits that came with a job. They are another platform's affair: what cannot be read is no limit."""
    try:
        limit_ms = _POLICY.decode(raw).execution_timeout if raw is not None else 0
    except msgspec.DecodeError:
        limit_ms = 0
    return JobPolicy(execution_timeout_ms=max(0, round(limit_ms)))


def _sound(body: bytes) -> bytes:
    value = json.loads(body.decode("utf-8", "surrogatepass"), parse_constant=lambda name: None)
    return sound(json.dumps(value, ensure_ascii=False)).encode()
