"""Kopf as we use it: a process frame and a multiplexer of watches. It stores nothing and decides nothing."""

import random
from collections.abc import Iterator, MutableMapping
from typing import Any, Final

import kopf

from submodel_operator.kube.resources import DEPLOYMENTS, PODS, SELECTOR

LONGEST_BACKOFF_SECONDS: Final = 30.0


class Backoffs:
    """Delays between attempts of a watch: they double up to a bound and never end, so an outage ends no process."""

    def __iter__(self) -> Iterator[float]:
        delay = 1.0
        while True:
            yield delay * random.uniform(0.8, 1.2)
            delay = min(delay * 2, LONGEST_BACKOFF_SECONDS)


class NoDiffBase(kopf.AnnotationsDiffBaseStorage):
    """Kopf copies each object three times to tell what changed in it; we compare our own views."""

    def build(self, **_: Any) -> Any:
        """No essence."""
        return {}

    def fetch(self, **_: Any) -> None:
        """Nothing is stored."""

    def store(self, **_: Any) -> None:
        """Nothing is stored."""


class NoProgress(kopf.AnnotationsProgressStorage):
    """No handler of ours has progress."""

    def clear(self, *, essence: Any) -> Any:
        """Nothing is stored, so nothing is to be cleared."""
        return essence


def framework_settings() -> kopf.OperatorSettings:
    """Settings for watches only."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.loggers = False
    settings.posting.reporting_component = "submodel-operator"
    _watching(settings.watching)
    settings.networking.request_timeout, settings.networking.connect_timeout = 30, 10
    settings.networking.error_backoffs = Backoffs()
    settings.queueing.idle_timeout = 1.0
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    settings.persistence.finalizer = "serverless.submodel.ai/operator"
    settings.process.ultimate_exiting_timeout = 25
    return settings


def _watching(watching: Any) -> None:
    # A number of seconds on the wire: a float is refused by the API server.
    watching.server_timeout, watching.client_timeout = 300, 330
    watching.connect_timeout, watching.reconnect_backoff = 10, 1.0
    watching.chunk_size = 500
    selectors: MutableMapping[Any, str] = watching.label_selectors
    for resource in (DEPLOYMENTS, PODS):
        selectors[resource.plural] = SELECTOR
