"""The cluster: workers that start, run jobs and leave, one event after the other.

Two ways to shrink exist. Who names victims loses only workers that hold nothing. Who names a number loses workers as a
ReplicaSet chooses them: those that are starting first, then by chance; a job that outlives the grace is interrupted
and runs again from its beginning.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import exp, inf
from random import Random
from typing import Final, NamedTuple, Protocol

from submodel_operator.simulation.workloads import Job, Workload

START_SPREAD: Final = 0.2
"""Standard deviation of the logarithm of a start's duration, where no starts were measured."""

PATIENCE_SECONDS: Final = 7 * 86400.0
"""A scaler that has not let all jobs run by then is given up."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the scalers are up against."""

    cold_start_seconds: float
    """What half of the starts do not exceed."""

    late_after_seconds: float
    workers_max: int = 100
    concurrency: int = 1
    seed: int = 1
    measured_starts_seconds: tuple[float, ...] = ()
    """What starts really took: each of the simulated ones takes as long as one of them. Without any, durations spread
    about `cold_start_seconds`."""


@dataclass(slots=True)
class Worker:
    """A worker from its start to its end."""

    name: str
    started_at: float
    ready_at: float
    ready: bool = False
    running: int = 0
    idle_since: float = 0.0
    leaving: bool = False
    ended_at: float | None = None
    busy_seconds: float = 0.0
    held: dict[int, tuple[Job, float]] = field(default_factory=dict)
    """The jobs it runs, by a number, with the instants at which they began."""


class Order(NamedTuple):
    """What a scaler wants: a number, and whom to lose for it (None leaves the choice to Kubernetes)."""

    workers: int
    victims: tuple[str, ...] | None = None
    look_after_seconds: float | None = None
    """When it wants to be asked again at the latest."""


class Scaler(Protocol):
    """A rule under test."""

    name: str
    period_seconds: float
    """The shortest time between two looks."""

    sleeps: bool
    """Whether it looks only when something changed or the time that it named has come; else it looks every period."""

    waits_seconds: float
    """Of one that sleeps: how long without a change before it looks again while jobs wait."""

    wakes: bool
    """Whether the first job that meets no worker is seen at once."""

    grace_seconds: float
    """How long a worker that is told to go may finish its job."""

    def decide(self, cluster: "Cluster") -> Order:
        """What it wants now."""


@dataclass(slots=True)
class Record:
    """What happened to the jobs and workers of a run."""

    delays: list[float] = field(default_factory=list)
    """Seconds each job waited for its last start."""

    unavoidable: int = 0
    """Jobs that came while no worker was there, where a start takes longer than they may wait."""

    interrupted: int = 0
    wasted_seconds: float = 0.0
    starts: int = 0
    changes: int = 0
    """Changes of the wanted number."""

    turns: int = 0
    """Changes that went the other way than the one before."""

    workers: list[Worker] = field(default_factory=list)
    ended_at: float = 0.0
    finished: bool = True
    """Whether all jobs came to run."""


