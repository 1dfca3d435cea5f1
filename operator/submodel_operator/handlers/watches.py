"""The watches: each event goes into a cache, and its endpoint into the queue. Nothing here waits, writes or raises."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import kopf

from submodel_operator.handlers.framework import framework_settings
from submodel_operator.kube import Caches, Connection
from submodel_operator.kube.resources import Resource
from submodel_operator.ports import Key

_IDENTITY: Any = "submodel-operator"
"""Left to itself Kopf asks for the user's name, and the uid of a container has none. (Its type is not public.)"""


class Watches:
    """Watches all kinds in `namespaces` (all, if none are named), from when the caches are filled.

    Args:
        connect: called whenever credentials are needed anew.
        changed: called with each endpoint that must be looked at.
        heard: called with the kind of each event.
    """

    def __init__(
        self,
        caches: Caches,
        namespaces: Sequence[str],
        connect: Callable[[], Awaitable[Connection]],
        changed: Callable[[Key], None],
        heard: Callable[[Resource], None],
    ) -> None:
        self._caches = caches
        self._namespaces = namespaces
        self._connect = connect
        self._changed = changed
        self._heard = heard
        self._awaited: set[Resource] = set()
        self._running = asyncio.Event()

    async def run(self, stop: asyncio.Event, end: Callable[[], Awaitable[None]]) -> None:
        """Returns when a signal comes or `stop` is set, after `end`; raises when a watch cannot go on."""
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry, id="login")(self._login)
        for resource, cache in self._caches.by_resource().items():
            self._watch(registry, resource)
            if len(cache):
                self._awaited.add(resource)

        @kopf.on.cleanup(registry=registry, id="end")
        async def cleanup(**_: Any) -> None:
            await end()

        await kopf.operator(
            registry=registry,
            settings=framework_settings(),
            identity=_IDENTITY,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            stop_flag=stop,
            ready_flag=self._running,
        )

    def missing(self) -> str:
        """What the watches still owe, as a phrase; empty when they work.

        Kopf does not tell when a watch is open, but one whose kind has objects reports these first of all.
        """
        if not self._running.is_set():
            return "the watches are not started"
        plurals = sorted(resource.plural for resource in self._awaited)
        return f"no event yet from the watch of {', '.join(plurals)}" if plurals else ""

    def _watch(self, registry: kopf.OperatorRegistry, resource: Resource) -> None:
        group, _, version = resource.api_version.rpartition("/")

        @kopf.on.event(group, version, resource.plural, registry=registry, id=resource.plural)
        async def observe(event: kopf.RawEvent, **_: Any) -> None:
            self._awaited.discard(resource)
            self._heard(resource)
            if key := self._caches.take_event(resource, event["type"], event["object"]):
                self._changed(key)

    async def _login(self, **_: Any) -> kopf.ConnectionInfo:
        connection = await self._connect()
        return kopf.ConnectionInfo(
            server=connection.server,
            ca_path=connection.ca_path,
            certificate_path=connection.certificate_path,
            private_key_path=connection.private_key_path,
            token=connection.token,
            insecure=connection.insecure,
            proxy_url=connection.proxy_url,
        )
