"""The HTTP face of the fake API server, on a free port of the loopback interface."""

import asyncio
import contextlib
import copy
import functools
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from submodel_operator.api import crd
from tests.support.fake_apiserver.store import KINDS, Object, Refusal, Store
from tests.support.http_server import serving
from tests.support.kubeconfig import write_kubeconfig

Fault = Callable[[web.Request], "tuple[int, str] | web.Response | None"]
"""The answer to give instead (or its status and message), or None to let the request through."""


class FakeApiServer:
    """Serves a `Store`. Faults, cut watches and the log of writes are for the tests to use."""

    def __init__(self) -> None:
        self.store = Store()
        self.writes: list[tuple[str, str]] = []
        """Method and path of every request that may change something."""

        self.requests: list[tuple[str, str]] = []
        self.faults: list[Fault] = []
        self.served = True
        """Whether the custom resource definition is there."""

        self.definition = crd.custom_resource_definition()

        self._watches: set[asyncio.Task[Any]] = set()
        self.url = ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["FakeApiServer"]:
        """Serve for the time of the context."""
        async with serving(self._answer) as self.url:
            try:
                yield self
            finally:
                self.cut_watches()

    def kubeconfig(self, folder: Path) -> str:
        """Write a kubeconfig for this server; returns its path."""
        return write_kubeconfig(folder / "kubeconfig", self.url, "fake")

    def cut_watches(self) -> None:
        """Break all open watches."""
        for watch in self._watches:
            watch.cancel()

    def watching(self, plural: str) -> bool:
        """Whether a watch of this kind is open."""
        return any(watch.get_name() == plural for watch in self._watches)

    async def until(self, holds: Callable[[], object]) -> None:
        """See `operator_thread.Front`."""
        await self.store.until(holds)

    def operator_ended(self, error: BaseException | None) -> None:
        """See `operator_thread.Front`."""
        self.store.failure = error
        self.store.poke()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        if request.method != "GET":
            self.writes.append((request.method, request.path))
        for fault in self.faults:
            if answer := fault(request):
                self.store.poke()
                return answer if isinstance(answer, web.Response) else _status(answer[0], "Fault", answer[1])
        try:
            return await self._route(request)
        except Refusal as refusal:
            return _status(refusal.status, refusal.reason, refusal.message)
        finally:
            self.store.poke()

    async def _route(self, request: web.Request) -> web.StreamResponse:
        parts = request.path.strip("/").split("/")
        group_version = "/".join(parts[1:2] if parts[0] == "api" else parts[1:3])
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        if not rest:
            return self._discovery(parts[0], group_version)
        namespace = None
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        plural, name, subresource = (*rest, "", "")[:3]
        if plural == "customresourcedefinitions":
            return web.json_response(self.definition)
        if plural not in KINDS or (plural == "submodelendpoints" and not self.served):
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        if not name and request.method == "GET":
            if request.query.get("watch"):
                return await self._watch(request, plural, namespace)
            return self._list(request, plural, namespace)
        if namespace is None:
            raise Refusal(405, "MethodNotAllowed", "a namespace is missing")
        body: Any = json.loads(await request.read() or b"{}")
        return web.json_response(*self._object(request, plural, namespace, name, subresource, body))

    def _object(
        self, request: web.Request, plural: str, namespace: str, name: str, subresource: str, body: Any
    ) -> tuple[Object] | tuple[Object, Any]:
        store, manager = self.store, request.query.get("fieldManager", "")
        kind = request.content_type
        match request.method, subresource:
            case "GET", "":
                return (store.get(plural, namespace, name),)
            case "POST", "":
                return (store.create(plural, namespace, body, manager),)
            case "DELETE", "":
                return (store.delete(plural, namespace, name, (body.get("preconditions") or {}).get("uid")),)
            case "PUT", "":
                return (store.update(plural, namespace, name, body),)
            case "PATCH", "scale":
                return (self._scale(plural, namespace, name, body, manager),)
            case "PATCH", "" | "status" if kind == "application/apply-patch+yaml":
                return (store.apply(plural, namespace, name, body, manager, subresource == "status"),)
            case "PATCH", "" if kind == "application/merge-patch+json":
                return (store.replace(plural, _merged(store.get(plural, namespace, name), body)),)
        raise Refusal(405, "MethodNotAllowed", f"{request.method} of {subresource or plural} with {kind}")

    def _scale(self, plural: str, namespace: str, name: str, operations: Any, manager: str) -> Object:
        """JSON patch of the two operations the operator uses; a count of 0 is left out, as in Go."""
        found = copy.deepcopy(self.store.get(plural, namespace, name))
        replicas = found["spec"]["replicas"]
        test, add = operations
        if test["value"] != ({"replicas": replicas} if replicas else {}):
            raise Refusal(422, "Invalid", "testing path /spec value failed")
        found["spec"]["replicas"] = add["value"]
        self.store.own(found["metadata"]["uid"], manager, ("spec", "replicas"))
        written = self.store.replace(plural, found)
        spec = {"replicas": add["value"]} if add["value"] else {}
        metadata = {name: written["metadata"][name] for name in ("name", "namespace", "uid", "resourceVersion")}
        return {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, "spec": spec}

    def _list(self, request: web.Request, plural: str, namespace: str | None) -> web.Response:
        found = self.store.all(plural, namespace, request.query.get("labelSelector", ""))
        start, limit = int(request.query.get("continue") or 0), int(request.query.get("limit") or 0)
        page = found[start : start + limit] if limit else found
        metadata = {"resourceVersion": str(self.store.version)}
        if start + len(page) < len(found):
            metadata["continue"] = str(start + len(page))
        api_version, kind = KINDS[plural]
        return web.json_response(
            {"apiVersion": api_version, "kind": f"{kind}List", "metadata": metadata, "items": page}
        )

    async def _watch(self, request: web.Request, plural: str, namespace: str | None) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        task = asyncio.current_task()
        if task is None:
            return response
        task.set_name(plural)
        self._watches.add(task)
        self.store.poke()
        try:
            await self._stream(request, response, plural, namespace)
        except (asyncio.CancelledError, ConnectionResetError):
            if request.transport:
                request.transport.abort()
        finally:
            self._watches.discard(task)
        return response

    async def _stream(
        self, request: web.Request, response: web.StreamResponse, plural: str, namespace: str | None
    ) -> None:
        since = int(request.query["resourceVersion"])
        wanted = dict(part.split("=", 1) for part in request.query.get("labelSelector", "").split(",") if part)
        position = 0
        while True:
            if since < self.store.compacted:
                await _send(response, "ERROR", {"kind": "Status", "code": 410, "message": "too old resource version"})
                return
            for version, kind, event, changed in self.store.events[position:]:
                position += 1
                metadata = changed["metadata"]
                if kind != plural or version <= since or namespace not in (None, metadata["namespace"]):
                    continue
                if wanted.items() <= (metadata.get("labels") or {}).items():
                    await _send(response, event, changed)
            since = max(since, self.store.version)
            await _send(response, "BOOKMARK", {"metadata": {"resourceVersion": str(since)}})
            await self.store.until(functools.partial(self._has_news, position, since))

    def _has_news(self, position: int, since: int) -> bool:
        return len(self.store.events) > position or since < self.store.compacted

    def _discovery(self, root: str, group_version: str) -> web.Response:
        if not group_version:
            groups = {api.rpartition("/")[0] for api, _ in KINDS.values()} - {""}
            listed = [_group(group) for group in sorted(groups)]
            return web.json_response({"kind": "APIGroupList", "groups": listed, "versions": ["v1"]})
        group, _, version = group_version.rpartition("/")
        if root == "apis" and not group:  # /apis/<group>
            return web.json_response(_group(version))
        resources = [
            {"name": plural, "singularName": kind.lower(), "kind": kind, "namespaced": True, "verbs": _VERBS}
            for plural, (api_version, kind) in KINDS.items()
            if api_version == group_version and (self.served or plural != "submodelendpoints")
        ]
        if group_version == "v1":  # Kopf looks for it before it starts
            resources.append(
                {
                    "name": "namespaces",
                    "singularName": "namespace",
                    "kind": "Namespace",
                    "namespaced": False,
                    "verbs": _VERBS,
                }
            )
        if not resources:
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        return web.json_response({"kind": "APIResourceList", "groupVersion": group_version, "resources": resources})


_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


def _group(group: str) -> Object:
    api_version = next(api for api, _ in KINDS.values() if api.rpartition("/")[0] == group)
    version = {"groupVersion": api_version, "version": api_version.rpartition("/")[2]}
    return {"kind": "APIGroup", "name": group, "versions": [version], "preferredVersion": version}


def _merged(found: Object, patch: Object) -> Object:
    changed = copy.deepcopy(found)
    _merge(changed, patch)
    return changed


def _merge(target: Object, patch: Object) -> None:
    for name, value in patch.items():
        if isinstance(value, dict):
            _merge(target.setdefault(name, {}), value)
        elif value is None:
            target.pop(name, None)
        else:
            target[name] = value


async def _send(response: web.StreamResponse, kind: str, raw: Object) -> None:
    await response.write(json.dumps({"type": kind, "object": raw}).encode() + b"\n")


def _status(status: int, reason: str, message: str) -> web.Response:
    body = {"kind": "Status", "status": "Failure", "code": status, "reason": reason, "message": message}
    return web.json_response(body, status=status)
