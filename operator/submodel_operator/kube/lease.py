"""The Lease that a standby waits for: `leadership` decides, this makes the requests.

Writes name the version that was read, so of two that take over at once one gets a conflict. Whoever ends lets go, and
the standby follows at once.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from submodel_operator.clock import pause
from submodel_operator.errors import ClusterRefused, ClusterUnavailable, Conflict, OperatorError
from submodel_operator.kube.client import KubeClient, Object
from submodel_operator.kube.resources import LEASES
from submodel_operator.leadership import Candidate, Memory, Record, wrote
from submodel_operator.ports import Clock

MANAGER: Final = "submodel-operator-lease"

_log = logging.getLogger(__name__)


class LeaseLost(OperatorError):
    """The Lease could not be renewed in time, or is another's: this operator must not act any more."""


class Lease:
    """One operator's hold on a Lease.

    Args:
        name: of the Lease, in `namespace`; it is created when there is none.
        leads: called with whether this operator holds it, whenever that changes.
    """

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        name: str,
        candidate: Candidate,
        clock: Clock,
        leads: Callable[[bool], None],
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._candidate = candidate
        self._clock = clock
        self._leads = leads
        self._memory = Memory()

    def may_act(self) -> bool:
        """Whether it is held for certain, also when the process stood still for a while."""
        return self._left_seconds() > 0

    async def acquire(self) -> None:
        """Returns once it is held. Raises `ClusterRefused` when this operator may not have one."""
        told = False
        while (wait_seconds := await self._try()) is not None:
            if not told:
                _log.info("another operator holds the lease %s; standing by", self._name)
            told = True
            await pause(wait_seconds)
        _log.info("holding the lease %s as %s", self._name, self._candidate.name)
        self._leads(True)

    async def keep(self) -> None:
        """Renew for ever. Raises `LeaseLost` as soon as it is not held for certain."""
        while True:
            await pause(min(self._candidate.period_seconds, self._left_seconds()))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._left_seconds()):
                    await self._try()
            if not self.may_act():
                self._leads(False)
                raise LeaseLost(f"the lease {self._name} could not be renewed, or another operator has taken it")

    async def release(self) -> None:
        """Let go, if it is held; the next holder need not wait."""
        if self._memory.renewed_at is None:
            return
        self._memory = Memory()
        with suppress(ClusterUnavailable, ClusterRefused, Conflict):
            found = await self._client.get(LEASES, self._namespace, self._name)
            if found and _record(found).holder == self._candidate.name:
                written = _written(found, "", self._candidate, self._clock.now())
                await self._client.replace(LEASES, self._namespace, written, MANAGER)
        self._leads(False)

    def _left_seconds(self) -> float:
        return max(0.0, self._candidate.left_seconds(self._memory, self._clock.monotonic()))

    async def _try(self) -> float | None:
        """None when it is held by this operator now, else after how many seconds to try again."""
        period_seconds, began_at = self._candidate.period_seconds, self._clock.monotonic()
        try:
            found = await self._client.get(LEASES, self._namespace, self._name)
            record = _record(found) if found else None
            write, wait_seconds, self._memory = self._candidate.look(record, self._memory, self._clock.monotonic())
            if not write:
                return wait_seconds
            began_at = self._clock.monotonic()
            present = found or {"metadata": {"name": self._name}}
            written = _written(present, self._candidate.name, self._candidate, self._clock.now())
            if found:
                await self._client.replace(LEASES, self._namespace, written, MANAGER)
            elif await self._client.create(LEASES, self._namespace, written, MANAGER) is None:
                return 0.0  # another one was faster
        except Conflict:
            return period_seconds
        except ClusterUnavailable as error:
            _log.info("the lease %s is not reached: %s", self._name, error)
            return period_seconds
        self._memory = wrote(self._memory, began_at)
        return None


def _record(raw: Object) -> Record:
    spec = raw.get("spec") or {}
    mark = f"{spec.get('holderIdentity')}/{spec.get('renewTime')}/{raw['metadata'].get('resourceVersion')}"
    return Record(spec.get("holderIdentity") or "", mark, float(spec.get("leaseDurationSeconds") or 0))


def _written(found: Object, holder: str, candidate: Candidate, now: float) -> Object:
    """The whole object: a version that was read comes back with it, and fences the write."""
    spec: Object = dict(found.get("spec") or {})
    # Microseconds always: a time without a fraction is refused.
    at = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if holder and spec.get("holderIdentity") != holder:
        spec |= {"acquireTime": at, "leaseTransitions": spec.get("leaseTransitions", -1) + 1}
    whole_seconds = max(1, round(candidate.duration_seconds))
    spec |= {"holderIdentity": holder, "renewTime": at, "leaseDurationSeconds": whole_seconds}
    return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": found["metadata"], "spec": spec}
