"""The protocol threads: they send what `session` wants to say and hand on what the gateway answers.

The threads are apart from the handler's, so that heartbeats, results and streams flow while a handler blocks. All of
them are alike: each takes the next request, sends it on its own connection, repeats it while the gateway is away, and
reads the answer. One lock guards the session.
"""

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

_HOPELESS = {400: REFUSED_UNREADABLE, 413: REFUSED_TOO_LARGE, 422: REFUSED_UNREADABLE}
"""What no further try changes, with the reason. Only a request that carries one job's items may be blamed on them."""

read_answer = msgspec.json.Decoder(ExchangeAnswer).decode
"""Made here and not by the threads: two that meet a model for the first time at once crash in msgspec, which offers it
to all of them while it still learns the models within."""

_UNKNOWN = (401, 404)
"""The gateway does not know the worker, or its endpoint."""

TOKEN_SECONDS = 10.0
"""How long a token from a file is used before the file is read again: it is renewed long before it expires."""


class Credential:
    """The worker's bearer token; one in a file is renewed while the worker runs."""

    def __init__(self, settings: Settings, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._file = settings.token_file
        self._token = settings.token
        self._monotonic = monotonic
        self._read_at: float | None = None

    def headers(self) -> str:
        """The header lines of an exchange. Raises `GatewayUnavailable` when there is no token yet."""
        if self._file and (self._read_at is None or self._monotonic() - self._read_at >= TOKEN_SECONDS):
            self._read()
        return f"Authorization: Bearer {self._token}\r\nContent-Type: application/json\r\n"

    def refused(self) -> None:
        """The gateway does not know the token: the file may hold another one by now."""
        self._read_at = None

    def _read(self) -> None:
        try:
            with open(self._file, encoding="ascii") as file:
                self._token = file.read().strip()
        except (OSError, ValueError) as error:
            if not self._token:
                raise GatewayUnavailable(f"the worker token cannot be read: {error}") from error
        self._read_at = self._monotonic()


class Exchange(Conversation):
    """The conversation in the native dialect."""

    def __init__(self, settings: Settings, on_settled: Callable[[], None]) -> None:
        self._session = Session(os.urandom(8).hex(), settings.concurrency)
        super().__init__(self._session, on_settled)
        place = f"/v2/{quote(settings.endpoint_id)}/workers/{quote(settings.worker_id)}/exchange"
        self._replicas = [(url, urlsplit(url).path + place) for url in settings.gateway_urls]
        self._replica = 0
        """The one that all threads speak with."""

        self._credential = Credential(settings)
        self._away = False
        self._gateway_back = threading.Condition(self._lock)
        self._carriers: dict[int, Link] = {}

    def start(self) -> None:
        for number, _ in enumerate(Kind):
            self._start(f"submodel-exchange-{number}", self._converse)

    def leave(self) -> None:
        with self._something_to_say:
            for flight in self._session.leave():
                if link := self._carriers.get(flight.request.request):
                    link.cut()
            self._gateway_back.notify_all()
            self._call_thread()
            self._check_settled()

    # Threads:

    def _converse(self) -> None:
        links = [Link(url, self._credential.headers) for url, _ in self._replicas]
        failures = 0
        while True:
            flight = self._next()
            answer = self._deliver(links, flight, failures)
            failures = failures + 1 if answer is None else 0
            if answer is not None:
                self._absorb(flight, answer)

    def _next(self) -> Flight:
        with self._something_to_say:
            while True:
                now = time.monotonic()
                step = self._session.next_request(now)
                if isinstance(step, Flight):
                    # This thread cannot keep the time of what is due next: another one has to.
                    self._call_thread()
                    return step
                self._listen(step - now)

    def _deliver(self, links: list[Link], flight: Flight, failures: int) -> ExchangeAnswer | None:
        """The answer, or None when the request was given up."""
        while True:
            with self._something_to_say:
                replica = self._replica
                link = self._carriers[flight.request.request] = links[replica]
                link.arm()
                body, hold_seconds = wire.encode(flight.request), flight.request.wait_ms / 1000
            try:
                path = self._replicas[replica][1]
                reply = link.send(
                    "POST", path, body, hold_seconds + ANSWER_MARGIN_SECONDS, again=lambda: self._again(flight)
                )
                return read_answer(checked(reply))
            except (GatewayUnavailable, GatewayRefused, msgspec.DecodeError) as error:
                if isinstance(error, GatewayRefused):
                    self._credential.refused()
                    if error.status in _HOPELESS and len(flight.cargo) > 1:
                        self._take_apart(flight)
                        return None
                    if error.status in _HOPELESS and flight.cargo:
                        return _all_refused(flight, _HOPELESS[error.status])
                failures += 1
                if self._retry(link, replica, flight, failures, error):
                    continue
                return None

    def _again(self, flight: Flight) -> bytes:
        """The body of a request that is sent once more: the gateway may be another one by now."""
        with self._something_to_say:
            flight.request.repeated = True
            return wire.encode(flight.request)

    def _retry(self, link: Link, replica: int, flight: Flight, failures: int, error: Exception) -> bool:
        """Wait; then say whether to send the same request again."""
        with self._something_to_say:
            flight.request.repeated = True
            if link.was_cut:
                return True
            if not self._away:
                self._away = True
                logger.warning("%s; trying again", error)
            self._leave_replica(replica)
            if failures % len(self._replicas) == 0:  # none of them is there
                self._gateway_back.wait(backoff_seconds(failures // len(self._replicas), random.random()))
            if isinstance(error, GatewayRefused) and error.status in _UNKNOWN:
                self._session.refused(time.monotonic())
            else:
                self._session.unheard()
            if flight.must_be_answered:
                if not self._session.forsaken(time.monotonic()):
                    return True
                logger.warning("%s; what it does not take is dropped", error)
            self._carriers.pop(flight.request.request, None)
            self._session.dropped(flight)
            self._check_settled()
            return False

    def _take_apart(self, flight: Flight) -> None:
        with self._something_to_say:
            self._carriers.pop(flight.request.request, None)
            self._session.refused_together(flight)

    def _leave_replica(self, replica: int) -> None:
        """Speak with the next one, with all threads: what hangs on this one is cut."""
        if self._replica != replica or len(self._replicas) == 1:
            return
        self._replica = (replica + 1) % len(self._replicas)
        for link in self._carriers.values():
            link.cut()

    def _absorb(self, flight: Flight, answer: ExchangeAnswer) -> None:
        with self._something_to_say:
            if self._away:
                self._away = False
                logger.info("the gateway answers again")
                self._gateway_back.notify_all()
            self._carriers.pop(flight.request.request, None)
            news = self._session.answered(flight, answer, time.monotonic())
            self._tell(news)


def _all_refused(flight: Flight, reason: str) -> ExchangeAnswer:
    """The answer that the gateway, or a proxy in front of it, did not give."""
    request = flight.request
    ids = [item.id for items in (request.results, request.chunks, request.progress) for item in items]
    return ExchangeAnswer(refused=[Refused(id=job_id, reason=reason) for job_id in ids])
