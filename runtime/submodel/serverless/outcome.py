"""What a handler did, as the outcome that is published for its job. Pure; called by the executor.

The shapes are those of the hosted platforms: a returned `{"error": …}` fails the job and keeps the other keys as its
output; an exception becomes a JSON text with a fixed list of keys, and one of a generator a plain text.
"""

import dataclasses
import json
import traceback
from dataclasses import dataclass

from submodel.contract import limits
from submodel.serverless import encoding

_UNENCODABLE = "cannot be sent as JSON; the job's error says which part of it"

REFRESH_WORKER = "refresh_worker"
"""Key of a returned dict that asks for a fresh worker."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`output` is JSON text, None for no output; a job with an `error` FAILED, any other COMPLETED."""

    output: bytes | None = None
    error: str | None = None
    refusal: str = ""
    """Why what the handler gave is not sent, in words without any of it, for the log; empty when the handler failed."""

    streamed: bool = False
    """Whether its chunks were streamed before."""

    stop_worker: bool = False
    """Whether the worker is to be replaced by a fresh one."""

    trace: str = ""
    """The trace context of the execution; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Where a failure happened, for its report."""

    hostname: str
    worker_id: str
    version: str


def of_value(value: object) -> Outcome:
    """The outcome of a returned value."""
    if not isinstance(value, dict):
        return _completed(value)
    rest = {key: item for key, item in value.items() if key not in ("error", REFRESH_WORKER)}
    result = _completed(rest) if rest else Outcome()
    failure = value.get("error")
    if failure and not result.error:
        result = Outcome(result.output, error_text(failure))
    return dataclasses.replace(result, stop_worker=True) if value.get(REFRESH_WORKER) else result


def _completed(value: object) -> Outcome:
    try:
        text = encoding.encode(value, "output")
    except encoding.Unencodable as error:
        return Outcome(error=str(error), refusal=f"its output {_UNENCODABLE}")
    return bounded(text)


def bounded(text: bytes) -> Outcome:
    """An output, or a failure when no job may have one of this size."""
    if len(text) > limits.RUNSYNC_BODY_BYTES:
        size = _too_large(len(text), limits.RUNSYNC_BODY_BYTES)
        sentence = f"output: {size}; upload it and return its URL"
        return Outcome(error=sentence, refusal=f"its output is too large: {size}")
    return Outcome(text)


def error_text(failure: object) -> str:
    """A handler's own error value as the string that clients read."""
    if isinstance(failure, str):
        return encoding.sound(failure)
    try:
        return encoding.encode(failure, "error").decode()
    except encoding.Unencodable:
        return encoding.sound(str(failure))


def of_exception(error: BaseException, identity: Identity) -> Outcome:
    """The outcome of a handler that raised; never raises itself, whatever the exception's own methods do."""
    message, trace = _texts(error)
    report = {
        "error_type": str(type(error)),
        "error_message": message,
        "error_traceback": trace,
        "hostname": identity.hostname,
        "worker_id": identity.worker_id,
        "runpod_version": identity.version,
        "submodel_version": identity.version,
    }
    return Outcome(error=json.dumps(report))


def of_broken_stream(error: Exception) -> Outcome:
    """The outcome of a generator that raised: plain text, as the hosted platforms' own runtime sends it."""
    message, trace = _texts(error)
    return Outcome(error=encoding.sound(f"handler: {message} \ntraceback: {trace}"))


def _texts(error: BaseException) -> tuple[str, str]:
    """Message and traceback."""
    try:
        return str(error), "".join(traceback.format_exception(error))
    except Exception as second:
        return f"(the exception's text could not be made: {type(second).__name__})", ""


def of_exit(status: int) -> Outcome:
    """The outcome of a handler that ends its process at once."""
    return Outcome(error=f"the handler ended its process with os._exit({status})")


def of_timeout() -> Outcome:
    """The outcome of a job that ran for longer than it may, in a worker that nobody told to stop it."""
    return Outcome(error="the job has run for longer than its execution timeout")


def chunk(value: object, index: int) -> bytes | Outcome:
    """A yielded value as the JSON text of a chunk, or the outcome that ends the job there.

    Args:
        index: position among the chunks of the job, from 0; for error texts.
    """
    if isinstance(value, dict) and (failure := value.get("error")):
        return Outcome(error=error_text(failure))
    name = f"stream[{index}]"
    try:
        text = encoding.encode(value, name)
    except encoding.Unencodable as error:
        return Outcome(error=str(error), refusal=f"{name} {_UNENCODABLE}")
    if len(text) > limits.CHUNK_BYTES:
        size = _too_large(len(text), limits.CHUNK_BYTES)
        sentence = f"{name}: {size}; yield smaller pieces"
        return Outcome(error=sentence, refusal=f"{name} is too large: {size}")
    return text


def progress(value: object) -> bytes:
    """A progress value as JSON text. Raises `Unencodable` when there is none, or when it is too large."""
    text = encoding.encode(value, "progress")
    if len(text) > limits.CHUNK_BYTES:
        raise encoding.Unencodable(f"progress: {_too_large(len(text), limits.CHUNK_BYTES)}; publish less")
    return text


def of_stream(chunks: list[bytes]) -> Outcome:
    """The outcome of a generator that ended; `chunks` are those to be collected in the output."""
    return dataclasses.replace(bounded(b"[" + b",".join(chunks) + b"]"), streamed=True)


def _too_large(size: int, limit: int) -> str:
    return f"{size / 2**20:.1f} MiB is more than the limit of {limit / 2**20:g} MiB"
