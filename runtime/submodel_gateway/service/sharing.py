"""Gateways that share a store, as one: what each of them hears of workers, and what the operator told any of them.

The operator speaks to whichever gateway a Service leads it to. Its word (which workers exist, which shall drain) and
its registrations are in the store, and every gateway follows them, by a hint at once and without one within a second.
In turn each gateway says which workers it hears of, so that a snapshot of any of them shows all. A worker may speak to
several gateways at a time; leases are in the store, and what a session believes to hold is compared with it whenever
another gateway has changed something.

Where a gateway has its store alone, all of this is nothing.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import msgspec

from submodel_gateway.errors import OperationFailed, StoreError
from submodel_gateway.jobs.record import Job
from submodel_gateway.service.clock import Clock
from submodel_gateway.service.endpoints import Endpoints, EndpointState
from submodel_gateway.service.stores import Stores
from submodel_gateway.service.words import Order, Word
from submodel_gateway.store import base
from submodel_gateway.store.batch import Batch

LOOK_SECONDS = 1.0
INTERVAL_SECONDS = 0.2
"""Least time between two looks: under load there is always something new."""

REPEAT_MS = 5_000
"""What is said of workers is void after 15 seconds, so that nobody believes a gateway that is gone."""

INTRODUCED_TOGETHER = 100
"""Endpoints per introduction of new workers."""

_WORDS = msgspec.json.Decoder(list[Word])
_ORDER = msgspec.json.Decoder(Order)

log = logging.getLogger(__name__)


class Sharing:
    """`begin` with each store when its endpoints are known, then `follow` it; `close` before the stores.

    Args:
        changed: told when an endpoint's workers are news for the operator.
    """

    def __init__(
        self, stores: Stores, endpoints: Endpoints, clock: Clock, changed: Callable[[EndpointState], None]
    ) -> None:
        self._stores = stores
        self._endpoints = endpoints
        self._clock = clock
        self._changed = changed
        # What is said names all workers of an endpoint: a thousand that come at once are not told a thousand times.
        self._introductions = {
            board: Batch(partial(self._introduce, store, board), INTRODUCED_TOGETHER)
            for store, board in self._stores.boards().items()
        }
        self._unlearnt: defaultdict[str, set[str]] = defaultdict(set)
        """Endpoints whose registration changed elsewhere, by the store where it did."""

        self._to_tell: set[str] = set()
        self._to_compare: set[str] = set()
        self._orders: dict[str, base.Posting] = {}
        self._words: dict[str, list[Word]] = {}
        self._told: dict[str, bytes] = {}
        self._told_at: dict[str, int] = {}
        """When it was last repeated, by store."""

        self._closing = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self, store: str) -> None:
        """Hear what the others have said by a store. Raises `StoreError`, and may be called again."""
        if (board := self._stores.boards().get(store)) is not None:
            await self._hear(store, board)
            # All there were have been loaded, by now with what was said of them.
            self._unlearnt[store].clear()

    def follow(self, store: str, learn: Callable[[str, str], Awaitable[None]]) -> None:
        """Go on hearing it.

        Args:
            learn: called with each endpoint whose registration changed elsewhere, and the store where it did.
        """
        if (board := self._stores.boards().get(store)) is not None:
            self._tasks.append(asyncio.create_task(self._follow(store, board, learn)))

    async def close(self) -> None:
        """Say nothing any more."""
        self._closing.set()
        for board in self._stores.boards().values():
            board.hinted.set()
        await asyncio.gather(*self._tasks)
        for board in self._stores.boards().values():
            with suppress(StoreError):
                await board.tell({endpoint: b"" for endpoint in self._told if self._board(endpoint) is board})

    @property
    def shared(self) -> bool:
        """Whether other gateways may serve the same endpoints."""
        return bool(self._stores.boards())

    def touched(self, state: EndpointState) -> None:
        """Something that is said of its workers may be different."""
        if (board := self._board(state.id)) is not None:
            self._to_tell.add(state.id)
            board.hinted.set()

    def news(self, endpoint: str) -> None:
        """Another gateway changed jobs of this endpoint."""
        if (board := self._board(endpoint)) is not None:
            self._to_compare.add(endpoint)
            board.hinted.set()

    async def arrived(self, state: EndpointState) -> None:
        """A worker spoke to this gateway for the first time: the others know before it gets anything, and this gateway
        knows what the operator told them of it. Raises `StoreError`."""
        if (board := self._board(state.id)) is not None:
            await self._introductions[board].get(state.id)
            _replace(state)

    async def look(self, endpoint: str) -> None:
        """Hear at once what the others say. Raises `StoreError`."""
        if (board := self._board(endpoint)) is not None:
            await self._hear(self._stores.name_of(endpoint), board)

    async def order(self, state: EndpointState, change: Callable[[], None]) -> None:
        """Apply what the operator says of workers here, and let every gateway know. Raises `StoreError`.

        `change` may be called again, on what another gateway heard meanwhile.
        """
        board = self._board(state.id)
        if board is None:
            change()
            return
        async with state.ordering:
            while True:
                change()
                known = state.ordered
                version = await board.order(state.id, known, _order(state))
                if version is not None:
                    state.ordered = version
                    return
                await self._hear(self._stores.name_of(state.id), board)
                self._apply(state.id)
                if state.ordered == known == 0:
                    raise OperationFailed("what another gateway was told is not known here yet; say it again")
                if state.ordered == known:
                    state.ordered = 0  # it was forgotten with an endpoint of that name

    async def registered(self, endpoint: str) -> None:
        """The others hear of a registration at once; what does not reach them they find within a second."""
        if (board := self._board(endpoint)) is not None:
            with suppress(StoreError):
                await board.tell({})

    async def forget(self, endpoint: str) -> None:
        """The endpoint is gone. Raises `StoreError`."""
        for said in (self._told, self._orders, self._words):
            said.pop(endpoint, None)
        if (board := self._board(endpoint)) is not None:
            await board.forget(endpoint)

    async def _introduce(self, store: str, board: base.Board, endpoints: Sequence[str]) -> Mapping[str, None]:
        await self._tell(board, [state for id in endpoints if (state := self._endpoints.find(id)) is not None])
        await self._hear(store, board)
        return {}

    def _board(self, endpoint: str) -> base.Board | None:
        return self._stores.at(endpoint).board

    async def _follow(self, store: str, board: base.Board, learn: Callable[[str, str], Awaitable[None]]) -> None:
        while not self._closing.is_set():
            try:
                await self._turn(store, board, learn)
            except StoreError as error:
                log.debug("other gateways are not heard of: %s", error)
            except Exception:
                log.exception("what other gateways say was not followed, by a defect")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), INTERVAL_SECONDS)
            with suppress(TimeoutError):
                await asyncio.wait_for(board.hinted.wait(), LOOK_SECONDS - INTERVAL_SECONDS)
            board.hinted.clear()

    async def _turn(self, store: str, board: base.Board, learn: Callable[[str, str], Awaitable[None]]) -> None:
        await self._tell_due(store, board)
        await self._hear(store, board)
        for endpoint in list(self._unlearnt[store]):
            await learn(endpoint, store)
            self._unlearnt[store].discard(endpoint)
            self._apply(endpoint)
        for endpoint in [each for each in self._to_compare if self._board(each) is board]:
            self._to_compare.discard(endpoint)
            if (state := self._endpoints.find(endpoint)) is not None and state.sessions:
                began = self._clock.now_ms()
                compare(state, await board.running(endpoint), began, self._clock.now_ms())

    async def _tell_due(self, store: str, board: base.Board) -> None:
        due = [each for each in self._to_tell if self._board(each) is board]
        self._to_tell -= set(due)
        states = {state.id: state for id in due if (state := self._endpoints.find(id)) is not None}
        now = self._clock.now_ms()
        if repeat := now - self._told_at.get(store, 0) >= REPEAT_MS:
            self._told_at[store] = now
            states |= {state.id: state for state in self._endpoints.all() if state.sessions}
        try:
            await self._tell(board, states.values(), repeat=repeat)
        except StoreError:
            self._to_tell |= set(due)
            raise

    async def _tell(self, board: base.Board, states: Iterable[EndpointState], *, repeat: bool = False) -> None:
        now = self._clock.now_ms()
        words = {state.id: _words(state, now) for state in states if self._board(state.id) is board}
        news = {endpoint: word for endpoint, word in words.items() if self._told.get(endpoint, b"") != word}
        if news or (repeat and words):
            await board.tell(words if repeat else news, hint=bool(news))
            self._told |= news

    async def _hear(self, store: str, board: base.Board) -> None:
        heard = await board.news()
        self._unlearnt[store] |= heard.registrations
        self._orders |= heard.orders
        for endpoint, words in heard.words.items():
            self._words[endpoint] = [each for word in words.values() for each in _WORDS.decode(word)]
        for endpoint in heard.orders.keys() | heard.words.keys():
            self._apply(endpoint)

    def _apply(self, endpoint: str) -> None:
        """Let an endpoint, once it is known here, be as others say."""
        if (state := self._endpoints.find(endpoint)) is None:
            return
        posting = self._orders.get(endpoint)
        if posting is not None and posting.version > state.ordered:
            self._follow_order(state, posting)
        state.elsewhere = self._words.get(endpoint, [])
        _replace(state)
        _give_way(state)
        self._to_tell.add(endpoint)
        self._changed(state)

    def _follow_order(self, state: EndpointState, posting: base.Posting) -> None:
        order = _ORDER.decode(posting.document)
        listed = {worker.worker: worker for worker in order.presence}
        for session in state.sessions.values():
            # Its leases were ended by the gateway that was told so.
            if session.began_ms <= order.gone.get(session.worker, 0) and not session.gone:
                session.end()
                self._to_compare.add(state.id)
        state.gone_at = dict(order.gone)
        state.ordered, state.presence, state.draining = posting.version, listed, set(order.draining)
        state.tell_drains()


def compare(state: EndpointState, running: list[Job], began: int, now: int) -> None:
    """Let sessions hold what the store says, as of a read that began at `began`: what was taken later is not in it."""
    tokens = {job.id: job.token for job in running}
    for session in state.sessions.values():
        for id, holding in list(session.held.items()):
            if holding.taken_at < began and tokens.get(id) != holding.token:
                session.lose(id, now, stop=True)
        for job in running:
            if job.worker == session.worker and job.session == session.id and job.id not in session.held:
                session.hold(job, now)


def _replace(state: EndpointState) -> None:
    """Hand no more jobs to workers that another gateway wants replaced: what they ask for comes to any of them."""
    for word in state.elsewhere:
        session = state.sessions.get(word.worker)
        if not word.replace or word.seen_ms <= state.gone_at.get(word.worker, 0):
            continue  # or what is said is about a process that has ended
        if session is not None and session.id == word.session and not session.replace:
            session.replace = word.reason
            session.wake()


def _give_way(state: EndpointState) -> None:
    """Forget sessions of workers that have been heard of elsewhere since."""
    for word in state.elsewhere:
        session = state.sessions.get(word.worker)
        if session is not None and session.replace and session.id == word.session and not word.replace:
            continue  # what is wanted of the worker is not known there yet
        if session is not None and not session.open and not session.polls and session.last_seen_ms < word.seen_ms:
            if session.id != word.session:
                session.end()
            del state.sessions[word.worker]


def _words(state: EndpointState, now: int) -> bytes:
    """Empty where there is nothing to say."""
    said = [state.word(session, now) for session in state.sessions.values() if not session.gone]
    return msgspec.json.encode(said) if said else b""


def _order(state: EndpointState) -> bytes:
    return msgspec.json.encode(Order(list(state.presence.values()), sorted(state.draining), state.gone_at))
