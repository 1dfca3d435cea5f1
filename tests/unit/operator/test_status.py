"""The status document: what people read, and when it is left alone."""

from typing import Any

import pytest

from submodel.contract.states import WorkerPhase
from submodel_operator.api.status import EndpointStatus
from submodel_operator.diagnosis import Problem
from submodel_operator.ports import WorkerEnd
from submodel_operator.scaling import Demand, Proposal, ScalingDecision, ScalingInputs, Term
from submodel_operator.scaling.explained import in_words
from submodel_operator.status import FAILURES_KEPT, Account, build_status, describe_decision
from tests.support.endpoints import manifest, observed, pool, resolved, scaling, signals, view, worker

NOW = 1_800_000_000.0
STEADY = ScalingDecision(1, Term.STEADY, "steady")


def account(**changes: Any) -> Account:
    values: dict[str, Any] = {
        "observed": observed(worker("a"), pools=(pool(replicas=1),)),
        "endpoint": resolved(),
        "revision": "r1",
        "decision": STEADY,
        "replicas_before": 1,
        "signals": signals(view("a")),
    }
    return Account(**(values | changes))


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in status["conditions"] if each["type"] == kind)
    return found


def test_workers_and_jobs_are_counted_by_state() -> None:
    workers = (worker("a"), worker("b"), worker("c"), worker("d", terminating=True), worker("e", "r0"))
    known = signals(view("a", running=2), view("b"), view("d", running=1), queued=4, in_progress=3)
    status = build_status(account(observed=observed(*workers), signals=known), NOW)
    assert status["workers"] == {
        "total": 5, "ready": 2, "busy": 1, "idle": 1, "starting": 1, "draining": 1, "outdated": 1, "desired": 1,
    }  # fmt: skip
    assert status["jobs"] == {"queued": 4, "inProgress": 3}


def test_ready_stays_true_at_zero_workers() -> None:
    status = build_status(account(observed=observed(), decision=ScalingDecision(0, Term.STEADY, "")), NOW)
    assert condition(status, "Ready")["status"] == "True"
    assert status["phase"] == "Idle"


def test_every_condition_carries_the_generation_it_speaks_of() -> None:
    assert {each["observedGeneration"] for each in build_status(account(), NOW)["conditions"]} == {1}


def test_an_unchanged_endpoint_gives_the_same_status_at_any_later_time() -> None:
    first = build_status(account(), NOW)
    document = manifest() | {"status": first}
    again = account(observed=observed(worker("a"), pools=(pool(replicas=1),), document=document))
    assert build_status(again, NOW + 3600) == first


def test_a_changed_number_of_workers_is_recorded_with_its_reason_and_what_it_rested_on() -> None:
    proposal = Proposal(9, Term.LATE_JOBS, "9 jobs waited", "more late jobs")
    decision = ScalingDecision(3, Term.MAXIMUM, "9 jobs waited; workersMax allows 3", proposal=proposal)
    seen = ScalingInputs(scaling(), 1, (), (), Demand(queued=9, late=9, oldest_seconds=4.26, in_progress=1))
    described = describe_decision(decision, seen, NOW)
    status = build_status(account(last_decision=described), NOW)
    assert status["autoscaling"]["lastDecision"] == {
        "at": "2027-01-15T08:00:00Z",
        "current": 1,
        "desired": 3,
        "reason": "WorkersMax",
        "message": "9 jobs waited; workersMax allows 3",
        "inputs": {
            "working": 0, "busy": 0, "starting": 1, "queued": 9, "running": 1, "signalsAgeSeconds": 0.0, "late": 9,
            "oldestSeconds": 4.3,
        },
        "proposal": {
            "scalerType": "QUEUE_DELAY", "desired": 9, "reason": "LateJobs", "message": "9 jobs waited",
            "change": "more late jobs",
        },
    }  # fmt: skip
    EndpointStatus.model_validate(status)


