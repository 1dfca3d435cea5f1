"""The operator's view of the gateway: registry in, snapshots out. All under `/internal/v1`, on the internal port.

Every push is level-triggered: the whole truth of its object, repeatable at any time, ordered by `generation`.
Instants are milliseconds of the gateway's clock; an answer carries that clock (`now_ms`), so ages are computed
against it and never against the reader's.
"""

import zlib

from submodel.contract import limits
from submodel.contract.exchange import Startup
from submodel.contract.states import WorkerPhase
from submodel.contract.wire import Message


class WorkerToken(Message):
    """A credential that workers of one revision present, as the hex SHA-256 of the token."""

    revision: str
    sha256: str


class WorkerPool(Message):
    """Pods that are workers of one revision: those of this Deployment. Their service-account tokens let them in."""

    revision: str
    namespace: str
    deployment: str


class EndpointKey(Message):
    """An API key that opens one endpoint, as the hex SHA-256 of its whole text. Keys are long and random."""

    id: str
    """For people, and to tell its jobs and limits from those of the endpoint's other keys."""

    sha256: str
    scopes: tuple[str, ...] = ("read", "run")
    expires_at_ms: int | None = None
    """Milliseconds since 1970, by the clock on the wall."""


class EndpointRegistration(Message):
    """`PUT endpoints/{id}`: what the gateway must know of an endpoint.

    A push whose `(epoch, generation)` is older than the stored one is refused with 409. `epoch` identifies the custom
    resource (its uid): a re-created namesake starts again at generation 1.
    """

    endpoint_id: str
    epoch: str
    generation: int
    owner: str = ""
    """Whose it is, as `<namespace>.<name>`, which a custom id does not tell; empty for who is called like the id."""

    execution_timeout_ms: int = limits.EXECUTION_TIMEOUT_MS_DEFAULT
    ttl_ms: int = limits.TTL_MS_DEFAULT
    max_attempts: int = limits.ATTEMPTS_DEFAULT
    """Executions per job that may come to nothing before the job fails: lost with their workers, or, with
    `retry_errors`, failed."""

    retry_errors: bool = False
    """Whether a job runs again whose handler failed."""

    result_ttl_seconds: int = limits.RESULT_TTL_ASYNC_SECONDS
    """How long a finished job can be read."""

    sync_result_ttl_seconds: int = limits.RESULT_TTL_SYNC_SECONDS
    """The same of a job of `runsync`."""

    queued_max: int | None = None
    """Most jobs that may be queued; without it `workers_max` bounds them."""

    late_after_ms: int | None = None
    """Jobs that wait longer are counted as `late` in the snapshot; the QUEUE_DELAY target."""

    workers_max: int | None = None
    """How many workers there may be; without it, and without `queued_max`, the queue has no limit."""

    open: bool = False
    """Whether callers need no API key."""

    api_keys: list[EndpointKey] = []
    worker_tokens: list[WorkerToken] = []
    worker_pools: list[WorkerPool] = []
    models: list[str] = []
    """Names that `/openai/v1/models` answers without a worker; none leaves the answer to the workers."""


TERMINATING = "Terminating"
"""Phase of a worker that was told to end, by whomever: it takes no more jobs."""


class WorkerPresence(Message):
    """A worker that exists (a pod, a process), as the operator sees it."""

    worker: str
    uid: str
    revision: str
    phase: str
    """The pod's phase, `Terminating`, or why it is not ready: `Pending`, `Unschedulable`, `CrashLoopBackOff`, …"""


class WorkersPush(Message):
    """`PUT endpoints/{id}/workers`: all workers that exist now. One that is missing loses its leases at once."""

    workers: list[WorkerPresence]


class WorkerNames(Message):
    """`POST endpoints/{id}/drain` and `…/undrain`."""

    workers: list[str]


class GoneWorker(Message):
    """A worker that ended: one session of it, or, where none is named, all that it had."""

    worker: str
    reason: str
    session: str = ""
    charged: bool = True
    """False for infrastructure reasons (eviction, node loss): the lost execution does not count against the job."""


