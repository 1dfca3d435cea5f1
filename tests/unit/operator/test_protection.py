"""Which workers node autoscalers are told to leave alone, and how rarely that is written."""

import pytest

from submodel.contract.internal import WorkerView
from submodel_operator.ports import ObservedWorker
from submodel_operator.protection import SETTLED_SECONDS, Memory, Protection, protection
from tests.support.endpoints import observed, view, worker


class Watch:
    """Looks again and again, as the reconciler does."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.memory: Memory = {}

    def look(self, *workers: ObservedWorker, views: tuple[WorkerView, ...] = (), after: float = 0.0) -> Protection:
        self.now += after
        known = {each.worker: each for each in views}
        found, self.memory = protection(observed(*workers), known, self.memory, self.now)
        return found


BUSY, IDLE = view("a", running=1, idle_since_ms=None), view("a")


def test_a_worker_is_protected_once_it_has_been_busy_for_a_while() -> None:
    watch = Watch()
    assert watch.look(worker("a"), views=(BUSY,)) == Protection({}, SETTLED_SECONDS)
    assert watch.look(worker("a"), views=(BUSY,), after=4.0) == Protection({}, 1.0)
    assert watch.look(worker("a"), views=(BUSY,), after=1.0) == Protection({"a": True})
    assert watch.look(worker("a", protected=True), views=(BUSY,), after=600.0) == Protection({})


def test_a_single_short_job_writes_nothing() -> None:
    watch = Watch()
    watch.look(worker("a"), views=(BUSY,))
    assert watch.look(worker("a"), views=(IDLE,), after=3.0) == Protection({})
    assert watch.look(worker("a"), views=(BUSY,), after=3.0) == Protection({}, SETTLED_SECONDS)


def test_a_protected_worker_stays_so_between_jobs_and_is_let_go_when_it_rests() -> None:
    watch, protected = Watch(), worker("a", protected=True)
    watch.look(protected, views=(BUSY,))
    assert watch.look(protected, views=(IDLE,), after=1.0) == Protection({}, SETTLED_SECONDS)
    assert watch.look(protected, views=(BUSY,), after=4.0) == Protection({})
    watch.look(protected, views=(IDLE,), after=1.0)
    assert watch.look(protected, views=(IDLE,), after=SETTLED_SECONDS) == Protection({"a": False})


def test_a_worker_that_the_gateway_does_not_see_holds_nothing() -> None:
    watch = Watch()
    watch.look(worker("a", protected=True))
    assert watch.look(worker("a", protected=True), after=SETTLED_SECONDS) == Protection({"a": False})


@pytest.mark.parametrize(
    ("leaving", "seen"),
    [(worker("a", protected=True, terminating=True), IDLE), (worker("a", protected=True), view("a", draining=True))],
)
def test_who_leaves_is_not_written_to_any_more(leaving: ObservedWorker, seen: WorkerView) -> None:
    watch = Watch()
    watch.look(leaving, views=(seen,))
    assert watch.look(leaving, views=(seen,), after=600.0) == Protection({})


def test_a_drained_worker_is_protected_until_its_last_job_is_done() -> None:
    watch, seen = Watch(), view("a", running=1, draining=True)
    watch.look(worker("a"), views=(seen,))
    assert watch.look(worker("a"), views=(seen,), after=SETTLED_SECONDS) == Protection({"a": True})


def test_all_that_is_due_is_written_together() -> None:
    watch, views = Watch(), tuple(view(name, running=1) for name in "abc")
    workers = [worker(name) for name in "abc"]
    watch.look(*workers, views=views)
    assert watch.look(*workers, views=views, after=SETTLED_SECONDS).changes == dict.fromkeys("abc", True)


def test_after_a_restart_of_the_operator_what_is_right_is_not_written_again() -> None:
    assert Watch().look(worker("a", protected=True), views=(BUSY,)) == Protection({})
