"""What is wrong with workers: the cluster's states become reasons, sentences and remedies."""

from dataclasses import replace

import pytest

from submodel.contract.states import WorkerPhase
from submodel_operator.diagnosis import (
    broken,
    capacity_problem,
    failures,
    overdue,
    seconds_until_overdue,
    workers_problem,
)
from submodel_operator.ports import WorkerEnd
from tests.support.endpoints import observed, pool, view, worker

CRASH = WorkerEnd("Error", 1, "KeyError: 'x'", count=0)


@pytest.mark.parametrize(
    ("phase", "message", "ended", "reason", "words"),
    [
        ("ImagePullBackOff", "not found", None, "ImagePullFailed", "not found"),
        ("InvalidImageName", "", None, "ImagePullFailed", "InvalidImageName"),
        ("CreateContainerConfigError", 'secret "keys" not found', None, "ConfigError", 'secret "keys" not found'),
        ("CrashLoopBackOff", "", CRASH, "CrashLoop", "KeyError: 'x' (exit code 1)"),
        ("Error", "", WorkerEnd("Error", -11, "hi", 2), "CrashLoop", "it was killed by SIGSEGV; its last line: hi"),
        ("CrashLoopBackOff", "", WorkerEnd("Error", 139, "", 2), "CrashLoop", "it was killed by SIGSEGV; mend"),
        ("CrashLoopBackOff", "", WorkerEnd("Error", 9, "", 2), "CrashLoop", "Error (exit code 9)"),
        ("CrashLoopBackOff", "", WorkerEnd("Error", 3, "", 1), "CrashLoop", "Error (exit code 3)"),
        ("Running", "", WorkerEnd("OOMKilled", 137, "", 5), "OutOfMemory", "it used more memory than"),
        ("CrashLoopBackOff", "", WorkerEnd("Completed", 0, "bye", 2), "CrashLoop", "does it call"),
    ],
)
def test_a_worker_that_does_not_come_up_has_a_reason(
    phase: str, message: str, ended: WorkerEnd | None, reason: str, words: str
) -> None:
    facts = observed(worker("a", phase=phase, message=message, ended=ended))
    found = workers_problem(failures(facts, "r1", {}))
    assert found is not None
    assert found.reason == reason
    assert found.message.startswith("worker a fails: ")
    assert words in found.message
    assert "; " in found.message, "the remedy"


def test_a_worker_that_ended_once_is_told_but_may_be_well() -> None:
    facts = observed(worker("a", ended=CRASH))
    found = failures(facts, "r1", {})
    assert [each.reason for each in found] == ["CrashLoop"]
    assert workers_problem(found) is None


def test_a_worker_that_works_again_fails_no_more() -> None:
    facts = observed(worker("a", ended=replace(CRASH, count=7)))
    found = failures(facts, "r1", {"a": view("a")})
    assert [each.lasting for each in found] == [False]


def test_a_worker_that_was_started_again_on_purpose_has_not_failed() -> None:
    assert failures(observed(worker("a", ended=WorkerEnd("Completed", 0, "", 1))), "r1", {"a": view("a")}) == []


def test_a_worker_that_reports_itself_unfit_speaks_for_itself() -> None:
    unfit = view("a", phase=WorkerPhase.UNHEALTHY, reason="Traceback\nCUDA is missing")
    (found,) = failures(observed(worker("a")), "r1", {"a": unfit})
    assert (found.reason, found.words, found.lines) == ("WorkerUnfit", "CUDA is missing", "Traceback\nCUDA is missing")


@pytest.mark.parametrize("phase", ["CrashLoopBackOff", "Running"])
@pytest.mark.parametrize("said", ["Traceback\nOSError: no CUDA", "check_gpu: OSError: no CUDA"])
def test_a_worker_whose_process_ended_over_what_it_said_has_failed_for_the_same_reason(said: str, phase: str) -> None:
    crash = WorkerEnd("Error", 1, "Traceback\nOSError: no CUDA\n", count=1)
    before = {"failures": [{"worker": "a", "reason": "WorkerUnfit", "message": said}]}
    facts = replace(observed(worker("a", phase=phase, ended=crash)), manifest={"status": before})
    (found,) = failures(facts, "r1", {"a": view("a", phase=WorkerPhase.STARTING)})
    assert (found.reason, found.lines, found.lasting) == ("WorkerUnfit", said, True)
    other = replace(crash, lines="MemoryError", count=2)
    (found,) = failures(replace(facts, workers=(worker("a", phase=phase, ended=other),)), "r1", {})
    assert (found.reason, found.words) == ("CrashLoop", "MemoryError (exit code 1)")


