"""A decision as data and in words: what it rested on, which term won, what limited it, what would change it.

The data is what `status.autoscaling` shows; the words are made from that data alone, so that whoever reads a status
later can tell them.
"""

from collections.abc import Mapping
from typing import Any

from submodel_operator.api.v1alpha1 import ScalerType
from submodel_operator.scaling.decision import Proposal, ScalingDecision, Term, counted
from submodel_operator.scaling.estimates import Estimates
from submodel_operator.scaling.signals import ScalingInputs

Described = dict[str, Any]


def describe(decision: ScalingDecision, inputs: ScalingInputs, at: str) -> Described:
    """`status.autoscaling.lastDecision`. `at` is the instant as text."""
    described: Described = {
        "at": at,
        "current": inputs.replicas,
        "desired": decision.replicas,
        "reason": str(decision.term),
        "message": decision.message,
        "inputs": _inputs(inputs, decision.estimates),
    }
    if decision.proposal:
        described["proposal"] = describe_proposal(inputs.scaling.scaler_type, decision.proposal)
    return described


def beliefs(decision: ScalingDecision) -> dict[str, float]:
    """What the scaler believes of jobs and starts, as metrics name it; rates and durations only where they are used."""
    estimates = decision.estimates
    if estimates is None:
        return {}
    believed = {"start_seconds": estimates.cold_start_seconds}
    if any(term in (Term.ARRIVAL_RATE, Term.BACKLOG) for term, _ in decision.terms) or estimates.arrivals:
        believed["arrivals_per_second"] = max(estimates.slow_rate, estimates.sure_fast_rate)
        believed["service_seconds"] = estimates.service_seconds
    return believed


def describe_proposal(policy: ScalerType, proposal: Proposal) -> Described:
    """`status.autoscaling.shadow`, and the part of a decision that speaks of its policy."""
    described: Described = {
        "scalerType": str(policy),
        "desired": proposal.workers,
        "reason": str(proposal.term),
        "message": proposal.message,
    }
    return {**described, "change": proposal.change} if proposal.change else described


def in_words(described: Mapping[str, Any]) -> list[str]:
    """Sentences for a person: the decision, its reckoning, its limit, its inputs, what would change it."""
    lines = [
        f"{described['at']}: {counted(described['current'], 'worker')} → {described['desired']}"
        f" ({described['reason']}): {described['message']}."
    ]
    if proposal := described.get("proposal"):
        lines.append(proposal_in_words(proposal))
        if proposal["reason"] != described["reason"] and proposal["desired"] != described["desired"]:
            lines.append(f"{described['reason']} made it {described['desired']}.")
    if inputs := described.get("inputs"):
        lines.append(_inputs_in_words(inputs))
    if proposal and proposal.get("change"):
        lines.append(f"What would change it: {proposal['change']}.")
    return lines


def proposal_in_words(proposal: Mapping[str, Any]) -> str:
    """What a policy asked for, as a sentence."""
    wanted = f"{proposal['scalerType']} asked for {proposal['desired']} ({proposal['reason']})"
    return f"{wanted}: {proposal['message']}."


def _inputs(inputs: ScalingInputs, estimates: Estimates | None) -> Described:
    described: Described = {
        "working": len(inputs.workers),
        "busy": inputs.busy,
        "starting": inputs.pending,
    }
    if demand := inputs.demand:
        described |= {"queued": demand.queued, "running": demand.in_progress}
        if demand.queued_low:
            described["queuedLowPriority"] = demand.queued_low
        described["signalsAgeSeconds"] = round(demand.age_seconds, 1)
        if ScalerType.QUEUE_DELAY in (inputs.scaling.scaler_type, inputs.scaling.shadow):
            described["late"] = demand.late
        if demand.oldest_seconds is not None:
            described["oldestSeconds"] = round(demand.oldest_seconds, 1)
    if estimates:
        described["coldStartSeconds"] = round(estimates.cold_start_seconds, 1)
        if ScalerType.ADAPTIVE in (inputs.scaling.scaler_type, inputs.scaling.shadow):
            described["arrivalsPerSecond"] = round(max(estimates.slow_rate, estimates.sure_fast_rate), 4)
            described["serviceSeconds"] = round(estimates.service_seconds, 3)
    return described


def _inputs_in_words(inputs: Mapping[str, Any]) -> str:
    words = [
        f"{counted(inputs['working'], 'worker')} took jobs ({inputs['busy']} busy) and {inputs['starting']} started"
    ]
    if "queued" in inputs:
        oldest = f", the oldest for {inputs['oldestSeconds']:g} s" if "oldestSeconds" in inputs else ""
        late = f", {inputs['late']} of them late" if inputs.get("late") else ""
        words.append(f"{counted(inputs['queued'], 'job')} queued{oldest}{late}, {inputs['running']} running")
    if "queuedLowPriority" in inputs:
        words.append(f"{counted(inputs['queuedLowPriority'], 'queued job')} of low priority, which start no worker")
    if "arrivalsPerSecond" in inputs:
        words.append(f"{inputs['arrivalsPerSecond']:g} jobs/s arrived that run {inputs['serviceSeconds']:g} s")
    if "coldStartSeconds" in inputs:
        words.append(f"a start takes {inputs['coldStartSeconds']:g} s")
    if "signalsAgeSeconds" in inputs:
        words.append(f"the gateway's word was {inputs['signalsAgeSeconds']:g} s old")
    return f"It saw: {'; '.join(words)}."