class WorkersGone(Message):
    """`POST endpoints/{id}/workers/gone`."""

    workers: list[GoneWorker]


class WorkerView(Message):
    """A worker as the gateway knows it from its exchanges."""

    worker: str
    revision: str
    phase: WorkerPhase
    running: int
    """Jobs it holds a lease of."""

    draining: bool
    """Whether the gateway hands it no jobs (asked by the operator, its own SIGTERM, or waiting for its replacement)."""

    replace: bool = False
    """Whether it asks to be replaced by a fresh worker once it holds nothing; `reason` says why."""

    idle_since_ms: int | None = None
    """Since when it has held nothing; None while it holds jobs."""

    reason: str = ""
    startup: Startup | None = None
    """What its start was made of, once it has come up and said so."""

    session: str = ""
    """The process of the worker that was heard of last; empty before one was."""

    asked_ms: int | None = None
    """When that process asked for jobs for the first time."""

    completed: int = 0
    """Jobs that this process completed."""

    failed: int = 0
    """Jobs that this process ended as failed; not those that it lost, or whose time was over."""


class EndpointSnapshot(Message):
    """What the scaling decision reads. Totals count since the endpoint's first job and never shrink; with the
    store in memory a restart of the gateway begins them again."""

    endpoint_id: str
    registration: str
    """`<epoch>/<generation>` of the registration in force; empty when none."""

    queued: int
    late: int
    """Queued jobs that have waited longer than `late_after_ms`, without those of low priority; 0 when no limit is
    set."""

    in_progress: int
    owner: str = ""
    """As in the registration."""

    oldest_queued_ms: int | None = None
    """Instant at which the oldest queued job was accepted that is not of low priority."""

    queued_low_priority: int = 0
    """Queued jobs that start no worker; `queued` counts them too."""

    in_progress_low_priority: int = 0
    """Running jobs that would have started no worker; `in_progress` counts them too."""

    arrived_low_priority_total: int = 0
    """Jobs that start no worker; `arrived_total` counts them too."""

    arrived_total: int = 0
    completed_total: int = 0
    failed_total: int = 0
    execution_ms_p95: int | None = None
    """Of the last jobs that completed here, 95 in a hundred took no longer from worker to result; None without any."""

    workers: list[WorkerView] = []


class Snapshots(Message):
    """`GET snapshots?since=<version>&waitMs=<ms>`: the endpoints that changed after `since`.

    `since` 0, or a `boot` other than the reader's, means everything. The call is held until something changed or
    `waitMs` has passed; an endpoint with queued jobs and no worker is answered at once. Endpoints with queued jobs are
    in every answer, because their ages change without an event.
    """

    boot: str
    version: int
    now_ms: int
    endpoints: list[EndpointSnapshot] = []
    deleted: list[str] = []
    unknown: list[str] = []
    """Endpoints of a job store that does not answer: what was said of them before gets old."""

    known: int | None = None
    """The sum of `fingerprint` of all endpoints that this gateway knows; None from a gateway that does not tell. A
    reader who comes to another sum has missed something, and asks for everything."""


def fingerprint(endpoint_id: str, registration: str) -> int:
    """A number for an endpoint and the registration in force, `<epoch>/<generation>`; the same in every process."""
    return zlib.crc32(f"{endpoint_id} {registration}".encode())


class TrafficRecord(Message):
    """`GET endpoints/{id}/record`: when jobs came, how long they waited for a worker, and how long they ran.

    A job per index, the oldest first: those that were accepted at `since_ms` or later, ran, and have ended. Jobs of low
    priority are not among them. One gateway's part, of the `gateways` that serve the endpoint.
    """

    now_ms: int
    since_ms: int
    """From when on nothing is missing; 0 when no job has ended."""

    gateways: int
    accepted_at_ms: list[int]
    waited_ms: list[int]
    ran_ms: list[int]
    """Of the last execution."""
