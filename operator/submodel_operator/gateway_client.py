"""The gateway's internal API, and the long poll that keeps its snapshots in a cache.

Pushes are remembered per gateway process (`boot`): an unchanged one is skipped,
and after a restart of the gateway everything is pushed once more.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp
import msgspec

from submodel.contract import wire
from submodel.contract.internal import (
    EndpointRegistration,
    EndpointSnapshot,
    GoneWorker,
    Snapshots,
    TrafficRecord,
    WorkerNames,
    WorkerPresence,
    WorkersGone,
    WorkersPush,
    fingerprint,
)
from submodel_operator.clock import pause
from submodel_operator.errors import GatewayRefused, GatewayUnavailable
from submodel_operator.ports import Clock, Key, Signals

POLL_MS = 1000
"""How long the gateway holds a poll without news; also the freshness of ages while jobs wait."""

UNKNOWN_SECONDS = 1.0
"""Between two polls for everything, which are answered at once: while the gateway knows nothing of some endpoints, or
this client of something that the gateway knows."""

REQUEST_TIMEOUT_SECONDS = 10.0
RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)
"""The last of them again and again. It is time in which no worker starts although the gateway is back."""

_log = logging.getLogger(__name__)


class GatewayClient:
    """Implements `ports.Gateway`; an asynchronous context manager."""

    def __init__(self, url: str, token: str, clock: Clock) -> None:
        self._base = f"{url}/internal/v1"
        self._headers = {"Authorization": f"Bearer {token}", "User-Agent": "submodel-operator"}
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._boot = ""
        self._version = 0
        self._snapshots: dict[str, EndpointSnapshot] = {}
        self._ids: dict[Key, set[str]] = {}
        self._gateway_now_ms = 0
        self._heard_at: float | None = None
        self._last: dict[str, tuple[int, float]] = {}
        """When endpoints were last spoken of that the gateway knows nothing of now: its time, and ours."""

        self._complete = True
        """Whether the last answer and those before it are all that the gateway knows."""

        self._heard = asyncio.Event()
        self._pushed: dict[tuple[str, str], bytes] = {}

    async def __aenter__(self) -> "GatewayClient":
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS)
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._session:
            await self._session.close()

    async def heard(self) -> None:
        """Returns once `watch` has had its first answer."""
        await self._heard.wait()

    def age_seconds(self) -> float:
        """Time since the gateway last answered a poll; endless when it never did."""
        return float("inf") if self._heard_at is None else self._clock.monotonic() - self._heard_at

    def signals(self, endpoint_id: str) -> Signals | None:
        """The newest snapshot of the endpoint with its age."""
        snapshot = self._snapshots.get(endpoint_id)
        if snapshot is None or self._heard_at is None:
            return None
        now_ms, heard_at = self._last.get(endpoint_id, (self._gateway_now_ms, self._heard_at))
        return Signals(snapshot, now_ms, self._clock.monotonic() - heard_at)

    def ids_of(self, key: Key) -> Sequence[str]:
        """See `ports.Gateway`."""
        return sorted(self._ids.get(key, ()))

    async def register(self, registration: EndpointRegistration) -> None:
        """See `ports.Gateway`. A registration that the gateway lost is pushed again."""
        snapshot = self._snapshots.get(registration.endpoint_id)
        if snapshot and snapshot.registration != f"{registration.epoch}/{registration.generation}":
            self._pushed.pop(("register", registration.endpoint_id), None)
        await self._push("register", registration.endpoint_id, f"endpoints/{registration.endpoint_id}", registration)

    async def publish_workers(self, endpoint_id: str, workers: Sequence[WorkerPresence]) -> None:
        """See `ports.Gateway`."""
        await self._push("workers", endpoint_id, f"endpoints/{endpoint_id}/workers", WorkersPush(workers=list(workers)))

    async def report_gone(self, endpoint_id: str, workers: Sequence[GoneWorker]) -> None:
        """See `ports.Gateway`."""
        message = WorkersGone(workers=list(workers))
        await self._push("gone", endpoint_id, f"endpoints/{endpoint_id}/workers/gone", message, method="POST")

    async def drain(self, endpoint_id: str, workers: Sequence[str]) -> None:
        """See `ports.Gateway`."""
        await self._request("POST", f"endpoints/{endpoint_id}/drain", WorkerNames(workers=list(workers)))

    async def undrain(self, endpoint_id: str, workers: Sequence[str]) -> None:
        """See `ports.Gateway`."""
        await self._request("POST", f"endpoints/{endpoint_id}/undrain", WorkerNames(workers=list(workers)))

    async def forget(self, endpoint_id: str) -> None:
        """See `ports.Gateway`. It names the epoch that it means: the id may have another owner by now."""
        snapshot = self._snapshots.get(endpoint_id)
        epoch = snapshot.registration.rpartition("/")[0] if snapshot else ""
        await self._request("DELETE", f"endpoints/{endpoint_id}" + (f"?epoch={epoch}" if epoch else ""))
        self._drop(endpoint_id)

    async def record(self, endpoint_id: str) -> TrafficRecord:
        """When the endpoint's jobs came, how long they waited and ran."""
        answer = await self._request("GET", f"endpoints/{endpoint_id}/record")
        try:
            return wire.decode(answer, TrafficRecord)
        except msgspec.DecodeError as error:
            raise GatewayUnavailable(f"the gateway's record cannot be read: {error}") from error

    async def watch(self, changed: Callable[[Key], None]) -> None:
        """Follow the gateway's snapshots for ever; `changed` is called with each endpoint that has news.

        When the gateway falls silent or comes back, every known endpoint has news.
        """
        failures = 0
        while True:
            try:
                await self._poll(changed)
                failures = 0
                if self._last or not self._complete:
                    await pause(UNKNOWN_SECONDS)
            except (GatewayUnavailable, GatewayRefused) as error:
                if not failures:
                    _log.warning("the gateway does not report: %s", error)
                delay = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
                failures += 1
                for key in list(self._ids):
                    changed(key)
                await pause(delay)

    async def _poll(self, changed: Callable[[Key], None]) -> None:
        # What a gateway did not know it does not count as news when it does, least of all another gateway.
        since = self._version if self._complete and not self._last else 0
        place = f"since={since}&boot={self._boot}" if self._boot else "since=0"
        answer = _snapshots(await self._request("GET", f"snapshots?{place}&waitMs={POLL_MS}"))
        told = (*answer.deleted, *answer.unknown)
        if since == 0:
            # It knows no others: its database was emptied or went back to a backup, or it is another one.
            told = (*told, *(self._snapshots.keys() - {snapshot.endpoint_id for snapshot in answer.endpoints}))
        news = {_owner(self._snapshots[each]) for each in told if each in self._snapshots}
        if answer.boot != self._boot:
            # Another process: it answers with everything, and what the one before said or was told is void.
            _log.info("following gateway process %s", answer.boot)
            news |= self._ids.keys()
            self._snapshots.clear()
            self._ids.clear()
            self._pushed.clear()
            self._last.clear()
        self._note_unknown(answer.unknown)
        self._boot, self._version = answer.boot, answer.version
        self._gateway_now_ms, self._heard_at = answer.now_ms, self._clock.monotonic()
        self._heard.set()
        for endpoint_id in set(told) - {snapshot.endpoint_id for snapshot in answer.endpoints} - set(answer.unknown):
            self._drop(endpoint_id)
        for snapshot in answer.endpoints:
            news |= self._keep(snapshot)
        self._complete = answer.known in (None, self._known())
        for key in news:
            changed(key)

    def _keep(self, snapshot: EndpointSnapshot) -> set[Key]:
        """Returns the endpoints that it is news for: an id may have got another owner."""
        owner, before = _owner(snapshot), self._snapshots.get(snapshot.endpoint_id)
        former = _owner(before) if before else owner
        if former != owner:
            self._disown(former, snapshot.endpoint_id)
        self._snapshots[snapshot.endpoint_id] = snapshot
        self._ids.setdefault(owner, set()).add(snapshot.endpoint_id)
        return {owner, former}

    def _known(self) -> int:
        return sum(fingerprint(each.endpoint_id, each.registration) for each in self._snapshots.values())

    def _drop(self, endpoint_id: str) -> None:
        if snapshot := self._snapshots.pop(endpoint_id, None):
            self._disown(_owner(snapshot), endpoint_id)
        for kind in ("register", "workers", "gone"):
            self._pushed.pop((kind, endpoint_id), None)

    def _disown(self, owner: Key, endpoint_id: str) -> None:
        ids = self._ids.get(owner, set())
        ids.discard(endpoint_id)
        if not ids:
            self._ids.pop(owner, None)

    def _note_unknown(self, endpoints: Sequence[str]) -> None:
        """What was said of them gets old from the answer before on; of all others this answer speaks."""
        if endpoints and not self._last:
            _log.warning("the gateway does not reach the job store of %d endpoints", len(endpoints))
        before = self._gateway_now_ms, self._heard_at or 0.0
        self._last = {id: self._last.get(id, before) for id in endpoints}

    async def _push(self, kind: str, endpoint_id: str, path: str, message: wire.Message, method: str = "PUT") -> None:
        body = wire.encode(message)
        if self._pushed.get((kind, endpoint_id)) == body:
            return
        await self._request(method, path, message)
        self._pushed[kind, endpoint_id] = body

    async def _request(self, method: str, path: str, message: wire.Message | None = None) -> bytes:
        if self._session is None:
            raise GatewayUnavailable("the gateway client is not open")
        body = None if message is None else wire.encode(message)
        call = f"{method} {self._base}/{path.partition('?')[0]}"
        try:
            async with self._session.request(method, f"{self._base}/{path}", data=body) as response:
                answer = await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            raise GatewayUnavailable(f"{call}: {str(error) or 'timed out'}") from error
        if status >= 500 or status == 429:
            raise GatewayUnavailable(f"{call}: {status} {_sentence(answer)}")
        if status >= 400:
            raise GatewayRefused(f"{call}: {status} {_sentence(answer)}")
        return answer


def _owner(snapshot: EndpointSnapshot) -> Key:
    return Key.from_endpoint_id(snapshot.owner or snapshot.endpoint_id)


def _snapshots(answer: bytes) -> Snapshots:
    try:
        return wire.decode(answer, Snapshots)
    except msgspec.DecodeError as error:
        raise GatewayUnavailable(f"the gateway's snapshots cannot be read: {error}") from error


def _sentence(answer: bytes) -> str:
    try:
        found: Any = msgspec.json.decode(answer)
    except msgspec.DecodeError:
        return ""
    return str(found.get("error", "")) if isinstance(found, dict) else ""
