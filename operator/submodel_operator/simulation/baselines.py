"""The rules of others, rebuilt from what their documentation says; none of their code is here.

They see what their metric would: jobs queued and running together. Where a rule names a number and not victims, the
cluster loses workers as Kubernetes chooses them, with the grace of 30 s that a pod has by default.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import ceil

from submodel_operator.simulation.cluster import Cluster, Order

POD_GRACE_SECONDS = 30.0


@dataclass(kw_only=True)
class Rule:
    """What they have in common, but for those that say otherwise; see `cluster.Scaler`."""

    name: str
    period_seconds: float = 1.0
    sleeps: bool = False
    waits_seconds: float = float("inf")
    wakes: bool = False
    grace_seconds: float = POD_GRACE_SECONDS


class _Window:
    """Numbers of the last seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._seen: deque[tuple[float, int]] = deque()

    @property
    def newest_at(self) -> float:
        """When the last one came; long ago when none did."""
        return self._seen[-1][0] if self._seen else float("-inf")

    def add(self, now: float, number: int) -> None:
        self._seen.append((now, number))

    def of(self, now: float, seconds: float | None = None) -> list[int]:
        """Those of the whole window, or of its last `seconds`."""
        while self._seen and self._seen[0][0] <= now - self._seconds:
            self._seen.popleft()
        return [number for at, number in self._seen if seconds is None or at > now - seconds]


@dataclass(kw_only=True)
class Fixed(Rule):
    """Always so many."""

    workers: int
    period_seconds: float = 60.0

    def decide(self, cluster: Cluster) -> Order:
        return Order(self.workers)


@dataclass(kw_only=True)
class Hpa(Rule):
    """HorizontalPodAutoscaler of Kubernetes 1.37 on jobs per worker, to zero and from it.

    Every 15 s `ceil(jobs / target)` with 10 % tolerance; up by at most the larger of 100 % and 4 per period; down to
    the highest recommendation of the last 300 s.
    """

    target: float = 1.0
    down_seconds: float = 300.0
    running: float = 1.0
    """0 where the metric tells queued jobs alone."""

    period_seconds: float = 15.0

    def __post_init__(self) -> None:
        self._recommended = _Window(self.down_seconds)

    def jobs(self, cluster: Cluster) -> int:
        """What the metric tells."""
        return _jobs(cluster) if self.running else len(cluster.queue)

    def decide(self, cluster: Cluster) -> Order:
        return Order(self.recommend(cluster, cluster.wanted))

    def recommend(self, cluster: Cluster, present: int) -> int:
        jobs = self.jobs(cluster)
        wanted = ceil(jobs / self.target)
        if present and abs(jobs / (self.target * present) - 1) <= 0.1:
            wanted = present
        wanted = min(wanted, max(2 * present, present + 4))
        self._recommended.add(cluster.now, wanted)
        return max(wanted, min(present, max(self._recommended.of(cluster.now))))


@dataclass(kw_only=True)
class Keda(Rule):
    """KEDA over an HPA: it alone goes to one and to zero, at its polls; the HPA does the rest.

    By default it polls every 30 s, and goes to zero 300 s after the last activity.
    """

    target: float = 1.0
    poll_seconds: float = 30.0
    cooldown_seconds: float = 300.0
    running: float = 1.0
    """0 where the metric tells queued jobs alone."""

    _active_at: float = float("-inf")
    _hpa_at: float = float("-inf")

    def __post_init__(self) -> None:
        self._hpa = Hpa(name=self.name, target=self.target, running=self.running)
        self.period_seconds = min(self.poll_seconds, self._hpa.period_seconds)

    def decide(self, cluster: Cluster) -> Order:
        wanted, now = cluster.wanted, cluster.now
        jobs = self._hpa.jobs(cluster)
        if jobs:
            self._active_at = now
        if wanted and now - self._hpa_at >= self._hpa.period_seconds:
            self._hpa_at = now
            wanted = max(1, self._hpa.recommend(cluster, wanted))
        if not wanted and jobs and now % self.poll_seconds < self.period_seconds:
            wanted = 1
        if wanted and now - self._active_at >= self.cooldown_seconds:
            wanted = 0
        return Order(wanted)


