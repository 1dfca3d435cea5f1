"""Lets workers in: by the token of their endpoint and revision, or by the token of their pod.

A pod's token is judged by the API server, and the verdict is kept for a while. While the API server is away, tokens
that it has accepted count until they expire; nobody else is refused for it, only asked to come back.
"""

import asyncio
import logging
from collections import Counter
from typing import Protocol
from weakref import WeakValueDictionary

from submodel_gateway.auth import pods
from submodel_gateway.auth.pods import Claims, Pod
from submodel_gateway.auth.verdicts import Verdict, Verdicts, digest_of
from submodel_gateway.errors import ReviewAway, Unavailable
from submodel_gateway.metrics import table
from submodel_gateway.metrics.measures import Measures
from submodel_gateway.service.clock import Clock
from submodel_gateway.service.endpoints import Endpoints, EndpointState, unknown_worker

AWAY_MS = 2_000
"""After a question without an answer nobody asks for so long: requests must not wait for it one after the other."""

AT_ONCE = 16
"""Questions under way. After a restart of the gateway all workers come at the same time."""

AT_ONCE_OF_ONE = 4
"""The same for one endpoint: its workers know the names of its pools, and may make up tokens as fast as they can."""

OPEN_MAX = 10_000
"""Questions that are under way or wait. They outlive the requests that they are for."""

OPEN_MAX_OF_ONE = 1_000
"""The same for one endpoint, so that made-up tokens of one leave the others room."""

log = logging.getLogger(__name__)


class Reviewer(Protocol):
    """Judges tokens of pods."""

    audience: str
    """What they must be made for."""

    async def review(self, token: str) -> Pod | None:
        """The pod of a good token, None for every other one. Raises `ReviewAway`."""


class WorkerAccess:
    """Without a `reviewer` no pod's token counts."""

    def __init__(self, endpoints: Endpoints, clock: Clock, measures: Measures, reviewer: Reviewer | None) -> None:
        self._endpoints = endpoints
        self._clock = clock
        self._measures = measures
        self._reviewer = reviewer
        self._verdicts = Verdicts()
        self._asking: dict[bytes, asyncio.Task[Pod | None]] = {}
        self._open_of: Counter[str] = Counter()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._turns_of: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._away_until = 0
        self._away = False

    async def worker(self, endpoint: str, worker: str, token: str) -> tuple[EndpointState, str]:
        """The endpoint, and the revision of the worker that shows this token and calls itself `worker`.

        Raises `Unauthorized` for a token that is no worker's, `NotFound` for one of another endpoint or worker, and
        `Unavailable` or `StoreAway` when that cannot be told now.
        """
        if self._reviewer is None or not pods.looks_like_one(token):
            return self._endpoints.of_worker(endpoint, token)
        if self._endpoints.find(endpoint) is None:
            self._endpoints.check_complete()
        digest = digest_of(token)
        verdict = self._verdicts.fresh(digest, self._clock.now_ms(), self._endpoints.lists)
        pod = await self._judged(self._reviewer, digest, token) if verdict is None else verdict.pod
        if pod is None:
            raise unknown_worker()
        return self._endpoints.of_pod(endpoint, worker, pod)

    async def _judged(self, reviewer: Reviewer, digest: bytes, token: str) -> Pod | None:
        claims = pods.claims(token)
        if claims is None or reviewer.audience not in claims.audiences:
            return None
        # Who does not know the name of a pool must not make this gateway ask.
        place = self._endpoints.pools.find(claims.namespace, claims.pod)
        if place is None:
            return None
        asking = self._asking.get(digest)
        if asking is None:
            if len(self._asking) >= OPEN_MAX or self._open_of[place.endpoint] >= OPEN_MAX_OF_ONE:
                raise Unavailable("too many tokens of workers are being checked; send it again")
            asked = self._ask(reviewer, digest, token, claims, self._turns_at(place.endpoint))
            asking = self._asking[digest] = asyncio.ensure_future(asked)
            self._open_of[place.endpoint] += 1
            asking.add_done_callback(lambda done: self._answered(place.endpoint, digest, done))
        return await asyncio.shield(asking)

    def _turns_at(self, endpoint: str) -> asyncio.Semaphore:
        """Those of one endpoint; kept by the questions that wait for them."""
        turns = self._turns_of.get(endpoint)
        if turns is None:
            turns = self._turns_of[endpoint] = asyncio.Semaphore(AT_ONCE_OF_ONE)
        return turns

    def _answered(self, endpoint: str, digest: bytes, done: "asyncio.Task[Pod | None]") -> None:
        del self._asking[digest]
        self._open_of[endpoint] -= 1
        if not self._open_of[endpoint]:
            del self._open_of[endpoint]
        if not done.cancelled():
            done.exception()  # those who waited for it may have gone away

    async def _ask(
        self, reviewer: Reviewer, digest: bytes, token: str, claims: Claims, turns: asyncio.Semaphore
    ) -> Pod | None:
        async with turns, self._turns:
            if self._clock.now_ms() >= self._away_until:
                try:
                    pod = await reviewer.review(token)
                except ReviewAway as error:
                    self._lost(error)
                else:
                    self._found("refused" if pod is None else "accepted")
                    verdict = Verdict(pod, self._clock.now_ms(), claims.expires_at_ms)
                    self._verdicts.note(digest, verdict)
                    return pod
        pod = self._verdicts.accepted(digest, self._clock.now_ms())
        if pod is None:
            raise Unavailable("the worker's token cannot be checked while the API server is away; send it again")
        return pod

    def _lost(self, error: ReviewAway) -> None:
        self._measures.count(table.REVIEWS, ("unanswered",))
        self._away_until = self._clock.now_ms() + AWAY_MS
        if not self._away:
            self._away = True
            log.warning("%s; tokens that it accepted before count until they expire", error)

    def _found(self, outcome: str) -> None:
        self._measures.count(table.REVIEWS, (outcome,))
        if self._away:
            self._away = False
            log.info("the API server reviews tokens of workers again")
