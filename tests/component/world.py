"""The operator in this process, a real gateway, an API server, and the proxy between that makes the faults."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from submodel_operator.kube.resources import CONFIG_MAPS, DEPLOYMENTS, ENDPOINTS, EVENTS, SECRETS, Resource
from tests.support.fault_proxy import FaultProxy
from tests.support.kube_api import KubeApi, Object
from tests.support.live_gateway import INTERNAL_TOKEN, LiveGateway
from tests.support.operator_thread import OperatorThread, settings_for

T = TypeVar("T")
SETTLED = ("Ready", "ScalerHealthy")


class World:
    """Everything of one test, in a namespace of its own. `api` goes around the proxy."""

    def __init__(self, api: KubeApi, proxy: FaultProxy, gateway: LiveGateway, namespace: str, folder: Path) -> None:
        self.api = api
        self.proxy = proxy
        self.gateway = gateway
        self.namespace = namespace
        self._folder = folder
        self._operator: OperatorThread | None = None

    @asynccontextmanager
    async def operating(self, **settings: Any) -> AsyncIterator[OperatorThread]:
        """A running operator whose watches are open; it must end without an error."""
        async with self.doomed(**settings) as operator:
            self._operator = operator
            try:
                yield operator
            finally:
                self._operator = None
                await operator.stop()
        if operator.error:
            raise operator.error

    @asynccontextmanager
    async def doomed(self, **settings: Any) -> AsyncIterator[OperatorThread]:
        """The same, that may end by itself; the next one after it finds the faults gone."""
        values = {"namespaces": (self.namespace,), **settings}
        chosen = settings_for(self.gateway.internal, INTERNAL_TOKEN, **values)
        operator = OperatorThread(self.proxy, self.proxy.kubeconfig(self._folder), chosen)
        try:
            await operator.watching()
            yield operator
        finally:
            await operator.stop()
            await self.proxy.forget_trouble()

    async def create(self, name: str, **scaling: Any) -> Object:
        """An endpoint with the smallest handler."""
        spec = {"worker": {"handler": {"inline": "pass"}}, "scaling": {"idleTimeout": 1, **scaling}}
        return await self.api.create(ENDPOINTS, self.namespace, {"metadata": {"name": name}, "spec": spec})

    async def change(self, name: str, **spec: Any) -> None:
        """Change parts of its spec."""
        await self.api.merge(ENDPOINTS, self.namespace, name, {"spec": spec})

    async def delete(self, name: str) -> None:
        """Delete it."""
        await self.api.delete(ENDPOINTS, self.namespace, name)

    async def settled(self, *names: str) -> list[Object]:
        """Wait until these endpoints work and the gateway reports on them; returns them."""
        return await self.until(ENDPOINTS, lambda found: all(is_settled(named(found, name)) for name in names))

    async def until(self, resource: Resource, holds: Callable[[Sequence[Object]], object]) -> list[Object]:
        """Wait until this holds for the objects of the namespace, or fail with what the operator ended with."""
        return await self._unless_it_ends(self.api.until(resource, self.namespace, holds))

    async def pools(self, name: str, count: int = 1) -> list[Object]:
        """Wait until an endpoint has so many Deployments; returns them."""
        await self.until(DEPLOYMENTS, lambda found: len(of_endpoint(found, name)) == count)
        return of_endpoint(await self.api.all(DEPLOYMENTS, self.namespace), name)

    async def scaled(self, name: str, replicas: int) -> None:
        """Wait until the endpoint's only pool is to have so many workers."""
        await self.until(
            DEPLOYMENTS, lambda found: [each["spec"]["replicas"] for each in of_endpoint(found, name)] == [replicas]
        )

    async def children(self, name: str) -> dict[str, list[str]]:
        """Names of an endpoint's children by kind."""
        kinds = (CONFIG_MAPS, SECRETS, DEPLOYMENTS)
        found = {kind.plural: await self.api.all(kind, self.namespace) for kind in kinds}
        return {
            plural: [each["metadata"]["name"] for each in of_endpoint(each, name)] for plural, each in found.items()
        }

    async def told(self, name: str) -> list[str]:
        """Reasons of the endpoint's events."""
        found = await self.api.all(EVENTS, self.namespace)
        return [each["reason"] for each in found if each["involvedObject"]["name"] == name]

    async def submit(self, name: str) -> None:
        """A job for it."""
        url = f"{self.gateway.public}/v2/{self.namespace}.{name}/run"
        async with aiohttp.ClientSession() as http, http.post(url, json={"input": {}}) as answer:
            assert answer.status == 200, await answer.text()

    async def exchange(self, name: str, worker: str, **fields: Any) -> Object:
        """What a worker in this pod says to the gateway, with the credential that the operator made."""
        (pool,) = await self.pools(name)
        secret = await self.api.get(SECRETS, self.namespace, pool["metadata"]["name"])
        token = base64.b64decode(secret["data"]["token"]).decode()
        url = f"{self.gateway.public}/v2/{self.namespace}.{name}/workers/{worker}/exchange"
        body = {"session": "s", "request": 1, "phase": "ready", **fields}
        headers = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession() as http, http.post(url, json=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            found: Object = await answer.json()
            return found

    async def forgotten(self, name: str) -> None:
        """Wait until the gateway has been told that the endpoint is gone."""
        await self._unless_it_ends(self._forgotten(f"{self.namespace}.{name}"))

    async def _forgotten(self, endpoint: str) -> None:
        headers = {"Authorization": f"Bearer {INTERNAL_TOKEN}"}
        version = 0
        async with aiohttp.ClientSession(headers=headers) as http:
            while True:
                url = f"{self.gateway.internal}/internal/v1/snapshots?since={version}&waitMs=20000"
                async with http.get(url) as answer:
                    found = await answer.json(content_type=None)
                known = [each["endpointId"] for each in found.get("endpoints", [])]
                if endpoint in found.get("deleted", []) or (not version and endpoint not in known):
                    return
                version = found["version"]

    async def _unless_it_ends(self, waiting: Awaitable[T]) -> T:
        task = asyncio.ensure_future(waiting)
        ended = asyncio.ensure_future(self._operator.ended.wait()) if self._operator else None
        try:
            await asyncio.wait([task, *([ended] if ended else [])], return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and self._operator:
                raise AssertionError(f"the operator ended: {self._operator.error!r}")
            return await task
        finally:
            for each in filter(None, (task, ended)):
                each.cancel()


def names(found: Sequence[Object]) -> list[str]:
    """Their names."""
    return [each["metadata"]["name"] for each in found]


def named(found: Sequence[Object], name: str) -> Object:
    """The object of that name; empty when it is not among them."""
    return next((each for each in found if each["metadata"]["name"] == name), {})


def of_endpoint(found: Sequence[Object], name: str) -> list[Object]:
    """Those that belong to an endpoint."""
    label = "serverless.submodel.ai/endpoint"
    return [each for each in found if (each["metadata"].get("labels") or {}).get(label) == name]


def condition(endpoint: Object, kind: str) -> Object:
    """A condition of the endpoint's status; empty when there is none."""
    conditions = (endpoint.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == kind), {})


def is_settled(endpoint: Object) -> bool:
    """Whether the present spec is in place and the gateway knows the endpoint."""
    generation = endpoint.get("metadata", {}).get("generation")
    found = [condition(endpoint, kind) for kind in SETTLED]
    return all(each.get("status") == "True" and each["observedGeneration"] == generation for each in found)
