"""Requests in OpenAI's API as jobs: submitted, held until there is something to answer, cancelled when nobody reads.

One with an idempotency key is not cancelled: its caller repeats it after an accident, and is led to the same job.

A worker finds `openai_route` and `openai_input` in its input, as on the hosted platforms. `http.openai` reads the
request and writes what comes back.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from submodel.contract.states import JobState
from submodel_gateway.errors import GatewayError, InvalidRequest, Unavailable
from submodel_gateway.jobs.record import Job
from submodel_gateway.service.clients import Clients, JobView, NewJob, SubmitKey
from submodel_gateway.service.clock import Clock
from submodel_gateway.service.endpoints import Endpoints
from submodel_gateway.service.streams import BEGINNING, StreamPart, Streams
from submodel_gateway.service.tails import Place, Tail
from submodel_gateway.service.unread import Shelf
from submodel_gateway.service.waiting import Hangup

HOLD_MS = 60_000
"""How long a look at the job lasts while nothing happens; the job's own limits end it."""

LEAVING_MS = 20_000
"""How long requests whose jobs run go on in a process that goes down: its server gives them little more."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OpenAiCall:
    """A request. `route` begins with a slash, `body` is its JSON text, None for a request without one."""

    route: str
    body: bytes | None
    key: SubmitKey | None = None


class Restarted(Exception):
    """A job whose items are being read runs again from its beginning."""


class OpenAiJob:
    """The job of one request, in the hands of the caller that waits for it.

    Args:
        rest_ms: how much longer requests go on in this process.
        keyed: whether the caller can come back for it, with its idempotency key.
    """

    def __init__(
        self,
        clients: Clients,
        streams: Streams,
        rest_ms: Callable[[], int],
        endpoint: str,
        id: str,
        hangup: Hangup,
        shelf: Shelf | None,
        *,
        keyed: bool,
    ) -> None:
        self._clients = clients
        self._streams = streams
        self._rest_ms = rest_ms
        self._endpoint = endpoint
        self._id = id
        self._hangup = hangup
        self._shelf = shelf
        self._keyed = keyed
        self.settled = False
        """Whether the answer is complete, or the job final: leaving it alone is fine then."""

        self._tail: Tail | None = None

    async def end(self) -> JobView:
        """The job once it is final. Raises `Unavailable` when the process cannot wait for that."""
        while True:
            view = await self._clients.wait(self._endpoint, self._id, self._hold_ms(), self._hangup, self._shelf)
            if view.job.state.terminal:
                self.settled = True
                return view
            self._stay(view.job)

    async def view(self) -> JobView:
        """The job as it is now."""
        return await self._clients.status(self._endpoint, self._id, shelf=self._shelf)

    async def items(self) -> list[bytes]:
        """Everything that the final job has streamed."""
        return (await self._read(BEGINNING)).items

    async def first(self) -> StreamPart:
        """The first items, or the end of a job without any. Whatever attempts were lost before has left no trace.

        Raises `Unavailable` when the process cannot wait for that.
        """
        while True:
            part = await self._read(BEGINNING)
            if part.items or part.job.state.terminal:
                return part
            self._stay(part.job)

    async def after(self, place: Place) -> StreamPart | None:
        """What comes after what has been read, which is let go; None for a caller that is gone.

        Raises `Restarted`, and `Unavailable` as `first`.
        """
        if self._shelf is not None:
            self._shelf.end()
        if self._hangup.done():
            return None
        part = await self._read(place)
        if part.restarted:
            raise Restarted
        if not (part.items or part.job.state.terminal or self._hangup.done()):
            self._stay(part.job)
        return part

    @contextmanager
    def followed(self) -> Iterator[None]:
        """While it is read on: what is committed here need not be read back."""
        with self._streams.tail(self._endpoint, self._id) as self._tail:
            yield

    async def leave(self) -> None:
        """The caller goes. A job that nobody can read any more is cancelled."""
        if self.settled or self._keyed:
            return
        try:
            await self._clients.cancel(self._endpoint, self._id)
        except GatewayError as error:
            log.warning("job %s goes on without a reader: %s", self._id, error)

    async def _read(self, place: Place) -> StreamPart:
        wait_ms, hangup, shelf = self._hold_ms(), self._hangup, self._shelf
        part = await self._streams.follow(self._endpoint, self._id, place, wait_ms, hangup, shelf, self._tail)
        self.settled = self.settled or part.job.state.terminal
        return part

    def _hold_ms(self) -> int:
        return min(HOLD_MS, self._rest_ms())

    def _stay(self, job: Job) -> None:
        """A look has shown nothing new. What a worker has begun is waited for as long as can be."""
        if self._hangup.done():
            raise InvalidRequest("the client went away before there was an answer")
        rest_ms = self._rest_ms()
        if not rest_ms or (rest_ms < HOLD_MS and job.state is JobState.IN_QUEUE):
            raise Unavailable("the gateway is going down; send the request again")


class OpenAi:
    """Makes jobs of requests."""

    def __init__(self, clients: Clients, streams: Streams, endpoints: Endpoints, clock: Clock) -> None:
        self._clients = clients
        self._streams = streams
        self._endpoints = endpoints
        self._clock = clock
        self._leaves_at: int | None = None

    def drain(self, *, shared: bool) -> None:
        """The process goes down. Where its stores are not shared, no worker reaches them any more until it is gone."""
        if self._leaves_at is None:
            self._leaves_at = self._clock.now_ms() + (LEAVING_MS if shared else 0)

    def rest_ms(self) -> int:
        """How much longer requests go on."""
        return HOLD_MS if self._leaves_at is None else max(0, self._leaves_at - self._clock.now_ms())

    def models(self, endpoint: str) -> list[str]:
        """The models that the endpoint's manifest names, perhaps none. Raises `NotFound`."""
        return self._endpoints.get(endpoint).registration.models

    async def submit(self, endpoint: str, call: OpenAiCall, hangup: Hangup, shelf: Shelf | None = None) -> OpenAiJob:
        """Store the job of a request. Raises as `Clients.submit`."""
        fields: dict[str, object] = {"openai_route": call.route}
        if call.body is not None:
            fields["openai_input"] = msgspec.Raw(call.body)
        new = NewJob(input=msgspec.json.encode(fields), key=call.key)
        submitted = await self._clients.submit(endpoint, new, sync=True)
        keyed = call.key is not None
        return OpenAiJob(self._clients, self._streams, self.rest_ms, endpoint, submitted.id, hangup, shelf, keyed=keyed)
