"""Scalers by name: `ADAPTIVE`, `REQUEST_COUNT:value=2,idle=60`, `KEDA:poll=5,cooldown=60`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from submodel_operator.api.problems import sentences
from submodel_operator.api.v1alpha1 import EndpointSpec, ScalerType
from submodel_operator.errors import UsageError
from submodel_operator.resolve import resolve_scaling
from submodel_operator.simulation.baselines import (
    Beta9,
    Fixed,
    Hpa,
    Keda,
    Knative,
    KubeAi,
    Oracle,
    RayServe,
    running_at,
)
from submodel_operator.simulation.cluster import Conditions, Scaler
from submodel_operator.simulation.production import Production
from submodel_operator.simulation.workloads import Workload

Numbers = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Choice:
    """A scaler that can be named, with the options that it takes."""

    description: str
    options: tuple[str, ...]
    build: Callable[[str, Numbers, Workload, Conditions], Scaler]


_SETTINGS: Final = {
    "value": "scalerValue",
    "idle": "idleTimeout",
    "min": "workersMin",
    "max": "workersMax",
    "standby": "standby",
    "surge": "maxSurge",
    "stabilization": "stabilizationSeconds",
}
"""Options of our own scalers, and the fields of `spec.scaling` that they are."""


def build(text: str, workload: Workload, conditions: Conditions) -> Scaler:
    """The scaler that `text` names.

    Raises:
        UsageError: there is none of that name, or it has no such option.
    """
    name, _, rest = text.partition(":")
    choice = CHOICES.get(name.upper())
    if choice is None:
        raise UsageError(f"scaler {text}: there is none of that name; use one of {', '.join(CHOICES)}")
    return choice.build(text, _numbers(text, rest, choice.options), workload, conditions)


def _numbers(text: str, rest: str, options: tuple[str, ...]) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for part in filter(None, rest.split(",")):
        key, _, value = part.rpartition("=")
        key = key or options[0] if options else key
        if key not in options:
            known = f"use {', '.join(options)}" if options else "it has none"
            raise UsageError(f"scaler {text}: no option {key or part!r}; {known}")
        try:
            numbers[key] = float("inf") if value == "auto" else float(value)
        except ValueError:
            raise UsageError(f"scaler {text}: {key} is a number, not {value!r}") from None
    return numbers


def _ours(kind: ScalerType) -> Callable[[str, Numbers, Workload, Conditions], Scaler]:
    def build_one(text: str, numbers: Numbers, workload: Workload, conditions: Conditions) -> Scaler:
        scaling: dict[str, object] = {"scalerType": kind, "workersMax": conditions.workers_max}
        if kind is ScalerType.ADAPTIVE:
            scaling |= {"scalerValue": conditions.late_after_seconds, "idleTimeout": "auto"}
        for key, number in numbers.items():
            scaling[_SETTINGS[key]] = "auto" if number == float("inf") else number if key == "value" else int(number)
        worker = {"image": "simulated", "concurrency": conditions.concurrency}
        try:
            spec = EndpointSpec.model_validate({"worker": worker, "scaling": scaling})
        except ValidationError as error:
            raise UsageError(f"scaler {text}: {'; '.join(sentences(error))}") from None
        return Production(text, resolve_scaling(spec))

    return build_one


def _fixed(text: str, numbers: Numbers, workload: Workload, conditions: Conditions) -> Scaler:
    busy = running_at(workload.jobs, conditions.concurrency)
    mean = round(sum(job.seconds for job in workload.jobs) / workload.seconds / conditions.concurrency)
    workers = numbers.get("workers", max(busy) if text.upper().endswith("PEAK") else max(1, mean))
    return Fixed(name=text, workers=int(workers))


def _oracle(text: str, numbers: Numbers, workload: Workload, conditions: Conditions) -> Scaler:
    return Oracle(
        name=text,
        concurrency_at=running_at(workload.jobs, conditions.concurrency),
        cold_start_seconds=conditions.cold_start_seconds,
    )


def _theirs(description: str, rule: Callable[..., Scaler], **fields: str) -> Choice:
    """A rule of others, whose options are these fields of it."""

    def build_one(text: str, numbers: Numbers, workload: Workload, conditions: Conditions) -> Scaler:
        return rule(name=text, **{fields[option]: number for option, number in numbers.items()})

    return Choice(description, tuple(fields), build_one)


_OURS: Final = tuple(_SETTINGS)

CHOICES: Final[Mapping[str, Choice]] = {
    "ADAPTIVE": Choice("ours; value is the late limit and idle is auto", _OURS, _ours(ScalerType.ADAPTIVE)),
    "QUEUE_DELAY": Choice("the hosted rule, value 4 and idle 5", _OURS, _ours(ScalerType.QUEUE_DELAY)),
    "REQUEST_COUNT": Choice("the hosted rule, value 4 and idle 5", _OURS, _ours(ScalerType.REQUEST_COUNT)),
    "HPA": _theirs("Kubernetes 1.37 with zero, target 1", Hpa, target="target", down="down_seconds", running="running"),
    "KEDA": _theirs(
        "target 1, poll 30, cooldown 300",
        Keda,
        target="target",
        poll="poll_seconds",
        cooldown="cooldown_seconds",
        grace="grace_seconds",
        running="running",
    ),
    "KPA": _theirs("Knative", Knative, utilisation="utilisation"),
    "KUBEAI": _theirs("target 1", KubeAi, target="target"),
    "RAY": _theirs(
        "Ray Serve, target 2, up 30, down 600", RayServe, target="target", up="up_seconds", down="down_seconds"
    ),
    "BETA9": _theirs("one worker per task, warm 10", Beta9, tasks="tasks_per_worker", warm="keep_warm_seconds"),
    "FIXED-PEAK": Choice("as many as the peak needs", ("workers",), _fixed),
    "FIXED-MEAN": Choice("as many as the mean needs", ("workers",), _fixed),
    "ORACLE": Choice("knows every job in advance", (), _oracle),
}

ALL: Final = (
    "ADAPTIVE",
    "QUEUE_DELAY",
    "QUEUE_DELAY:idle=60",
    "REQUEST_COUNT",
    "REQUEST_COUNT:value=1,idle=60",
    "HPA",
    "KEDA",
    "KEDA:poll=5,cooldown=60",
    "KPA",
    "KUBEAI",
    "RAY",
    "BETA9",
    "FIXED-PEAK",
    "FIXED-MEAN",
    "ORACLE",
)
"""What `--compare all` means."""
