"""Bodies in: the envelope is parsed, payloads stay the bytes they were.

Everything that is asked for and not available is refused by name; nothing is accepted and then ignored.
"""

import asyncio
import hashlib
import re
from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from submodel.contract import limits
from submodel.contract.states import JobState
from submodel.contract.wire import Message
from submodel_gateway.errors import InvalidRequest
from submodel_gateway.http.shape import DEPTH_MAX, FIELDS_MAX, Shape, shape_of
from submodel_gateway.service.clients import NewJob, SubmitKey

T = TypeVar("T")

_WEBHOOKS = ("webhook", "webhookV2")
PRIORITY_MAX = 100
KEY_LENGTH_MAX = 255
BATCH_MAX = 500
LARGE_BYTES = 262_144
"""Larger bodies are read beside the event loop."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_HALVES = "; a character of \\ud800 to \\udfff is half of a pair, and names of files that are no UTF-8 have such ones"

_HANDLED = {"input", "policy", *_WEBHOOKS}


class Policy(Message, forbid_unknown_fields=True):
    """What a client may set for one job: limits in milliseconds, how far ahead of others it goes, and whether it may
    start workers."""

    execution_timeout: int | None = None
    ttl: int | None = None
    priority: int = 0
    low_priority: bool = False


_NO_POLICY = Policy()
_POLICY = msgspec.json.Decoder(Policy | None)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])


def parse(body: bytes, decoder: "msgspec.json.Decoder[T]") -> T:
    """Decode a body. Raises `InvalidRequest` that says where it does not fit."""
    if not body:
        raise InvalidRequest("the body is empty; send a JSON document")
    try:
        if not body.isascii():
            # Raw values are passed on unseen: text that is no UTF-8 would break its reader instead of its sender.
            body.decode()
        return decoder.decode(body)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the body is not UTF-8 (byte {error.start}); send JSON in UTF-8") from error
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"the body does not fit: {error}") from error
    except msgspec.DecodeError as error:
        halves = _HALVES if _SURROGATE.search(body) else ""
        raise InvalidRequest(f"the body is not JSON: {error}{halves}") from error
    except RecursionError as error:
        raise _too_deep() from error


async def beside(body: bytes, read: Callable[[bytes], T]) -> T:
    """What `read` makes of the body, in a thread when it is large. Raises what `read` raises."""
    return await asyncio.to_thread(read, body) if len(body) > LARGE_BYTES else read(body)


def object_fields(body: bytes) -> dict[str, msgspec.Raw]:
    """The fields of a JSON object, their values unparsed. Raises `InvalidRequest`.

    Also for one that is too deep, has too many fields or one of them twice: readers differ in which of the two counts.
    """
    if len(body) > LARGE_BYTES:
        # Looked at before it is parsed: the parser is not bounded and makes everybody wait.
        shape = _checked(shape_of(body))
        fields = parse(body, _OBJECT)
    else:
        fields = parse(body, _OBJECT)
        if _is_plain(body, fields):
            return fields
        shape = _checked(shape_of(body))
    if shape.fields != len(fields):
        raise InvalidRequest(f"{_repeated(body, fields)} is there twice; send each field once")
    return fields


def _is_plain(body: bytes, fields: dict[str, msgspec.Raw]) -> bool:
    """Whether a glance tells that the body is neither deep nor has a field twice, as with nearly all."""
    if body.count(b"{") + body.count(b"[") > DEPTH_MAX or len(fields) > FIELDS_MAX or b"\\u00" in body:
        return False
    return all(name.isascii() and name.isidentifier() and body.count(b'"%b"' % name.encode()) == 1 for name in fields)


def _checked(shape: Shape) -> Shape:
    if shape.depth > DEPTH_MAX:
        raise _too_deep()
    if shape.fields > FIELDS_MAX:
        raise InvalidRequest(f'the body has more than {FIELDS_MAX} fields; put what the handler needs into "input"')
    return shape


def _too_deep() -> InvalidRequest:
    return InvalidRequest(f"the body is nested too deeply; send a document of at most {DEPTH_MAX} levels")


def _repeated(body: bytes, fields: dict[str, msgspec.Raw]) -> str:
    names = [name for name in fields if body.count(b'"%b"' % name.encode()) > 1]
    return f"the field {names[0][:40]!r}" if len(names) == 1 else "a field of the body"


def new_job(body: bytes) -> NewJob:
    """The request of `/run` and `/runsync`. Raises `InvalidRequest` that names the field and the remedy.

    The largest bodies take tens of milliseconds and hostile ones more: above `LARGE_BYTES` call it in a thread.
    """
    return _new_job(object_fields(body))


def _new_job(fields: dict[str, msgspec.Raw]) -> NewJob:
    if "input" not in fields:
        raise InvalidRequest('the field "input" is missing; send {"input": ...}')
    policy = _policy(fields["policy"]) if "policy" in fields else _NO_POLICY
    extra = {name: value for name, value in fields.items() if name not in _HANDLED}
    return NewJob(
        input=bytes(fields["input"]),
        extra=msgspec.json.encode(extra),
        execution_timeout_ms=policy.execution_timeout,
        ttl_ms=policy.ttl,
        priority=policy.priority,
        low_priority=policy.low_priority,
        webhook=_webhook(fields),
    )


def batch(body: bytes, principal: str) -> list[NewJob | InvalidRequest]:
    """The jobs of `/run-batch`, each as it is or why it cannot be. Raises `InvalidRequest` for the body as a whole."""
    fields = object_fields(body)
    if list(fields) != ["requests"]:
        raise InvalidRequest('the body must have the field "requests" and no other; send {"requests": [...]}')
    items = parse(bytes(fields["requests"]), _LIST)
    if not 1 <= len(items) <= BATCH_MAX:
        raise InvalidRequest(f'"requests" has {len(items)} items; send 1 to {BATCH_MAX}')
    return [_item(bytes(item), principal) for item in items]


def _item(item: bytes, principal: str) -> NewJob | InvalidRequest:
    try:
        fields = object_fields(item)
        key = _text("idempotencyKey", fields.pop("idempotencyKey", msgspec.Raw(b"null")), "give a text of your choice")
        return replace(_new_job(fields), key=submit_key(key or "", principal, item))
    except InvalidRequest as error:
        return error


def submit_key(key: str, principal: str, body: bytes) -> SubmitKey | None:
    """The `Idempotency-Key` header of a submit, None without one; keys of different principals are apart."""
    if not key:
        return None
    if len(key) > KEY_LENGTH_MAX:
        raise InvalidRequest(f"the Idempotency-Key has {len(key)} characters; use at most {KEY_LENGTH_MAX}")
    return SubmitKey(principal, key, hashlib.sha256(body).hexdigest())


def states(text: str | None) -> tuple[JobState, ...]:
    """Job states separated by commas; none for all of them. Raises `InvalidRequest`."""
    try:
        return tuple(JobState(name) for name in text.upper().split(",")) if text else ()
    except ValueError as error:
        raise InvalidRequest(f"query parameter status is {text!r}; give {', '.join(JobState)}") from error


_URL = "give the URL that shall hear of the outcome"


def _webhook(fields: dict[str, msgspec.Raw]) -> str | None:
    """The URL, under either of its names."""
    urls = {url for name in _WEBHOOKS if name in fields and (url := _text(name, fields[name], _URL))}
    if len(urls) > 1:
        raise InvalidRequest('"webhook" and "webhookV2" are two different URLs; give one, either name will do')
    return urls.pop() if urls else None


def _text(name: str, raw: msgspec.Raw, remedy: str) -> str | None:
    try:
        return msgspec.json.decode(raw, type=str | None)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f'"{name}" is no text; {remedy}') from error


def _policy(raw: msgspec.Raw) -> Policy:
    try:
        policy = _POLICY.decode(raw) or Policy()
    except msgspec.ValidationError as error:
        raise InvalidRequest(f'"policy" does not fit: {error}') from error
    _within("policy.executionTimeout", policy.execution_timeout, limits.EXECUTION_TIMEOUT_MS_MIN)
    _within("policy.ttl", policy.ttl, limits.TTL_MS_MIN)
    ttl, timeout = policy.ttl, policy.execution_timeout
    if ttl is not None and timeout is not None and ttl < timeout:
        raise InvalidRequest(
            "policy.ttl must not be shorter than policy.executionTimeout; a job would end before its own limit"
        )
    if not -PRIORITY_MAX <= policy.priority <= PRIORITY_MAX:
        raise InvalidRequest(f'"policy.priority" is {policy.priority}; give -{PRIORITY_MAX} to {PRIORITY_MAX}')
    return policy


def _within(name: str, value: int | None, minimum: int) -> None:
    if value is not None and not minimum <= value <= limits.POLICY_MS_MAX:
        raise InvalidRequest(f'"{name}" is {value}; give {minimum} to {limits.POLICY_MS_MAX} milliseconds')
