"""Revisions that certainly never had a ready worker: made under our eyes, and not seen at work since."""

from dataclasses import replace
from typing import Any

from submodel.contract.states import WorkerPhase
from submodel_operator.never_ready import never_ready
from submodel_operator.ports import Observed
from tests.support.endpoints import observed, pool, signals, view, worker


def told(*revisions: dict[str, Any]) -> Observed:
    """Two revisions, r1 the present one, of which the last status told this."""
    facts = observed(worker("o", "r0"), worker("a"), pools=(pool("r0", 1, "h0"), pool(replicas=1)))
    return replace(facts, manifest={"status": {"revisions": list(revisions)}} if revisions else {})


def test_a_new_revision_never_had_one_until_it_is_seen_at_work() -> None:
    fresh = told({"revision": "r0"})
    assert never_ready(fresh, "r1", None) == {"r1"}
    assert never_ready(fresh, "r1", signals(view("a", phase=WorkerPhase.STARTING))) == {"r1"}
    assert never_ready(fresh, "r1", signals(view("a"))) == set()


def test_what_was_seen_once_holds_while_nothing_is_seen() -> None:
    assert never_ready(told({"revision": "r0", "neverReady": True}, {"revision": "r1"}), "r1", None) == {"r0"}


def test_a_worker_that_holds_a_job_or_asked_for_one_shows_that_its_revision_worked() -> None:
    unproven = told({"revision": "r0", "neverReady": True}, {"revision": "r1"})
    assert never_ready(unproven, "r1", signals(view("o", "r0", phase=WorkerPhase.STARTING, running=1))) == set()
    assert never_ready(unproven, "r1", signals(view("o", "r0", phase=WorkerPhase.UNHEALTHY, asked_ms=1))) == set()


def test_of_a_revision_from_before_the_status_that_is_there_it_is_not_known() -> None:
    assert never_ready(told(), "r1", None) == {"r1"}
    assert never_ready(told({"revision": "r0"}, {"revision": "r1"}), "r1", None) == set(), "an older operator wrote it"


def test_a_revision_that_came_and_was_replaced_between_two_statuses_never_had_one() -> None:
    assert never_ready(told({"revision": "r1"}), "r1", None) == {"r0"}
