"""Which of the endpoint's events were told lately, so that one that happens again is counted instead of told anew.

Pure bookkeeping for `KubeCluster.record`. It lives in memory: after a restart, an event that happens again is told once
more.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from submodel_operator.api import constants
from submodel_operator.api.conditions import EVENTS
from submodel_operator.ports import Event, Observed

COUNTED_FOR_SECONDS: Final = 600.0
"""An event that happens again within this time of the last one counts as the same."""

REMEMBERED: Final = 4096
MESSAGE_LENGTH: Final = 1024
COMPONENT: Final = "submodel-operator"


@dataclass(frozen=True, slots=True)
class Entry:
    """An event object as it is to be written."""

    name: str
    observed: Observed
    event: Event
    count: int
    first_at: float
    last_at: float

    def manifest(self) -> dict[str, Any]:
        """The object, to be created."""
        key = self.observed.key
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": self.name, "namespace": key.namespace},
            "involvedObject": {
                "apiVersion": constants.API_VERSION,
                "kind": constants.KIND,
                "namespace": key.namespace,
                "name": key.name,
                "uid": self.observed.uid,
            },
            "reason": str(self.event.reason),
            "type": EVENTS[self.event.reason][0],
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "firstTimestamp": _instant(self.first_at),
            **self.again(),
        }

    def again(self) -> dict[str, Any]:
        """What changes when it happens once more: the newest message counts."""
        message = self.event.message
        cut = message if len(message) <= MESSAGE_LENGTH else "…" + message[1 - MESSAGE_LENGTH :]
        return {"count": self.count, "lastTimestamp": _instant(self.last_at), "message": cut}


class EventLog:
    """Remembers the newest event of each kind per endpoint and worker."""

    def __init__(self) -> None:
        self._entries: OrderedDict[tuple[str, str, str], Entry] = OrderedDict()

    def take(self, observed: Observed, event: Event, now: float) -> Entry:
        """The entry for an event that happens `now`; its count is above 1 when its object exists already."""
        key = (observed.uid, str(event.reason), event.worker)
        known = self._entries.pop(key, None)
        if known and now - known.last_at <= COUNTED_FOR_SECONDS:
            entry = replace(known, event=event, observed=observed, count=known.count + 1, last_at=now)
        else:
            digest = hashlib.sha256(f"{key}/{now!r}".encode()).hexdigest()[:16]
            entry = Entry(f"{observed.key.name}.{digest}", observed, event, 1, now, now)
        self._entries[key] = entry
        if len(self._entries) > REMEMBERED:
            self._entries.popitem(last=False)
        return entry


def _instant(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
