"""The operations of the job API and the paths they are reached by: what the router and the OpenAPI document share.

Clients of the hosted platforms put the same operations under several bases; `locate` finds the operation of a path.
"""

from dataclasses import dataclass
from enum import StrEnum

from submodel.contract import limits
from submodel_gateway.auth.keys import Scope
from submodel_gateway.http import documents, parameters
from submodel_gateway.http.parameters import Parameter

GET = ("GET",)
POST = ("POST",)
EITHER = ("GET", "POST")


class Base(StrEnum):
    """What stands before the endpoint's id."""

    V2 = "/v2"
    V1 = "/v1"
    V1_SL = "/v1/sl"
    API_V1_SL = "/api/v1/sl"
    """Answers carry an envelope here, see `answers.enveloped`."""


class Body(StrEnum):
    """What a request carries; bodies of other operations are read and passed over."""

    JOB = "job"
    BATCH = "batch"
    OPENAI = "openai"


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """An operation of the job API.

    `path` is what follows the endpoint's id, `aliases` are other spellings of it; `group` is whose rate limits it
    shares, a name of `ratelimit.figures`. `answer` is the document of a 200, None where it is the worker's. `refusals`
    are the errors that not every operation has.
    """

    path: str
    methods: tuple[str, ...]
    scope: Scope
    group: str
    summary: str
    answer: type | None
    aliases: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    body_bytes: int = 0
    refusals: tuple[int, ...] = ()
    events: bool = False
    """Whether it answers with server-sent events to a caller that accepts them; see `stream_events`."""

    @property
    def name(self) -> str:
        """The first word of its path."""
        return self.path.partition("/")[0]


_READ = (413, 415)
"""Of an operation that reads a body, also one that has no use for it."""

_SUBMIT = (*_READ, 422)

RUN = Operation(
    "run",
    POST,
    Scope.RUN,
    "run",
    "Submit a job.",
    documents.Accepted,
    body=Body.JOB,
    body_bytes=limits.RUN_BODY_BYTES,
    refusals=_SUBMIT,
)
RUNSYNC = Operation(
    "runsync",
    POST,
    Scope.RUN,
    "runsync",
    "Submit a job and wait for its end; answers with the job as it is when the time is up.",
    documents.JobStatus,
    aliases=("run_sync",),
    parameters=(parameters.WAIT,),
    body=Body.JOB,
    body_bytes=limits.RUNSYNC_BODY_BYTES,
    refusals=_SUBMIT,
)
RUN_BATCH = Operation(
    "run-batch",
    POST,
    Scope.RUN,
    "run",
    "Submit several jobs, each of which is accepted or refused by itself.",
    documents.Batch,
    body=Body.BATCH,
    body_bytes=limits.RUN_BODY_BYTES,
    refusals=_READ,
)
STATUS = Operation(
    "status/{id}",
    EITHER,
    Scope.READ,
    "status",
    "The job as it is now.",
    documents.JobStatus,
    aliases=("_requests/{id}",),
    parameters=(parameters.TTL,),
)
STATUS_SYNC = Operation(
    "status-sync/{id}",
    EITHER,
    Scope.READ,
    "status",
    "The job once it is final, or as it is when the time is up.",
    documents.JobStatus,
    parameters=(parameters.WAIT,),
    refusals=_READ,
)
STREAM = Operation(
    "stream/{id}",
    EITHER,
    Scope.READ,
    "status",
    "Streamed items that are new to the reader.",
    documents.StreamStatus,
    parameters=(parameters.STREAM_WAIT, parameters.OFFSET),
    refusals=_READ,
    events=True,
)
CANCEL = Operation(
    "cancel/{id}",
    EITHER,
    Scope.RUN,
    "cancel",
    "End the job unless it is final; answers with the job as it is then.",
    documents.JobStatus,
)
RETRY = Operation(
    "retry/{id}",
    POST,
    Scope.RUN,
    "run",
    "Run a FAILED or TIMED_OUT job again, last in its queue.",
    documents.Accepted,
    refusals=(409,),
)
WEBHOOK = Operation(
    "webhook/{id}", GET, Scope.READ, "status", "What became of the job's webhook.", documents.WebhookStatus
)
WEBHOOK_REPLAY = Operation(
    "webhook/{id}/replay",
    POST,
    Scope.RUN,
    "status",
    "Send the webhook of a final job once more.",
    documents.WebhookStatus,
    refusals=(409,),
)
REQUESTS = Operation(
    "requests",
    GET,
    Scope.READ,
    "requests",
    "The endpoint's jobs, page by page.",
    documents.JobPage,
    aliases=("_requests",),
    parameters=(parameters.LIMIT, parameters.STATES, parameters.BEFORE),
)
PURGE_QUEUE = Operation(
    "purge-queue",
    POST,
    Scope.RUN,
    "purge-queue",
    "Cancel the jobs that are queued now.",
    documents.Purged,
    aliases=("purge",),
)
HEALTH = Operation(
    "health",
    GET,
    Scope.READ,
    "status",
    "Counts of jobs and workers.",
    documents.HealthStatus,
    aliases=("metrics",),
)
MODELS = Operation(
    "models",
    GET,
    Scope.READ,
    "status",
    "The models that the endpoint's manifest names; no worker is asked.",
    documents.Models,
)
MODEL = Operation("models/{model}", GET, Scope.READ, "status", "One of these models.", documents.Model)
OPENAI = Operation(
    "openai/{path}",
    EITHER,
    Scope.RUN,
    "openai",
    "OpenAI's API, answered by the endpoint's workers; the path has as many segments as it needs.",
    None,
    body=Body.OPENAI,
    body_bytes=limits.RUNSYNC_BODY_BYTES,
    refusals=_SUBMIT,
)

OPERATIONS = (
    RUN,
    RUNSYNC,
    RUN_BATCH,
    STATUS,
    STATUS_SYNC,
    STREAM,
    CANCEL,
    RETRY,
    WEBHOOK,
    WEBHOOK_REPLAY,
    REQUESTS,
    PURGE_QUEUE,
    HEALTH,
    MODELS,
    MODEL,
    OPENAI,
)

BY_PATH = {path: operation for operation in OPERATIONS for path in (operation.path, *operation.aliases)}


def split(path: list[str]) -> tuple[Base, list[str]] | None:
    """The base of a path and the segments after it; None when it is under none."""
    # Measured: half the time of patterns with a rest in them, and every request comes by here.
    if path[0] == "v2":
        return Base.V2, path[1:]
    if path[:2] == ["v1", "sl"]:
        return Base.V1_SL, path[2:]
    if path[0] == "v1":
        return Base.V1, path[1:]
    return (Base.API_V1_SL, path[3:]) if path[:3] == ["api", "v1", "sl"] else None


def locate(rest: list[str]) -> Operation | None:
    """The operation that the segments after a base name: `[endpoint, ...]`, with the job's id as the third."""
    size = len(rest)
    if size == 2:
        return BY_PATH.get(rest[1])
    if size > 2 and rest[1] == "openai":
        return OPENAI
    if size > 2 and rest[1] == "models":
        return MODEL  # many names of models have a slash
    if size == 3:
        return BY_PATH.get(f"{rest[1]}/{{id}}")
    return BY_PATH.get(f"{rest[1]}/{{id}}/{rest[3]}") if size == 4 else None
