"""What the operator knows of the cluster: slim views, newest version wins. Filled by watches, lists and own writes.

Own writes are put in from their responses, so they are seen at once and their events, which arrive later, change
nothing. A view is taken only when its resourceVersion is newer than the one held; an object that was deleted stays
deleted, even when the answer to an earlier write arrives after the news of its deletion.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Generic, TypeVar

from submodel_operator.kube.objects import EndpointView, PodView, PoolView, View, endpoint_view, pod_view, pool_view
from submodel_operator.kube.resources import DEPLOYMENTS, ENDPOINTS, PODS, Resource
from submodel_operator.ports import Key

V = TypeVar("V", bound=View)
ObjectName = tuple[str, str]
"""Namespace and name."""

REMEMBERED_DELETIONS = 4096


class Cache(Generic[V]):
    """Views of one kind, found by name and by the endpoint they belong to."""

    def __init__(self, parse: Callable[[Mapping[str, Any]], V | None]) -> None:
        self._parse = parse
        self._views: dict[ObjectName, V] = {}
        self._names: dict[Key, set[ObjectName]] = {}
        self._deleted: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._views)

    def owners(self) -> Iterable[Key]:
        """Endpoints that have objects of this kind."""
        return self._names.keys()

    def get(self, namespace: str, name: str) -> V | None:
        """The object of that name."""
        return self._views.get((namespace, name))

    def of(self, owner: Key) -> Iterator[V]:
        """Objects of an endpoint, by name."""
        return (self._views[name] for name in sorted(self._names.get(owner, ())))

    def put(self, raw: Mapping[str, Any]) -> Key | None:
        """Take over an object. Returns its endpoint if anything but the version changed."""
        view = self._parse(raw)
        return self._put(view) if view else None

    def remove(self, raw: Mapping[str, Any]) -> Key | None:
        """The object was deleted. Returns its endpoint if it was held."""
        metadata = raw["metadata"]
        return self.forget((metadata["namespace"], metadata["name"]), metadata["uid"])

    def forget(self, name: ObjectName, uid: str) -> Key | None:
        """The object of that name and uid does not exist any more. Returns its endpoint if it was held."""
        self._deleted[uid] = None
        if len(self._deleted) > REMEMBERED_DELETIONS:
            del self._deleted[next(iter(self._deleted))]
        held = self._views.get(name)
        if held is None or held.uid != uid:
            return None
        self._drop(name, held)
        return held.owner

    def versions(self) -> dict[ObjectName, str]:
        """Names and versions of all that is held; taken before a list, it tells what that list may overrule."""
        return {name: view.version for name, view in self._views.items()}

    def put_listed(self, raw: Mapping[str, Any], before: Mapping[ObjectName, str]) -> Key | None:
        """Take over an object from a list. If it was not touched since `before`, the list is right in any case.

        That matters after a restore of the cluster from a backup: there, versions start again from a lower number.
        """
        view = self._parse(raw)
        if view is None:
            return None
        name = _name(view)
        held = self._views.get(name)
        if held and held.version != view.version and before.get(name) == held.version:
            return self._accept(name, held, view)
        return self._put(view)

    def sweep(self, listed: Collection[ObjectName], before: Mapping[ObjectName, str]) -> set[Key]:
        """Drop what the list did not hold and nothing touched since `before`. Returns the endpoints concerned."""
        vanished = [
            (name, view)
            for name, view in self._views.items()
            if name not in listed and before.get(name) == view.version
        ]
        for name, view in vanished:
            self._drop(name, view)
        return {view.owner for _, view in vanished}

    def _put(self, view: V) -> Key | None:
        name = _name(view)
        held = self._views.get(name)
        if view.uid in self._deleted or (held and not is_newer(view.version, held.version)):
            return None
        return self._accept(name, held, view)

    def _accept(self, name: ObjectName, held: V | None, view: V) -> Key | None:
        if held and held.owner != view.owner:
            self._drop(name, held)
        self._views[name] = view
        self._names.setdefault(view.owner, set()).add(name)
        return None if held and replace(held, version=view.version) == view else view.owner

    def _drop(self, name: ObjectName, view: V) -> None:
        del self._views[name]
        names = self._names[view.owner]
        names.discard(name)
        if not names:
            del self._names[view.owner]


class EndpointCache(Cache[EndpointView]):
    """Custom resources, found by the ids that their specs ask for as well."""

    def __init__(self) -> None:
        super().__init__(endpoint_view)
        self._claims: dict[str, set[ObjectName]] = {}

    def holder(self, wanted_id: str) -> Key | None:
        """The oldest of those that ask for the id; of two of one second, always the same one."""
        claims = [self._views[name] for name in self._claims.get(wanted_id, ())]
        return min(claims, key=lambda view: (view.created_at, view.uid)).owner if claims else None

    def _accept(self, name: ObjectName, held: EndpointView | None, view: EndpointView) -> Key | None:
        if held and held.wanted_id != view.wanted_id:
            self._give_up(name, held)
        if view.wanted_id:
            self._claims.setdefault(view.wanted_id, set()).add(name)
        return super()._accept(name, held, view)

    def _drop(self, name: ObjectName, view: EndpointView) -> None:
        self._give_up(name, view)
        super()._drop(name, view)

    def _give_up(self, name: ObjectName, view: EndpointView) -> None:
        claims = self._claims.get(view.wanted_id, set())
        claims.discard(name)
        if not claims:
            self._claims.pop(view.wanted_id, None)


class PoolCache(Cache[PoolView]):
    """Deployments. The answer to a scale write tells their count alone, so it is laid over what is held."""

    def __init__(self) -> None:
        super().__init__(pool_view)
        self._scaled: dict[str, tuple[str, int]] = {}

    def scaled(self, view: PoolView, version: str, replicas: int) -> None:
        """The count was written; events older than `version` still tell the old one, and all else they tell is news."""
        self._scaled[view.uid] = (version, replicas)
        held = self.get(view.owner.namespace, view.name)
        if held and held.uid == view.uid:
            self._views[_name(held)] = _with_replicas(held, replicas)

    def _accept(self, name: ObjectName, held: PoolView | None, view: PoolView) -> Key | None:
        version, replicas = self._scaled.get(view.uid, ("", 0))
        if version and is_newer(version, view.version):
            view = _with_replicas(view, replicas)
        else:
            self._scaled.pop(view.uid, None)
        return super()._accept(name, held, view)

    def _drop(self, name: ObjectName, view: PoolView) -> None:
        self._scaled.pop(view.uid, None)
        super()._drop(name, view)


class Caches:
    """All that is held of the cluster."""

    def __init__(self) -> None:
        self.endpoints = EndpointCache()
        self.pools = PoolCache()
        self.pods: Cache[PodView] = Cache(pod_view)

    def by_resource(self) -> dict[Resource, Cache[Any]]:
        """The caches by kind, in the order in which they are filled."""
        return {ENDPOINTS: self.endpoints, DEPLOYMENTS: self.pools, PODS: self.pods}

    def take_event(self, resource: Resource, kind: str | None, raw: Mapping[str, Any]) -> Key | None:
        """Take over a watch event (`ADDED`, `MODIFIED`, `DELETED`, None from a list).

        Returns the endpoint that must be looked at, or None when the event brings no news.
        """
        cache = self.by_resource()[resource]
        return cache.remove(raw) if kind == "DELETED" else cache.put(raw)


def is_newer(version: str, held: str) -> bool:
    """Whether a resourceVersion is later than another. They are numbers that grow; anything else counts as news."""
    if version.isdecimal() and held.isdecimal():
        return int(version) > int(held)
    return version != held


def _name(view: View) -> ObjectName:
    return view.owner.namespace, view.name


def _with_replicas(view: PoolView, replicas: int) -> PoolView:
    return replace(view, observed=replace(view.observed, replicas=replicas, counted_by=""))
