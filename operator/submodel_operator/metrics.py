"""What the operator counts, in the names and units of Prometheus. Served at `/metrics` by the probe server.

Numbers of endpoints carry `namespace` and `name`; those of an endpoint that is deleted go with it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
_DURATIONS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0)
_START_SECONDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 600.0)
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
        for result in ("done", "retried", "failed"):
            # Shown as 0 from the start: of a series that begins with 1, Prometheus sees no increase.
            self.reconciles.labels(result)
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
        self.clock_jumps = Counter(
            "submodel_operator_clock_jumps_total",
            "How often the operator's clock was set by more than five seconds.",
            registry=self.registry,
        )
        self.endpoints = EndpointMetrics(self.registry)

    def watch_queue(self, depth: Callable[[], float]) -> None:
        """Take the depth of the queue from `depth` whenever it is asked for."""
        self.queue_depth.set_function(depth)

    def watch_gateway(self, age_seconds: Callable[[], float]) -> None:
        """Take the age of the gateway's word from `age_seconds` whenever it is asked for."""
        self.gateway_age_seconds.set_function(age_seconds)

    def text(self) -> bytes:
        """All numbers as Prometheus reads them."""
        return generate_latest(self.registry)


class EndpointMetrics:
    """The numbers of endpoints, each with its `namespace` and `name`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, meaning: str) -> Gauge:
            return Gauge(name, meaning, _PLACE, registry=registry)

        self._desired = gauge("submodel_endpoint_workers_desired", "Workers that should run.")
        self._ready = gauge("submodel_endpoint_workers_ready", "Workers that take jobs.")
        self._queued = gauge(
            "submodel_endpoint_jobs_queued", "Jobs that wait for a worker, without those of low priority."
        )
        self._queued_low = gauge("submodel_endpoint_jobs_queued_low_priority", "Jobs that wait and start no worker.")
        self._running = gauge("submodel_endpoint_jobs_in_progress", "Jobs that run.")
        self._healthy = gauge("submodel_endpoint_ready", "1 when the condition Ready is true, else 0.")
        self._wanted = Gauge(
            "submodel_endpoint_workers_wanted",
            "What each rule that had a say in the last scaling decision came to; the terms are its reasons.",
            (*_PLACE, "term"),
            registry=registry,
        )
        self._changes = Counter(
            "submodel_endpoint_scale_changes_total",
            "Changes of the number of workers that should run, by the rule that decided.",
            (*_PLACE, "term"),
            registry=registry,
        )
        self._disturbances = Counter(
            "submodel_endpoint_disturbances_total",
            "What others did to its workers, and wrong workers that left, by the event that tells of it.",
            (*_PLACE, "reason"),
            registry=registry,
        )
        self._terms: dict[tuple[str, str], frozenset[str]] = {}
        self._beliefs = {
            "arrivals_per_second": gauge(
                "submodel_endpoint_arrivals_per_second", "Jobs that come, as the scaler believes; with ADAPTIVE."
            ),
            "service_seconds": gauge(
                "submodel_endpoint_service_seconds", "How long a job runs, as the scaler believes; with ADAPTIVE."
            ),
            "start_seconds": gauge(
                "submodel_endpoint_start_seconds", "How long a worker takes to start, as the scaler believes."
            ),
        }
        self._phases = Histogram(
            "submodel_endpoint_cold_start_seconds",
            "What starts of workers were made of: scheduling, pull, start, load, check, firstPoll; together: total.",
            (*_PLACE, "phase"),
            buckets=_START_SECONDS,
            registry=registry,
        )

    def show(self, namespace: str, name: str, status: Mapping[str, Any]) -> None:
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

    def decided(self, namespace: str, name: str, terms: Mapping[str, int], beliefs: Mapping[str, float]) -> None:
        """Show what each rule of a scaling decision came to, and what the scaler believes.

        Args:
            beliefs: any of `arrivals_per_second`, `service_seconds`, `start_seconds`.
        """
        place = (namespace, name)
        for gone in self._terms.get(place, frozenset()) - terms.keys():
            self._wanted.remove(*place, gone)
        self._terms[place] = frozenset(terms)
        for term, workers in terms.items():
            self._wanted.labels(*place, term).set(workers)
        for belief, gauge in self._beliefs.items():
            if belief in beliefs:
                gauge.labels(*place).set(beliefs[belief])
            else:
                gauge.remove(*place)

    def changed(self, namespace: str, name: str, term: str) -> None:
        """Another number of workers should run, because of `term`."""
        self._changes.labels(namespace, name, term).inc()

    def disturbed(self, namespace: str, name: str, reason: str) -> None:
        """Somebody else had a hand in the number of workers, or in who of them goes."""
        self._disturbances.labels(namespace, name, reason).inc()

    def started(self, namespace: str, name: str, seconds: Mapping[str, float]) -> None:
        """A worker has come up; how long each phase of its start took."""
        for phase, took in seconds.items():
            self._phases.labels(namespace, name, phase).observe(took)

    def forget(self, namespace: str, name: str) -> None:
        """The endpoint is gone, and its numbers with it. Harmless when there are none."""
        for metric in (
            self._desired,
            self._ready,
            self._queued,
            self._queued_low,
            self._running,
            self._healthy,
            self._wanted,
            self._changes,
            self._disturbances,
            self._phases,
            *self._beliefs.values(),
        ):
            metric.remove_by_labels({"namespace": namespace, "name": name})
        self._terms.pop((namespace, name), None)
