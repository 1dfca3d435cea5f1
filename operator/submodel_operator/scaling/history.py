"""Arrivals and completions over time, from nothing but the gateway's totals.

Rates come from the difference of two totals. The time a job runs comes from Little's law: the time that jobs spent
running, divided by those that ended. It is right for jobs that outlast any window, too: what still runs counts.
"""

from bisect import bisect_right
from collections.abc import Sequence
from math import sqrt
from operator import attrgetter
from typing import Final

import msgspec

from submodel_operator.scaling.signals import Demand
from submodel_operator.scaling.state import SAMPLES_SECONDS, Sample

SLOW_SECONDS: Final = 60.0
"""The slow window where jobs are short."""

FAST_SECONDS: Final = 6.0
"""Window that notices a burst."""

FAST_ARRIVALS: Final = 5
"""Fewer arrivals in the fast window are chance."""

COMPLETIONS: Final = 50
"""Completions that make a mean of the service time; older ones do not count."""

FINEST_SECONDS: Final = 0.5
THINNING: Final = 6
"""Samples stay apart by a sixth of their age, so that a quarter of an hour fits into a few dozen."""

SAMPLES: Final = 64
"""They are thinned when there are more."""

Samples = tuple[Sample, ...]
_instant, _finished = attrgetter("at"), attrgetter("finished")


def record(samples: Samples, demand: Demand, now: float) -> Samples:
    """`samples` with the totals of `demand`, if they differ from the last.

    Totals a little below the last ones are those of another gateway that lags behind, and wait for it. Totals of less
    than half are those of a gateway that lost its store: the record begins anew.
    """
    running = demand.running
    if not samples or _lost(samples[-1], demand):
        return (Sample(_heard_at(demand, now), demand.arrived_total, demand.finished_total, running, 0.0),)
    last = samples[-1]
    arrived, finished = max(last.arrived, demand.arrived_total), max(last.finished, demand.finished_total)
    if last.running == running and last.finished == finished and last.arrived == arrived:
        return samples
    at = max(_heard_at(demand, now), last.at)
    added = Sample(at, arrived, finished, running, round(job_seconds(last, at), 3))
    return _thinned((*samples, added), now) if len(samples) >= SAMPLES else (*samples, added)


def _heard_at(demand: Demand, now: float) -> float:
    return round(now - demand.age_seconds, 3)


def _lost(last: Sample, demand: Demand) -> bool:
    return 2 * demand.arrived_total < last.arrived or 2 * demand.finished_total < last.finished


def job_seconds(sample: Sample, at: float) -> float:
    """Time that jobs had spent running until `at`, if nothing changed since `sample`."""
    return sample.job_seconds + sample.running * (at - sample.at)


def arrived(samples: Samples, instants: Sequence[float], now: float) -> list[float]:
    """The totals of arrivals at some instants; the first known one before that. There is a sample at least.

    Between two samples that thinning may have parted it grew evenly, for all that is known; over a longer distance
    nothing came, and then all at once.
    """
    first, last = samples[0], samples[-1]
    totals: list[float] = []
    for at in instants:
        if at >= last.at:  # at rest always: no search
            totals.append(last.arrived)
        elif at < first.at:
            totals.append(first.arrived)
        else:
            following = bisect_right(samples, at, key=_instant)
            before, after = samples[following - 1], samples[following]
            since, until, known = before.at, after.at, before.arrived
            distance = until - since
            # `_spacing`, written out: five calls of it in each decision took half as long as the searches.
            if distance > FINEST_SECONDS and distance > (now - until) / THINNING:
                totals.append(known)
            else:
                totals.append(known + (after.arrived - known) * (at - since) / distance)
    return totals


def window_seconds(service_seconds: float) -> float:
    """How far back the slow rate looks: long jobs need a long window."""
    seconds = 5 * service_seconds
    return SLOW_SECONDS if seconds <= SLOW_SECONDS else min(SAMPLES_SECONDS, seconds)


def sure_rate(first: float, all: float, last: float) -> float:
    """Jobs per second if so many came in the first third of the fast window, in all of it and in the last third, less
    what chance alone may add.

    0 of few, and of a batch: that is never in the first and the last third.
    """
    if all < FAST_ARRIVALS:
        return 0.0
    surely = min(3 * (first - sqrt(first)), all - sqrt(all), 3 * (last - sqrt(last)))
    return max(0.0, surely) / FAST_SECONDS


def service_seconds(samples: Samples, now: float, since: float = 0.0) -> float | None:
    """Mean run of a job over the last completions, none before `since`; None while none has ended."""
    if not samples:
        return None
    last, first = samples[-1], _at(samples, since)
    enough = bisect_right(samples, last.finished - COMPLETIONS, key=_finished)
    if enough and samples[enough - 1].at >= first.at:
        first = samples[enough - 1]
    finished = last.finished - first.finished
    return (job_seconds(last, now) - first.job_seconds) / finished if finished else None


def unfinished_seconds(samples: Samples, now: float, since: float = 0.0) -> float:
    """Time spent running since then by jobs of which none has ended yet: a run takes at least that long."""
    if not samples:
        return 0.0
    last, first = samples[-1], _at(samples, since)
    if last.finished != first.finished:
        return 0.0
    return (job_seconds(last, now) - first.job_seconds) / max(1, last.running)


def _at(samples: Samples, since: float) -> Sample:
    """The totals at an instant; the first known ones before that."""
    if since < samples[0].at:  # nothing was revised within memory: no search
        return samples[0]
    following = bisect_right(samples, since, key=_instant)
    sample = samples[following - 1]
    return msgspec.structs.replace(sample, at=since, job_seconds=job_seconds(sample, since))


def _thinned(samples: Samples, now: float) -> Samples:
    """`samples` without those that are too old, or closer to their neighbours than their age deserves."""
    oldest = now - SAMPLES_SECONDS
    start = next((index - 1 for index, sample in enumerate(samples) if index and sample.at > oldest), 0)
    kept = [samples[start]]
    for index in range(start + 1, len(samples) - 1):
        following = samples[index + 1].at
        if following - kept[-1].at > _spacing(following, now):
            kept.append(samples[index])
    return (*kept, samples[-1])


def _spacing(at: float, now: float) -> float:
    """How far from the one before a sample may be at most after thinning."""
    deserved = (now - at) / THINNING
    return deserved if deserved > FINEST_SECONDS else FINEST_SECONDS  # `max` takes five times as long
