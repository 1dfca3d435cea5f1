"""`ports.Cluster` on one machine. A Deployment becomes a pool of processes, a ConfigMap a file, a Secret a variable.

The same manifests that go to Kubernetes arrive here; what a pod spec says about the worker's command and environment
is read from them, the rest (security context, volumes, grace) has no meaning for a process.
"""

import asyncio
import base64
import itertools
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from submodel_operator.api import constants
from submodel_operator.desired.names import HANDLER_FOLDER
from submodel_operator.errors import Conflict
from submodel_operator.local.processes import Announce
from submodel_operator.local.worker import LocalWorker
from submodel_operator.ports import Event, Key, Manifest, Observed, ObservedPool, Reference, Referenced

StatusWritten = Callable[[Manifest, Manifest], None]
"""Takes the status before and the status after."""


@dataclass(slots=True)
class _Pool:
    observed: ObservedPool
    deployment: Manifest
    names: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))


class LocalCluster:
    """Runs one endpoint's workers as processes.

    Args:
        folder: where handler sources are written.
        variables: the person's own environment; stands in for Secrets and ConfigMaps that only a cluster has.
        announce: takes lines for the person at the terminal.
        changed: called whenever something about the endpoint changed.
        status_written: called with each new status.
    """

    def __init__(
        self,
        folder: Path,
        variables: Mapping[str, str],
        announce: Announce,
        changed: Callable[[Key], None],
        status_written: StatusWritten,
    ) -> None:
        shutil.rmtree(folder, ignore_errors=True)  # sources of earlier runs; their names never come again
        self._folder = folder
        self._variables = variables
        self._announce = announce
        self._changed = changed
        self._status_written = status_written
        self._endpoint: Observed | None = None
        self._objects: dict[tuple[str, str], Manifest] = {}
        self._pools: dict[str, _Pool] = {}
        self._workers: dict[str, LocalWorker] = {}

    def put_endpoint(self, key: Key, uid: str, first_generation: int, manifest: Manifest) -> None:
        """Set or change the endpoint. A changed spec counts a generation up; the status stays."""
        present = self._endpoint
        if present and present.manifest.get("spec") == manifest.get("spec"):
            return
        kept = {**manifest, "status": present.manifest.get("status")} if present else manifest
        self._endpoint = Observed(key, uid, present.generation + 1 if present else first_generation, kept)
        self._changed(key)

    @property
    def has_workers(self) -> bool:
        """Whether any process is left."""
        return bool(self._workers)

    def keys(self) -> Iterable[Key]:
        """See `ports.Cluster`."""
        return (self._endpoint.key,) if self._endpoint else ()

    def observe(self, key: Key, now: float) -> Observed | None:
        """See `ports.Cluster`. Ages are taken from the event loop's clock, whatever `now` says."""
        if self._endpoint is None or self._endpoint.key != key:
            return None
        loop_now = asyncio.get_running_loop().time()
        return replace(
            self._endpoint,
            pools=tuple(pool.observed for pool in self._pools.values()),
            workers=tuple(worker.observe(loop_now) for worker in self._workers.values()),
        )

    def holder(self, endpoint_id: str) -> Key | None:
        """See `ports.Cluster`. Here is one endpoint, so nobody is in its way."""
        return None

    async def exists(self, key: Key) -> bool:
        """See `ports.Cluster`."""
        return key in self.keys()

    async def read_secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """See `ports.Cluster`. There are no Secrets here, and the gateway of a laptop asks for no key."""
        return None

    async def look_up(self, key: Key, references: Collection[Reference]) -> Referenced:
        """See `ports.Cluster`. Here are none; the person's own variables stand in for them."""
        return {}

    def look_up_again_after(self, key: Key, references: Collection[Reference]) -> float | None:
        """See `ports.Cluster`."""
        return None

    async def ensure(self, observed: Observed, child: Manifest) -> None:
        """See `ports.Cluster`. Nobody takes anything away here."""

    async def apply(self, observed: Observed, child: Manifest) -> None:
        """See `ports.Cluster`."""
        name, kind = child["metadata"]["name"], child["kind"]
        self._objects[kind, name] = child
        if kind == "ConfigMap":
            self._write_files(name, child["data"])
        if kind == "Deployment":
            self._put_pool(name, child)

    async def delete_pool(self, key: Key, pool: str) -> None:
        """See `ports.Cluster`."""
        self._pools.pop(pool, None)
        shutil.rmtree(self._folder / pool, ignore_errors=True)
        for kind in ("ConfigMap", "Secret", "Deployment"):
            self._objects.pop((kind, pool), None)

    async def scale(self, key: Key, pool: str, present: int, replicas: int, victims: Sequence[str]) -> None:
        """See `ports.Cluster`."""
        entry = self._pools[pool]
        if entry.observed.replicas != present:
            raise Conflict(f"pool {pool} has {entry.observed.replicas} workers by now")
        for _ in range(replicas - present):
            self._start_worker(entry)
        for name in victims:
            if worker := self._workers.get(name):
                worker.leave()
        entry.observed = replace(entry.observed, replicas=replicas)

    async def unmark(self, key: Key, workers: Sequence[str]) -> None:
        """See `ports.Cluster`. Processes bear no marks: here the chosen ones go in any case."""

    async def replace(self, key: Key, worker: str, uid: str) -> None:
        """See `ports.Cluster`."""
        leaving = self._workers.get(worker)
        if leaving is None or leaving.observe(0).terminating:
            return
        leaving.leave()
        for pool in self._pools.values():
            if pool.observed.revision == leaving.revision:
                self._start_worker(pool)

    async def protect(self, key: Key, workers: Mapping[str, bool]) -> None:
        """See `ports.Cluster`. Nobody moves processes."""

    async def write_status(self, observed: Observed, status: Manifest) -> None:
        """See `ports.Cluster`."""
        if self._endpoint is None or self._endpoint.uid != observed.uid:
            return
        before = self._endpoint.manifest.get("status") or {}
        self._endpoint = replace(self._endpoint, manifest={**self._endpoint.manifest, "status": status})
        self._status_written(before, status)

    async def record(self, observed: Observed, event: Event) -> None:
        """See `ports.Cluster`. The terminal has shown it already: it is told of every status and every process."""

    async def close(self, hurry: asyncio.Event) -> None:
        """End all workers: they finish what they hold, or are killed as soon as `hurry` is set."""
        workers = list(self._workers.values())
        for worker in workers:
            worker.leave()
        hurried = asyncio.create_task(self._kill_when(hurry, workers))
        await asyncio.gather(*(worker.gone() for worker in workers))
        hurried.cancel()

    async def _kill_when(self, hurry: asyncio.Event, workers: Sequence[LocalWorker]) -> None:
        await hurry.wait()
        for worker in workers:
            if not worker.ended:
                worker.kill()

    def _write_files(self, pool: str, data: Mapping[str, str]) -> None:
        folder = self._folder / pool
        folder.mkdir(parents=True, exist_ok=True)
        for file_name, text in data.items():
            (folder / file_name).write_text(text, encoding="utf-8")

    def _put_pool(self, name: str, deployment: Manifest) -> None:
        metadata = deployment["metadata"]
        present = self._pools.get(name)
        observed = ObservedPool(
            name=name,
            revision=metadata["labels"][constants.REVISION_LABEL],
            replicas=present.observed.replicas if present else 0,
            desired_hash=metadata["annotations"][constants.DESIRED_HASH_ANNOTATION],
        )
        if present:
            present.observed, present.deployment = observed, deployment
        else:
            self._pools[name] = _Pool(observed, deployment)

    def _start_worker(self, pool: _Pool) -> None:
        name = f"{pool.observed.name}-{next(pool.names)}"
        container = pool.deployment["spec"]["template"]["spec"]["containers"][0]
        self._workers[name] = LocalWorker(
            name=name,
            revision=pool.observed.revision,
            command=self._command(pool.observed.name, container),
            env=self._environment(name, container),
            announce=self._announce,
            changed=self._worker_changed,
        )

    def _worker_changed(self, worker: LocalWorker) -> None:
        if worker.left:
            self._workers.pop(worker.name, None)
        if self._endpoint:
            self._changed(self._endpoint.key)

    def _command(self, pool: str, container: Mapping[str, Any]) -> list[str]:
        """The image's entry point is the runtime; its argument is the handler in the mounted folder."""
        arguments = [argument.replace(HANDLER_FOLDER, str(self._folder / pool)) for argument in container["args"]]
        return [sys.executable, "-m", "submodel.serverless", *arguments]

    def _environment(self, worker: str, container: Mapping[str, Any]) -> dict[str, str]:
        resolved = ((variable["name"], self._value(worker, variable)) for variable in container["env"])
        return {name: value for name, value in resolved if value is not None}

    def _value(self, worker: str, variable: Mapping[str, Any]) -> str | None:
        source = variable.get("valueFrom")
        if source is None:
            return str(variable.get("value", ""))
        if "fieldRef" in source:
            return worker
        reference = source.get("secretKeyRef") or source.get("configMapKeyRef") or {}
        own = self._objects.get(("Secret", reference.get("name", "")))
        if own and "secretKeyRef" in source:
            return base64.b64decode(own["data"][reference["key"]]).decode()
        return self._variables.get(variable["name"])
