"""Jobs over time, made up: the shapes of traffic that tell scalers apart. The same seed makes the same jobs."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import log, pi, sin, sqrt
from random import Random
from typing import Final, NamedTuple


class Job(NamedTuple):
    """One job: when it comes, in seconds from the beginning, and how long it runs."""

    arrives_at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Workload:
    """Jobs in the order in which they come."""

    name: str
    jobs: tuple[Job, ...]
    seconds: float
    """Length of the observation; jobs that came in it are run to their end."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of traffic."""

    description: str
    seconds: float
    """Its usual length."""

    make: Callable[[Random, float], Iterator[Job]]


def make(name: str, seed: int, seconds: float | None = None) -> Workload:
    """The workload of that name.

    Raises:
        KeyError: there is none of that name.
    """
    shape = SHAPES[name]
    length = shape.seconds if seconds is None else seconds
    chance = Random(f"{name}/{seed}")
    return Workload(name, tuple(sorted(shape.make(chance, length))), length)


def _steady(chance: Random, seconds: float) -> Iterator[Job]:
    return _poisson(chance, seconds, rate=3.0, mean=2.0, variation=0.5)


def _gamma(chance: Random, seconds: float) -> Iterator[Job]:
    """Gaps with three times the spread of chance: long silences and dense bursts."""
    rate, spread = 2.0, 3.0
    shape = 1 / spread**2
    now = chance.gammavariate(shape, 1 / (rate * shape))
    while now < seconds:
        yield Job(now, _lognormal(chance, 2.0, 0.5))
        now += chance.gammavariate(shape, 1 / (rate * shape))


def _on_off(chance: Random, seconds: float) -> Iterator[Job]:
    """Four busy minutes in every twenty, and hardly anything between them."""
    for begin in range(0, int(seconds), 1200):
        yield from _moved(_poisson(chance, min(240.0, seconds - begin), 6.0, 2.0, 0.5), begin)
        yield from _moved(_poisson(chance, min(960.0, seconds - begin - 240), 0.05, 2.0, 0.5), begin + 240)


def _diurnal(chance: Random, seconds: float) -> Iterator[Job]:
    """Two days' worth of a daily curve, squeezed into the observation."""
    for job in _poisson(chance, seconds, rate=4.0, mean=3.0, variation=0.5):
        share = (1 - sin(2 * pi * (2 * job.arrives_at / seconds + 0.25))) / 2
        if chance.random() < share:
            yield job


def _batch(chance: Random, seconds: float) -> Iterator[Job]:
    for begin in range(60, int(seconds), 600):
        for _ in range(80):
            yield Job(begin + chance.random(), _lognormal(chance, 4.0, 0.5))


def _sparse(chance: Random, seconds: float) -> Iterator[Job]:
    return _poisson(chance, seconds, rate=1 / 120, mean=3.0, variation=0.5)


def _long(chance: Random, seconds: float) -> Iterator[Job]:
    """One job a minute; most take two minutes, one in five takes forty."""
    for job in _poisson(chance, seconds, rate=1 / 60, mean=1.0, variation=0.2):
        yield Job(job.arrives_at, job.seconds * (2400.0 if chance.random() < 0.2 else 120.0))


SHAPES: Final[Mapping[str, Shape]] = {
    "steady": Shape("3 jobs/s of 2 s, by chance alone", 3600.0, _steady),
    "gamma": Shape("2 jobs/s of 2 s, gaps with a coefficient of variation of 3", 3600.0, _gamma),
    "on-off": Shape("6 jobs/s of 2 s for 4 minutes in every 20, else 0.05 jobs/s", 7200.0, _on_off),
    "diurnal": Shape("0 to 4 jobs/s of 3 s in two daily curves", 14400.0, _diurnal),
    "batch": Shape("80 jobs of 4 s at once, every 10 minutes", 7200.0, _batch),
    "sparse": Shape("one job of 3 s every 2 minutes", 14400.0, _sparse),
    "long": Shape("1 job per minute of 2 minutes, one in five of 40 minutes", 14400.0, _long),
}


def _poisson(chance: Random, seconds: float, rate: float, mean: float, variation: float) -> Iterator[Job]:
    now = chance.expovariate(rate)
    while now < seconds:
        yield Job(now, _lognormal(chance, mean, variation))
        now += chance.expovariate(rate)


def _lognormal(chance: Random, mean: float, variation: float) -> float:
    """A duration with this mean and coefficient of variation."""
    variance = log(1 + variation**2)
    return chance.lognormvariate(log(mean) - variance / 2, sqrt(variance))


def _moved(jobs: Iterator[Job], by: float) -> Iterator[Job]:
    return (Job(job.arrives_at + by, job.seconds) for job in jobs)
