"""The protocol threads: they send what `session` wants to say and hand on what the gateway answers.

The threads are apart from the handler's, so that heartbeats, results and streams flow while a handler blocks. All of
them are alike: each takes the next request, sends it on its own connection, repeats it while the gateway is away, and
reads the answer. One lock guards the session.
"""

import functools
import os
import random
import threading
import time
from collections.abc import Callable
from urllib.parse import quote, urlsplit

import msgspec

from submodel.contract import wire
from submodel.contract.exchange import REFUSED_TOO_LARGE, REFUSED_UNREADABLE, ExchangeAnswer, Refused
from submodel.errors import GatewayRefused, GatewayUnavailable
from submodel.serverless.backoff import backoff_seconds
from submodel.serverless.conversation import Conversation
from submodel.serverless.link import ANSWER_MARGIN_SECONDS, Link, checked
from submodel.serverless.log import logger
from submodel.serverless.session import Flight, Kind, Session
from submodel.serverless.settings import Settings


class Credential:
    """The worker's bearer token; one in a file may be renewed while the worker runs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def headers(self) -> str:
        """The header lines of every exchange."""
        return f"Authorization: Bearer {self._token()}\r\nContent-Type: application/json\r\n"

    def _token(self) -> str:
        if not self._settings.token_file:
            return self._settings.token
        try:
            with open(self._settings.token_file, encoding="utf-8") as file:
                return file.read().strip()
        except OSError as error:
            raise GatewayUnavailable(f"the worker token cannot be read: {error}") from error


class Exchange(Conversation):
    """The conversation in the native dialect."""

    def __init__(self, settings: Settings, on_settled: Callable[[], None]) -> None:
        self._session = Session(os.urandom(8).hex(), settings.concurrency)
        super().__init__(self._session, on_settled)
        base = urlsplit(settings.gateway_url).path
        self._path = f"{base}/v2/{quote(settings.endpoint_id)}/workers/{quote(settings.worker_id)}/exchange"
        credential = Credential(settings)
        self._links = [Link(settings.gateway_url, credential.headers) for _ in Kind]
        self._away = False
        self._gateway_back = threading.Condition(self._lock)
        self._carriers: dict[int, Link] = {}

    def start(self) -> None:
        for number, link in enumerate(self._links):
            self._start(f"submodel-exchange-{number}", functools.partial(self._converse, link))

    def leave(self) -> None:
        with self._something_to_say:
            for flight in self._session.leave():
                if link := self._carriers.get(flight.request.request):
                    link.cut()
            self._gateway_back.notify_all()
            self._something_to_say.notify()
            self._check_settled()

    # -- threads ------------------------------------------------------------------------------------------------

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
                reply = link.send("POST", self._path, body, hold_seconds + ANSWER_MARGIN_SECONDS)
                return wire.decode(checked(reply), ExchangeAnswer)
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
            self._tell(news)


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
