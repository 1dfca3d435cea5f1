"""What a gateway says of the workers that it hears of, and what several gateways' words add up to. Pure."""

from collections.abc import Iterable, Mapping

import msgspec

from submodel.contract.exchange import Startup
from submodel.contract.internal import WorkerPresence, WorkerView
from submodel.contract.states import WorkerPhase


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's session at one gateway."""

    worker: str
    session: str
    revision: str
    phase: WorkerPhase
    reason: str = ""
    replace: bool = False
    draining: bool = False
    taking: int = 0
    """Takes on their way to the store, while it drains."""

    seen_ms: int
    """When it was last heard of; of the clock that gateways share."""

    idle_since_ms: int | None = None
    startup: Startup | None = None
    asked_ms: int | None = None
    completed: int = 0
    failed: int = 0

    @property
    def usable(self) -> bool:
        """Whether it takes jobs, or will when it has started."""
        return not self.draining and self.phase in (WorkerPhase.STARTING, WorkerPhase.READY)


class Order(msgspec.Struct, frozen=True):
    """The operator's word about an endpoint's workers."""

    presence: list[WorkerPresence] = []
    draining: list[str] = []
    gone: dict[str, int] = {}
    """Workers that ended lately, and when; a session that began later is another process."""


def newest(words: Iterable[Word]) -> dict[str, Word]:
    """The latest word about each worker."""
    latest: dict[str, Word] = {}
    for word in words:
        known = latest.get(word.worker)
        if known is None or known.seen_ms < word.seen_ms:
            latest[word.worker] = word
    return latest


def views(words: Iterable[Word], holders: Mapping[str, int]) -> list[WorkerView]:
    """What the operator sees of the workers.

    A worker is said to drain only when every gateway that hears of it hands it no more jobs. `holders` must have been
    read after the words were said: then nothing that it was given is missing.
    """
    said: dict[str, list[Word]] = {}
    for word in words:
        said.setdefault(word.worker, []).append(word)
    return [_view(each, holders.get(worker, 0)) for worker, each in said.items()]


def _view(words: list[Word], held: int) -> WorkerView:
    latest = max(words, key=lambda word: word.seen_ms)
    draining = all(word.draining for word in words)
    running = held + (sum(word.taking for word in words) if draining else 0)
    idle = max((word.idle_since_ms for word in words if word.idle_since_ms is not None), default=latest.seen_ms)
    return WorkerView(
        worker=latest.worker,
        revision=latest.revision,
        phase=latest.phase,
        running=running,
        draining=draining,
        idle_since_ms=None if running else idle,
        reason=latest.reason,
        replace=any(word.replace for word in words),
        startup=next((word.startup for word in _of(latest, words) if word.startup), None),
        session=latest.session,
        asked_ms=min((word.asked_ms for word in _of(latest, words) if word.asked_ms is not None), default=None),
        completed=sum(word.completed for word in _of(latest, words)),
        failed=sum(word.failed for word in _of(latest, words)),
    )


def _of(latest: Word, words: Iterable[Word]) -> list[Word]:
    """What all gateways say of the same process."""
    return [word for word in words if word.session == latest.session]
