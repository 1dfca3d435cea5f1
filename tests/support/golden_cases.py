"""An endpoint and what happens to it, step by step, in; what the operator did and says, out: both as YAML.

The reconciler is the real one, over ports that write down what they are asked. A step of a case says what is different
from the step before; revisions are called A, B, … in the order in which they come, for their hashes change with every
field that workers get.
"""

import asyncio
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from submodel.contract.exchange import Startup
from submodel.contract.internal import EndpointRegistration, GoneWorker, WorkerPresence, WorkerView
from submodel.contract.states import WorkerPhase
from submodel_operator.errors import ClusterRefused, GatewayRefused, GatewayUnavailable, NameConflict
from submodel_operator.ports import Event, Key, Manifest, Observed, ObservedWorker, PodStart, Reference, WorkerEnd
from submodel_operator.reconcile import Reconciler
from submodel_operator.settings import NodeLabels
from tests.support.endpoints import UID, signals, worker_settings
from tests.support.memory_world import ManualClock, MemoryCluster, MemoryGateway

STEP_SECONDS: Final = 10.0
LETTERS: Final = "ABCDEFGH"
Facts = Mapping[str, Any]


class Ledger:
    """What was asked of cluster and gateway, in order."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def note(self, what: str, **how: Any) -> None:
        self.entries.append({what: {name: value for name, value in how.items() if value not in ((), [], {}, None)}})


class NotingCluster(MemoryCluster):
    """Writes down what it is asked."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self.ledger = ledger

    async def apply(self, observed: Observed, child: Manifest) -> None:
        await super().apply(observed, child)
        self.ledger.note("apply", kind=child["kind"], name=child["metadata"]["name"])

    async def ensure(self, observed: Observed, child: Manifest) -> None:
        self.ledger.note("ensure", kind=child["kind"], name=child["metadata"]["name"])

    async def scale(self, key: Key, pool: str, present: int, replicas: int, victims: Sequence[str]) -> None:
        await super().scale(key, pool, present, replicas, victims)
        self.ledger.note("scale", pool=pool, before=present, to=replicas, victims=list(victims))

    async def replace(self, key: Key, worker: str, uid: str) -> None:
        await super().replace(key, worker, uid)
        self.ledger.note("replace", worker=worker)

    async def protect(self, key: Key, workers: Mapping[str, bool]) -> None:
        await super().protect(key, workers)
        self.ledger.note("protect", workers=dict(workers))

    async def delete_pool(self, key: Key, pool: str) -> None:
        await super().delete_pool(key, pool)
        self.ledger.note("deletePool", pool=pool)

    async def record(self, observed: Observed, event: Event) -> None:
        self.ledger.note("event", reason=str(event.reason), message=event.message)


