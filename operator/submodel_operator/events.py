"""Events: what changed between two statuses, told in the past tense. Pure; called after a status was written.

Because they come from what was written, a restart of the operator repeats none, and changes that one status write
gathers make one event.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from submodel_operator.api.conditions import ConditionType, EventReason, Reason
from submodel_operator.ports import Event, Manifest

_Change = tuple[Mapping[str, Any], Mapping[str, Any]]


def events_between(before: Manifest, after: Manifest) -> tuple[Event, ...]:
    """What a person should hear of, in the order of importance."""
    tellers = (_failures, _conditions, _rollout, _scaling, _warnings)
    return tuple(event for tell in tellers for event in tell(before, after))


def _failures(before: Manifest, after: Manifest) -> Iterator[Event]:
    known = {(each["worker"], each["reason"]) for each in before.get("failures") or ()}
    for each in after.get("failures") or ():
        if (each["worker"], each["reason"]) not in known:
            message = f"worker {each['worker']}: {each['reason']}: {each['message']}"
            yield Event(EventReason.WORKER_FAILED, message, each["worker"])


def _conditions(before: Manifest, after: Manifest) -> Iterator[Event]:
    then, now = _change(before, after, ConditionType.READY)
    if now.get("status") == "False" and then.get("reason") != now["reason"]:
        yield Event(EventReason.BECAME_NOT_READY, f"{now['reason']}: {now['message']}")
    if now.get("status") == "True" and then.get("status") == "False":
        yield Event(EventReason.RECOVERED, now["message"])
    for kind, reason in (
        (ConditionType.CAPACITY_AVAILABLE, EventReason.CAPACITY_EXHAUSTED),
        (ConditionType.SCALER_HEALTHY, EventReason.SIGNALS_LOST),
        (ConditionType.UNDISTURBED, EventReason.CLOCK_JUMPED),
    ):
        then, now = _change(before, after, kind)
        if kind is ConditionType.UNDISTURBED and now.get("reason") != Reason.CLOCK_JUMPED:
            continue  # the witness has told what others did, as it happened
        if now.get("status") == "False" and then.get("reason") != now["reason"]:
            yield Event(reason, f"{now['reason']}: {now['message']}")


def _rollout(before: Manifest, after: Manifest) -> Iterator[Event]:
    old, new = before.get("revision"), after.get("revision")
    if old and new and old != new:
        yield Event(EventReason.ROLLOUT_STARTED, f"revision {new} takes the new jobs; workers of {old} finish theirs")
    then, now = _change(before, after, ConditionType.ROLLOUT_COMPLETE)
    if now.get("reason") == Reason.ROLLOUT_FAILED and then.get("reason") != now["reason"]:
        yield Event(EventReason.ROLLOUT_STOPPED, now["message"])
    if now.get("status") == "True" and then.get("status") == "False":
        yield Event(EventReason.ROLLOUT_COMPLETED, f"all workers are of revision {new}")


def _scaling(before: Manifest, after: Manifest) -> Iterator[Event]:
    decision = (after.get("autoscaling") or {}).get("lastDecision")
    if not decision or decision == (before.get("autoscaling") or {}).get("lastDecision"):
        return
    current, desired = decision["current"], decision["desired"]
    if desired > current:
        reason = EventReason.SCALED_UP if current else EventReason.SCALED_FROM_ZERO
    else:
        reason = EventReason.SCALED_DOWN if desired else EventReason.SCALED_TO_ZERO
    yield Event(reason, f"workers {current} → {desired}: {decision['message']}")


def _warnings(before: Manifest, after: Manifest) -> Iterator[Event]:
    for warning in after.get("warnings") or ():
        if warning not in (before.get("warnings") or ()):
            yield Event(EventReason.FIELD_IGNORED, warning)


def _change(before: Manifest, after: Manifest, kind: ConditionType) -> _Change:
    return _condition(before, kind), _condition(after, kind)


def _condition(status: Manifest, kind: ConditionType) -> Mapping[str, Any]:
    conditions = status.get("conditions") or ()
    return next((each for each in conditions if each["type"] == kind), {})
