"""Lists that fill the caches: once before anything runs, and again every few minutes.

Watches report what happens while they are open. A deletion that happens while one is down is reported by nobody: a
new watch begins with a list, and nobody compares that list with what was known. This module does.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from submodel_operator.clock import pause
from submodel_operator.errors import ClusterRefused, ClusterUnavailable
from submodel_operator.kube.caches import Cache, Caches
from submodel_operator.kube.client import KubeClient
from submodel_operator.kube.resources import ENDPOINTS, SELECTOR, Resource
from submodel_operator.ports import Key

_log = logging.getLogger(__name__)


async def preload(client: KubeClient, caches: Caches, namespaces: Sequence[str]) -> set[Key]:
    """List everything once. Returns the endpoints with news.

    Raises:
        ClusterUnavailable, ClusterRefused: a list failed; what was listed before it is in the caches.
    """
    changed: set[Key] = set()
    for resource, cache in caches.by_resource().items():
        changed |= await _relist(client, resource, cache, namespaces)
    return changed


async def resync_forever(
    client: KubeClient,
    caches: Caches,
    namespaces: Sequence[str],
    period_seconds: float,
    jitter: Callable[[], float],
    changed: Callable[[Key], None],
) -> None:
    """List everything once per period (±20 %); `changed` is called for every endpoint, and for those that vanished."""
    while True:
        await pause(period_seconds * (0.8 + 0.4 * jitter()))
        try:
            news = await preload(client, caches, namespaces)
        except (ClusterUnavailable, ClusterRefused) as error:
            _log.warning("resync failed, the next one is in about %.0f s: %s", period_seconds, error)
            continue
        if news:
            _log.info("resync found changes that no watch had reported: %d endpoints", len(news))
        for key in news.union(caches.endpoints.owners()):
            changed(key)


async def _relist(client: KubeClient, resource: Resource, cache: Cache[Any], namespaces: Sequence[str]) -> set[Key]:
    selector = "" if resource == ENDPOINTS else SELECTOR
    before = cache.versions()
    listed: set[tuple[str, str]] = set()
    changed: set[Key] = set()
    for namespace in namespaces or (None,):
        async for page in client.pages(resource, namespace, selector):
            for raw in page:
                listed.add((raw["metadata"]["namespace"], raw["metadata"]["name"]))
                if key := cache.put_listed(raw, before):
                    changed.add(key)
    return changed | cache.sweep(listed, before)
