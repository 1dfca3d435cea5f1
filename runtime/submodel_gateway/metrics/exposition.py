"""Measures as text for a scraper; the only module that knows the client library of Prometheus."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from submodel_gateway.metrics.measures import Labels, Measures
from submodel_gateway.metrics.table import METRICS, Kind, Metric

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

Gauges = Mapping[Metric, Mapping[Labels, float]]


def text(measures: Measures, gauges: Gauges) -> bytes:
    """Everything that there is to tell, in the text format that every scraper reads."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Told(measures, gauges))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Told(Collector):
    def __init__(self, measures: Measures, gauges: Gauges) -> None:
        self._measures = measures
        self._gauges = gauges

    def collect(self) -> Iterable[Family]:
        return map(self._family, METRICS)

    def _family(self, metric: Metric) -> Family:
        if metric.kind is Kind.GAUGE:
            gauge = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, value in self._gauges.get(metric, {}).items():
                gauge.add_metric(labels, value)
            return gauge
        if metric.kind is Kind.COUNTER:
            counter = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, value in self._measures.counts[metric].items():
                counter.add_metric(labels, value)
            return counter
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, found in self._measures.distributions[metric].items():
            histogram.add_metric(labels, list(_cumulative(metric.buckets, found.buckets)), found.total)
        return histogram


def _cumulative(bounds: Iterable[float], counts: list[int]) -> Iterator[tuple[str, float]]:
    names = (*(f"{bound:g}" for bound in bounds), "+Inf")
    return zip(names, map(float, accumulate(counts)), strict=True)