def test_a_decision_is_told_in_sentences_with_its_numbers() -> None:
    proposal = Proposal(9, Term.LATE_JOBS, "9 jobs waited", "more workers come for more late jobs")
    decision = ScalingDecision(3, Term.MAXIMUM, "9 jobs waited; workersMax allows 3", proposal=proposal)
    seen = ScalingInputs(scaling(), 1, (), (), Demand(queued=9, late=9, oldest_seconds=4.26, in_progress=1))
    assert in_words(describe_decision(decision, seen, NOW)) == [
        "2027-01-15T08:00:00Z: 1 worker → 3 (WorkersMax): 9 jobs waited; workersMax allows 3.",
        "QUEUE_DELAY asked for 9 (LateJobs): 9 jobs waited.",
        "WorkersMax made it 3.",
        "It saw: 0 workers took jobs (0 busy) and 1 started; 9 jobs queued, the oldest for 4.3 s, 9 of them late, "
        "1 running; the gateway's word was 0 s old.",
        "What would change it: more workers come for more late jobs.",
    ]


def test_a_shadow_is_written_again_only_when_its_number_changes() -> None:
    before = {"scalerType": "ADAPTIVE", "desired": 2, "reason": "Backlog", "message": "then"}
    document = manifest() | {"status": {"autoscaling": {"shadow": before}}}
    at_rest = account(observed=observed(document=document), shadow={**before, "message": "now"})
    assert build_status(at_rest, NOW)["autoscaling"]["shadow"] == before
    changed = account(observed=observed(document=document), shadow={**before, "message": "now", "desired": 3})
    assert build_status(changed, NOW)["autoscaling"]["shadow"]["message"] == "now"
    assert "autoscaling" not in build_status(account(observed=observed(document=document)), NOW)


def test_the_last_decision_stays_while_the_number_stays() -> None:
    document = manifest() | {"status": {"autoscaling": {"lastDecision": {"reason": "FirstJob"}}}}
    status = build_status(account(observed=observed(document=document)), NOW)
    assert status["autoscaling"] == {"lastDecision": {"reason": "FirstJob"}}


def test_a_problem_makes_the_endpoint_not_ready_in_its_own_words() -> None:
    ready = condition(build_status(account(problem=Problem("NameConflict", "taken")), NOW), "Ready")
    assert (ready["status"], ready["reason"], ready["message"]) == ("False", "NameConflict", "taken")


TRACEBACK = "Traceback:\n  line 1\nModuleNotFoundError: No module named 'torch'\n"
CRASHED = WorkerEnd("Error", 1, TRACEBACK, count=3)


def test_workers_that_only_fail_make_the_endpoint_not_ready_with_their_last_words_and_the_remedy() -> None:
    failing = observed(worker("a", phase="CrashLoopBackOff", ended=CRASHED))
    status = build_status(account(observed=failing, signals=signals()), NOW)
    ready = condition(status, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "CrashLoop")
    assert ready["message"] == (
        "worker a fails: ModuleNotFoundError: No module named 'torch' (exit code 1); mend the handler or the image"
    )
    assert condition(status, "WorkersHealthy") | {"type": "Ready"} == ready


def test_a_worker_that_died_leaves_its_last_lines_in_the_status() -> None:
    failing = observed(worker("a", phase="CrashLoopBackOff", ended=CRASHED))
    (failure,) = build_status(account(observed=failing, signals=signals()), NOW)["failures"]
    assert failure == {
        "at": "2027-01-15T08:00:00Z", "worker": "a", "reason": "CrashLoop", "message": TRACEBACK.strip(),
    }  # fmt: skip


def test_a_failure_stays_in_the_status_when_its_worker_is_gone_and_with_its_instant() -> None:
    first = build_status(account(observed=observed(worker("a", phase="CrashLoopBackOff", ended=CRASHED))), NOW)
    document = manifest() | {"status": first}
    for workers in ((), (worker("a", phase="CrashLoopBackOff", ended=CRASHED),)):
        later = account(observed=observed(*workers, document=document), signals=signals())
        assert build_status(later, NOW + 60)["failures"] == first["failures"]


def test_more_failures_than_are_kept_settle() -> None:
    failing = [worker(f"w{number}", phase="CrashLoopBackOff", ended=CRASHED) for number in range(9)]
    document = manifest()
    kept = []
    for number in range(3):
        facts = observed(*failing, document=document)
        status = build_status(account(observed=facts, signals=signals()), NOW + number)
        kept.append(status["failures"])
        document = manifest() | {"status": status}
    assert kept[0] == kept[1] == kept[2]
    assert len(kept[0]) == FAILURES_KEPT


