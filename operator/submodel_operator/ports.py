"""What the operator needs from outside, and the facts it gets back: a cluster, a gateway, a clock.

`Cluster` has two adapters, Kubernetes (`kube`) and local processes (`local`); `Gateway` is the gateway's internal API
(`gateway_client`). Everything above works with these types only.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from submodel.contract.internal import EndpointRegistration, EndpointSnapshot, GoneWorker, WorkerPresence
from submodel_operator.api.conditions import EventReason

Manifest = Mapping[str, Any]
"""A Kubernetes object as plain data."""


class Key(NamedTuple):
    """Identifies an endpoint in the work queue and the caches."""

    namespace: str
    name: str

    @property
    def endpoint_id(self) -> str:
        """The id in URLs unless the spec gives another. A namespace holds no dot, so the pair can be read back."""
        return f"{self.namespace}.{self.name}"

    @classmethod
    def from_endpoint_id(cls, endpoint_id: str) -> "Key":
        """The inverse of `endpoint_id`."""
        namespace, _, name = endpoint_id.partition(".")
        return cls(namespace, name)


class Reference(NamedTuple):
    """A Secret or ConfigMap that the user's manifest names, in the endpoint's namespace."""

    kind: str
    name: str


Referenced = Mapping[Reference, Mapping[str, str] | None]
"""What references hold: by key, the text of a ConfigMap and a digest for a Secret. None: there is no such object."""


@dataclass(frozen=True, slots=True)
class WorkerEnd:
    """How the last run of a worker ended that has been started again since, or will be."""

    reason: str
    """`OOMKilled`, `Error`, `Completed`, …"""

    exit_code: int
    lines: str
    """The last lines that it wrote."""

    count: int
    """How often it has been started again."""

    at: float | None = None
    """When it ended, in seconds since the epoch by the clock of its node, which knows whole seconds."""


@dataclass(frozen=True, slots=True)
class PodStart:
    """Instants of a pod's start in seconds since the epoch, by the clock of the cluster; it knows whole seconds."""

    created_at: float
    scheduled_at: float | None
    """When it got its node; None while it has none."""

    ran_at: float | None
    """When the container was started that runs now; None while none does."""


LONG_START_SECONDS = 20.0
"""Age from which a pod that still waits for its container is looked after."""


@dataclass(frozen=True, slots=True)
class ObservedWorker:
    """A pod or process of an endpoint."""

    name: str
    uid: str
    revision: str
    phase: str
    """`Running`, `Pending`, or the reason why it is not running: `CrashLoopBackOff`, `ImagePullBackOff`, …"""

    age_seconds: float
    terminating: bool = False
    message: str = ""
    """The cluster's own words for `phase`, when there are any."""

    ended: WorkerEnd | None = None
    running_seconds: float | None = None
    """How long its container has run; None while it does not."""

    start: PodStart | None = None
    """None where a worker is no pod."""

    protected: bool = False
    """Whether node autoscalers are told to leave it alone."""

    marked: bool = False
    """Whether it was chosen to go with the next shrink."""

    unready: bool = False
    """Whether it runs and the cluster calls it not ready: then it goes before any other, whoever is marked."""

    foreign_cost: bool = False
    """Whether somebody else says how dear its deletion is."""

    @property
    def coming(self) -> bool:
        """Whether its container is about to run, or does already and the cluster has not said so yet.

        Until then it goes before any other, and it may work by then. After a while something holds it up.
        """
        return self.phase == "Pending" and self.age_seconds < LONG_START_SECONDS


@dataclass(frozen=True, slots=True)
class ObservedPool:
    """The Deployment of one revision."""

    name: str
    revision: str
    replicas: int
    """Workers asked for, from the newest write or event."""

    desired_hash: str = ""
    """Hash of the pool as it was last applied."""

    refusal: str = ""
    """Why the cluster creates no pods for it (quota, admission), in its own words."""

    counted_by: str = ""
    """Who wrote `replicas`, when it was somebody else than this operator."""


@dataclass(frozen=True, slots=True)
class Observed:
    """All facts about one endpoint at one instant."""

    key: Key
    uid: str
    generation: int
    manifest: Manifest
    """The endpoint as the user wrote it; `status` is the last one written."""

    deleting: bool = False
    pools: tuple[ObservedPool, ...] = ()
    workers: tuple[ObservedWorker, ...] = ()
    finished: tuple[ObservedWorker, ...] = ()
    """Pods that ended for good and are still shown; `phase` says why."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to an endpoint. Never the only carrier: the status tells what lasts."""

    reason: EventReason
    message: str
    worker: str = ""
    """The worker it happened to, when it was one."""


REFERENCES_PERIOD_SECONDS = 60.0
"""How often Secrets and ConfigMaps of users are looked at again: they are not watched, because that takes the right to
list every Secret there is."""


