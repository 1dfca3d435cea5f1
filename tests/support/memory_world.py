"""The operator's ports in memory: a cluster whose workers start when a test says so, a gateway a test speaks for."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from submodel.contract.internal import EndpointRegistration, GoneWorker, WorkerPresence
from submodel_operator.api import constants
from submodel_operator.errors import OperatorError
from submodel_operator.ports import (
    REFERENCES_PERIOD_SECONDS,
    Event,
    Key,
    Manifest,
    Observed,
    ObservedPool,
    ObservedWorker,
    Reference,
    Referenced,
    Signals,
)
from tests.support.endpoints import KEY, UID, worker


@dataclass
class MemoryCluster:
    """`ports.Cluster` that does what it is told and remembers it."""

    endpoints: dict[Key, Observed] = field(default_factory=dict)
    alive: set[Key] = field(default_factory=set)
    """What a live read finds; a cache may be behind it."""

    applied: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    unmarked: list[str] = field(default_factory=list)
    statuses: list[Mapping[str, Any]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    refuse_events: OperatorError | None = None
    refuse_applies: OperatorError | None = None
    removes_instead: str = ""
    """The worker that the next shrink takes, whoever was chosen."""

    refuse_secrets: OperatorError | None = None
    secrets: dict[tuple[str, str], Mapping[str, bytes]] = field(default_factory=dict)
    secrets_read: list[str] = field(default_factory=list)
    held: dict[Reference, dict[str, str]] = field(default_factory=dict)
    """Secrets and ConfigMaps of the user."""

    ensured: list[str] = field(default_factory=list)
    protections: list[dict[str, bool]] = field(default_factory=list)
    refuse_protection: OperatorError | None = None
    holders: dict[str, Key] = field(default_factory=dict)
    """Whose the ids are that specs ask for."""

    def put(self, manifest: Manifest, generation: int = 1, key: Key = KEY) -> None:
        """Create or change the endpoint."""
        present = self.endpoints.get(key)
        pools, workers = (present.pools, present.workers) if present else ((), ())
        self.endpoints[key] = Observed(key, UID, generation, manifest, pools=pools, workers=workers)
        self.alive.add(key)

    def set_workers(self, *workers: ObservedWorker, key: Key = KEY) -> None:
        """The pods that exist now."""
        self.endpoints[key] = replace(self.endpoints[key], workers=workers)

    def start_missing(self, key: Key = KEY) -> list[str]:
        """Create a running worker for every replica that has none; returns the names of all workers."""
        observed = self.endpoints[key]
        workers = list(observed.workers)
        for pool in observed.pools:
            missing = pool.replicas - sum(each.revision == pool.revision for each in workers)
            workers += [worker(f"{pool.name}-{len(workers) + n}", pool.revision) for n in range(missing)]
        self.set_workers(*workers, key=key)
        return [each.name for each in workers]

    def observe(self, key: Key, now: float) -> Observed | None:
        return self.endpoints.get(key)

    def holder(self, endpoint_id: str) -> Key | None:
        return self.holders.get(endpoint_id)

    async def exists(self, key: Key) -> bool:
        return key in self.alive

    async def read_secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        self.secrets_read.append(name)
        if self.refuse_secrets:
            raise self.refuse_secrets
        return self.secrets.get((namespace, name))

    async def look_up(self, key: Key, references: Collection[Reference]) -> Referenced:
        return {reference: self.held.get(reference) for reference in references}

    def look_up_again_after(self, key: Key, references: Collection[Reference]) -> float | None:
        return REFERENCES_PERIOD_SECONDS if any(reference in self.held for reference in references) else None

    async def ensure(self, observed: Observed, child: Manifest) -> None:
        self.ensured.append(child["kind"])

    async def apply(self, observed: Observed, child: Manifest) -> None:
        if self.refuse_applies:
            raise self.refuse_applies
        self.applied.append(child["kind"])
        if child["kind"] == "Deployment":
            metadata = child["metadata"]
            revision = metadata["labels"][constants.REVISION_LABEL]
            pool = ObservedPool(
                metadata["name"], revision, 0, metadata["annotations"][constants.DESIRED_HASH_ANNOTATION]
            )
            self._put_pool(observed.key, pool)

    async def delete_pool(self, key: Key, pool: str) -> None:
        self.deleted.append(pool)
        kept = tuple(each for each in self.endpoints[key].pools if each.name != pool)
        self.endpoints[key] = replace(self.endpoints[key], pools=kept)

    async def scale(self, key: Key, pool: str, present: int, replicas: int, victims: Sequence[str]) -> None:
        observed = self.endpoints[key]
        before = next(each for each in observed.pools if each.name == pool)
        assert before.replicas == present
        gone = (self.removes_instead,) if victims and self.removes_instead else victims
        kept = tuple(each for each in observed.workers if each.name not in gone)
        self.endpoints[key] = replace(observed, workers=kept)
        self._put_pool(key, replace(before, replicas=replicas))

    async def unmark(self, key: Key, workers: Sequence[str]) -> None:
        observed = self.endpoints[key]
        changed = (replace(each, marked=each.marked and each.name not in workers) for each in observed.workers)
        self.endpoints[key] = replace(observed, workers=tuple(changed))
        self.unmarked += workers

    async def replace(self, key: Key, worker: str, uid: str) -> None:
        observed = self.endpoints[key]
        kept = tuple(each for each in observed.workers if each.uid != uid)
        self.endpoints[key] = replace(observed, workers=kept)
        self.replaced.append(worker)

    async def protect(self, key: Key, workers: Mapping[str, bool]) -> None:
        if self.refuse_protection:
            raise self.refuse_protection
        self.protections.append(dict(workers))
        observed = self.endpoints[key]
        changed = (replace(each, protected=workers.get(each.name, each.protected)) for each in observed.workers)
        self.endpoints[key] = replace(observed, workers=tuple(changed))

    async def write_status(self, observed: Observed, status: Manifest) -> None:
        self.statuses.append(status)
        endpoint = self.endpoints[observed.key]
        self.endpoints[observed.key] = replace(endpoint, manifest={**endpoint.manifest, "status": status})

    async def record(self, observed: Observed, event: Event) -> None:
        if self.refuse_events:
            raise self.refuse_events
        self.events.append(event)

    def _put_pool(self, key: Key, pool: ObservedPool) -> None:
        observed = self.endpoints[key]
        others = tuple(each for each in observed.pools if each.name != pool.name)
        self.endpoints[key] = replace(observed, pools=(*others, pool))


@dataclass
class MemoryGateway:
    """`ports.Gateway` whose snapshots a test sets."""

    known: dict[str, Signals] = field(default_factory=dict)
    registrations: list[EndpointRegistration] = field(default_factory=list)
    presence: list[list[WorkerPresence]] = field(default_factory=list)
    gone: list[GoneWorker] = field(default_factory=list)
    drained: list[str] = field(default_factory=list)
    undrained: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    silent: OperatorError | None = None

    def say(self, signals: Signals) -> None:
        """The gateway's newest word."""
        self.known[signals.snapshot.endpoint_id] = signals

    def signals(self, endpoint_id: str) -> Signals | None:
        return self.known.get(endpoint_id)

    def ids_of(self, key: Key) -> Sequence[str]:
        return [each.snapshot.endpoint_id for each in self.known.values() if _owner(each) == key]

    async def register(self, registration: EndpointRegistration) -> None:
        if self.silent:
            raise self.silent
        self.registrations.append(registration)

    async def publish_workers(self, endpoint_id: str, workers: Sequence[WorkerPresence]) -> None:
        self.presence.append(list(workers))

    async def report_gone(self, endpoint_id: str, workers: Sequence[GoneWorker]) -> None:
        self.gone += workers

    async def drain(self, endpoint_id: str, workers: Sequence[str]) -> None:
        self.drained += workers

    async def undrain(self, endpoint_id: str, workers: Sequence[str]) -> None:
        self.undrained += workers

    async def forget(self, endpoint_id: str) -> None:
        self.forgotten.append(endpoint_id)
        self.known.pop(endpoint_id, None)


def _owner(signals: Signals) -> Key:
    return Key.from_endpoint_id(signals.snapshot.owner or signals.snapshot.endpoint_id)


@dataclass
class ManualClock:
    """`ports.Clock` that stands still until a test moves it."""

    seconds: float = 1_800_000_000.0
    set_by: float = 0.0
    """By how much somebody set the clock on the wall."""

    def now(self) -> float:
        return self.seconds + self.set_by

    def monotonic(self) -> float:
        return self.seconds