def test_a_workers_own_report_comes_before_the_clusters() -> None:
    known = signals(view("a", phase=WorkerPhase.UNHEALTHY, reason="Traceback:\n  line 1\nSyntaxError: line 3\n"))
    ready = condition(build_status(account(signals=known), NOW), "Ready")
    assert ready["reason"] == "WorkerUnfit"
    assert ready["message"] == "worker a fails: SyntaxError: line 3; mend the handler, or install what it misses"


def test_an_endpoint_without_workers_is_ready_and_not_available() -> None:
    status = build_status(account(observed=observed(), decision=ScalingDecision(0, Term.STEADY, "")), NOW)
    assert condition(status, "Available")["reason"] == "NoWorkers"
    assert {each["type"] for each in status["conditions"] if each["status"] == "True"} == {
        "Ready", "WorkersHealthy", "CapacityAvailable", "RolloutComplete", "Autoscaling", "ScalerHealthy",
    }  # fmt: skip


def test_a_worker_that_finds_no_node_shows_as_missing_capacity_in_the_schedulers_words() -> None:
    words = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    waiting = observed(worker("a"), worker("b", phase="Unschedulable", message=words), pools=(pool(replicas=2),))
    status = build_status(account(observed=waiting), NOW)
    capacity = condition(status, "CapacityAvailable")
    assert (capacity["status"], capacity["reason"]) == ("False", "Unschedulable")
    assert words in capacity["message"]
    assert condition(status, "Ready")["status"] == "True", "another worker works"


def test_an_old_revision_that_is_still_there_is_a_rollout_in_progress() -> None:
    workers = observed(worker("a"), worker("old", "r0"), pools=(pool("r0", 1), pool(replicas=1)))
    rollout = condition(build_status(account(observed=workers), NOW), "RolloutComplete")
    assert (rollout["status"], rollout["reason"]) == ("False", "InProgress")


def test_one_working_worker_keeps_the_endpoint_ready_while_another_fails() -> None:
    workers = observed(worker("a"), worker("b", phase="CrashLoopBackOff"))
    assert condition(build_status(account(observed=workers), NOW), "Ready")["status"] == "True"


def test_silence_of_the_gateway_shows_as_a_scaler_that_holds() -> None:
    silent = signals(view("a"), age_seconds=60)
    health = condition(build_status(account(signals=silent), NOW), "ScalerHealthy")
    assert (health["status"], health["reason"]) == ("False", "SignalsStale")


def test_unknown_signals_are_unknown_and_keep_the_last_job_counts() -> None:
    document = manifest() | {"status": {"jobs": {"queued": 7, "inProgress": 1}}}
    status = build_status(account(observed=observed(document=document), signals=None), NOW)
    assert status["jobs"] == {"queued": 7, "inProgress": 1}
    assert condition(status, "ScalerHealthy")["status"] == "Unknown"


def test_a_step_that_failed_early_keeps_counting_the_workers_of_the_last_known_revision() -> None:
    document = manifest() | {"status": {"revision": "r1"}}
    failed = account(observed=observed(worker("a"), document=document), revision=None, decision=None)
    workers = build_status(failed, NOW)["workers"]
    assert (workers["ready"], workers["outdated"]) == (1, 0)


def test_the_status_is_one_that_the_api_describes() -> None:
    EndpointStatus.model_validate(build_status(account(), NOW))
    failing = observed(worker("a", phase="CrashLoopBackOff", ended=CRASHED))
    EndpointStatus.model_validate(build_status(account(observed=failing, signals=signals()), NOW))
    EndpointStatus.model_validate(build_status(account(problem=Problem("InvalidSpec", "no"), signals=None), NOW))


def given(**spec: Any) -> dict[str, Any]:
    """The status of an endpoint with this spec and no workers."""
    document = manifest(**spec)
    facts = account(observed=observed(document=document), endpoint=resolved(document), decision=None)
    return build_status(facts, NOW)


def test_an_endpoint_without_a_maximum_is_parked() -> None:
    assert given(scaling={"workersMax": 0})["phase"] == "Parked"


def test_a_suspended_endpoint_says_so() -> None:
    status = given(suspend=True)
    assert status["phase"] == "Suspended"
    assert condition(status, "Autoscaling")["reason"] == "Suspended"
    assert condition(status, "Ready")["status"] == "True"


