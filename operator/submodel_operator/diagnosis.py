"""What is wrong with the workers of an endpoint, in words for people. Pure; called by `status`.

A worker's own words come before the cluster's: it knows why, the cluster only knows that.
"""

import signal
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from submodel.contract.internal import WorkerView
from submodel.contract.states import WorkerPhase
from submodel_operator.api.conditions import REMEDIES, Reason
from submodel_operator.ports import Observed, ObservedPool, ObservedWorker, WorkerEnd
from submodel_operator.silence import RETURN_SECONDS, at_work

Views = Mapping[str, WorkerView]

_IMAGE_PHASES: Final = frozenset({"ErrImageNeverPull", "ErrImagePull", "ImagePullBackOff", "InvalidImageName"})
_CONFIG_PHASES: Final = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
CRASHING: Final = "CrashLoopBackOff"
"""Phase of a worker that ended and waits for its next start, ten seconds or more; a second where nodes are told so."""

UNPLACED: Final = frozenset({"SchedulerError", "Unschedulable"})
"""Phases of a worker that no node takes."""

ENOUGH_JOBS: Final = 5
"""Fewer jobs of a revision say nothing about it."""

_SIGNALS: Final = {code: each.name for each in signal.Signals for code in (-each, 128 + each)}
"""What ended a run, by its exit code: that of a process here, and that of a container."""

_RESTARTS_OF_A_LOOP: Final = 2
"""A worker that ended once is started again at once, and may be well; one that ended twice without working is not."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something is not as it should be."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Failure:
    """What happened to one worker."""

    worker: str
    reason: str
    """A `Reason`, or the cluster's word for what its node did to it (`Evicted`, …)."""

    words: str
    """In one line."""

    lines: str
    """Everything that is known, over several lines."""

    lasting: bool
    """Whether it keeps the worker from working now; what is over is only told."""


def problem(reason: Reason, words: str) -> Problem:
    """A problem with its remedy."""
    remedy = REMEDIES.get(reason)
    return Problem(reason, f"{words}; {remedy}" if remedy else words)


def failures(
    observed: Observed, revision: str | None, views: Views, overdue: Mapping[str, str] | None = None
) -> list[Failure]:
    """What happened to the workers of `revision`, and to those that their nodes gave up.

    `overdue` are workers that are replaced because they did not come to work in time, with the words for it.
    """
    late, said = overdue or {}, _said(observed)
    found = [Failure(name, Reason.STARTUP_DEADLINE, words, words, True) for name, words in sorted(late.items())]
    found += [
        failure
        for worker in observed.workers
        if worker.revision == revision and not worker.terminating and worker.name not in late
        if (failure := _failure(worker, views.get(worker.name), said.get(worker.name, "")))
    ]
    return found + [
        Failure(worker.name, worker.phase, worker.message or worker.phase, worker.message or worker.phase, False)
        for worker in observed.finished
        if worker.phase not in ("Succeeded", "Failed")
    ]


def _said(observed: Observed) -> dict[str, str]:
    """By worker, why it said that it cannot work."""
    told = (observed.manifest.get("status") or {}).get("failures") or ()
    return {each["worker"]: each["message"] for each in told if each["reason"] == Reason.WORKER_UNFIT}


def overdue(
    observed: Observed, revision: str, views: Views, silent: Mapping[str, float], deadline_seconds: float
) -> dict[str, str]:
    """Workers that have run for longer than the deadline and never asked for a job, with the words for it.

    `views` must be fresh: a gateway that is silent says nothing about workers. `silent` tells for how many seconds it
    has not heard of each worker.
    """
    words = f"it did not ask for a job within {deadline_seconds:g} s of its start"
    return {name: words for name, left in _coming(observed, revision, views, silent, deadline_seconds) if left <= 0}


def seconds_until_overdue(
    observed: Observed, revision: str, views: Views, silent: Mapping[str, float], deadline_seconds: float
) -> float | None:
    """When the next worker becomes overdue, unless it comes to work."""
    seconds = [left for _, left in _coming(observed, revision, views, silent, deadline_seconds)]
    return min((left for left in seconds if left > 0), default=None)


def _coming(
    observed: Observed, revision: str, views: Views, silent: Mapping[str, float], deadline_seconds: float
) -> Iterator[tuple[str, float]]:
    """Workers that are yet to ask for a job, with the seconds that they still have for it."""
    for worker in observed.workers:
        if worker.revision != revision or worker.terminating or worker.running_seconds is None:
            continue
        if not at_work(views.get(worker.name)):
            unheard = min(deadline_seconds, RETURN_SECONDS) - silent.get(worker.name, 0.0)
            yield worker.name, max(deadline_seconds - worker.running_seconds, unheard)


def workers_problem(found: list[Failure]) -> Problem | None:
    """The first failure that lasts."""
    lasting = (failure for failure in found if failure.lasting)
    return next(
        (problem(Reason(each.reason), f"worker {each.worker} fails: {each.words}") for each in lasting),
        None,
    )


