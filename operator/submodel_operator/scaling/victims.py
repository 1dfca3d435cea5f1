"""Who may leave. Only workers that hold nothing, the longest idle first; and those that never came to work."""

from collections.abc import Sequence

from submodel_operator.scaling.signals import ScalingInputs


def unneeded_starts(inputs: ScalingInputs, surplus: int, after_seconds: float) -> tuple[str, ...]:
    """Workers that are starting although nobody needs them any more, the youngest first.

    They go before idle ones: a ReplicaSet that shrinks takes pods that are not ready first, whatever was marked.
    They get as long as an idle worker would, because demand that comes back would start them again.
    """
    expired = [worker for worker in inputs.starting if worker.age_seconds >= after_seconds]
    expired.sort(key=lambda worker: (not worker.draining, worker.age_seconds, worker.name))
    return tuple(worker.name for worker in expired[:surplus])


def idle(inputs: ScalingInputs, surplus: int, after_seconds: float, last_after_seconds: float) -> tuple[str, ...]:
    """Workers that have held nothing for `after_seconds`, and for `last_after_seconds` the one after which nobody would
    be left; those that drain already keep their place.

    Those that the cluster would take before any other are chosen before any other.
    """
    candidates = [
        (not worker.unready, not worker.draining, -worker.idle_seconds, worker.name)
        for worker in inputs.workers
        if worker.idle_seconds is not None and (worker.draining or worker.idle_seconds >= after_seconds)
    ]
    chosen = sorted(candidates)[:surplus]
    stayed = [-idle_seconds for _, stays, idle_seconds, _ in chosen if stays]
    if stayed and len(chosen) == inputs.replicas and min(stayed) < last_after_seconds:
        chosen.pop()
    return tuple(name for _, _, _, name in chosen)


def taken_instead(inputs: ScalingInputs, remove: Sequence[str]) -> str | None:
    """A worker that is to stay and that the cluster would take before those of `remove`; None when there is none."""
    if len(remove) == inputs.replicas:
        return None
    return next((worker.name for worker in inputs.workers if worker.unready and worker.name not in remove), None)


def seconds_until_due(inputs: ScalingInputs, stay: Sequence[float]) -> list[float]:
    """When workers will have been idle (or starting) for as long as idle workers stay, by any of these."""
    ages = [worker.idle_seconds for worker in inputs.workers if worker.idle_seconds is not None]
    ages += [worker.age_seconds for worker in inputs.starting]
    return [after_seconds - age for after_seconds in stay for age in ages if age < after_seconds]
