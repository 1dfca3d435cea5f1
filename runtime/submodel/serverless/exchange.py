"""The protocol threads: they send what `session` wants to say and hand on what the gateway answers.

The threads are apart from the handler's, so that heartbeats, results and streams flow while a handler blocks. All of
them are alike: each takes the next request, sends it on its own connection, repeats it while the gateway is away, and
reads the answer. One lock guards the session.
"""

import os
import random
import secrets
import threading
import time
from collections.abc import Callable
from urllib.parse import quote

import msgspec

from submodel.contract import wire
from submodel.contract.exchange import REFUSED_TOO_LARGE, REFUSED_UNREADABLE, ExchangeAnswer, Refused
from submodel.errors import GatewayRefused, GatewayUnavailable
from submodel.serverless.link import Link
from submodel.serverless.log import logger
from submodel.serverless.outcome import Outcome
from submodel.serverless.session import Flight, Kind, News, Session
from submodel.serverless.settings import Settings

BACKOFF_FIRST_SECONDS = 0.1
BACKOFF_LONGEST_SECONDS = 5.0


def backoff_seconds(failures: int, jitter: float) -> float:
    """How long to wait after the n-th failure in a row (from 1); `jitter` in [0, 1) spreads it over half its length."""
    longest = min(BACKOFF_LONGEST_SECONDS, BACKOFF_FIRST_SECONDS * 2.0 ** min(failures - 1, 16))
    return longest * (0.5 + jitter / 2)


