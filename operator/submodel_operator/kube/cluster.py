"""`ports.Cluster` on Kubernetes: reads from the caches, writes through the client, and puts each answer back.

Who owns which field decides whether an apply can do harm. A Deployment's `replicas` belongs to the manager
`submodel-operator-scale`, which creates the Deployment (with 0) and writes the scale subresource; the manager
`submodel-operator` applies everything else and never names `replicas`. Had its apply ever named the field, the next
one without it would give the field up, and the API server would set its default: one worker that nobody asked for.
Creation is a POST, because an apply would silently take over an object of somebody else that has the name already.
The price: a field that a later release leaves out of the manifest stays on Deployments that exist.

ConfigMaps and Secrets are written only together with their Deployment and are not watched: what they hold is part of
the revision, so a pool that has its Deployment has them too. Should somebody delete one, the next worker does not come
up, and then they are looked after.
"""

import asyncio
import hashlib
from base64 import b64decode
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from submodel_operator.api import constants
from submodel_operator.errors import ClusterRefused, ClusterUnavailable, Conflict, NameConflict
from submodel_operator.kube.caches import Caches
from submodel_operator.kube.client import KubeClient, Object
from submodel_operator.kube.event_log import EventLog
from submodel_operator.kube.objects import EndpointView, PodView, PoolView, controlling_owner
from submodel_operator.kube.resources import (
    CHILDREN,
    CONFIG_MAPS,
    DEPLOYMENTS,
    ENDPOINTS,
    EVENTS,
    PODS,
    SECRETS,
    Resource,
)
from submodel_operator.ports import (
    REFERENCES_PERIOD_SECONDS,
    Clock,
    Event,
    Key,
    Manifest,
    Observed,
    ObservedWorker,
    Reference,
    Referenced,
)
from submodel_operator.protection import ANNOTATIONS
from submodel_operator.recent import Recent

MANAGER: Final = "submodel-operator"
STATUS_MANAGER: Final = "submodel-operator-status"

MARKS_AT_ONCE: Final = 8
REPLACE_GRACE_SECONDS: Final = 10
CUT_OFF_SECONDS: Final = 0.5
"""The cluster tells creations in whole seconds, cut off: on average they were so much later."""

Annotations = Mapping[str, str | None]
_REFERENCE_AGE_SECONDS: Final = REFERENCES_PERIOD_SECONDS * 0.9
"""Younger than the period, so that a change is seen within it, the delay of the look included."""


