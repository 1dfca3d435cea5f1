"""One run of the operator: starts its parts in order, and ends with the first of them that ends.

It is crash-only. Every write can be repeated and a start makes none that is not needed, so a part that fails is not
nursed: the run ends with a sentence, and whoever started the process starts it again.
"""

import asyncio
import logging
import random
import secrets
import socket
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from submodel_operator.api import constants, crd
from submodel_operator.api.compatibility import older_definition
from submodel_operator.clock import pause
from submodel_operator.errors import ClusterRefused, OperatorError, UsageError
from submodel_operator.gateway_client import GatewayClient
from submodel_operator.handlers.probes import serve_probes
from submodel_operator.handlers.watches import Watches
from submodel_operator.kube import Caches, KubeClient, KubeCluster, load_connection, open_client, preload
from submodel_operator.kube.lease import Lease
from submodel_operator.kube.listing import resync_forever
from submodel_operator.kube.resources import Resource
from submodel_operator.leadership import Candidate
from submodel_operator.metrics import Metrics
from submodel_operator.ports import Clock, Key
from submodel_operator.reconcile import Controller, DecisionLog, KeyedQueue, Reconciler
from submodel_operator.settings import OperatorSettings

CRD_PATIENCE_SECONDS: Final = 30.0
GATEWAY_PATIENCE_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


class PartFailed(OperatorError):
    """A part ended that should run for ever."""


class Operator:
    """One run.

    Args:
        settings: everything the operator is told from outside.
        env: where `KUBECONFIG` is looked up.
        stop: ends the run when set, as signals do.
        crd_patience_seconds: how long the custom resource may be missing at the start.
    """

    def __init__(
        self,
        settings: OperatorSettings,
        env: Mapping[str, str],
        clock: Clock,
        stop: asyncio.Event,
        crd_patience_seconds: float = CRD_PATIENCE_SECONDS,
    ) -> None:
        self._settings = settings
        self._env = env
        self._clock = clock
        self._stop = stop
        self._crd_patience_seconds = crd_patience_seconds
        self._queue: KeyedQueue[Key] = KeyedQueue()
        self._metrics = Metrics()
        self._metrics.watch_queue(lambda: len(self._queue))
        self._caches = Caches()
        self._watches = Watches(
            self._caches, settings.namespaces, lambda: load_connection(env), self._queue.add, self._heard
        )
        self._parts: list[asyncio.Task[None]] = []
        self._standing_by = False

    async def run(self) -> None:
        """Run until stopped.

        Raises:
            UsageError: there is no way to reach the cluster, it does not serve the custom resource, or an older one.
            ClusterUnavailable, ClusterRefused: the first list failed.
            PartFailed: a part ended that should run for ever.
        """
        settings = self._settings
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(serve_probes(settings.probe_listen, self._missing, self._metrics))
            client = await stack.enter_async_context(open_client(self._env, self._metrics))
            lease = self._lease(client)
            if lease:
                stack.push_async_callback(lease.release)  # after the parts have ended, which are pushed later
            gateway = GatewayClient(settings.gateway_url, settings.gateway_token, self._clock)
            self._metrics.watch_gateway(gateway.age_seconds)
            await stack.enter_async_context(gateway)
            stack.push_async_callback(self._end_parts)
            await _wait_until_served(client, self._crd_patience_seconds)
            await _refuse_older_definition(client)
            if lease and not await self._lead(lease):
                return
            self._metrics.leader.set(1)
            self._standing_by = False
            await self._fill(client)
            await self._start_parts(client, gateway, lease)
            await self._run_watches()

    def _lease(self, client: KubeClient) -> Lease | None:
        settings = self._settings.lease
        if settings is None:
            return None
        self._standing_by = True
        candidate = Candidate(f"{socket.gethostname()}_{secrets.token_hex(4)}", settings.seconds)
        return Lease(client, settings.namespace, settings.name, candidate, self._clock, self._metrics.leader.set)

    async def _lead(self, lease: Lease) -> bool:
        """Stand by until this is the operator that acts; false when it is stopped before."""
        acquired, stopped = asyncio.create_task(lease.acquire()), asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait([acquired, stopped], return_when=asyncio.FIRST_COMPLETED)
            if acquired.done():
                acquired.result()
            return acquired.done()
        finally:
            for task in (acquired, stopped):
                task.cancel()
            await asyncio.gather(acquired, stopped, return_exceptions=True)

    def _missing(self) -> str:
        """A standby is ready: there is nothing that it lacks for its part."""
        return "" if self._standing_by else self._watches.missing()

    async def _fill(self, client: KubeClient) -> None:
        await preload(client, self._caches, self._settings.namespaces)
        for key in self._caches.endpoints.owners():
            self._queue.add(key)
        _log.info("found %d endpoints with %d pods", len(self._caches.endpoints), len(self._caches.pods))

    async def _start_parts(self, client: KubeClient, gateway: GatewayClient, lease: Lease | None) -> None:
        settings = self._settings
        if lease:
            self._start("the lease", lease.keep())
        self._start("the watch of the gateway", gateway.watch(self._gateway_has_news))
        resync = resync_forever(
            client, self._caches, settings.namespaces, settings.resync_seconds, random.random, self._queue.add
        )
        self._start("the resync", resync)
        await _wait_for_gateway(gateway)
        decisions = DecisionLog(Path(settings.decision_log)) if settings.decision_log else None
        cluster = KubeCluster(client, self._caches, self._clock)
        reconciler = Reconciler(
            cluster, gateway, self._clock, settings.worker, decisions=decisions, metrics=self._metrics
        )
        may_act = lease.may_act if lease else lambda: True
        controller = Controller(reconciler, self._queue, settings.reconcile_workers, self._metrics, may_act)
        self._start("the controller", controller.run())

    async def _run_watches(self) -> None:
        """The watches come last: when they end, they wait for everything that was started after them."""
        watches = asyncio.create_task(self._watches.run(self._stop, self._end_parts), name="the watch of the cluster")
        parts = list(self._parts)
        try:
            await asyncio.wait([watches, *parts], return_when=asyncio.FIRST_COMPLETED)
            failed = [part for part in parts if part.done() and not part.cancelled()]
            await self._end_parts()  # at once: without the lease, for one, nothing may be written any more
            self._stop.set()
            await asyncio.wait([watches])
        finally:
            watches.cancel()
            await asyncio.gather(watches, return_exceptions=True)
        for part in (*failed, watches):
            if part is not watches or part.exception():
                raise PartFailed(f"{part.get_name()} ended: {part.exception()!r}") from part.exception()

    def _start(self, name: str, part: Coroutine[Any, Any, None]) -> None:
        self._parts.append(asyncio.create_task(part, name=name))

    async def _end_parts(self) -> None:
        for part in self._parts:
            part.cancel()
        await asyncio.gather(*self._parts, return_exceptions=True)

    def _heard(self, resource: Resource) -> None:
        self._metrics.watch_event_at.labels(resource.plural).set(self._clock.now())

    def _gateway_has_news(self, key: Key) -> None:
        ours = not self._settings.namespaces or key.namespace in self._settings.namespaces
        if ours and key.name:
            self._queue.add(key)


