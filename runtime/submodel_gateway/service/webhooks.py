"""Webhooks as clients ask for them: may a URL be told, what became of it, once more please. Owns the dispatchers."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from submodel_gateway.errors import Conflict, NotFound
from submodel_gateway.jobs import outbox
from submodel_gateway.jobs.record import Job, WebhookState
from submodel_gateway.jobs.transition import Reason, Transition
from submodel_gateway.service.clients import JobView
from submodel_gateway.service.clock import Clock
from submodel_gateway.service.dispatcher import Dispatcher, Outgoing
from submodel_gateway.service.endpoints import Endpoints
from submodel_gateway.service.stores import Stores
from submodel_gateway.service.traffic import Traffic
from submodel_gateway.store import base
from submodel_gateway.store.group import GroupCommit


@dataclass(frozen=True, slots=True)
class LogLine:
    """What a try came to, and how long ago."""

    ago_ms: int
    answer: str


@dataclass(frozen=True, slots=True)
class WebhookView:
    """What became of a job's webhook. `next_in_ms` is None when nothing is planned, `log` has the oldest try first."""

    id: str
    state: WebhookState
    tries: int
    log: tuple[LogLine, ...]
    next_in_ms: int | None


class Webhooks:
    """See the module.

    Args:
        view: a job with its output and error.
        outgoing: None sends nothing from here.
    """

    def __init__(
        self,
        stores: Stores,
        endpoints: Endpoints,
        clock: Clock,
        view: Callable[[Job], Awaitable[JobView]],
        random_bits: Callable[[int], int],
        outgoing: Outgoing | None,
    ) -> None:
        self._stores = stores
        self._endpoints = endpoints
        traffic = Traffic(clock, self._wake_all)
        self._by_store: dict[GroupCommit, Dispatcher] = {}
        self._by_name: dict[str, Dispatcher] = {}
        if outgoing is not None:
            self._by_name = {
                name: Dispatcher(group, stores.clocks[name], traffic, outgoing, view, random_bits)
                for name, group in stores.groups.items()
            }
            self._by_store = {stores.groups[name]: each for name, each in self._by_name.items()}
        self.dispatchers = list(self._by_name.values())
        self._running: list[asyncio.Task[None]] = []

    def start(self, store: str) -> None:
        """Begin to send what is in a store."""
        if (dispatcher := self._by_name.get(store)) is not None:
            self._running.append(asyncio.create_task(dispatcher.run()))

    def stop(self) -> None:
        """Begin nothing more."""
        for dispatcher in self.dispatchers:
            dispatcher.stop()

    async def close(self) -> None:
        """Wait a few seconds for what is under way; what does not end then is for the next gateway."""
        self.stop()
        await asyncio.gather(*self._running)

    def committed(self, change: Transition) -> None:
        """A job has changed."""
        job = change.after
        if job is not None and job.webhook is WebhookState.PENDING and self._by_store:
            self._by_store[self._stores.of(job.endpoint)].wake()

    async def show(self, endpoint: str, id: str) -> WebhookView:
        """What became of the webhook. Raises `NotFound` for a job that is unknown or has none."""
        self._endpoints.get(endpoint)
        store = self._stores.at(endpoint)
        job = await store.job(endpoint, id)
        if job is None or job.webhook is WebhookState.NONE:
            raise _none(id)
        webhook = await store.webhook(endpoint, id)
        if webhook is None:
            return WebhookView(id, job.webhook, 0, (), None)
        now = self._stores.now_ms(endpoint)
        wait_ms = None if webhook.next_at is None else max(0, webhook.next_at - now)
        log = tuple(LogLine(max(0, now - at), answer) for at, answer in outbox.log_of(webhook))
        return WebhookView(id, job.webhook, webhook.tries, log, wait_ms)

    async def replay(self, endpoint: str, id: str) -> WebhookView:
        """Send it once more, with all tries. Raises as `show`, and `Conflict` while there is nothing to tell."""
        self._endpoints.get(endpoint)
        outcome = await self._stores.of(endpoint).one(base.ReplayWebhook(endpoint=endpoint, id=id))
        if isinstance(outcome, base.Refused):
            if outcome.reason is Reason.NOT_READY:
                raise Conflict(f"job {id} has no outcome yet; its webhook is sent when it has one")
            raise _none(id)
        return await self.show(endpoint, id)

    def _wake_all(self) -> None:
        for dispatcher in self.dispatchers:
            dispatcher.wake()


def _none(id: str) -> NotFound:
    return NotFound(f"job {id!r} does not exist at this endpoint, has expired, or was sent without a webhook")
