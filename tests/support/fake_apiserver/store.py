"""The objects and their history: resourceVersions, generations, field owners, garbage collection, watch events."""

import asyncio
import copy
import itertools
from collections.abc import Callable
from typing import Any

from tests.support.fake_apiserver.fields import apply_fields

Object = dict[str, Any]
Name = tuple[str, str, str]
"""Plural, namespace, name."""

KINDS = {
    "submodelendpoints": ("serverless.submodel.ai/v1alpha1", "SubModelEndpoint"),
    "deployments": ("apps/v1", "Deployment"),
    "pods": ("v1", "Pod"),
    "configmaps": ("v1", "ConfigMap"),
    "secrets": ("v1", "Secret"),
    "events": ("v1", "Event"),
    "leases": ("coordination.k8s.io/v1", "Lease"),
}


class Refusal(Exception):
    """An answer with a `Status`: HTTP status, reason and message."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


class Store:
    """Objects by kind, namespace and name. Every change wakes whoever waits in `until`."""

    def __init__(self) -> None:
        self._objects: dict[Name, Object] = {}
        self._owned: dict[str, dict[str, set[tuple[str, ...]]]] = {}
        self._version = itertools.count(100)
        self._uids = itertools.count(1)
        self.version = 100
        self.compacted = 0
        self.events: list[tuple[int, str, str, Object]] = []
        """Version, plural, type and object."""

        self.failure: BaseException | None = None
        """Why nothing will change any more."""

        self._changed = asyncio.Event()
        self.reactions: list[Callable[[str, str, Object], None]] = []
        """Controllers: called with plural, type and object after each change."""

    async def until(self, holds: Callable[[], object]) -> None:
        """Returns when `holds()` is true; looked at after every change. Raises when that cannot come any more."""
        while not holds():
            if self.failure:
                raise AssertionError(f"waited in vain: {self.failure!r}") from self.failure
            self._changed.clear()
            await self._changed.wait()

    def poke(self) -> None:
        """Wake the waiting although no object changed."""
        self._changed.set()

    def get(self, plural: str, namespace: str, name: str) -> Object:
        """The object itself.

        Raises:
            Refusal: 404.
        """
        try:
            return self._objects[plural, namespace, name]
        except KeyError:
            raise Refusal(404, "NotFound", f'{plural} "{name}" not found') from None

    def find(self, plural: str, namespace: str, name: str) -> Object | None:
        """The object, or None."""
        return self._objects.get((plural, namespace, name))

    def all(self, plural: str, namespace: str | None = None, selector: str = "") -> list[Object]:
        """Objects of a kind by namespace and name."""
        wanted = dict(part.split("=", 1) for part in selector.split(",") if part)
        return [
            found
            for (kind, place, _), found in sorted(self._objects.items())
            if kind == plural
            and namespace in (None, place)
            and wanted.items() <= (found["metadata"].get("labels") or {}).items()
        ]

    def create(self, plural: str, namespace: str, body: Object, manager: str = "", operation: str = "Update") -> Object:
        """Create with an uid; the manager owns all fields.

        Raises:
            Refusal: 409, the name is taken.
        """
        name = body["metadata"]["name"]
        if (plural, namespace, name) in self._objects:
            raise Refusal(409, "AlreadyExists", f'{plural} "{name}" already exists')
        api_version, kind = KINDS[plural]
        new = {**copy.deepcopy(body), "apiVersion": api_version, "kind": kind}
        if plural != "pods":
            new.pop("status", None)
        new["metadata"] |= {
            "namespace": namespace,
            "uid": f"uid-{next(self._uids)}",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "generation": 1,
        }
        _default(plural, new)
        self._objects[plural, namespace, name] = new
        self._owned[new["metadata"]["uid"]] = {f"{manager}/{operation}": _leaves(new)}
        self._announce(plural, "ADDED", new)
        self._collect(plural, new)
        return new

    def apply(self, plural: str, namespace: str, name: str, body: Object, manager: str, status: bool) -> Object:
        """Server-side apply with force.

        Raises:
            Refusal: 404 for the status of nothing, 409 for a stale version or an uid of nothing, 422 for another uid.
        """
        found = self.find(plural, namespace, name)
        if found is None:
            if status:
                raise Refusal(404, "NotFound", f'{plural} "{name}" not found')
            if "uid" in body["metadata"]:
                raise Refusal(409, "Conflict", "uid mismatch: the object does not exist")
            return self.create(plural, namespace, body, manager, "Apply")
        expected = body["metadata"].get("resourceVersion")
        if expected and expected != found["metadata"]["resourceVersion"]:
            raise Refusal(409, "Conflict", "the object has been modified")
        if not status and body["metadata"].get("uid", found["metadata"]["uid"]) != found["metadata"]["uid"]:
            raise Refusal(422, "Invalid", "metadata.uid: Invalid value: field is immutable")
        owned = self._owned.setdefault(found["metadata"]["uid"], {})
        part = {"status": body["status"]} if status else {name: body[name] for name in body if name != "status"}
        changed = apply_fields(found, part, f"{manager}/Apply", owned)
        _default(plural, changed)
        return self.replace(plural, changed)

    def update(self, plural: str, namespace: str, name: str, body: Object) -> Object:
        """PUT: the whole object, of the version that it names.

        Raises:
            Refusal: 404, or 409 for another version.
        """
        found = self.get(plural, namespace, name)
        if body["metadata"].get("resourceVersion") != found["metadata"]["resourceVersion"]:
            raise Refusal(409, "Conflict", "the object has been modified")
        return self.replace(plural, {**found, **copy.deepcopy(body)})

    def replace(self, plural: str, changed: Object) -> Object:
        """Store a changed copy. Nothing happens when it is equal; the generation counts changes of the spec."""
        metadata = changed["metadata"]
        name = (plural, metadata["namespace"], metadata["name"])
        present = self._objects[name]
        if changed == present:
            return present
        if changed.get("spec") != present.get("spec"):
            metadata["generation"] += 1
        self._objects[name] = changed
        self._announce(plural, "MODIFIED", changed)
        return changed

    def own(self, uid: str, manager: str, path: tuple[str, ...]) -> None:
        """The manager owns the field alone, as after a write of a subresource."""
        for fields in self._owned.get(uid, {}).values():
            fields.discard(path)
        self._owned.setdefault(uid, {}).setdefault(f"{manager}/Update", set()).add(path)

    def delete(self, plural: str, namespace: str, name: str, uid: str | None = None) -> Object:
        """Remove the object and, as the garbage collector, what it owns.

        Raises:
            Refusal: 404, or 409 when it has another uid.
        """
        found = self.get(plural, namespace, name)
        if uid and uid != found["metadata"]["uid"]:
            raise Refusal(409, "Conflict", "the UID in the precondition does not match")
        del self._objects[plural, namespace, name]
        gone = copy.deepcopy(found)
        self._announce(plural, "DELETED", gone)
        for (kind, place, each), other in list(self._objects.items()):
            if place == namespace and _owner_uid(other) == found["metadata"]["uid"]:
                self.delete(kind, place, each)
        return gone

    def compact(self) -> None:
        """Forget the history: a watch from before now is answered with 410."""
        self.compacted = self.version

    def _collect(self, plural: str, new: Object) -> None:
        uid = _owner_uid(new)
        if uid and all(each["metadata"]["uid"] != uid for each in self._objects.values()):
            self.delete(plural, new["metadata"]["namespace"], new["metadata"]["name"])

    def _announce(self, plural: str, kind: str, changed: Object) -> None:
        self.version = next(self._version) + 1
        changed["metadata"]["resourceVersion"] = str(self.version)
        self.events.append((self.version, plural, kind, copy.deepcopy(changed)))
        for react in self.reactions:
            react(plural, kind, changed)
        self._changed.set()


def _default(plural: str, raw: Object) -> None:
    if plural == "deployments":
        raw["spec"].setdefault("replicas", 1)


def _owner_uid(raw: Object) -> str | None:
    return next((owner["uid"] for owner in raw["metadata"].get("ownerReferences") or ()), None)


def _leaves(value: Object, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    leaves: set[tuple[str, ...]] = set()
    for name, each in value.items():
        leaves |= _leaves(each, (*path, name)) if isinstance(each, dict) else {(*path, name)}
    return leaves