class Cluster(Protocol):
    """Where workers run. Calls raise `ClusterUnavailable`, `ClusterRefused`, `NameConflict` or `Conflict`."""

    def observe(self, key: Key, now: float) -> Observed | None:
        """The facts about `key` from the cache, or None when there is no such endpoint."""

    def holder(self, endpoint_id: str) -> Key | None:
        """Of the endpoints whose spec asks for this id, from the cache, the oldest: the id is its."""

    async def exists(self, key: Key) -> bool:
        """Whether the endpoint exists, asked of the cluster itself and not of a cache."""

    async def read_secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """What a Secret holds, or None when there is none."""

    async def look_up(self, key: Key, references: Collection[Reference]) -> Referenced:
        """What these references hold, at most `REFERENCES_PERIOD_SECONDS` ago.

        One that the answer leaves out cannot be looked up here.
        """

    def look_up_again_after(self, key: Key, references: Collection[Reference]) -> float | None:
        """Seconds until the next `look_up` asks anew for one of those that were found; None when none was."""

    async def apply(self, observed: Observed, child: Manifest) -> None:
        """Create the child or bring it back to what it should be. A Deployment starts with no replicas.

        Nothing is created for an endpoint that is gone or that was re-created under another uid.
        """

    async def ensure(self, observed: Observed, child: Manifest) -> None:
        """Create the child if somebody deleted it."""

    async def delete_pool(self, key: Key, pool: str) -> None:
        """Remove the children of that name. Harmless when they are gone."""

    async def scale(self, key: Key, pool: str, present: int, replicas: int, victims: Sequence[str]) -> None:
        """Ask for `replicas` workers where `present` were asked for when it was decided.

        On a shrink exactly `victims` shall go. Raises `Conflict` when the count is another by now, or a victim is no
        longer one: then nothing changed, and the decision must be made anew.
        """

    async def unmark(self, key: Key, workers: Sequence[str]) -> None:
        """These workers are not to go with the next shrink, whoever asks for it. Harmless when gone."""

    async def replace(self, key: Key, worker: str, uid: str) -> None:
        """End this very worker; as many are asked for as before, so another takes its place. Harmless when gone."""

    async def protect(self, key: Key, workers: Mapping[str, bool]) -> None:
        """Tell node autoscalers to leave these workers alone, or (False) that they need not. Harmless when gone."""

    async def write_status(self, observed: Observed, status: Manifest) -> None:
        """Replace the status, fenced: a re-created namesake is never written to."""

    async def record(self, observed: Observed, event: Event) -> None:
        """Tell people of something that happened. The same again soon after is counted, not told anew."""


SIGNALS_STALE_AFTER_SECONDS = 15.0
"""Age of the gateway's newest answer from which its signals are no longer used."""


@dataclass(frozen=True, slots=True)
class Signals:
    """The gateway's newest word on one endpoint."""

    snapshot: EndpointSnapshot
    now_ms: int
    """The gateway's clock when it answered."""

    age_seconds: float
    """Time since the gateway last answered a poll, by the operator's monotonic clock."""

    def instant(self, at_ms: int, now: float) -> float:
        """An instant of the gateway's clock by ours, where it is `now`: its clock tells an age, ours makes it one."""
        return now - max(0.0, (self.now_ms - at_ms) / 1000 + self.age_seconds)

    @property
    def fresh(self) -> bool:
        """Whether a decision may rest on it. Old signals are as good as none: they hold the scale."""
        return self.age_seconds < SIGNALS_STALE_AFTER_SECONDS


class Gateway(Protocol):
    """The gateway's internal API. Calls raise `GatewayUnavailable` or `GatewayRefused`."""

    def signals(self, endpoint_id: str) -> Signals | None:
        """What is known of the endpoint; None when the gateway has not spoken of it yet."""

    def ids_of(self, key: Key) -> Sequence[str]:
        """The ids under which the gateway knows this endpoint, from its newest word."""

    async def register(self, registration: EndpointRegistration) -> None:
        """Push what the gateway must know of the endpoint. Unchanged pushes to the same process are skipped."""

    async def publish_workers(self, endpoint_id: str, workers: Sequence[WorkerPresence]) -> None:
        """Push the workers that exist. Unchanged pushes to the same process are skipped."""

    async def report_gone(self, endpoint_id: str, workers: Sequence[GoneWorker]) -> None:
        """These workers ended for a reason that is not their jobs'. Unchanged reports are skipped."""

    async def drain(self, endpoint_id: str, workers: Sequence[str]) -> None:
        """Hand these workers no more jobs. The snapshot shows when they hold nothing."""

    async def undrain(self, endpoint_id: str, workers: Sequence[str]) -> None:
        """Take a drain back."""

    async def forget(self, endpoint_id: str) -> None:
        """The endpoint that the gateway knew under this id is gone: its jobs are cancelled and its credentials end.

        Harmless when the id is another endpoint's by now.
        """


class Clock(Protocol):
    """Time, at the edge."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds that never jump."""