async def _wait_until_served(client: KubeClient, patience_seconds: float) -> None:
    """Returns once the API server serves the custom resource: an installer may apply the definition a moment later.

    Raises:
        UsageError: it does not after `patience_seconds`.
        ClusterUnavailable: it does not answer at all.
    """
    told = False
    try:
        async with asyncio.timeout(patience_seconds):
            while constants.PLURAL not in await client.served_plurals(constants.API_VERSION):
                if not told:
                    _log.warning("waiting until the API server serves %s", constants.API_VERSION)
                told = True
                await pause(1.0)
    except TimeoutError:
        raise UsageError(
            f"the API server does not serve {constants.PLURAL} {constants.API_VERSION}: apply the "
            f"CustomResourceDefinition {constants.PLURAL}.{constants.GROUP} of this release"
        ) from None


async def _refuse_older_definition(client: KubeClient) -> None:
    """Raises `UsageError` when the cluster's definition lacks fields that this operator needs."""
    try:
        definition = await client.definition(crd.NAME)
    except ClusterRefused as refused:
        _log.warning("the CustomResourceDefinition cannot be read, so its age is unknown: %s", refused)
        return
    if definition and (sentence := older_definition(definition)):
        raise UsageError(sentence)


async def _wait_for_gateway(gateway: GatewayClient) -> None:
    """Without the gateway's word, each status would be written twice: that it is missing, and that it came."""
    try:
        async with asyncio.timeout(GATEWAY_PATIENCE_SECONDS):
            await gateway.heard()
    except TimeoutError:
        _log.warning("the gateway does not answer yet; the number of workers is held until it does")
