"""What a person hears of when the status changes."""

from typing import Any

import pytest

from submodel_operator.api.conditions import CONDITIONS, EVENTS, EventReason, Reason
from submodel_operator.events import events_between
from submodel_operator.kube.event_log import COUNTED_FOR_SECONDS, MESSAGE_LENGTH, EventLog
from submodel_operator.ports import Event
from tests.support.endpoints import observed


def status(**parts: Any) -> dict[str, Any]:
    conditions = parts.pop("conditions", {})
    return {
        **parts,
        "conditions": [
            {"type": kind, "status": holds, "reason": reason, "message": "words"}
            for kind, (holds, reason) in conditions.items()
        ],
    }


def reasons(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [str(event.reason) for event in events_between(before, after)]


FINE = {"Ready": ("True", "Registered"), "RolloutComplete": ("True", "Complete")}


def test_a_new_endpoint_that_is_well_makes_no_event() -> None:
    assert reasons({}, status(conditions=FINE, revision="r1")) == []


def test_an_unchanged_status_makes_no_event() -> None:
    bad = status(conditions={"Ready": ("False", "CrashLoop")}, failures=[{"worker": "a", "reason": "CrashLoop"}])
    assert reasons(bad, bad) == []


@pytest.mark.parametrize(
    ("current", "desired", "reason"),
    [(0, 2, "ScaledFromZero"), (1, 2, "ScaledUp"), (3, 1, "ScaledDown"), (1, 0, "ScaledToZero")],
)
def test_a_decision_is_told_in_its_own_words(current: int, desired: int, reason: str) -> None:
    decision = {"at": "x", "current": current, "desired": desired, "message": "because"}
    (event,) = events_between(status(), status(autoscaling={"lastDecision": decision}))
    assert (event.reason, event.message) == (reason, f"workers {current} → {desired}: because")


def test_an_endpoint_that_fails_and_recovers_tells_both() -> None:
    bad = status(conditions={"Ready": ("False", "CrashLoop")})
    assert reasons(status(conditions=FINE), bad) == ["BecameNotReady"]
    assert reasons(bad, status(conditions=FINE)) == ["Recovered"]


def test_another_reason_of_the_same_condition_is_news() -> None:
    before, after = ({"Ready": ("False", reason)} for reason in ("CrashLoop", "OutOfMemory"))
    assert reasons(status(conditions=before), status(conditions=after)) == ["BecameNotReady"]


def test_missing_capacity_and_a_silent_gateway_are_told() -> None:
    bad = {"CapacityAvailable": ("False", "Unschedulable"), "ScalerHealthy": ("False", "SignalsStale")}
    assert reasons(status(), status(conditions=bad)) == ["CapacityExhausted", "SignalsLost"]


def test_a_rollout_is_told_at_its_beginning_and_its_end() -> None:
    under_way = status(conditions={"RolloutComplete": ("False", "InProgress")}, revision="r2")
    assert reasons(status(revision="r1", conditions=FINE), under_way) == ["RolloutStarted"]
    assert reasons(under_way, status(conditions=FINE, revision="r2")) == ["RolloutCompleted"]


def test_a_rollout_that_stops_says_so() -> None:
    stopped = {"RolloutComplete": ("False", "RolloutFailed")}
    under_way = {"RolloutComplete": ("False", "InProgress")}
    assert reasons(status(conditions=under_way), status(conditions=stopped)) == ["RolloutStopped"]


def test_a_part_of_the_spec_without_effect_is_told_once() -> None:
    after = status(warnings=["spec.gpu: no"])
    assert reasons(status(), after) == ["FieldIgnored"]
    assert reasons(after, after) == []


def test_each_failure_of_a_worker_is_told_once_with_its_last_lines() -> None:
    first = {"worker": "a", "reason": "OutOfMemory", "message": "line 1\nline 2"}
    second = {"worker": "b", "reason": "Evicted", "message": "low on disk"}
    events = events_between(status(failures=[first]), status(failures=[first, second]))
    assert events == (Event(EventReason.WORKER_FAILED, "worker b: Evicted: low on disk", "b"),)


def test_an_event_counts_only_for_a_while() -> None:
    log, event = EventLog(), Event(EventReason.SCALED_UP, "x")
    first = log.take(observed(), event, 0.0)
    second = log.take(observed(), event, COUNTED_FOR_SECONDS)
    third = log.take(observed(), event, 2.1 * COUNTED_FOR_SECONDS)
    assert (first.count, second.count, third.count) == (1, 2, 1)
    assert first.name == second.name != third.name


def test_of_long_words_the_end_is_told() -> None:
    entry = EventLog().take(observed(), Event(EventReason.WORKER_FAILED, "x" * 5000 + "KeyError"), 0.0)
    assert len(entry.manifest()["message"]) == MESSAGE_LENGTH
    assert entry.manifest()["message"].endswith("KeyError")


def test_every_reason_is_described_and_every_event_too() -> None:
    described = {reason for condition in CONDITIONS.values() for reason in condition.reasons}
    assert described == set(Reason)
    assert set(EVENTS) == set(EventReason)