class KubeCluster:
    """Implements `ports.Cluster`."""

    def __init__(self, client: KubeClient, caches: Caches, clock: Clock) -> None:
        self._client = client
        self._caches = caches
        self._clock = clock
        self._events = EventLog()
        self._looked_up: Recent[tuple[str, Reference], Mapping[str, str]] = Recent(_REFERENCE_AGE_SECONDS)
        self._confirmed: dict[Key, Observed] = {}

    def keys(self) -> Iterable[Key]:
        """See `ports.Cluster`."""
        return self._caches.endpoints.owners()

    def observe(self, key: Key, now: float) -> Observed | None:
        """See `ports.Cluster`. Deployments of a deleted namesake are left to the garbage collector."""
        endpoint = self._caches.endpoints.get(key.namespace, key.name)
        if endpoint is None:
            return None
        pools = (pool for pool in self._caches.pools.of(key) if pool.owner_uid == endpoint.uid and not pool.deleting)
        return Observed(
            key=key,
            uid=endpoint.uid,
            generation=endpoint.generation,
            manifest=endpoint.manifest,
            deleting=endpoint.deleting,
            pools=tuple(pool.observed for pool in pools),
            workers=tuple(_aged(pod, now) for pod in self._caches.pods.of(key) if not pod.finished),
            finished=tuple(_aged(pod, now) for pod in self._caches.pods.of(key) if pod.finished),
        )

    def holder(self, endpoint_id: str) -> Key | None:
        """See `ports.Cluster`."""
        return self._caches.endpoints.holder(endpoint_id)

    async def exists(self, key: Key) -> bool:
        """See `ports.Cluster`."""
        self._confirmed.pop(key, None)
        return await self._refresh_endpoint(key) is not None

    async def read_secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """See `ports.Cluster`."""
        found = await self._client.get(SECRETS, namespace, name)
        return None if found is None else {entry: b64decode(text) for entry, text in (found.get("data") or {}).items()}

    async def look_up(self, key: Key, references: Collection[Reference]) -> Referenced:
        """See `ports.Cluster`. What a Secret holds is read, digested and forgotten at once; what is absent is looked
        for anew each time."""
        found: dict[Reference, Mapping[str, str] | None] = {}
        for reference in references:
            place = (key.namespace, reference)
            if (held := self._looked_up.recent(place, self._clock.monotonic())) is None:
                held = await self._read(*place)
                if held is not None:
                    self._looked_up.keep(place, held, self._clock.monotonic())
            found[reference] = held
        return found

    def look_up_again_after(self, key: Key, references: Collection[Reference]) -> float | None:
        """See `ports.Cluster`."""
        now = self._clock.monotonic()
        left = (self._looked_up.seconds_left((key.namespace, reference), now) for reference in references)
        return min((seconds for seconds in left if seconds is not None), default=None)

    async def _read(self, namespace: str, reference: Reference) -> Mapping[str, str] | None:
        found = await self._client.get(CHILDREN[reference.kind], namespace, reference.name)
        if found is None:
            return None
        data: Mapping[str, str] = found.get("data") or {}
        if reference.kind == "ConfigMap":
            return data
        return {name: hashlib.sha256(value.encode()).hexdigest() for name, value in data.items()}

    async def ensure(self, observed: Observed, child: Manifest) -> None:
        """See `ports.Cluster`."""
        resource, key = CHILDREN[child["kind"]], observed.key
        if await self._client.get_metadata(resource, key.namespace, child["metadata"]["name"]) is None:
            await self._create(observed, resource, child)

    async def apply(self, observed: Observed, child: Manifest) -> None:
        """See `ports.Cluster`."""
        resource, name = CHILDREN[child["kind"]], child["metadata"]["name"]
        pool = self._caches.pools.get(observed.key.namespace, name)
        if pool and pool.owner_uid == observed.uid and not pool.deleting:
            await self._update(resource, child, pool.uid if resource == DEPLOYMENTS else None)
        else:
            await self._create(observed, resource, child)

    async def delete_pool(self, key: Key, pool: str) -> None:
        """See `ports.Cluster`. The Deployment goes last: as long as it is there, the rest is tried again."""
        for resource in (CONFIG_MAPS, SECRETS):
            metadata = await self._client.get_metadata(resource, key.namespace, pool)
            if metadata and _has_our_labels(metadata, key):
                await self._client.delete(resource, key.namespace, pool, metadata["uid"])
        if deployment := self._caches.pools.get(key.namespace, pool):
            await self._client.delete(DEPLOYMENTS, key.namespace, pool, deployment.uid)
            self._caches.pools.forget((key.namespace, pool), deployment.uid)

    async def scale(self, key: Key, pool: str, present: int, replicas: int, victims: Sequence[str]) -> None:
        """See `ports.Cluster`.

        The ReplicaSet removes marked pods first if the marks are there before the count shrinks, and marks of ours that
        are left from earlier would count too: so these are exactly the victims when the count is written. What others
        write is left alone: no cost is lower than ours. Where all go there is nothing to choose: one look at the pods
        takes the place of a mark on each.
        """
        deployment = self._caches.pools.get(key.namespace, pool)
        if deployment is None:
            raise Conflict(f"Deployment {key.namespace}/{pool} is gone")
        if deployment.observed.replicas != present:
            raise Conflict(f"Deployment {key.namespace}/{pool} was scaled to {deployment.observed.replicas} meanwhile")
        pods = [pod for pod in self._caches.pods.of(key) if pod.pool == pool and _is_alive(pod)]
        unused = [pod.name for pod in pods if pod.observed.marked and pod.name not in victims]
        if replicas == 0:
            await self._confirm_alone(key, deployment, victims)
            await self._write_scale(deployment, replicas)
        elif replicas < present:
            await self._annotate(key, dict.fromkeys(victims, _cost(constants.VICTIM_COST)), must_live=True)
            await self._annotate(key, dict.fromkeys(unused, _cost(None)))
            await self._write_scale(deployment, replicas)
        else:
            await self._write_scale(deployment, replicas)
            await self._annotate(key, dict.fromkeys(unused, _cost(None)))

    async def unmark(self, key: Key, workers: Sequence[str]) -> None:
        """See `ports.Cluster`."""
        await self._annotate(key, dict.fromkeys(workers, _cost(None)))

    async def protect(self, key: Key, workers: Mapping[str, bool]) -> None:
        """See `ports.Cluster`."""
        lifted: Annotations = dict.fromkeys(ANNOTATIONS)
        await self._annotate(key, {name: ANNOTATIONS if wanted else lifted for name, wanted in workers.items()})

    async def replace(self, key: Key, worker: str, uid: str) -> None:
        """See `ports.Cluster`. It holds nothing; whatever it still runs has ended for everybody else."""
        await self._client.delete(PODS, key.namespace, worker, uid, REPLACE_GRACE_SECONDS)

    async def write_status(self, observed: Observed, status: Manifest) -> None:
        """See `ports.Cluster`."""
        key = observed.key
        held = self._caches.endpoints.get(key.namespace, key.name)
        if held is None or held.uid != observed.uid:
            raise Conflict(f"{key.endpoint_id} is not the endpoint any more that was looked at")
        manifest = {
            "apiVersion": constants.API_VERSION,
            "kind": constants.KIND,
            # Without the version, a late write would land on a re-created namesake: `status` takes any uid.
            "metadata": {"name": key.name, "namespace": key.namespace, "resourceVersion": held.version},
            "status": status,
        }
        try:
            written = await self._client.apply(ENDPOINTS, key.namespace, manifest, STATUS_MANAGER, "status")
        except Conflict:
            await self._refresh_endpoint(key)
            raise
        if written:
            self._caches.endpoints.put(written)
        else:
            self._caches.endpoints.forget((key.namespace, key.name), held.uid)

    async def record(self, observed: Observed, event: Event) -> None:
        """See `ports.Cluster`."""
        entry = self._events.take(observed, event, self._clock.now())
        if entry.count > 1 and await self._client.merge(
            EVENTS, observed.key.namespace, entry.name, entry.again(), MANAGER
        ):
            return
        await self._client.create(EVENTS, observed.key.namespace, entry.manifest(), MANAGER)

    async def _update(self, resource: Resource, child: Manifest, uid: str | None) -> None:
        namespace, name = child["metadata"]["namespace"], child["metadata"]["name"]
        if uid:  # an apply that names the uid never re-creates what was deleted meanwhile
            child = {**child, "metadata": {**child["metadata"], "uid": uid}}
        try:
            written = await self._client.apply(resource, namespace, child, MANAGER)
        except Conflict:
            await self._refresh_pool(namespace, name)
            raise
        if written and resource == DEPLOYMENTS:
            self._caches.pools.put(written)

    async def _create(self, observed: Observed, resource: Resource, child: Manifest) -> None:
        namespace, manager = observed.key.namespace, MANAGER
        await self._confirm(observed)
        manifest = child
        if resource == DEPLOYMENTS:
            manager, manifest = constants.SCALE_MANAGER, {**child, "spec": {**child["spec"], "replicas": 0}}
        created = await self._client.create(resource, namespace, manifest, manager)
        if created is None:
            await self._adopt(observed, resource, child)
        elif resource == DEPLOYMENTS:
            self._caches.pools.put(created)
        if resource == DEPLOYMENTS:
            self._confirmed.pop(observed.key, None)

    async def _confirm(self, observed: Observed) -> None:
        """Once per reconcile, ask whether the endpoint still is what the cache says.

        Otherwise the children of an endpoint whose deletion nobody reported would be created again and again, as often
        as the garbage collector removes them.
        """
        key = observed.key
        if self._confirmed.get(key) is observed:
            return
        endpoint = await self._refresh_endpoint(key)
        if endpoint is None or endpoint.uid != observed.uid or endpoint.deleting:
            self._confirmed.pop(key, None)
            raise Conflict(f"{key.endpoint_id} is gone or was created anew")
        self._confirmed[key] = observed

    async def _adopt(self, observed: Observed, resource: Resource, child: Manifest) -> None:
        """The name is taken: by an earlier attempt of ours, which is completed, or by somebody else."""
        namespace, name = child["metadata"]["namespace"], child["metadata"]["name"]
        metadata = await self._client.get_metadata(resource, namespace, name)
        words = f"{resource.kind} {namespace}/{name}"
        if metadata is None:
            raise Conflict(f"{words} was there and is gone")
        owner = controlling_owner(metadata)
        if "deletionTimestamp" in metadata or _is_earlier_namesake(owner, observed):
            raise ClusterUnavailable(f"{words} is being deleted")
        if owner.get("uid") != observed.uid:
            whose = f"belongs to {owner['kind']} {owner['name']}" if owner else "is not managed by this operator"
            raise NameConflict(
                f"{words} {whose}, and endpoint {observed.key.name} needs that name: "
                f"rename or delete it, or give the endpoint another name"
            )
        if resource == DEPLOYMENTS:
            await self._refresh_pool(namespace, name)
        await self._update(resource, child, metadata["uid"])

    async def _write_scale(self, deployment: PoolView, replicas: int) -> None:
        """Change the count, if it still is what the decision was made on."""
        namespace, name, believed = deployment.owner.namespace, deployment.name, deployment.observed.replicas
        operations: list[Object] = [
            # The API server leaves a count of 0 out.
            {"op": "test", "path": "/spec", "value": {"replicas": believed} if believed else {}},
            {"op": "add", "path": "/spec/replicas", "value": replicas},
        ]
        try:
            scale = await self._client.patch_scale(DEPLOYMENTS, namespace, name, operations, constants.SCALE_MANAGER)
        except ClusterRefused as refused:
            await self._raise_for_scale(deployment, refused)
            raise
        if scale is None:
            self._caches.pools.forget((namespace, name), deployment.uid)
            raise Conflict(f"Deployment {namespace}/{name} is gone")
        self._caches.pools.scaled(deployment, scale["metadata"]["resourceVersion"], replicas)

    async def _raise_for_scale(self, deployment: PoolView, refused: ClusterRefused) -> None:
        namespace, name = deployment.owner.namespace, deployment.name
        present = await self._refresh_pool(namespace, name)
        if present is None or present.observed.replicas != deployment.observed.replicas:
            raise Conflict(f"Deployment {namespace}/{name} was scaled by somebody else") from refused

    async def _confirm_alone(self, key: Key, deployment: PoolView, victims: Sequence[str]) -> None:
        """Raise `Conflict` unless the pool's pods are these and no others, by the cluster's own word: a pod may have
        been replaced, and the one in its place may hold jobs.
        """
        labels = {constants.ENDPOINT_LABEL: key.name, constants.REVISION_LABEL: deployment.observed.revision}
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        cache = self._caches.pods
        before, listed = {pod.name: pod.uid for pod in cache.of(key) if pod.pool == deployment.name}, set()
        async for page in self._client.pages(PODS, key.namespace, selector):
            for raw in page:
                cache.put(raw)
                listed.add(raw["metadata"]["name"])
        for name in before.keys() - listed:
            cache.forget((key.namespace, name), before[name])
        alive = {pod.name for pod in cache.of(key) if pod.pool == deployment.name and _is_alive(pod)}
        if alive != set(victims):
            raise Conflict(f"the pods of Deployment {key.namespace}/{deployment.name} are others by now")

    async def _annotate(self, key: Key, pods: Mapping[str, Annotations], must_live: bool = False) -> None:
        """Set or (None) remove annotations of pods.

        With `must_live`, a pod that is gone, terminating or at its end is a `Conflict`: its ReplicaSet has replaced it
        already, and a smaller count would take another one.
        """
        slots = asyncio.Semaphore(MARKS_AT_ONCE)

        async def write(name: str, annotations: Annotations) -> None:
            patch = {"metadata": {"annotations": dict(annotations)}}
            async with slots:
                pod = await self._client.merge(PODS, key.namespace, name, patch, constants.SCALE_MANAGER)
            if pod:
                self._caches.pods.put(pod)
            elif held := self._caches.pods.get(key.namespace, name):
                self._caches.pods.forget((key.namespace, name), held.uid)
            known = self._caches.pods.get(key.namespace, name)
            if must_live and (known is None or not _is_alive(known)):
                raise Conflict(f"pod {key.namespace}/{name} has left by itself")

        outcomes = await asyncio.gather(*(write(*each) for each in pods.items()), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def _refresh_endpoint(self, key: Key) -> EndpointView | None:
        """Ask the cluster itself, and let the cache know."""
        cache = self._caches.endpoints
        before = cache.get(key.namespace, key.name)
        found = await self._client.get(ENDPOINTS, key.namespace, key.name)
        if found:
            cache.put(found)
            return cache.get(key.namespace, key.name)
        if before:
            cache.forget((key.namespace, key.name), before.uid)
        return None

    async def _refresh_pool(self, namespace: str, name: str) -> PoolView | None:
        cache = self._caches.pools
        before = cache.get(namespace, name)
        found = await self._client.get(DEPLOYMENTS, namespace, name)
        if found:
            cache.put(found)
            return cache.get(namespace, name)
        if before:
            cache.forget((namespace, name), before.uid)
        return None


def _aged(pod: PodView, now: float) -> ObservedWorker:
    ran_at = pod.start.ran_at
    running_seconds = None if ran_at is None else max(0.0, now - ran_at)
    age_seconds = max(0.0, now - pod.start.created_at - CUT_OFF_SECONDS)
    return replace(pod.observed, age_seconds=age_seconds, running_seconds=running_seconds)


def _is_alive(pod: PodView) -> bool:
    return not (pod.finished or pod.observed.terminating)


def _cost(cost: str | None) -> Annotations:
    return {constants.DELETION_COST_ANNOTATION: cost}


def _has_our_labels(metadata: Object, key: Key) -> bool:
    labels: Object = metadata.get("labels") or {}
    return (
        labels.get(constants.MANAGED_BY_LABEL) == constants.MANAGED_BY
        and labels.get(constants.ENDPOINT_LABEL) == key.name
    )


def _is_earlier_namesake(owner: Manifest, observed: Observed) -> bool:
    """Whether the owner is an endpoint of the same name that was deleted: its children are on their way out."""
    same_kind: bool = owner.get("kind") == constants.KIND and owner.get("name") == observed.key.name
    return same_kind and bool(owner.get("uid") != observed.uid)
