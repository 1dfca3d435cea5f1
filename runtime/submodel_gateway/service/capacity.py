"""What an endpoint's workers are doing, in numbers, and why a job waits for one of them. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from submodel.contract.internal import TERMINATING, WorkerPresence
from submodel.contract.states import WorkerPhase
from submodel_gateway.jobs.record import Job
from submodel_gateway.service.endpoints import EndpointState
from submodel_gateway.service.words import Word, newest

HELD_BACK = (
    "several jobs in a row lost their workers and none finished: jobs are handed out one at a time until one finishes"
)

_INITIALIZING = {"Pending", "Running", "ContainerCreating", "PodInitializing"}
_THROTTLED = {"Unschedulable"}


class WaitReason(StrEnum):
    """Why a queued job is not running, as a word that programs may rely on."""

    PAUSED = "PAUSED"
    CRASH_LOOP = "CRASH_LOOP"
    RETRY_DELAY = "RETRY_DELAY"
    BUSY = "BUSY"
    STARTING = "STARTING"
    NO_CAPACITY = "NO_CAPACITY"
    WORKERS_FAIL = "WORKERS_FAIL"
    NO_WORKERS = "NO_WORKERS"
    LOW_PRIORITY = "LOW_PRIORITY"


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a job waits, as a word and as a sentence."""

    reason: WaitReason
    message: str


def why(state: EndpointState, job: Job, now: int, *, held_back: bool) -> Wait | None:
    """Why a queued job has not gone; None when a worker is free and about to take one."""
    if state.registration.workers_max == 0:
        return Wait(WaitReason.PAUSED, "the endpoint is parked: its workersMax is 0")
    if held_back:
        return Wait(WaitReason.CRASH_LOOP, HELD_BACK)
    if job.run_at > now:
        return Wait(WaitReason.RETRY_DELAY, f"its worker was lost; it may go again in {job.run_at - now} ms")
    ready = [each for each in _heard(state) if _ready(each)]
    if ready:
        busy = all(each.idle_since_ms is None for each in ready)
        return Wait(WaitReason.BUSY, f"all {len(ready)} workers run other jobs") if busy else None
    return _without_workers(state, low_priority=job.low_priority)


def _without_workers(state: EndpointState, *, low_priority: bool) -> Wait:
    unheard = _unheard(state)
    if any(each.phase is WorkerPhase.STARTING for each in _heard(state)):
        return Wait(WaitReason.STARTING, "a worker is starting")
    if any(worker.phase in _INITIALIZING for worker in unheard):
        return Wait(WaitReason.STARTING, "a worker is starting")
    if any(worker.phase in _THROTTLED for worker in unheard):
        return Wait(WaitReason.NO_CAPACITY, "the cluster has no place for a worker")
    failing = sorted({worker.phase for worker in unheard} | {each.reason for each in _ill(state) if each.reason})
    if failing or _ill(state):
        return Wait(WaitReason.WORKERS_FAIL, f"workers do not come up: {', '.join(failing) or 'they are unhealthy'}")
    if low_priority:
        return Wait(
            WaitReason.LOW_PRIORITY, "its low priority starts no worker; it runs once one is there for other jobs"
        )
    return Wait(WaitReason.NO_WORKERS, "no worker runs yet; one has been asked for")


def worker_counts(state: EndpointState) -> dict[str, int]:
    """Workers by what they do, as `health` names them."""
    counts = dict.fromkeys(("idle", "initializing", "ready", "running", "throttled", "unhealthy"), 0)
    for word in _heard(state):
        if word.idle_since_ms is None:
            counts["running"] += 1
        elif word.phase is WorkerPhase.STARTING:
            counts["initializing"] += 1
        elif word.phase is WorkerPhase.UNHEALTHY:
            counts["unhealthy"] += 1
        elif _ready(word):
            counts["idle"] += 1
    for worker in _unheard(state):
        kind = "initializing" if worker.phase in _INITIALIZING else "unhealthy"
        counts["throttled" if worker.phase in _THROTTLED else kind] += 1
    counts["ready"] = counts["idle"] + counts["running"]
    return counts


def _heard(state: EndpointState) -> list[Word]:
    """Each worker that this gateway or another one hears of."""
    here = {each.worker: state.word(each, 0) for each in state.sessions.values() if not each.gone or each.held}
    return [*here.values(), *(word for name, word in newest(state.elsewhere).items() if name not in here)]


def _ready(word: Word) -> bool:
    return word.phase is WorkerPhase.READY and not word.draining


def _ill(state: EndpointState) -> list[Word]:
    return [each for each in _heard(state) if each.phase is WorkerPhase.UNHEALTHY]


def _unheard(state: EndpointState) -> list[WorkerPresence]:
    """Workers that exist and have not said anything yet."""
    heard = state.sessions.keys() | {word.worker for word in state.elsewhere}
    return [each for each in state.presence.values() if each.worker not in heard and each.phase != TERMINATING]
