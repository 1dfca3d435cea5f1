"""Which workers, and which of their processes, the gateway is told have ended."""

from typing import Any

import pytest

from submodel.contract.exchange import Startup
from submodel.contract.internal import GoneWorker, WorkerView
from submodel_operator.ports import ObservedWorker, WorkerEnd
from submodel_operator.reconcile.gather import gone
from tests.support.endpoints import observed, view, worker

ENDED_AT = 1_800_000_100.0
OOM = WorkerEnd("OOMKilled", 137, "", 1, ENDED_AT)


def session(started_at: float | None, running: int = 1, **changes: object) -> WorkerView:
    at_ms = None if started_at is None else round(started_at * 1000)
    known: dict[str, Any] = {"session": "s-1", "running": running, "startup": Startup(process_at_ms=at_ms), **changes}
    return view("a", **known)


def told(end: WorkerEnd | None, seen: WorkerView, phase: str = "Running") -> list[GoneWorker]:
    dead: ObservedWorker = worker("a", phase=phase, ended=end)
    return gone(observed(dead), {"a": seen})


def test_a_process_that_died_while_it_held_jobs_is_told_by_its_session_and_charged() -> None:
    assert told(OOM, session(ENDED_AT - 60)) == [
        GoneWorker(
            worker="a", reason="it used more memory than worker.resources.limits allows", session="s-1", charged=True
        )
    ]


def test_its_last_line_is_the_reason() -> None:
    end = WorkerEnd("Error", 3, "Traceback\nRuntimeError: no GPU\n", 1, ENDED_AT)
    assert [each.reason for each in told(end, session(ENDED_AT - 60))] == ["RuntimeError: no GPU (exit code 3)"]


@pytest.mark.parametrize(
    ("end", "seen"),
    [
        (OOM, session(ENDED_AT + 0.3)),
        (OOM, session(ENDED_AT)),
        (OOM, session(None)),
        (OOM, session(ENDED_AT - 60, startup=None)),
        (OOM, session(ENDED_AT - 60, session="")),
        (OOM, session(ENDED_AT - 60, running=0)),
        (WorkerEnd("OOMKilled", 137, "", 1), session(ENDED_AT - 60)),
        (None, session(ENDED_AT - 60)),
    ],
    ids=["next run", "same second", "no instant", "another SDK", "unheard", "idle", "end without instant", "no end"],
)
def test_a_session_that_may_be_of_a_run_that_goes_on_is_left_alone(end: WorkerEnd | None, seen: WorkerView) -> None:
    assert told(end, seen) == []


def test_of_a_worker_that_waits_for_its_next_start_the_run_that_began_and_ended_within_a_second_is_told() -> None:
    assert [each.session for each in told(OOM, session(ENDED_AT + 0.9), phase="CrashLoopBackOff")] == ["s-1"]
    assert told(OOM, session(ENDED_AT + 1), phase="CrashLoopBackOff") == [], "news of the start come later than it"


def test_a_pod_that_its_node_gave_up_is_told_with_all_its_sessions_and_not_charged() -> None:
    facts = observed()
    evicted = worker("e", phase="Evicted", message="The node was low on resource: memory")
    facts = type(facts)(facts.key, facts.uid, facts.generation, facts.manifest, finished=(evicted,))
    assert gone(facts, {}) == [
        GoneWorker(worker="e", reason="Evicted: The node was low on resource: memory", charged=False)
    ]