class NotingGateway(MemoryGateway):
    """Writes down what it is told for the first time."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self.ledger = ledger
        self._told: dict[str, object] = {}

    async def register(self, registration: EndpointRegistration) -> None:
        await super().register(registration)
        fields = msgspec.to_builtins(registration)
        fields["workerTokens"] = f"of {len(registration.worker_tokens)} revisions"
        self._tell("register", fields)

    async def publish_workers(self, endpoint_id: str, workers: Sequence[WorkerPresence]) -> None:
        self._tell("workers", {each.worker: each.phase for each in workers})

    async def report_gone(self, endpoint_id: str, workers: Sequence[GoneWorker]) -> None:
        self._tell("gone", {each.worker: msgspec.to_builtins(each) for each in workers})

    async def drain(self, endpoint_id: str, workers: Sequence[str]) -> None:
        self.ledger.note("drain", workers=list(workers))

    async def undrain(self, endpoint_id: str, workers: Sequence[str]) -> None:
        self.ledger.note("undrain", workers=list(workers))

    async def forget(self, endpoint_id: str) -> None:
        await super().forget(endpoint_id)
        self.ledger.note("forget", endpoint=endpoint_id)

    def _tell(self, what: str, how: dict[str, Any]) -> None:
        if self._told.get(what, {}) != how:
            self._told[what] = how
            self.ledger.note(what, **how)


class _World:
    """What a case may say: a method for each word."""

    def __init__(self, case: Facts) -> None:
        self.ledger = Ledger()
        self.cluster, self.gateway_, self.clock = NotingCluster(self.ledger), NotingGateway(self.ledger), ManualClock()
        self.manifest: dict[str, Any] = case["endpoint"]
        metadata = self.manifest["metadata"]
        self.key = Key(metadata["namespace"], metadata["name"])
        self.generation = 1
        self.revisions: list[str] = []
        self.cluster.put(self.manifest, self.generation, self.key)

    @property
    def observed(self) -> Observed:
        return self.cluster.endpoints[self.key]

    def change(self, **changes: Any) -> None:
        self.cluster.endpoints[self.key] = replace(self.observed, **changes)

    def spec(self, spec: Facts) -> None:
        """The user applied another one."""
        self.generation += 1
        self.manifest = {**self.manifest, "spec": dict(spec)}
        status = self.observed.manifest.get("status")
        self.cluster.put(self.manifest | ({"status": status} if status else {}), self.generation, self.key)

    def gateway(self, word: Facts | str) -> None:
        """Its newest word; as a text, how it answers to pushes."""
        self.gateway_.silent = None
        if isinstance(word, str):
            self.gateway_.silent = GatewayUnavailable(word) if word == "no answer" else GatewayRefused(word)
            return
        fields = _fields(word)
        views = [self._view(name, each or {}) for name, each in (fields.pop("workers", None) or {}).items()]
        known_as = self.manifest["spec"].get("endpointId") or self.key.endpoint_id
        place = {"endpoint_id": known_as, "owner": self.key.endpoint_id, "registration": f"{UID}/{self.generation}"}
        self.gateway_.say(signals(*views, **{**place, **fields}))

    def _view(self, name: str, each: Facts) -> WorkerView:
        fields = {"running": 0, "draining": False, "phase": "ready", **_fields(each)}
        fields["phase"] = WorkerPhase(fields["phase"])
        if startup := fields.get("startup"):
            fields["startup"] = Startup(**_fields(startup))
        return WorkerView(**{**fields, "worker": name, "revision": self._revision(fields.get("revision"))})

    def workers(self, workers: Facts) -> None:
        """The pods that there are."""
        self.change(workers=tuple(self._worker(name, each or {}) for name, each in workers.items()))

    def finished(self, workers: Facts) -> None:
        """Pods that ended for good."""
        self.change(finished=tuple(self._worker(name, each or {}) for name, each in workers.items()))

    def _worker(self, name: str, each: Facts) -> ObservedWorker:
        fields = {"phase": "Running", "age_seconds": 60.0, **_fields(each)}
        if ended := fields.get("ended"):
            values = _fields(ended)
            if ago := values.pop("seconds_ago", None):
                values["at"] = self.clock.seconds - ago
            fields["ended"] = WorkerEnd(**{"reason": "Error", "exit_code": 1, "lines": "", "count": 1, **values})
        if start := fields.get("start"):
            at = self.clock.seconds - start["createdSecondsAgo"]
            fields["start"] = PodStart(at, at + start["scheduledAfter"], at + start["ranAfter"])
        revision = self._revision(fields.pop("revision", None))
        return ObservedWorker(**{**fields, "name": name, "uid": f"uid-{name}", "revision": revision})

    def _revision(self, letter: str | None) -> str:
        """By its letter; without one, the newest that there is."""
        return self.revisions[LETTERS.index(letter)] if letter else self.revisions[-1]

    def pools(self, changes: Facts) -> None:
        """Deployments that somebody changed, by the letter of their revision; null for one that was deleted."""
        by_letter = {LETTERS[self.revisions.index(pool.revision)]: pool for pool in self.observed.pools}
        kept = [
            replace(pool, **_fields(changes.get(letter) or {}))
            for letter, pool in by_letter.items()
            if changes.get(letter, {}) is not None
        ]
        self.change(pools=tuple(kept))

    def held(self, objects: Facts) -> None:
        """Secrets and ConfigMaps of the user as `Kind/name`; null for one that was deleted."""
        for place, data in objects.items():
            reference = Reference(*place.split("/"))
            self.cluster.held.pop(reference, None)
            if data is not None:
                self.cluster.held[reference] = dict(data)

    def holder(self, place: str | None) -> None:
        """Who has the id that the spec asks for; null for this endpoint."""
        wanted = self.manifest["spec"]["endpointId"]
        self.cluster.holders[wanted] = Key.from_endpoint_id(place) if place else self.key

    def refusal(self, words: str | None) -> None:
        """What the cluster answers to every apply."""
        self.cluster.refuse_applies = ClusterRefused(words) if words else None

    def taken(self, words: str | None) -> None:
        """Whose the name of a child is."""
        self.cluster.refuse_applies = NameConflict(words) if words else None


def outcome(source: Path) -> str:
    """What becomes of the case in the file, as YAML."""
    case = yaml.safe_load(source.read_text(encoding="utf-8"))
    world = _World(case)
    types = {name: tuple(labels) for name, labels in (case.get("gpuTypes") or {}).items()}
    settings = worker_settings(node_labels=NodeLabels(gpu_types=types))
    reconciler = Reconciler(world.cluster, world.gateway_, world.clock, settings)
    steps = [_step(world, reconciler, facts) for facts in case["steps"]]
    text = yaml.dump(steps, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=118, allow_unicode=True)
    text = text.replace(f"Python {sys.version_info.major}.{sys.version_info.minor}", "Python 3.x")
    for letter, revision in zip(LETTERS, world.revisions, strict=False):
        text = text.replace(revision, letter)
    return text


def _step(world: _World, reconciler: Reconciler, facts: Facts) -> dict[str, Any]:
    world.ledger.entries.clear()
    world.clock.seconds += facts.get("afterSeconds", STEP_SECONDS)
    for name, value in facts.items():
        if name not in ("says", "afterSeconds"):
            getattr(world, name)(value)
    before = world.observed.manifest.get("status")
    found = asyncio.run(reconciler.reconcile(world.key))
    world.revisions += [each.revision for each in world.observed.pools if each.revision not in world.revisions]
    after, again = world.observed.manifest.get("status"), found.again_after_seconds
    return {
        "says": facts["says"],
        "did": list(world.ledger.entries) or "nothing",
        "next": "a retry" if found.failure else "when told" if again is None else f"after {again:.3g} s",
        "status": _changed(before or {}, after or {}) or "as before",
    }


def _changed(before: Facts, after: Facts) -> dict[str, Any]:
    """What of the status is another, null where it is there no more; of the conditions those that are others."""
    plain: dict[str, Any] = json.loads(json.dumps(after))
    changed = {name: plain.get(name) for name in (*plain, *before) if plain.get(name) != before.get(name)}
    if "conditions" in changed:
        changed["conditions"] = [each for each in plain["conditions"] if each not in before.get("conditions", ())]
    return changed


def _fields(words: Facts) -> dict[str, Any]:
    """Names of a case in the spelling of Python."""
    return {re.sub("([A-Z])", lambda found: f"_{found[1].lower()}", name): value for name, value in words.items()}


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True
