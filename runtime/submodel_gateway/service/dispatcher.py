"""Sends the webhooks of one store: leases those that are due, sends them, and says how it went.

It lives beside the requests and shares with them the queue of operations alone. Everything that waits, waits in the
store; a gateway that dies with webhooks in its hands loses its leases, and another one sends them.
"""

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from submodel_gateway.errors import GatewayError, StoreAway, StoreError, TargetRefused
from submodel_gateway.jobs.outbox import Webhook
from submodel_gateway.jobs.record import Job
from submodel_gateway.service.clients import JobView
from submodel_gateway.service.clock import Clock
from submodel_gateway.service.traffic import Traffic
from submodel_gateway.store import base
from submodel_gateway.store.group import GroupCommit
from submodel_gateway.tracing.spans import Spans, of_url
from submodel_gateway.webhooks import answer, signing
from submodel_gateway.webhooks.answer import Answer
from submodel_gateway.webhooks.targets import Rules, Target

LEASE_MS = 30_000
"""Longer than a try with everything around it."""

BATCH = 256
"""More than can go at once: those that cannot are spread over time, and others behind them come into sight."""

POLL_MS = 5_000
"""How soon a gateway notices webhooks that another one has left behind."""

NOTHING_SENT_MS = 100
"""Pause after a turn that only postponed: the store has other work to do, whatever comes meanwhile."""

CROWDED_MS = 1_000
"""How long a webhook waits that finds no room or no memory."""

LOADING_MAX = 2
STOP_SECONDS = 5.0

log = logging.getLogger(__name__)

