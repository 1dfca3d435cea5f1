"""The metrics, each once: the page of the reference and the exposition are made from this table."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from submodel.contract.states import JobState

ENDPOINT = ("endpoint_namespace", "endpoint_name")
"""Not `namespace` and `endpoint`: scrapers overwrite these with what they know of the gateway's own pod."""

ENDPOINTS_MAX = 500
"""Endpoints that get series of their own; those beyond share one."""

OTHER = ("other", "other")
STORE = ("store",)

_LONG = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600)
_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """A family of series. Names of counters are without their `_total`."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()
    everywhere: bool = False
    """Whether each gateway on one store shows the value of all of them."""

    words: tuple[str, ...] = ()
    """All values of the last label, where these are known."""

    @property
    def shown(self) -> str:
        """The name that queries use."""
        return f"{self.name}_total" if self.kind is Kind.COUNTER else self.name


BUILD: Final = Metric("submodel_gateway_build_info", Kind.GAUGE, ("version", "python"), "1, with what runs.")
READY: Final = Metric("submodel_gateway_ready", Kind.GAUGE, (), "1 while the gateway is ready (`/readyz`), else 0.")
REQUESTS: Final = Metric(
    "submodel_http_requests",
    Kind.COUNTER,
    ("operation", "code"),
    "Answered requests. `operation` is the first word behind the endpoint's id, `internal` on the operator's port.",
)
REQUEST_SECONDS: Final = Metric(
    "submodel_http_request_seconds",
    Kind.HISTOGRAM,
    ("operation",),
    "Time to answer, what is held included: `exchange`, `job-take`, `job-stop`, `runsync`, `status-sync`, `stream`.",
    _SHORT,
)
QUEUED: Final = Metric("submodel_jobs_queued", Kind.GAUGE, ENDPOINT, "Jobs in the queue.", everywhere=True)
RUNNING: Final = Metric("submodel_jobs_running", Kind.GAUGE, ENDPOINT, "Jobs that workers hold.", everywhere=True)
OLDEST: Final = Metric(
    "submodel_jobs_oldest_queued_seconds",
    Kind.GAUGE,
    ENDPOINT,
    "Age of the oldest job in the queue; 0 when it is empty.",
    everywhere=True,
)
WORKERS: Final = Metric(
    "submodel_workers",
    Kind.GAUGE,
    (*ENDPOINT, "state"),
    "Workers that were heard of: `starting`, `idle`, `running`, `draining` (and hold nothing) or `unhealthy`.",
    everywhere=True,
)
SUBMITTED: Final = Metric("submodel_jobs_submitted", Kind.COUNTER, ENDPOINT, "Jobs stored, retries included.")
FINISHED: Final = Metric(
    "submodel_jobs_finished",
    Kind.COUNTER,
    (*ENDPOINT, "state"),
    "Jobs that became final, by their state.",
    words=tuple(state for state in JobState if state.terminal),
)
REDELIVERED: Final = Metric(
    "submodel_jobs_redelivered", Kind.COUNTER, ENDPOINT, "Jobs handed out that had been handed out before."
)
LOST: Final = Metric(
    "submodel_executions_lost", Kind.COUNTER, ENDPOINT, "Executions that ended with their worker and were charged."
)
EXPIRED: Final = Metric(
    "submodel_leases_expired", Kind.COUNTER, ENDPOINT, "Of these, those whose worker was not heard of any more."
)
STALE: Final = Metric(
    "submodel_stale_writes",
    Kind.COUNTER,
    ENDPOINT,
    "Writes of workers that were refused because their lease was not the live one.",
)
DELAY: Final = Metric(
    "submodel_job_delay_seconds", Kind.HISTOGRAM, ENDPOINT, "Time from submit, or retry, to a worker.", _LONG
)
EXECUTION: Final = Metric(
    "submodel_job_execution_seconds", Kind.HISTOGRAM, ENDPOINT, "Time from a worker to the final state.", _LONG
)
COMMIT: Final = Metric(
    "submodel_store_commit_seconds",
    Kind.HISTOGRAM,
    STORE,
    "Time of a group's transaction; `store` is its place in the setting, from 1.",
    _SHORT,
)
GROUP: Final = Metric(
    "submodel_store_group_operations", Kind.HISTOGRAM, STORE, "Operations in a group's transaction.", _COUNTS
)
STORE_UP: Final = Metric("submodel_store_up", Kind.GAUGE, STORE, "1 while the job store answers, 0 while it does not.")
FAILURES: Final = Metric("submodel_store_failures", Kind.COUNTER, STORE, "Operations that the store could not apply.")
WEBHOOKS: Final = Metric(
    "submodel_webhook_tries",
    Kind.COUNTER,
    ("outcome",),
    "Webhooks sent: `delivered`, `failed` (to be tried again) or `given_up`.",
    words=("delivered", "failed", "given_up"),
)
BODY_BYTES: Final = Metric(
    "submodel_http_body_bytes", Kind.GAUGE, (), "Bytes of request bodies above 16 KiB that are in memory."
)
BODIES_REFUSED: Final = Metric(
    "submodel_http_bodies_refused",
    Kind.COUNTER,
    ("caller",),
    "Requests that were told to come back because there was no room for their bodies: of a `client` or a `worker`.",
    words=("client", "worker"),
)
ANSWER_BYTES: Final = Metric(
    "submodel_http_answer_bytes",
    Kind.GAUGE,
    (),
    "Bytes of answers above 64 KiB that are in memory because their clients have not read them.",
)
ANSWERS_REFUSED: Final = Metric(
    "submodel_http_answers_refused",
    Kind.COUNTER,
    (),
    "Requests that were told to come back because clients left too many bytes of large answers unread.",
)
CANARY_SECONDS: Final = Metric(
    "submodel_canary_seconds",
    Kind.HISTOGRAM,
    STORE,
    "Time in which the gateway's own job, one per minute, was submitted, taken and finished.",
    _SHORT,
)
CANARY_FAILURES: Final = Metric("submodel_canary_failures", Kind.COUNTER, STORE, "Such jobs that did not get through.")
WEBHOOKS_OVERDUE: Final = Metric(
    "submodel_webhook_overdue_seconds",
    Kind.GAUGE,
    STORE,
    "For how long the webhook that is due the longest has been; 0 when none is.",
    everywhere=True,
)
REVIEWS: Final = Metric(
    "submodel_worker_token_reviews",
    Kind.COUNTER,
    ("outcome",),
    "Questions to the API server about tokens of workers: `accepted`, `refused` or `unanswered`.",
    words=("accepted", "refused", "unanswered"),
)

METRICS: Final = (
    BUILD, READY, REQUESTS, REQUEST_SECONDS, QUEUED, RUNNING, OLDEST, WORKERS, SUBMITTED, FINISHED, REDELIVERED, LOST,
    EXPIRED, STALE, DELAY, EXECUTION, STORE_UP, COMMIT, GROUP, FAILURES, WEBHOOKS,
    WEBHOOKS_OVERDUE, REVIEWS, BODY_BYTES, BODIES_REFUSED, ANSWER_BYTES, ANSWERS_REFUSED,
    CANARY_SECONDS, CANARY_FAILURES,
)  # fmt: skip
