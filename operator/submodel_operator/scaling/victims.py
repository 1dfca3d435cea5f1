"""Who may leave. Only workers that hold nothing, the longest idle first; and those that never came to work."""

from collections.abc import Sequence

from submodel_operator.scaling.signals import ScalingInputs


def unneeded_starts(inputs: ScalingInputs, surplus: int, after_seconds: float) -> tuple[str, ...]:
    """Workers that are starting although nobody needs them any more: those that are held up, then the youngest.

    They go before idle ones: a ReplicaSet that shrinks takes pods that are not ready first, whatever was marked.
    They get as long as an idle worker would, because demand that comes back would start them again.
    """
    expired = [worker for worker in inputs.starting if worker.age_seconds >= after_seconds]
    expired.sort(key=lambda each: (each.runs, each.coming, not each.draining, each.age_seconds, each.name))
    return tuple(worker.name for worker in expired[:surplus])


def idle(inputs: ScalingInputs, surplus: int, after_seconds: float, last_after_seconds: float) -> tuple[str, ...]:
    """Workers that have held nothing for `after_seconds`, and for `last_after_seconds` the one after which nobody would
    be left; those that drain already keep their place.

    Those that the cluster would take before any other are chosen before any other.
    """
    candidates = [
        (not (worker.unready or worker.coming), not worker.draining, -worker.idle_seconds, worker.name)
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


def still_coming(inputs: ScalingInputs, remove: Sequence[str]) -> str | None:
    """A worker that is to stay and that does not run yet by the cluster's word, which would take it first.

    It may have a job by then. Of those that are held up the cluster takes the marked ones, if none of `remove` runs.
    """
    if len(remove) == inputs.replicas:
        return None
    coming = [worker.name for worker in inputs.workers if worker.coming]
    coming += [worker.name for worker in inputs.starting if worker.coming]
    if any(worker.runs for worker in inputs.starting if worker.name in remove):
        coming += [worker.name for worker in inputs.starting if not worker.runs]
    return next((name for name in coming if name not in remove), None)


def seconds_until_due(inputs: ScalingInputs, stay: Sequence[float]) -> list[float]:
    """When workers will have been idle (or starting) for as long as idle workers stay, by any of these."""
    ages = [worker.idle_seconds for worker in inputs.workers if worker.idle_seconds is not None]
    ages += [worker.age_seconds for worker in inputs.starting]
    return [after_seconds - age for after_seconds in set(stay) for age in ages if age < after_seconds]