Send = Callable[[Target, Mapping[str, str], bytes], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """How webhooks leave a gateway.

    Attributes:
        send: tries once; never raises for what the other side does.
        render: the JSON of a job, the same that clients read.
        keys: what webhooks are signed with; with none they are not.
        spans: what is said of each try.
    """

    send: Send
    render: Callable[[JobView], bytes]
    rules: Rules
    keys: tuple[bytes, ...] = ()
    spans: Spans = field(default_factory=Spans)


class Dispatcher:
    """One store's. `run` until `stop`.

    Args:
        view: a job with its output and error; raises `NotFound` when it is gone.
        clock: the store's.
    """

    def __init__(
        self,
        store: GroupCommit,
        clock: Clock,
        traffic: Traffic,
        outgoing: Outgoing,
        view: Callable[[Job], Awaitable[JobView]],
        random_bits: Callable[[int], int],
    ) -> None:
        self._store = store
        self._clock = clock
        self._traffic = traffic
        self._outgoing = outgoing
        self._view = view
        self._random_bits = random_bits
        self._news = asyncio.Event()
        self._stopping = asyncio.Event()
        self._loading = asyncio.Semaphore(LOADING_MAX)
        self._tries: set[asyncio.Task[None]] = set()
        self._unsent: list[base.Operation] = []

    def wake(self) -> None:
        """Something may be due, or may go now."""
        self._news.set()

    def stop(self) -> None:
        """Begin nothing more; what is under way may end."""
        self._stopping.set()
        self._news.set()

    async def run(self) -> None:
        """Send until `stop`, then give back what could not be sent in time."""
        while not self._stopping.is_set():
            self._news.clear()
            wait_ms = await self._safe_turn()
            event = self._stopping if wait_ms == NOTHING_SENT_MS else self._news
            try:
                await asyncio.wait_for(event.wait(), wait_ms / 1000)
            except TimeoutError:
                continue
        await self._finish()

    async def turn(self) -> int:
        """Begin to send what is due; returns the milliseconds until there may be more."""
        if self._traffic.room() <= 0:
            return POLL_MS
        due_at = await self._store.store.next_webhook()
        wait_ms = POLL_MS if due_at is None else due_at - self._clock.now_ms()
        if wait_ms > 0:
            return min(wait_ms, POLL_MS)
        lease = base.LeaseWebhooks(limit=BATCH, nonce=self._random_bits(63), lease_ms=LEASE_MS)
        outcome = await self._store.one(lease)
        due = outcome.due if isinstance(outcome, base.Webhooks) else ()
        said = [operation for each in due if (operation := self._begin(each)) is not None]
        await self._tell(said)
        return 0 if len(said) < len(due) else NOTHING_SENT_MS

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        while self._tries:
            await asyncio.gather(*self._tries, return_exceptions=True)

    async def _safe_turn(self) -> int:
        try:
            return await self.turn()
        except StoreError as error:
            log.error("no webhooks were leased, it will be tried again: %s", error)
        except Exception:
            log.exception("no webhooks were leased by a defect, it will be tried again")
        return POLL_MS

    def _begin(self, due: base.DueWebhook) -> base.Operation | None:
        """Start a try; returns what to say of the webhook when there is to be none now."""
        webhook = due.webhook
        if self._stopping.is_set():
            return _release(webhook, 0)
        if self._traffic.room() <= 0:
            return _release(webhook, CROWDED_MS)
        url, trace = of_url(due.url)
        try:
            target = self._outgoing.rules.target(url)
        except TargetRefused as error:
            return self._settle(webhook, answer.of_refusal(str(error)))
        if delay_ms := self._traffic.enter(target.place, webhook.endpoint):
            return _release(webhook, delay_ms)
        task = asyncio.create_task(self._try(webhook, target, trace))
        self._tries.add(task)
        task.add_done_callback(self._tries.discard)
        return None

    async def _try(self, webhook: Webhook, target: Target, trace: str) -> None:
        began_ms = self._clock.now_ms()
        came: Answer | None = None
        try:
            came = await self._send(webhook, target, trace)
        except asyncio.CancelledError:
            self._unsent.append(_release(webhook, 0))
            raise
        except StoreAway as error:
            log.error("webhook of job %s could not be made, it will be tried again: %s", webhook.id, error)
        except GatewayError as error:
            log.error("webhook of job %s could not be made: %s", webhook.id, error)
            came = answer.NO_RESULT
        except Exception as error:
            # Not its text: that may hold the URL, and the URL a secret.
            log.error("webhook of job %s failed by a defect: %s", webhook.id, _place(error))
            came = answer.DEFECT
        finally:
            took_ms = self._clock.now_ms() - began_ms
            self._traffic.leave(target.place, webhook.endpoint, took_ms, came.works if came else None)
        if came is None:
            await self._tell([_release(webhook, CROWDED_MS)])
            return
        outcomes = await self._tell([self._settle(webhook, came)])
        _log(webhook, target, came, last=any(isinstance(outcome, base.Applied) for outcome in outcomes))

    async def _send(self, webhook: Webhook, target: Target, trace: str) -> Answer | None:
        """What one try came to; None when it must wait."""
        async with self._loading:
            body = await self._body(webhook)
            if body is None or not self._traffic.load(len(body)):
                return None
        try:
            message_id = f"{webhook.id}-g{webhook.gen}"
            headers = signing.headers(self._outgoing.keys, message_id, self._clock.now_ms(), body)
            traced, end = self._outgoing.spans.webhook(trace, webhook)
            came = await self._outgoing.send(target, {**headers, **traced}, body)
            end(came.delivered)
            return came
        finally:
            self._traffic.unload(len(body))

    async def _body(self, webhook: Webhook) -> bytes | None:
        """None when the job is no longer what the webhook is about; then it is not in the store any more either."""
        job = await self._store.store.job(webhook.endpoint, webhook.id)
        if job is None or job.gen != webhook.gen or not job.state.terminal:
            return None
        return self._outgoing.render(await self._view(job))

    async def _tell(self, said: list[base.Operation]) -> list[base.Outcome]:
        """Apply what there is to say; a webhook that is not settled is due again when its lease ends."""
        if not said:
            return []
        try:
            outcomes = await self._store.many(said)
        except GatewayError as error:
            outcomes = [base.Failed(StoreError(str(error)))]
        for outcome in outcomes:
            if isinstance(outcome, base.Failed):
                log.error("a webhook was not settled and will be sent again: %s", outcome.error)
        return outcomes

    def _settle(self, webhook: Webhook, came: Answer) -> base.SettleWebhook:
        return base.SettleWebhook(
            endpoint=webhook.endpoint,
            id=webhook.id,
            gen=webhook.gen,
            nonce=webhook.nonce,
            delivered=came.delivered,
            answer=came.text,
            jitter=self._random_bits(16) / 2**15 - 1,
        )

    async def _finish(self) -> None:
        if self._tries:
            await asyncio.wait(self._tries, timeout=STOP_SECONDS)
        for task in self._tries:
            task.cancel()
        await self.idle()
        await self._tell(self._unsent)


def _release(webhook: Webhook, delay_ms: int) -> base.ReleaseWebhook:
    return base.ReleaseWebhook(
        endpoint=webhook.endpoint, id=webhook.id, gen=webhook.gen, nonce=webhook.nonce, delay_ms=delay_ms
    )


def _log(webhook: Webhook, target: Target, came: Answer, *, last: bool) -> None:
    if came.delivered:
        log.debug("webhook of job %s to %s: %s", webhook.id, target.host, came.text)
    elif last:
        log.warning(
            "webhook of job %s to %s is given up after try %d: %s", webhook.id, target.host, webhook.tries, came.text
        )
    else:
        log.info("webhook of job %s to %s failed in try %d: %s", webhook.id, target.host, webhook.tries, came.text)


def _place(error: Exception) -> str:
    """The kind of an error and where it was raised."""
    steps = (f"{step.name}:{step.lineno}" for step in traceback.extract_tb(error.__traceback__))
    return f"{type(error).__name__} in {' > '.join(steps)}"
