"""The API server as a test uses it, beside the operator: objects, and waiting on watches. Real servers and the fake."""

import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from submodel_operator.kube import Connection, load_connection
from submodel_operator.kube.resources import Resource

Object = dict[str, Any]
MERGE = "application/merge-patch+json"
NAMESPACES = Resource("v1", "namespaces", "Namespace")
_LINE_BYTES = 4 << 20


class ApiError(Exception):
    """An answer that no test asked for."""

    def __init__(self, call: str, status: int, answer: Object) -> None:
        super().__init__(f"{call}: {status} {answer.get('message', answer)}")
        self.status = status


class KubeApi:
    """One server with credentials; `open_api` makes it."""

    def __init__(self, session: aiohttp.ClientSession, server: str) -> None:
        self.session = session
        self.server = server

    async def call(self, method: str, path: str, body: object = None, kind: str = "application/json") -> Object:
        """The answer of a request that must succeed. Raises `ApiError`."""
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": kind}
        async with self.session.request(method, self.server + path, data=data, headers=headers) as response:
            answer: Object = json.loads(await response.read())
        if response.status >= 400:
            raise ApiError(f"{method} {path}", response.status, answer)
        return answer

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """The object."""
        return await self.call("GET", resource.path(namespace, name))

    async def find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object, or None."""
        try:
            return await self.get(resource, namespace, name)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def all(self, resource: Resource, namespace: str | None = None, selector: str = "") -> list[Object]:
        """All objects of a kind."""
        return (await self.listed(resource, namespace, selector))[0]

    async def create(self, resource: Resource, namespace: str | None, manifest: Object) -> Object:
        """Create it."""
        typed = {"apiVersion": resource.api_version, "kind": resource.kind, **manifest}
        return await self.call("POST", resource.path(namespace), typed)

    async def merge(self, resource: Resource, namespace: str, name: str, patch: Object) -> Object:
        """Merge patch."""
        return await self.call("PATCH", resource.path(namespace, name), patch, MERGE)

    async def delete(self, resource: Resource, namespace: str, name: str) -> None:
        """Delete it, and in the background what it owns."""
        await self.call("DELETE", resource.path(namespace, name), {"propagationPolicy": "Background"})

    async def until(
        self,
        resource: Resource,
        namespace: str | None,
        holds: Callable[[Sequence[Object]], object],
        selector: str = "",
    ) -> list[Object]:
        """Watch until `holds(objects)` is true; returns the objects then, in the order of their names."""
        while True:
            found, version = await self.listed(resource, namespace, selector)
            known = {_name(each): each for each in found}
            if holds(objects := _sorted(known)):
                return objects
            async for event, raw in self.events(resource, namespace, version, selector):
                if event == "DELETED":
                    known.pop(_name(raw), None)
                else:
                    known[_name(raw)] = raw
                if holds(objects := _sorted(known)):
                    return objects

    async def events(
        self, resource: Resource, namespace: str | None, version: str, selector: str = ""
    ) -> AsyncIterator[tuple[str, Object]]:
        """Kind and object of each change after `version`; ends when the server ends it or forgot so much."""
        query = {"watch": "true", "resourceVersion": version, "labelSelector": selector}
        url = self.server + resource.path(namespace)
        timeout = aiohttp.ClientTimeout(total=None)
        async with self.session.get(url, params=query, timeout=timeout) as response:
            async for line in response.content:
                change = json.loads(line)
                if change["type"] == "ERROR":
                    return
                if change["type"] != "BOOKMARK":
                    yield change["type"], change["object"]

    async def listed(self, resource: Resource, namespace: str | None, selector: str = "") -> tuple[list[Object], str]:
        """All objects of a kind, and the version to watch from."""
        path = resource.path(namespace) + (f"?labelSelector={selector}" if selector else "")
        found = await self.call("GET", path)
        return found["items"], found["metadata"]["resourceVersion"]


@asynccontextmanager
async def open_api(env: Mapping[str, str]) -> AsyncIterator[KubeApi]:
    """The server that `KUBECONFIG` names, for the time of the context."""
    connection = await load_connection(env)
    headers = {"Authorization": f"Bearer {connection.token}"} if connection.token else {}
    connector = aiohttp.TCPConnector(ssl=tls(connection), limit=64)
    async with aiohttp.ClientSession(connector=connector, headers=headers, read_bufsize=_LINE_BYTES) as session:
        yield KubeApi(session, connection.server)


def tls(connection: Connection) -> ssl.SSLContext | bool:
    """How a connection is secured; True, aiohttp's default, for a plain one."""
    if not connection.server.startswith("https:"):
        return True
    context = ssl.create_default_context(cafile=connection.ca_path)
    if connection.certificate_path:
        context.load_cert_chain(connection.certificate_path, connection.private_key_path)
    return context


def _name(raw: Object) -> tuple[str, str]:
    return raw["metadata"].get("namespace", ""), raw["metadata"]["name"]


def _sorted(known: Mapping[tuple[str, str], Object]) -> list[Object]:
    return [known[name] for name in sorted(known)]
