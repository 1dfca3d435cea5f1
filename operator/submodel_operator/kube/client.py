"""Requests to the Kubernetes API: plain objects in and out, one place for time limits and for what errors mean.

A thin layer over `kubernetes.aio`, which brings connection, credentials and their renewal; its generated models are
left out, because building and walking them costs more than the request. Nothing is retried here: the work queue does
that, with delays per endpoint.
"""

import sys
from collections.abc import AsyncIterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
import msgspec
from kubernetes.aio.client import ApiClient

from submodel_operator.errors import ClusterRefused, ClusterUnavailable, Conflict
from submodel_operator.kube.resources import Resource
from submodel_operator.metrics import Metrics
from submodel_operator.ports import Manifest

PAGE_SIZE: Final = 250
TIMEOUT: Final = aiohttp.ClientTimeout(total=30, connect=10)

APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
_ONLY_METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

Object = dict[str, Any]

DEPTH_MAX: Final = 10_000
"""Levels of an object that the API server takes."""

_FRAMES: Final = 1_000


def read_deep_objects() -> None:
    """Let the decoders of this process read any object that the API server takes.

    Python's own bound is a tenth of that: one endpoint with a deep field would end all lists and all watches.
    """
    sys.setrecursionlimit(max(sys.getrecursionlimit(), DEPTH_MAX + _FRAMES))


def _user_agent() -> str:
    try:
        return f"submodel-operator/{version('submodel-operator')}"
    except PackageNotFoundError:  # run from its sources
        return "submodel-operator"


USER_AGENT: Final = _user_agent()


class KubeClient:
    """Typed by verb, untyped by object.

    Every call raises `ClusterUnavailable` when there is no usable answer (no connection, 401, 429, 5xx), `Conflict`
    on 409 and `ClusterRefused` on what repeating does not change; absence is a return value.
    """

    def __init__(self, api: ApiClient, metrics: Metrics | None = None) -> None:
        self._api = api
        self._metrics = metrics or Metrics()

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object, or None when there is none."""
        return await self._request("GET", resource.path(namespace, name), absent=404)

    async def get_metadata(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object's `metadata` alone: what a Secret holds never leaves the server."""
        path = resource.path(namespace, name)
        found = await self._request("GET", path, absent=404, accept=_ONLY_METADATA)
        return found and found["metadata"]

    async def served_plurals(self, api_version: str) -> set[str]:
        """Plural names of the kinds the API server serves in this group and version; empty when it knows neither."""
        found = await self._request("GET", f"/apis/{api_version}", absent=404)
        return {each["name"] for each in found["resources"]} if found else set()

    async def definition(self, name: str) -> Object | None:
        """A CustomResourceDefinition, or None when there is none."""
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"
        return await self._request("GET", path, absent=404)

    async def pages(self, resource: Resource, namespace: str | None, selector: str = "") -> AsyncIterator[list[Object]]:
        """All objects, a page at a time. A list that expired midway starts over, so an object may come twice."""
        query = {"limit": str(PAGE_SIZE), "labelSelector": selector}
        token = ""
        while True:
            path = resource.path(namespace)
            page = await self._request("GET", path, {**query, "continue": token}, absent=410 if token else None)
            token = page["metadata"].get("continue", "") if page else ""
            if page:
                yield page["items"]
                if not token:
                    return

    async def create(self, resource: Resource, namespace: str, manifest: Manifest, manager: str) -> Object | None:
        """Create the object; None when the name is taken."""
        path = resource.path(namespace)
        return await self._request("POST", path, {"fieldManager": manager}, manifest, absent=409)

    async def apply(
        self, resource: Resource, namespace: str, manifest: Manifest, manager: str, subresource: str = ""
    ) -> Object | None:
        """Server-side apply. None when there is nothing to apply to, which only a subresource can answer."""
        path = resource.path(namespace, manifest["metadata"]["name"], subresource)
        query = {"fieldManager": manager, "force": "true"}
        return await self._request("PATCH", path, query, manifest, APPLY, absent=404 if subresource else None)

    async def replace(self, resource: Resource, namespace: str, manifest: Manifest, manager: str) -> Object | None:
        """Write the whole object, if it still has the version that the manifest names."""
        path = resource.path(namespace, manifest["metadata"]["name"])
        return await self._request("PUT", path, {"fieldManager": manager}, manifest)

    async def merge(
        self, resource: Resource, namespace: str, name: str, patch: Manifest, manager: str
    ) -> Object | None:
        """Merge patch; None when there is no such object."""
        path = resource.path(namespace, name)
        return await self._request("PATCH", path, {"fieldManager": manager}, patch, MERGE, absent=404)

    async def patch_scale(
        self, resource: Resource, namespace: str, name: str, operations: list[Object], manager: str
    ) -> Object | None:
        """JSON patch of the scale subresource; None when there is no such object."""
        path = resource.path(namespace, name, "scale")
        return await self._request("PATCH", path, {"fieldManager": manager}, operations, JSON_PATCH, absent=404)

    async def delete(
        self, resource: Resource, namespace: str, name: str, uid: str, grace_seconds: int | None = None
    ) -> None:
        """Delete this very object; the garbage collector follows, and pods keep their grace unless it is given.

        Harmless when it is gone.
        """
        options: Object = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        await self._request("DELETE", resource.path(namespace, name), body=options, absent=404)

    def _count(self, method: str, path: str, status: int) -> None:
        self._metrics.requests.labels(method, _plural(path), status).inc()

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Manifest | list[Object] | None = None,
        content_type: str = "application/json",
        absent: int | None = None,
        accept: str = "application/json",
    ) -> Object | None:
        """The decoded answer, or None when the status is `absent`."""
        headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": USER_AGENT}
        text = urlencode({name: value for name, value in (query or {}).items() if value})
        url = f"{self._api.configuration.host}{path}" + (f"?{text}" if text else "")
        try:
            await self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
            request: Any = self._api.rest_client.request  # has no types
            response = await request(method, url, headers, body, _request_timeout=TIMEOUT)
            answer = await response.read()
            self._count(method, path, response.status)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._count(method, path, 0)
            raise ClusterUnavailable(f"{method} {path}: {str(error) or 'timed out'}") from error
        if response.status == absent:
            return None
        if response.status >= 400:
            raise _error(response.status, f"{method} {path}", _words(answer), response.headers.get("Retry-After", ""))
        return _decoded(answer, path)


def _plural(path: str) -> str:
    """The kind that a path is about, with its subresource: names of objects would make endless series."""
    parts = path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if rest[:1] == ["namespaces"]:
        rest = rest[2:]
    return "/".join([*rest[:1], *rest[2:3]]) or "discovery"


def _error(status: int, call: str, words: str, retry_after: str) -> Exception:
    if status == 409:
        return Conflict(words or call)
    if status in (400, 403, 404, 405, 413, 415, 422):
        return ClusterRefused(words or f"{call}: {status}")
    seconds = float(retry_after) if retry_after.isdecimal() else 0.0  # the API server never sends a date
    return ClusterUnavailable(f"{call}: {status} {words}".rstrip(), seconds)


def _decoded(answer: bytes, path: str) -> Object:
    try:
        return msgspec.json.decode(answer, type=Object)
    except msgspec.DecodeError as error:
        raise ClusterUnavailable(f"the answer of {path} cannot be read: {error}") from error


def _words(answer: bytes) -> str:
    """The message of a `Status`; anything else that answers with errors (a proxy) has no words for us."""
    try:
        return str(msgspec.json.decode(answer, type=Object).get("message", ""))
    except msgspec.DecodeError:
        return ""
