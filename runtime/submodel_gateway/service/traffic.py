"""The webhooks that this gateway is sending right now: who may go next, and how much memory all of them take."""

from collections.abc import Callable

from submodel_gateway.service.clock import Clock
from submodel_gateway.webhooks import lanes
from submodel_gateway.webhooks.lanes import Lane

SENDING_MAX = 64
BYTES_MAX = 64 * 1024 * 1024
"""Bodies under way, unless a single one is larger."""

LANES_MAX = 10_000

_Key = tuple[str, ...]


class Traffic:
    """Shared by all stores of a gateway.

    Args:
        clock: the gateway's own.
        freed: called when there is room again.
    """

    def __init__(self, clock: Clock, freed: Callable[[], None]) -> None:
        self._clock = clock
        self._freed = freed
        self._lanes: dict[_Key, Lane] = {}
        self._sending = 0
        self._bytes = 0

    def room(self) -> int:
        """How many more may be sent at once."""
        return SENDING_MAX - self._sending

    def enter(self, place: str, endpoint: str) -> int:
        """0 when a webhook may go now, and it counts until `leave`; else by how many milliseconds to postpone it.

        Args:
            place: host and port.
        """
        now = self._clock.now_ms()
        ways = {key: self._lane(key, slots) for key, slots in _ways(place, endpoint)}
        blocked = {key: lane for key, lane in ways.items() if not lanes.is_free(lane, now)}
        if not blocked:
            self._lanes |= {key: lanes.started(lane) for key, lane in ways.items()}
            self._sending += 1
            return 0
        delays_ms = []
        for key, lane in blocked.items():
            delay_ms, self._lanes[key] = lanes.postponed(lane, now)
            delays_ms.append(delay_ms)
        return max(delays_ms)

    def leave(self, place: str, endpoint: str, took_ms: int, works: bool | None) -> None:
        """A webhook that entered is through; for `works` see `lanes.ended`."""
        now = self._clock.now_ms()
        for key, slots in _ways(place, endpoint):
            # An endpoint is never to blame for its hosts.
            told = works if key[0] == "host" or works is None else True
            self._lanes[key] = lanes.ended(self._lane(key, slots), took_ms, now, works=told)
            if lanes.is_idle(self._lanes[key], now):
                del self._lanes[key]
        self._prune(now)
        self._sending -= 1
        if self.room() == 1:
            self._freed()

    def load(self, size: int) -> bool:
        """Whether there is memory for a body of that size; it counts until `unload`."""
        if self._bytes and self._bytes + size > BYTES_MAX:
            return False
        self._bytes += size
        return True

    def unload(self, size: int) -> None:
        """A body of so many bytes, for which `load` said yes, is not needed any more."""
        self._bytes -= size

    def _lane(self, key: _Key, slots: int) -> Lane:
        return self._lanes.get(key) or Lane(slots=slots)

    def _prune(self, now: int) -> None:
        """Clients choose the hosts, so their number must have a bound."""
        if len(self._lanes) > LANES_MAX:
            kept = {key: lane for key, lane in self._lanes.items() if not lanes.is_idle(lane, now)}
            if len(kept) > LANES_MAX:
                kept = {key: lane for key, lane in kept.items() if lane.sending}
            self._lanes = kept


def _ways(place: str, endpoint: str) -> tuple[tuple[_Key, int], ...]:
    """Each endpoint has lanes of its own: whoever may name a host could make it look dead, or fill it, for others."""
    return (("host", endpoint, place), lanes.HOST_SLOTS), (("endpoint", endpoint), lanes.ENDPOINT_SLOTS)