@dataclass(kw_only=True)
class Knative(Rule):
    """Knative's pod autoscaler: mean concurrency over 60 s at 70 % utilisation, and over 6 s in a panic.

    A look every 2 s; panic at twice what is ready, in which it only rises; down by at most half per look; to zero 30 s
    after the window is empty. The activator sees a request at zero at once.
    """

    utilisation: float = 0.7
    period_seconds: float = 2.0
    wakes: bool = True
    _seen: _Window = field(default_factory=lambda: _Window(60.0))
    _panic_at: float | None = None
    _panic_workers: int = 0
    _empty_at: float | None = None

    def decide(self, cluster: Cluster) -> Order:
        now = cluster.now
        self._seen.add(now, _jobs(cluster))
        per_worker = self.utilisation * cluster.conditions.concurrency
        stable = ceil(_mean(self._seen.of(now)) / per_worker)
        panic = ceil(_mean(self._seen.of(now, 6.0)) / per_worker)
        ready = max(1, sum(worker.ready for worker in cluster.workers.values()))
        if panic >= 2 * ready:
            self._panic_at = now
        elif self._panic_at is not None and now - self._panic_at > 60.0:
            self._panic_at, self._panic_workers = None, 0
        wanted = stable
        if self._panic_at is not None:
            self._panic_workers = wanted = max(self._panic_workers, panic, stable)
        wanted = max(wanted, ready // 2 if cluster.workers else 0)
        return Order(self._to_zero(cluster, stable, wanted))

    def _to_zero(self, cluster: Cluster, stable: int, wanted: int) -> int:
        if stable or _jobs(cluster):
            self._empty_at = None
            return max(wanted, 1)
        if not cluster.workers:
            return 0
        self._empty_at = cluster.now if self._empty_at is None else self._empty_at
        return 0 if cluster.now - self._empty_at >= 30.0 else max(wanted, 1)


@dataclass(kw_only=True)
class KubeAi(Rule):
    """KubeAI: every 10 s the mean of the last 60 looks over the target; down after three lower ones in a row."""

    target: float = 1.0
    period_seconds: float = 10.0
    wakes: bool = True
    _seen: deque[int] = field(default_factory=lambda: deque([0] * 60, maxlen=60))
    _lower: int = 0

    def decide(self, cluster: Cluster) -> Order:
        self._seen.append(_jobs(cluster))
        wanted = ceil(sum(self._seen) / len(self._seen) / self.target)
        if not cluster.wanted and cluster.queue:
            return Order(max(1, wanted))
        self._lower = self._lower + 1 if wanted < cluster.wanted else 0
        return Order(wanted if wanted > cluster.wanted or self._lower >= 3 else cluster.wanted)


@dataclass(kw_only=True)
class RayServe(Rule):
    """Ray Serve: jobs over the target, a mean of 30 s of samples every 10 s; up after 30 s, down after 600 s."""

    target: float = 2.0
    up_seconds: float = 30.0
    down_seconds: float = 600.0
    wakes: bool = True
    grace_seconds: float = 20.0
    _seen: _Window = field(default_factory=lambda: _Window(30.0))
    _since: float | None = None
    _way: int = 0

    def decide(self, cluster: Cluster) -> Order:
        now, present = cluster.now, cluster.wanted
        if now - self._seen.newest_at >= 10.0:
            self._seen.add(now, _jobs(cluster))
        if not present:
            return Order(max(1, ceil(_jobs(cluster) / self.target)) if cluster.queue else 0)
        wanted = ceil(_mean(self._seen.of(now)) / self.target)
        way = (wanted > present) - (wanted < present)
        if way != self._way:
            self._way, self._since = way, now
        waited = now - (self._since if self._since is not None else now)
        if way and waited >= (self.up_seconds if way > 0 else self.down_seconds):
            self._way = 0
            return Order(wanted)
        return Order(present)


@dataclass(kw_only=True)
class Beta9(Rule):
    """beta9: every second one worker per task in flight; only one that held nothing for 10 s may go."""

    tasks_per_worker: float = 1.0
    keep_warm_seconds: float = 10.0
    wakes: bool = True

    def decide(self, cluster: Cluster) -> Order:
        wanted = ceil(_jobs(cluster) / self.tasks_per_worker)
        return _losing_idle(cluster, wanted, self.keep_warm_seconds)


@dataclass(kw_only=True)
class Oracle(Rule):
    """Knows every job: enough workers are ready when it comes, and one stays as long as another start would take."""

    concurrency_at: tuple[int, ...]
    """Jobs that would run in each second if each began as it came."""

    cold_start_seconds: float
    grace_seconds: float = float("inf")

    def decide(self, cluster: Cluster) -> Order:
        second, ahead = int(cluster.now), ceil(self.cold_start_seconds * 1.5) + 2
        coming = self.concurrency_at[second : second + ahead]
        wanted = max(max(coming, default=0), ceil(cluster.in_progress / cluster.conditions.concurrency))
        if cluster.queue:
            wanted = max(wanted, 1)
        return _losing_idle(cluster, wanted, after_seconds=0.0)


def running_at(cluster_jobs: tuple[tuple[float, float], ...], concurrency: int) -> tuple[int, ...]:
    """Workers that would be busy in each second if every job began as it came."""
    end = int(max((at + seconds for at, seconds in cluster_jobs), default=0.0)) + 2
    steps = [0] * (end + 1)
    for at, seconds in cluster_jobs:
        steps[int(at)] += 1
        steps[int(at + seconds) + 1] -= 1
    return tuple(ceil(jobs / concurrency) for jobs in accumulate(steps))


def _losing_idle(cluster: Cluster, wanted: int, after_seconds: float) -> Order:
    """`wanted` workers, but none is lost that holds a job or did so within the last seconds."""
    idle_at, present = cluster.now - after_seconds, cluster.workers.values()
    idle = [each.name for each in present if each.ready and not each.running and each.idle_since <= idle_at]
    gone = idle[: max(0, len(present) - wanted)]
    return Order(max(wanted, len(present) - len(gone)), tuple(gone))


def _jobs(cluster: Cluster) -> int:
    return len(cluster.queue) + cluster.in_progress


def _mean(numbers: Sequence[int]) -> float:
    return sum(numbers) / len(numbers) if numbers else 0.0