class Credential:
    """The worker's bearer token; one in a file may be renewed while the worker runs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def authorization(self) -> str:
        if not self._settings.token_file:
            return f"Bearer {self._settings.token}"
        try:
            with open(self._settings.token_file, encoding="utf-8") as file:
                return f"Bearer {file.read().strip()}"
        except OSError as error:
            raise GatewayUnavailable(f"the worker token cannot be read: {error}") from error


class Exchange:
    """The worker's conversation with the gateway. Every method may be called from any thread.

    Args:
        on_settled: called once, from a protocol thread, when a worker that leaves has nothing left to say, or one
            that failed has said so.
    """

    def __init__(self, settings: Settings, on_settled: Callable[[], None]) -> None:
        url = f"{settings.gateway_url}/v2/{quote(settings.endpoint_id)}/workers/{quote(settings.worker_id)}/exchange"
        credential = Credential(settings)
        self._links = [Link(url, credential.authorization) for _ in Kind]
        self._session = Session(secrets.token_hex(8), settings.concurrency)
        self._on_news: Callable[[News], None] = _ignore
        self._on_settled = on_settled
        self._settled = False
        self._away = False
        lock = threading.Lock()
        self._something_to_say = threading.Condition(lock)
        self._gateway_back = threading.Condition(lock)
        self._room = threading.Condition(lock)
        self._carriers: dict[int, Link] = {}

    def start(self) -> None:
        """Start the threads; the gateway hears of this worker as soon as it can be reached."""
        for number, link in enumerate(self._links):
            threading.Thread(target=self._run, args=(link,), name=f"submodel-exchange-{number}", daemon=True).start()

    def ready(self, on_news: Callable[[News], None]) -> None:
        """Ask for jobs; `on_news` is called from a protocol thread."""
        with self._something_to_say:
            self._on_news = on_news
            self._session.ready()
            self._something_to_say.notify()

    def fail(self, reason: str) -> None:
        """Tell the gateway that this worker cannot serve."""
        with self._something_to_say:
            self._session.fail(reason)
            self._something_to_say.notify()

    def begin(self, token: str) -> bool:
        with self._something_to_say:
            return self._session.begin(token)

    def add_chunk(self, token: str, chunk: bytes) -> bool:
        with self._something_to_say:
            wanted = self._session.add_chunk(token, chunk)
            self._something_to_say.notify()
            return wanted

    def set_progress(self, job_id: str, value: bytes) -> None:
        with self._something_to_say:
            self._session.set_progress(job_id, value)
            self._something_to_say.notify()

    def finish(self, token: str, outcome: Outcome, execution_ms: int) -> None:
        with self._something_to_say:
            self._session.finish(token, outcome, execution_ms)
            self._something_to_say.notify()
            self._check_settled()

    def limit(self, concurrency: int) -> bool:
        with self._something_to_say:
            return self._session.limit(concurrency)

    @property
    def congested(self) -> bool:
        """Whether a generator should `wait_for_room` before its next chunk."""
        with self._something_to_say:
            return self._session.congested

    def wait_for_room(self) -> None:
        with self._room:
            self._room.wait_for(lambda: self._settled or not self._session.congested)

    def leave(self) -> None:
        """Take no more jobs, finish what runs, deliver; `on_settled` tells the end."""
        with self._something_to_say:
            for flight in self._session.leave():
                if link := self._carriers.get(flight.request.request):
                    link.cut()
            self._gateway_back.notify_all()
            self._something_to_say.notify()
            self._check_settled()

    def give_up(self) -> int:
        """Give back the jobs that still run; returns how many."""
        with self._something_to_say:
            tokens = self._session.give_up()
            self._something_to_say.notify()
            return len(tokens)

    # -- threads ------------------------------------------------------------------------------------------------

    def _run(self, link: Link) -> None:
        try:
            self._converse(link)
        except Exception:
            logger.critical("A defect of the runtime ends this worker:", exc_info=True)
            os._exit(70)

    def _converse(self, link: Link) -> None:
        failures = 0
        while True:
            flight = self._next(link)
            answer = self._deliver(link, flight, failures)
            failures = failures + 1 if answer is None else 0
            if answer is not None:
                self._absorb(flight, answer)

    def _next(self, link: Link) -> Flight:
        with self._something_to_say:
            while True:
                now = time.monotonic()
                step = self._session.next_request(now)
                if isinstance(step, Flight):
                    self._carriers[step.request.request] = link
                    # This thread cannot keep the time of what is due next: another one has to.
                    self._something_to_say.notify()
                    return step
                self._something_to_say.wait(min(step - now, threading.TIMEOUT_MAX))

    def _deliver(self, link: Link, flight: Flight, failures: int) -> ExchangeAnswer | None:
        """The answer, or None when the request was given up."""
        while True:
            with self._something_to_say:
                link.arm()
                body, hold_seconds = wire.encode(flight.request), flight.request.wait_ms / 1000
            try:
                return wire.decode(link.post(body, hold_seconds), ExchangeAnswer)
            except (GatewayUnavailable, GatewayRefused, msgspec.DecodeError) as error:
                if isinstance(error, GatewayRefused) and (reason := _undeliverable(error, flight)):
                    return _all_refused(flight, reason)
                failures += 1
                if self._retry(link, flight, failures, error):
                    continue
                return None

    def _retry(self, link: Link, flight: Flight, failures: int, error: Exception) -> bool:
        """Wait; then say whether to send the same request again."""
        with self._something_to_say:
            if link.was_cut:
                return True
            if not self._away:
                self._away = True
                logger.warning("%s; trying again", error)
            self._gateway_back.wait(backoff_seconds(failures, random.random()))
            if flight.must_be_answered:
                return True
            self._carriers.pop(flight.request.request, None)
            self._session.dropped(flight)
            self._check_settled()
            return False

    def _absorb(self, flight: Flight, answer: ExchangeAnswer) -> None:
        with self._something_to_say:
            if self._away:
                self._away = False
                logger.info("the gateway answers again")
                self._gateway_back.notify_all()
            self._carriers.pop(flight.request.request, None)
            news = self._session.answered(flight, answer, time.monotonic())
            self._room.notify_all()
            self._check_settled()
            # Inside the lock, so that two answers reach the executor in the order in which they were read.
            if news.jobs or news.stops:
                self._on_news(news)

    def _check_settled(self) -> None:
        if not self._settled and self._session.settled:
            self._settled = True
            self._room.notify_all()
            self._on_settled()


def _undeliverable(error: GatewayRefused, flight: Flight) -> str:
    """Why what a request carries will never be accepted; empty when it is worth another try.

    A body that cannot be parsed is blamed on its cargo only where that is one job's: no other job may end for it.
    """
    if error.status == 413 and flight.cargo:
        return REFUSED_TOO_LARGE
    return REFUSED_UNREADABLE if error.status in (400, 422) and len(flight.cargo) == 1 else ""


def _all_refused(flight: Flight, reason: str) -> ExchangeAnswer:
    """The answer that the gateway, or a proxy in front of it, did not give."""
    request = flight.request
    ids = [item.id for items in (request.results, request.chunks, request.progress) for item in items]
    return ExchangeAnswer(refused=[Refused(id=job_id, reason=reason) for job_id in ids])


def _ignore(news: News) -> None:
    """Before `ready` no job was asked for."""