def failing_jobs(observed: Observed, revision: str, views: Views) -> str:
    """That most jobs of `revision` fail, in words; empty when they do not, or when those of the one before do, too.

    Counted are the jobs of workers that are there, since their processes began.
    """
    completed, failed = _outcomes(observed, views, lambda worker: worker.revision == revision)
    before_completed, before_failed = _outcomes(observed, views, lambda worker: worker.revision != revision)
    if not _mostly(failed, completed) or _mostly(before_failed, before_completed):
        return ""
    about = round(10 * failed / (failed + completed)) * 10  # exact figures would change with every job
    return f"about {about} % of the jobs of revision {revision} fail"


def _mostly(failed: int, completed: int) -> bool:
    return failed + completed >= ENOUGH_JOBS and failed > completed


def _outcomes(observed: Observed, views: Views, chosen: Callable[[ObservedWorker], bool]) -> tuple[int, int]:
    """Jobs that the chosen workers completed, and that failed at them."""
    known = [view for worker in observed.workers if chosen(worker) and (view := views.get(worker.name))]
    return sum(view.completed for view in known), sum(view.failed for view in known)


def broken(observed: Observed, never_ready: Collection[str], views: Views) -> frozenset[str]:
    """Those of these revisions that will have no ready worker either: all of theirs fail, and not only for now."""

    def is_broken(revision: str) -> bool:
        failing = {each.worker for each in failures(observed, revision, views) if each.lasting}
        alive = {each.name for each in observed.workers if each.revision == revision and not each.terminating}
        return alive <= failing

    return frozenset(filter(is_broken, never_ready))


def capacity_problem(observed: Observed, revision: str | None) -> Problem | None:
    """Why the cluster does not take a worker that it was asked for."""
    pools = (pool for pool in observed.pools if pool.revision == revision)
    return next(_capacity_problems(observed, revision, pools), None)


def _capacity_problems(observed: Observed, revision: str | None, pools: Iterator[ObservedPool]) -> Iterator[Problem]:
    for pool in pools:
        if pool.refusal and pool.replicas:
            reason = Reason.QUOTA_EXCEEDED if "exceeded quota" in pool.refusal else Reason.REFUSED
            yield problem(reason, f"the cluster refuses to create workers: {pool.refusal}")
    for worker in observed.workers:
        if worker.revision == revision and worker.phase in UNPLACED and not worker.terminating:
            volume = "persistentvolumeclaim" in worker.message.lower()
            reason = Reason.VOLUME_MISSING if volume else Reason.UNSCHEDULABLE
            yield problem(reason, f"worker {worker.name} finds no node: {worker.message}")


def _failure(worker: ObservedWorker, view: WorkerView | None, said: str) -> Failure | None:
    if view and view.phase in (WorkerPhase.READY, WorkerPhase.DRAINING):
        return _end(worker, worker.ended, lasting=False) if worker.ended and worker.ended.exit_code else None
    if view and view.phase is WorkerPhase.UNHEALTHY and view.reason:
        return _unfit(worker, view.reason)
    if worker.phase in _IMAGE_PHASES:
        return _told(worker, Reason.IMAGE_PULL_FAILED)
    if worker.phase in _CONFIG_PHASES:
        return _told(worker, Reason.CONFIG_ERROR)
    if worker.ended and said and _is_of(said, worker.ended):
        return _unfit(worker, said)  # its process ended over it, and the next one has not come to work
    if worker.ended:
        looping = worker.phase == CRASHING or worker.ended.count >= _RESTARTS_OF_A_LOOP
        return _end(worker, worker.ended, looping)
    return None


def _unfit(worker: ObservedWorker, said: str) -> Failure:
    return Failure(worker.name, Reason.WORKER_UNFIT, _last_line(said), said.strip(), True)


def _is_of(said: str, end: WorkerEnd) -> bool:
    """Whether a run ended over what its worker said: that names the check, too, and the log only the error."""
    last = _last_line(end.lines)
    return bool(last) and _last_line(said).endswith(last)


def _told(worker: ObservedWorker, reason: Reason) -> Failure:
    words = _last_line(worker.message) or worker.phase
    return Failure(worker.name, reason, words, worker.message or worker.phase, True)


def end_in_words(end: WorkerEnd) -> str:
    """How a run of a worker ended, in one line."""
    code = f" (exit code {end.exit_code})"
    if end.reason == "OOMKilled":
        return "it used more memory than worker.resources.limits allows"
    if not end.exit_code:
        return f"it ended by itself{code}: does it call submodel.serverless.start()?"
    if killer := _SIGNALS.get(end.exit_code):
        return f"it was killed by {killer}" + (f"; its last line: {_last_line(end.lines)}" if end.lines.strip() else "")
    return f"{_last_line(end.lines)}{code}" if end.lines.strip() else f"{end.reason}{code}"


def _end(worker: ObservedWorker, end: WorkerEnd, lasting: bool) -> Failure:
    reason = Reason.OUT_OF_MEMORY if end.reason == "OOMKilled" else Reason.CRASH_LOOP
    words = end_in_words(end)
    return Failure(worker.name, reason, words, end.lines.strip() or words, lasting)


def _last_line(text: str) -> str:
    """Of a traceback, the line that names the error."""
    return text.strip().rpartition("\n")[2].strip()