def test_a_worker_that_its_node_gave_up_is_told_with_the_nodes_words() -> None:
    evicted = worker("a", phase="Evicted", message="The node was low on resource: memory.")
    (found,) = failures(replace(observed(), finished=(evicted, worker("b", phase="Succeeded"))), "r1", {})
    assert (found.worker, found.reason, found.lasting) == ("a", "Evicted", False)


def test_workers_of_earlier_revisions_and_those_that_leave_are_left_out() -> None:
    leaving = worker("a", phase="CrashLoopBackOff", ended=CRASH, terminating=True)
    old = worker("b", "r0", phase="CrashLoopBackOff", ended=CRASH)
    assert failures(observed(leaving, old), "r1", {}) == []
    assert capacity_problem(observed(worker("c", "r0", phase="Unschedulable")), "r1") is None


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", "Unschedulable"),
        ('0/1 nodes are available: persistentvolumeclaim "models" not found.', "VolumeMissing"),
        ("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.", "VolumeMissing"),
    ],
)
def test_a_worker_without_a_node_says_what_it_waits_for(message: str, reason: str) -> None:
    found = capacity_problem(observed(worker("a", phase="Unschedulable", message=message)), "r1")
    assert found is not None
    assert found.reason == reason
    assert message in found.message


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        ("exceeded quota: small, requested: pods=1, used: pods=4, limited: pods=4", "QuotaExceeded"),
        ('pods "a" is forbidden: violates PodSecurity "restricted:latest"', "ObjectRefused"),
    ],
)
def test_pods_that_the_cluster_refuses_are_told_in_its_words(refusal: str, reason: str) -> None:
    found = capacity_problem(observed(pools=(replace(pool(replicas=1), refusal=refusal),)), "r1")
    assert found is not None
    assert found.reason == reason
    assert refusal in found.message


def test_a_refusal_of_a_pool_that_wants_no_workers_is_history() -> None:
    assert capacity_problem(observed(pools=(replace(pool(), refusal="exceeded quota"),)), "r1") is None


def test_a_worker_is_overdue_when_it_ran_for_the_deadline_without_asking_for_a_job() -> None:
    facts = observed(
        worker("late", running_seconds=10.0),
        worker("works", running_seconds=99.0),
        worker("loads", running_seconds=4.0),
        worker("comes back", running_seconds=99.0),
        worker("pulls", age_seconds=99.0),
        worker("old", "r0", running_seconds=99.0),
        worker("leaves", running_seconds=99.0, terminating=True),
    )
    views = {"works": view("works"), "loads": view("loads", phase=WorkerPhase.STARTING)}
    silent = {"late": 10.0, "loads": 4.0, "pulls": 99.0, "old": 99.0, "leaves": 99.0, "comes back": 3.0}
    assert list(overdue(facts, "r1", views, silent, 10.0)) == ["late"]
    assert seconds_until_overdue(facts, "r1", views, silent, 10.0) == 6.0
    assert list(overdue(facts, "r1", views, silent | {"comes back": 60.0}, 90.0)) == ["comes back"], "a minute"


def test_nobody_is_waited_for_when_all_work() -> None:
    assert seconds_until_overdue(observed(worker("a", running_seconds=1.0)), "r1", {"a": view("a")}, {}, 10.0) is None


def test_a_revision_is_broken_when_all_its_workers_fail_and_not_while_one_may_still_come() -> None:
    pulling = worker("a", "r0", phase="ImagePullBackOff")
    starting = worker("b", "r0", phase="Running")
    assert broken(observed(pulling, worker("c")), {"r0"}, {}) == {"r0"}
    assert broken(observed(pulling, starting), {"r0"}, {}) == set()
    assert broken(observed(pulling), {"r1"}, {}) == {"r1"}, "it has none"
    assert broken(observed(pulling), (), {}) == set()