def test_a_number_of_workers_that_the_user_set_switches_the_scaler_off() -> None:
    autoscaling = condition(given(scaling={"replicas": 2}), "Autoscaling")
    assert (autoscaling["status"], autoscaling["reason"]) == ("False", "ManualReplicas")
    assert autoscaling["message"] == (
        "spec.scaling.replicas asks for 2; remove spec.scaling.replicas to leave the number to the scaler"
    )


def test_the_scale_subresource_finds_the_pods_of_the_endpoint() -> None:
    assert given()["selector"] == "serverless.submodel.ai/endpoint=tokens"


@pytest.mark.parametrize(
    ("gpu", "summary"),
    [
        ({"count": 2, "types": ["A100", "L40", "L4"]}, "2 × A100 +2"),
        ({"count": 1, "resourceName": "amd.com/gpu"}, "1 × amd.com/gpu"),
    ],
)
def test_gpus_are_summed_up_for_the_column(gpu: dict[str, Any], summary: str) -> None:
    assert given(gpu=gpu)["gpu"] == {"summary": summary}


def test_what_cannot_be_looked_for_is_a_warning() -> None:
    (warning,) = given(gpu={"count": 1, "allowedCudaVersions": ["12.4"]})["warnings"]
    assert warning.startswith("spec.gpu.allowedCudaVersions: any version is taken")


def test_what_follows_from_the_spec_stays_while_the_spec_cannot_be_read() -> None:
    before = given(gpu={"count": 1})
    unread = account(observed=observed(document=manifest() | {"status": before}), endpoint=None, decision=None)
    after = build_status(unread, NOW)
    assert {name: after[name] for name in ("url", "selector", "gpu")} == {
        name: before[name] for name in ("url", "selector", "gpu")
    }
    assert condition(after, "Autoscaling") == condition(before, "Autoscaling")


def test_a_worker_that_came_too_late_shows_until_one_of_its_revision_works() -> None:
    late = account(signals=signals(), overdue={"a": "it did not ask for a job within 600 s of its start"})
    first = build_status(late, NOW)
    assert condition(first, "WorkersHealthy")["reason"] == "StartupDeadline"
    assert first["failures"][0]["worker"] == "a"
    for known, reason in ((signals(), "StartupDeadline"), (signals(view("b")), "NoFailure")):
        facts = observed(worker("b"), pools=(pool(replicas=1),), document=manifest() | {"status": first})
        later = build_status(account(observed=facts, signals=known), NOW + 5)
        assert condition(later, "WorkersHealthy")["reason"] == reason


def test_a_revision_whose_jobs_fail_stops_its_rollout_and_says_so_in_words_that_stand_still() -> None:
    facts = observed(worker("old", "r0"), worker("a"), pools=(pool("r0", 1), pool(replicas=1)))

    def rollout(**jobs: Any) -> dict[str, Any]:
        known = signals(view("old", "r0", running=1, completed=30), view("a", **jobs))
        told = account(observed=facts, signals=known, decision=ScalingDecision(1, Term.BUSY, "it holds a job"))
        return condition(build_status(told, NOW), "RolloutComplete")

    assert rollout(failed=4)["reason"] == "InProgress"
    failed = rollout(failed=5)
    assert (failed["status"], failed["reason"]) == ("False", "RolloutFailed")
    assert failed["message"].startswith("about 100 % of the jobs of revision r1 fail")
    assert "the manifest before this one goes back at once" in failed["message"]
    assert rollout(failed=500)["message"] == failed["message"]
    assert rollout(failed=9, completed=9)["reason"] == "InProgress"


def test_a_revision_that_does_not_work_stops_its_rollout_and_says_so() -> None:
    workers = (worker("old", "r0"), worker("a", phase="CrashLoopBackOff", ended=CRASHED))
    facts = observed(*workers, pools=(pool("r0", 1), pool(replicas=1)))
    known = signals(view("old", "r0"))
    rollout = condition(build_status(account(observed=facts, signals=known), NOW), "RolloutComplete")
    assert (rollout["status"], rollout["reason"]) == ("False", "RolloutFailed")
    assert "No module named 'torch'" in rollout["message"]
    assert "the manifest before this one goes back at once" in rollout["message"]