class Cluster:
    """One run of a workload under a scaler."""

    def __init__(self, workload: Workload, scaler: Scaler, conditions: Conditions) -> None:
        self.workload = workload
        self.conditions = conditions
        self.now = 0.0
        self.workers: dict[str, Worker] = {}
        self.wanted = 0
        self.queue: deque[Job] = deque()
        self.in_progress = 0
        self.arrived_total = self.finished_total = 0
        self.record = Record()
        self.changed: dict[str, Worker] = {}
        """Workers that started, came up, took or ended a job, or went since the scaler was last asked: who keeps what
        it knows of the others need not look at a hundred for the few that are new."""

        self._scaler = scaler
        self._free: dict[str, Worker] = {}
        """Ready workers with a free slot; the last to have become free is the next to get a job, as at the gateway."""

        self._serving = 0
        """Workers that are ready and not leaving."""

        self._leaving = 0
        self._chance = Random(f"{scaler.name}/{workload.name}/{conditions.seed}")
        self._numbers = count(1)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._changed = True
        self._looked_at = float("-inf")
        self._look_at: float | None = None
        self._direction = 0

    def run(self) -> Record:
        """Until the observation is over and every job has run."""
        jobs = iter(self.workload.jobs)
        coming = next(jobs, None)
        self._plan_look(0.0)
        while self.now < PATIENCE_SECONDS:
            event_at = self._events[0][0] if self._events else float("inf")
            if coming and coming.arrives_at <= event_at:
                self.now = coming.arrives_at
                self._arrive(coming)
                coming = next(jobs, None)
                continue
            if coming is None and not self.queue and not self.in_progress and event_at >= self.workload.seconds:
                break
            if not self._events:
                break
            self.now, _, event = heappop(self._events)
            event()
        self.record.finished = coming is None and not self.queue and not self.in_progress
        return self._close()

    def _arrive(self, job: Job) -> None:
        self.arrived_total += 1
        self._changed = True
        nobody = not self._serving
        if nobody and self.conditions.cold_start_seconds > self.conditions.late_after_seconds:
            self.record.unavoidable += 1
        woken = nobody and self._scaler.wakes and not self.queue
        self.queue.append(job)
        self._dispatch()
        if self.queue:
            self._plan_look(self.now if woken else self._next_period())
        elif self._scaler.sleeps:
            self._plan_look(self._next_period())

    def _dispatch(self) -> None:
        while self.queue and self._free:
            _, worker = self._free.popitem()
            self._start_job(worker, self.queue.popleft())

    def _start_job(self, worker: Worker, job: Job) -> None:
        worker.running += 1
        self.changed[worker.name] = worker
        self.in_progress += 1
        if worker.running < self.conditions.concurrency:
            self._free[worker.name] = worker
        number = next(self._numbers)
        worker.held[number] = job, self.now
        self._at(self.now + job.seconds, lambda: self._end_job(worker, number))

    def _end_job(self, worker: Worker, number: int) -> None:
        if number not in worker.held:
            return  # it was interrupted, and waits or runs again
        job, began = worker.held[number]
        self.record.delays.append(began - job.arrives_at)
        self.finished_total += 1
        self._release(worker, number)
        if worker.leaving:
            if not worker.running:
                self._end_worker(worker)
            return
        self._free.setdefault(worker.name, worker)
        self._dispatch()

    def _release(self, worker: Worker, number: int) -> None:
        _, began = worker.held.pop(number)
        worker.busy_seconds += (self.now - began) / self.conditions.concurrency
        worker.running -= 1
        self.changed[worker.name] = worker
        worker.idle_since = self.now
        self.in_progress -= 1
        self._changed = True
        if self._scaler.sleeps:
            self._plan_look(self._next_period())

    def _look(self) -> None:
        if self._look_at is None or self.now < self._look_at:
            return
        self._look_at = None
        self._looked_at = self.now
        self._changed = False
        order = self._scaler.decide(self)
        self.changed.clear()
        self._apply(order)
        after = order.look_after_seconds
        if not self._scaler.sleeps:
            self._plan_look(self.now + self._scaler.period_seconds)
        elif self._changed:
            self._plan_look(self._next_period())
        else:
            held = self._scaler.waits_seconds if self.queue else inf
            after = held if after is None else min(after, held)
            if after < inf:
                self._plan_look(self.now + max(after, 0.001))

    def _apply(self, order: Order) -> None:
        target = min(max(order.workers, 0), self.conditions.workers_max)
        surplus = len(self.workers) - self._leaving - target
        if target != self.wanted:
            direction = 1 if target > self.wanted else -1
            self.record.changes += 1
            self.record.turns += self._direction not in (0, direction)
            self._direction = direction
            self.wanted = target
        if order.victims is not None:
            for name in order.victims:
                self._remove(self.workers[name])
        elif surplus > 0:
            for worker in self._chosen(surplus):
                self._remove(worker)
        for _ in range(-surplus):
            self._start_worker()

    def _chosen(self, surplus: int) -> list[Worker]:
        """As a ReplicaSet does: those that are not ready first, the youngest of them first; then by chance."""
        alive = [worker for worker in self.workers.values() if not worker.leaving]
        starting = sorted((worker for worker in alive if not worker.ready), key=lambda worker: -worker.started_at)
        ready = [worker for worker in alive if worker.ready]
        self._chance.shuffle(ready)
        return [*starting, *ready][:surplus]

    def _start_worker(self) -> None:
        took = self._start_seconds()
        name = f"w{next(self._numbers)}"
        worker = Worker(name, self.now, self.now + took)
        self.workers[name] = self.changed[name] = worker
        self.record.workers.append(worker)
        self.record.starts += 1
        self._changed = True
        self._at(worker.ready_at, lambda: self._ready(worker))

    def _start_seconds(self) -> float:
        measured = self.conditions.measured_starts_seconds
        if measured:
            return self._chance.choice(measured)
        return self.conditions.cold_start_seconds * exp(self._chance.gauss(0.0, START_SPREAD))

    def _ready(self, worker: Worker) -> None:
        if worker.ended_at is not None:
            return
        worker.ready, worker.idle_since = True, self.now
        self._free[worker.name] = self.changed[worker.name] = worker
        self._serving += 1
        self._changed = True
        self._dispatch()
        if self._scaler.sleeps:
            self._plan_look(self._next_period())

    def _remove(self, worker: Worker) -> None:
        worker.leaving = True
        self._leaving += 1
        self._serving -= worker.ready
        self.changed[worker.name] = worker
        self._free.pop(worker.name, None)
        self._changed = True
        if worker.running:
            if self._scaler.grace_seconds < PATIENCE_SECONDS:
                self._at(self.now + self._scaler.grace_seconds, lambda: self._kill(worker))
        else:
            self._end_worker(worker)

    def _kill(self, worker: Worker) -> None:
        """The grace is over: what it still runs goes back to the head of the queue."""
        if worker.ended_at is not None:
            return
        for number, (job, began) in reversed(list(worker.held.items())):
            self.record.interrupted += 1
            self.record.wasted_seconds += self.now - began
            self._release(worker, number)
            self.queue.appendleft(job)
        self._end_worker(worker)
        self._dispatch()

    def _end_worker(self, worker: Worker) -> None:
        worker.ended_at = self.now
        self._leaving -= 1
        del self.workers[worker.name]

    def _next_period(self) -> float:
        return max(self.now, self._looked_at + self._scaler.period_seconds)

    def _plan_look(self, at: float) -> None:
        if self._look_at is not None and self._look_at <= at:
            return
        self._look_at = at
        self._at(at, self._look)

    def _at(self, at: float, event: Callable[[], None]) -> None:
        heappush(self._events, (at, next(self._order), event))

    def _close(self) -> Record:
        self.record.ended_at = max(self.now, self.workload.seconds)
        return self.record
