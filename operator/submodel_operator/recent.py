"""What was read a moment ago and need not be read again: by key, for a while. Pure; used for Secrets and ConfigMaps."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Values no older than `age_seconds`. Older ones are dropped as others come, at a cost that does not grow."""

    def __init__(self, age_seconds: float) -> None:
        self._age_seconds = age_seconds
        self._values: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def recent(self, key: K, now: float) -> V | None:
        """What was kept under `key`, or None when there is nothing that recent."""
        self._expire(now)
        return self._values[key][1] if key in self._values else None

    def seconds_left(self, key: K, now: float) -> float | None:
        """How long what was kept under `key` stays recent, or None when there is nothing."""
        self._expire(now)
        return self._values[key][0] + self._age_seconds - now if key in self._values else None

    def keep(self, key: K, value: V, now: float) -> None:
        """Keep `value`, as of `now` (seconds that never jump)."""
        self._values.pop(key, None)
        self._values[key] = (now, value)

    def _expire(self, now: float) -> None:
        """The oldest comes first, so this looks at those alone that go."""
        while self._values and now - next(iter(self._values.values()))[0] >= self._age_seconds:
            self._values.popitem(last=False)
