"""The JSON documents that clients read, with what each field means: the OpenAPI document is made from them."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from submodel.contract.states import JobState
from submodel.contract.wire import Message
from submodel_gateway.jobs.record import WebhookState
from submodel_gateway.service.capacity import WaitReason

_JobId = Annotated[str, Meta(description="The job's id.")]
_State = Annotated[JobState, Meta(description="The job's state.")]
_Count = Annotated[int, Meta(ge=0)]
_Ms = Annotated[int, Meta(ge=0)]


class Accepted(Message):
    """A job that waits for a worker."""

    id: _JobId
    status: _State


class BatchItem(Message):
    """One request of a batch: the job that it made, or why it made none."""

    id: Annotated[
        str | UnsetType,
        Meta(description="Of a request that was accepted, or with code 503 may have been: the job's id."),
    ] = UNSET
    status: Annotated[JobState | UnsetType, Meta(description="And its state.")] = UNSET
    error: Annotated[str | UnsetType, Meta(description="Of a request that was refused: why, in one sentence.")] = UNSET
    code: Annotated[int | UnsetType, Meta(description="And the status that `run` would have answered with.")] = UNSET


class Batch(Message):
    """What became of the requests of a batch, in their order."""

    requests: list[BatchItem]


class JobStatus(Message):
    """A job as it is; times are whole milliseconds."""

    id: _JobId
    status: _State
    delay_time: Annotated[_Ms | UnsetType, Meta(description="From submission to the current execution.")] = UNSET
    execution_time: Annotated[
        _Ms | UnsetType, Meta(description="The last execution, as its worker measured it; else as the gateway did.")
    ] = UNSET
    output: Annotated[
        msgspec.Raw | UnsetType, Meta(description="The result; while the job runs, its newest progress value.")
    ] = UNSET
    error: Annotated[str | UnsetType, Meta(description="Why there is no result.")] = UNSET
    queue_position: Annotated[
        int | UnsetType, Meta(description="Of a queued job: 1 is the next one; left out beyond 1000.")
    ] = UNSET
    wait_reason: Annotated[WaitReason | UnsetType, Meta(description="Of a queued job: why it waits.")] = UNSET
    wait_message: Annotated[str | UnsetType, Meta(description="The same in a sentence.")] = UNSET
    worker_id: Annotated[str | UnsetType, Meta(description="The worker of the current or last execution.")] = UNSET
    retries: Annotated[
        _Count | UnsetType, Meta(description="Earlier executions that were lost with their workers.")
    ] = UNSET


class JobPage(Message):
    """Jobs from the newest to the oldest, without outputs and errors."""

    requests: list[JobStatus]
    next: Annotated[int | None, Meta(description="`before` of the following page; null on the last one.")]


class WebhookTry(Message):
    """One time that a webhook was sent."""

    ago_ms: Annotated[_Ms, Meta(description="How long ago it was known what it came to.")]
    answer: Annotated[str, Meta(description="What it came to.")]


class WebhookStatus(Message):
    """What became of a job's webhook."""

    id: _JobId
    state: Annotated[
        WebhookState,
        Meta(description="ARMED: the job is not final; PENDING: on its way; DELIVERED; DEAD: given up."),
    ]
    tries: Annotated[_Count, Meta(description="How often it was sent; a try that is under way counts.")]
    last_answer: Annotated[str | UnsetType, Meta(description="What the last try came to.")] = UNSET
    log: Annotated[
        list[WebhookTry] | UnsetType,
        Meta(description="The tries that have ended, the oldest first; the last 20, also from before a replay."),
    ] = UNSET
    next_try_in_ms: Annotated[_Ms | UnsetType, Meta(description="Until the next try, while it is on its way.")] = UNSET


class StreamItem(msgspec.Struct):
    """One streamed item."""

    output: msgspec.Raw


class StreamStatus(msgspec.Struct):
    """Streamed items, and the state of their job."""

    id: _JobId
    status: _State
    stream: list[StreamItem]
    offset: Annotated[_Count, Meta(description="Where the next read goes on; it belongs to one attempt.")]
    attempt: Annotated[_Count, Meta(description="The execution that the items come from; 0 before the first one.")]


class Purged(Message):
    """Queued jobs that were cancelled."""

    removed: Annotated[_Count, Meta(description="How many.")]
    status: Literal["completed"]


class JobCounts(Message):
    """Jobs of an endpoint; the three that are over count since the endpoint exists."""

    completed: _Count
    failed: Annotated[_Count, Meta(description="With those that timed out.")]
    in_progress: _Count
    in_queue: _Count
    retried: _Count


class WorkerCounts(Message):
    """Workers of an endpoint."""

    idle: _Count
    initializing: _Count
    ready: Annotated[_Count, Meta(description="`idle` and `running`.")]
    running: _Count
    throttled: Annotated[_Count, Meta(description="Those that the cluster cannot place.")]
    unhealthy: _Count


class HealthStatus(Message):
    """Counts of jobs and workers."""

    jobs: JobCounts
    workers: WorkerCounts
    warning: Annotated[str | UnsetType, Meta(description="Why jobs are held back.")] = UNSET


class Model(Message):
    """A model that the endpoint's workers serve."""

    id: Annotated[str, Meta(description="Its name, as the manifest has it.")]


class Models(Message):
    """The models that the endpoint's manifest names."""

    models: list[Model]


class Failure(Message):
    """A request that was refused, in one sentence."""

    error: str
    id: Annotated[
        str | UnsetType, Meta(description="With 503 to a submit: the job that was accepted, or may have been.")
    ] = UNSET
