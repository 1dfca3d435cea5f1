"""What the operator counts, in the names and units of Prometheus. Served at `/metrics` by the probe server.

Numbers of endpoints carry `namespace` and `name`; those of an endpoint that is deleted go with it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
_DURATIONS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0)
_PLACE: Final = ("namespace", "name")


class Metrics:
    """One registry per run of the operator, so that two runs in one process do not meet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconciles = Counter(
            "submodel_operator_reconcile_total",
            "Reconciles by how they ended: done, retried (the cluster or gateway could not), failed (a defect).",
            ("result",),
            registry=self.registry,
        )
        self.reconcile_seconds = Histogram(
            "submodel_operator_reconcile_duration_seconds",
            "How long a reconcile took.",
            buckets=_DURATIONS,
            registry=self.registry,
        )
        self.queue_depth = Gauge(
            "submodel_operator_workqueue_depth", "Endpoints that wait to be reconciled.", registry=self.registry
        )
        self.requests = Counter(
            "submodel_operator_api_requests_total",
            "Requests to the Kubernetes API by verb, resource and status; code 0 is no answer.",
            ("verb", "resource", "code"),
            registry=self.registry,
        )
        self.watch_event_at = Gauge(
            "submodel_operator_watch_last_event_timestamp_seconds",
            "When a watch last brought an event.",
            ("resource",),
            registry=self.registry,
        )
        self.gateway_age_seconds = Gauge(
            "submodel_operator_gateway_age_seconds",
            "Time since the gateway last answered; above 15 the number of workers is held.",
            registry=self.registry,
        )
        self.leader = Gauge(
            "submodel_operator_leader",
            "1 while this operator acts, 0 while it stands by for the one that does.",
            registry=self.registry,
        )
        self._desired = self._endpoint_gauge("submodel_endpoint_workers_desired", "Workers that should run.")
        self._ready = self._endpoint_gauge("submodel_endpoint_workers_ready", "Workers that take jobs.")
        self._queued = self._endpoint_gauge(
            "submodel_endpoint_jobs_queued", "Jobs that wait for a worker, without those of low priority."
        )
        self._queued_low = self._endpoint_gauge(
            "submodel_endpoint_jobs_queued_low_priority", "Jobs that wait and start no worker."
        )
        self._running = self._endpoint_gauge("submodel_endpoint_jobs_in_progress", "Jobs that run.")
        self._healthy = self._endpoint_gauge("submodel_endpoint_ready", "1 when the condition Ready is true, else 0.")

    def watch_queue(self, depth: Callable[[], float]) -> None:
        """Take the depth of the queue from `depth` whenever it is asked for."""
        self.queue_depth.set_function(depth)

    def watch_gateway(self, age_seconds: Callable[[], float]) -> None:
        """Take the age of the gateway's word from `age_seconds` whenever it is asked for."""
        self.gateway_age_seconds.set_function(age_seconds)

    def endpoint(self, namespace: str, name: str, status: Mapping[str, Any]) -> None:
        """Show what the status of an endpoint says."""
        workers, jobs = status.get("workers") or {}, status.get("jobs") or {}
        self._desired.labels(namespace, name).set(workers.get("desired", 0))
        self._ready.labels(namespace, name).set(workers.get("ready", 0))
        low = jobs.get("queuedLowPriority", 0)
        self._queued.labels(namespace, name).set(jobs.get("queued", 0) - low)
        self._queued_low.labels(namespace, name).set(low)
        self._running.labels(namespace, name).set(jobs.get("inProgress", 0))
        ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or ())
        self._healthy.labels(namespace, name).set(ready)

    def forget_endpoint(self, namespace: str, name: str) -> None:
        """The endpoint is gone, and its numbers with it. Harmless when there are none."""
        for gauge in (self._desired, self._ready, self._queued, self._queued_low, self._running, self._healthy):
            gauge.remove_by_labels({"namespace": namespace, "name": name})

    def text(self) -> bytes:
        """All numbers as Prometheus reads them."""
        return generate_latest(self.registry)

    def _endpoint_gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(name, meaning, _PLACE, registry=self.registry)
