"""The numbers, kept as plain dictionaries: counting costs a look-up, and nothing is formatted before it is asked for.

All methods are called on the event loop's thread, a `copy` may be read by any.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from submodel.contract.states import JobState
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.transition import Transition
from submodel_gateway.metrics import table
from submodel_gateway.metrics.table import Kind, Metric

Labels = tuple[str, ...]


@dataclass(slots=True)
class Distribution:
    """Values by bucket, the last one open, and their sum."""

    buckets: list[int]
    total: float = 0.0


@dataclass(slots=True)
class Measures:
    """Counters and distributions by metric and label values.

    Counters are there with a 0 before there is anything to count, as far as their labels are known: one that begins
    with its first event hides this event from whoever asks how much it grew.
    """

    owner: Callable[[str], str] = lambda id: ""
    """Whose an endpoint is, as `<namespace>.<name>`; empty for who is called like the id."""

    counts: dict[Metric, dict[Labels, int]] = field(
        default_factory=lambda: {each: {} for each in table.METRICS if each.kind is Kind.COUNTER}
    )
    distributions: dict[Metric, dict[Labels, Distribution]] = field(
        default_factory=lambda: {each: {} for each in table.METRICS if each.kind is Kind.HISTOGRAM}
    )
    _endpoints: dict[str, Labels] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for metric in self.counts:
            if len(metric.labels) == bool(metric.words):
                self._begin(metric)

    def store(self, label: str) -> None:
        """There is a store of this name."""
        self._begin_all(table.STORE, (label,))

    def count(self, metric: Metric, labels: Labels = (), by: int = 1) -> None:
        """Add to a counter."""
        series = self.counts[metric]
        series[labels] = series.get(labels, 0) + by

    def observe(self, metric: Metric, value: float, labels: Labels = ()) -> None:
        """Add a value to a distribution."""
        series = self.distributions[metric]
        found = series.get(labels)
        if found is None:
            found = series[labels] = Distribution([0] * (len(metric.buckets) + 1))
        found.buckets[bisect_left(metric.buckets, value)] += 1
        found.total += value

    def request(self, operation: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self.count(table.REQUESTS, (operation, str(status)))
        self.observe(table.REQUEST_SECONDS, seconds, (operation,))

    def endpoint(self, id: str) -> Labels:
        """The labels of an endpoint; those that come when there are many already share one pair."""
        labels = self._endpoints.get(id)
        if labels is None:
            if len(self._endpoints) >= table.ENDPOINTS_MAX:
                return table.OTHER
            namespace, dot, name = (self.owner(id) or id).partition(".")
            labels = self._endpoints[id] = (namespace, name) if dot else ("", id)
            self._begin_all(table.ENDPOINT, labels)
        return labels

    def keep(self, endpoints: Iterable[str]) -> None:
        """Forget the series of endpoints that are no more."""
        gone = {self._endpoints.pop(id) for id in self._endpoints.keys() - set(endpoints)}
        gone -= {*self._endpoints.values()}
        if gone:
            for metric in table.METRICS:
                if metric.labels[:2] == table.ENDPOINT:
                    self._forget(self.counts.get(metric, {}), gone)
                    self._forget(self.distributions.get(metric, {}), gone)

    def _begin_all(self, names: Labels, labels: Labels) -> None:
        for metric in self.counts:
            if metric.labels[: len(names)] == names:
                self._begin(metric, labels)

    def _begin(self, metric: Metric, labels: Labels = ()) -> None:
        for series in [(*labels, word) for word in metric.words] or [labels]:
            self.counts[metric].setdefault(series, 0)

    def _forget(self, series: dict[Labels, Any], gone: set[Labels]) -> None:
        for labels in [each for each in series if each[:2] in gone]:
            del series[labels]

    def copy(self) -> "Measures":
        """All numbers as they are now, for a reader that takes its time."""
        distributions = {
            metric: {labels: Distribution([*each.buckets], each.total) for labels, each in series.items()}
            for metric, series in self.distributions.items()
        }
        return Measures(self.owner, {metric: {**series} for metric, series in self.counts.items()}, distributions)

    def changed(self, change: Transition, *, expired: bool) -> None:
        """A job's state is another one; `expired` when a lease had come to its end by then."""
        before, after = change.before, change.after
        if after is None:
            return
        labels = self.endpoint(after.endpoint)
        if after.state is JobState.IN_QUEUE and (before is None or before.state.terminal):
            self.count(table.SUBMITTED, labels)
        elif after.state is JobState.IN_PROGRESS and after.taken_at is not None:
            self.observe(table.DELAY, (after.taken_at - after.queued_at) / 1000, labels)
            if after.attempt > 1:
                self.count(table.REDELIVERED, labels)
        elif change.ended:
            self._ended(after, labels)
        if change.lost and before is not None:
            self.count(table.LOST, labels)
            if expired:
                self.count(table.EXPIRED, labels)

    def group(self, store: str, operations: int, seconds: float, failed: int) -> None:
        """A group of operations went through a store; of its operations, `failed` did not."""
        labels = (store,)
        self.observe(table.COMMIT, seconds, labels)
        self.observe(table.GROUP, operations, labels)
        if failed:
            self.count(table.FAILURES, labels, failed)

    def _ended(self, job: Job, labels: Labels) -> None:
        self.count(table.FINISHED, (*labels, job.state.value))
        if job.taken_at is not None and job.finished_at is not None:
            self.observe(table.EXECUTION, (job.finished_at - job.taken_at) / 1000, labels)
