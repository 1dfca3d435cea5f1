"""What a worker answers to a request in OpenAI's API, as the bytes that its client gets. Pure.

Workers stream texts, which are passed on byte for byte, wherever they were cut; older ones stream the events' JSON,
which gets its frame here. A failed job becomes an error in OpenAI's shape.
"""

import ast
from dataclasses import dataclass
from typing import Any

import msgspec

from submodel.contract.states import JobState
from submodel.contract.wire import encode
from submodel_gateway.http import sse

DONE = b"data: [DONE]"
LITERAL_MAX = 65_536
"""Longer error texts are told as they are."""

_STATUS = {JobState.TIMED_OUT: (504, "timeout"), JobState.CANCELLED: (500, "cancelled")}
_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


@dataclass(frozen=True, slots=True)
class Failure:
    """An error with its status, in OpenAI's shape."""

    status: int
    body: bytes

    @property
    def event(self) -> bytes:
        """The same inside a stream, which may have been cut anywhere before."""
        return b"\n\n" + sse.event(self.body)


class Framer:
    """Turns streamed items into the bytes of an event stream."""

    def __init__(self) -> None:
        self._framed = False
        self._tail = b""

    @property
    def done(self) -> bool:
        """Whether the worker has said that nothing more comes; a client hangs up then."""
        return self._tail.rstrip().endswith(DONE)

    def frame(self, items: list[bytes]) -> bytes:
        """The bytes of some items."""
        text = b"".join(map(self._one, items))
        self._tail = (self._tail + text)[-64:]
        return text

    def end(self) -> bytes:
        """What closes a stream whose events were framed here."""
        return DONE + b"\n\n" if self._framed else b""

    def _one(self, item: bytes) -> bytes:
        if item.startswith(b'"'):
            return msgspec.json.decode(item, type=str).encode()
        self._framed = True
        events = msgspec.json.decode(item, type=list[msgspec.Raw]) if item.startswith(b"[") else [msgspec.Raw(item)]
        return b"".join(sse.event(bytes(event)) for event in events)


def whole(items: list[bytes], output: bytes | None) -> bytes | Failure:
    """The answer to a request that did not ask for a stream: the one item, or what a plain function returned."""
    if not items and output is not None:
        items = msgspec.json.decode(output, type=list[msgspec.Raw]) if output.startswith(b"[") else [output]
    if len(items) != 1:
        found = f"{len(items)} answers" if items else "no answer"
        return error(500, f"the worker gave {found} to a request for one that is not streamed", "worker_error")
    item = bytes(items[0])
    return msgspec.json.decode(item, type=str).encode() if item.startswith(b'"') else item


def failed(state: JobState, text: str | None) -> Failure:
    """The error of a job that did not complete; `text` is the job's."""
    if state is not JobState.FAILED:
        status, kind = _STATUS[state]
        return error(status, text or f"the job is {state}", kind)
    told = _told(text or "")
    if told is None:
        return error(500, text or "the worker failed without saying why", "worker_error")
    code, named, param = told.get("code"), told.get("type"), told.get("param")
    status = code if isinstance(code, int) and 400 <= code < 600 else 500
    return error(status, str(told["message"]), named if isinstance(named, str) else "worker_error", code, param)


def error(status: int, message: str, kind: str | None = None, code: object = None, param: object = None) -> Failure:
    """An error in OpenAI's shape."""
    kind = kind or _KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    code, param = code if isinstance(code, str | int) else None, param if isinstance(param, str) else None
    return Failure(status, encode({"error": {"message": message, "type": kind, "param": param, "code": code}}))


def error_body(status: int, text: str, job: str = "") -> bytes:
    """How callers of this route read the gateway's own errors; the sentence names the job."""
    return error(status, text).body


def models(names: list[str]) -> bytes:
    """The list of models."""
    return encode({"object": "list", "data": [_model(name) for name in names]})


def model(name: str) -> bytes:
    """One of them."""
    return encode(_model(name))


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "submodel"}


def _told(text: str) -> dict[str, Any] | None:
    """What a worker's error says in fields: JSON, or the Python text of a dictionary, as older SDKs send it.

    The traceback of an exception is the worker's own business.
    """
    if text.startswith("handler: ") and (raised := text.partition(" \ntraceback: ")[0]) != text:
        return {"message": raised.removeprefix("handler: ")}
    if not text.startswith("{") or len(text) > LITERAL_MAX:
        return None
    value: Any = None
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        try:
            value = ast.literal_eval(text)
            encode(value)  # Python has numbers and texts that no answer can carry
        except (ValueError, TypeError, OverflowError, SyntaxError, MemoryError, RecursionError):
            return None
    if isinstance(value, dict) and isinstance(value.get("error"), dict):
        value = value["error"]
    if not isinstance(value, dict):
        return None
    if "error_message" in value:
        return {"message": f"{value.get('error_type', 'error')}: {value['error_message']}"}
    return value if "message" in value else None
