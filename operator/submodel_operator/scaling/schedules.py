"""`scaling.schedules`: the entry that fired last keeps so many workers, until the next one fires.

Cron expressions are read by cronsim, whose handling of daylight saving is Debian's: an hour that does not exist fires
when it would have begun, an hour that comes twice fires once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from submodel_operator.resolve import ResolvedSchedule

MINUTE = 60


@dataclass(frozen=True, slots=True)
class ScheduledMinimum:
    """The entry in force."""

    cron: str
    workers: int


def scheduled_minimum(schedules: Sequence[ResolvedSchedule], now: float) -> ScheduledMinimum | None:
    """The entry that fired last; of several at the same instant the one that keeps most. None before the first."""
    if not schedules:
        return None
    fired = [(at, each) for each in schedules if (at := _last(each.cron, each.time_zone, _minute(now))) is not None]
    if not fired:
        return None
    _, entry = max(fired, key=lambda pair: (pair[0], pair[1].workers_min))
    return ScheduledMinimum(entry.cron, entry.workers_min)


def seconds_until_next(schedules: Sequence[ResolvedSchedule], now: float) -> float | None:
    """When the next entry fires."""
    if not schedules:
        return None
    following = (_next(each.cron, each.time_zone, _minute(now)) for each in schedules)
    return min((at - now for at in following if at is not None), default=None)


def _minute(now: float) -> int:
    return int(now // MINUTE)


@lru_cache(maxsize=4096)
def _last(cron: str, zone: str, minute: int) -> float | None:
    """The last firing at or before the beginning of `minute`. The iterator leaves its own start out."""
    return _fires(cron, zone, (minute + 1) * MINUTE, reverse=True)


@lru_cache(maxsize=4096)
def _next(cron: str, zone: str, minute: int) -> float | None:
    """The first firing after `minute`."""
    return _fires(cron, zone, minute * MINUTE, reverse=False)


def _fires(cron: str, zone: str, start: float, *, reverse: bool) -> float | None:
    local = datetime.fromtimestamp(start, UTC).astimezone(ZoneInfo(zone))
    try:
        instants = list(islice(CronSim(cron, local, reverse=reverse), 1))
    except CronSimError:
        return None
    return instants[0].timestamp() if instants else None
