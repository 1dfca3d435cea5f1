"""The asynchronous client: what `endpoint` does, for asyncio. Needs the extra `asyncio` (aiohttp)."""

import time
import uuid
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Union

from submodel.client import calls, reading, retry, settings
from submodel.client.answers import Document, field
from submodel.client.calls import Call
from submodel.client.limits import OPERATION_SECONDS, RUN_SYNC_SECONDS, allowed_seconds, request_seconds
from submodel.client.reading import FINAL, StreamPlace
from submodel.errors import ConfigurationError, JobNotFinished

if TYPE_CHECKING:
    import aiohttp

    from submodel.client.sessions import Sessions


class AsyncioJob:
    """A job of an endpoint. Its methods are those of `Job`, to be awaited.

    Args:
        session: an `aiohttp.ClientSession`, or the sessions of an `AsyncioEndpoint` (`endpoint.client`); a job without
            one makes its own, which `close` closes.
        headers: where programs for the hosted SDK put the API key, in `Authorization`; else `submodel.api_key`.
    """

    def __init__(
        self,
        endpoint_id: str,
        job_id: str,
        session: Union["aiohttp.ClientSession", "Sessions", None] = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.endpoint_id = endpoint_id
        self.job_id = job_id
        self.client = _sessions(session, settings.key_in(headers or {}))
        self.attempt: int | None = None
        """Which execution `stream` reads: another number says that the items began again."""

        self._final: Document | None = None

    async def status(self) -> str:
        """`IN_QUEUE`, `IN_PROGRESS`, `COMPLETED`, `FAILED`, `CANCELLED` or `TIMED_OUT`."""
        return str((await self._document())["status"])

    async def output(self, timeout: float = 0) -> Any:
        """The job's output, for which it is waited up to `timeout` seconds; see `Job.output`."""
        if timeout > 0:
            return await self._output_by(time.monotonic() + timeout, timeout)
        return await self._output_now()

    async def stream(self) -> AsyncIterator[Any]:
        """The items that the handler yields, as they come, until the job ends; see `Job.stream`."""
        place = StreamPlace()
        while not place.ended:
            call = calls.stream(self.endpoint_id, self.job_id, place.offset)
            asked_at = time.monotonic()
            found = await self._ask(call, request_seconds(call))
            items = place.read(found)
            self.attempt = place.attempt
            for item in items:
                yield item
            if not items and not place.ended:
                await self.client.pause(retry.pace_seconds(call, time.monotonic() - asked_at))
        if found["status"] != "COMPLETED":
            await self._output_now()

    async def cancel(self, timeout: float = OPERATION_SECONDS) -> Document:
        """End the job unless it is final; returns it as it is then."""
        return await self._ask(calls.cancel(self.endpoint_id, self.job_id), timeout)

    async def close(self) -> None:
        """Close the job's own session; one that was given is left alone."""
        await self.client.close()

    async def _output_now(self) -> Any:
        return reading.output(self.job_id, await self._document())

    async def _output_by(self, deadline: float, timeout: float) -> Any:
        while (found := self._final) is None:
            asked_at = time.monotonic()
            call = calls.status_sync(self.endpoint_id, self.job_id, deadline - asked_at)
            status = self._heard(await self._ask(call, allowed_seconds(call, deadline - asked_at)))["status"]
            now = time.monotonic()
            if status in FINAL:
                continue
            if now >= deadline:
                raise JobNotFinished(self.job_id, status, timeout)
            await self.client.pause(min(retry.pace_seconds(call, now - asked_at), deadline - now))
        return reading.output(self.job_id, found)

    async def _document(self) -> Document:
        if self._final is not None:
            return self._final
        call = calls.status(self.endpoint_id, self.job_id)
        return self._heard(await self._ask(call, request_seconds(call)))

    def _heard(self, found: Document) -> Document:
        """Remember a final status: it does not change any more."""
        if found["status"] in FINAL:
            self._final = found
        return found

    async def _ask(self, call: Call, seconds: float) -> Document:
        found = await self.client.ask(call, seconds)
        field(found, "status", call.path)
        return found


class AsyncioEndpoint:
    """An endpoint by its id, `<namespace>.<name>`; an asynchronous context manager that closes what it opened.

    It belongs to the event loop that first awaits it.

    Args:
        session: an `aiohttp.ClientSession` of the caller's, who also closes it; else the endpoint makes one.
        api_key: for this endpoint alone; else `submodel.api_key`.

    Raises `ConfigurationError` when there is no usable base URL, or aiohttp is not installed.
    """

    def __init__(
        self, endpoint_id: str, session: "aiohttp.ClientSession | None" = None, api_key: str | None = None
    ) -> None:
        self.endpoint_id = endpoint_id
        self.client = _sessions(session, api_key)

    async def run(self, endpoint_input: Any) -> AsyncioJob:
        """Submit a job; see `Endpoint.run`."""
        call = calls.run(self.endpoint_id, endpoint_input, uuid.uuid4().hex)
        return self.job(field(await self.client.ask(call, request_seconds(call)), "id", call.path))

    async def run_sync(self, request_input: Any, timeout: float = RUN_SYNC_SECONDS) -> Any:
        """Submit a job, wait up to `timeout` seconds for its end and return its output; see `Endpoint.run_sync`."""
        deadline = time.monotonic() + timeout
        call = calls.runsync(self.endpoint_id, request_input, uuid.uuid4().hex, timeout)
        found = await self.client.ask(call, allowed_seconds(call, timeout))
        job = self.job(field(found, "id", call.path))
        field(found, "status", call.path)
        job._heard(found)
        return await job._output_by(deadline, timeout)

    def job(self, job_id: str) -> AsyncioJob:
        """A job that was submitted before, here or elsewhere."""
        return AsyncioJob(self.endpoint_id, job_id, self.client)

    async def health(self, timeout: float = OPERATION_SECONDS) -> Document:
        """Counts of the endpoint's jobs and workers."""
        return await self.client.ask(calls.health(self.endpoint_id), timeout)

    async def purge_queue(self, timeout: float = OPERATION_SECONDS) -> Document:
        """Cancel the jobs that are queued now; `removed` says how many."""
        return await self.client.ask(calls.purge_queue(self.endpoint_id), timeout)

    async def close(self) -> None:
        """Close the endpoint's own session; its jobs use it too."""
        await self.client.close()

    async def __aenter__(self) -> "AsyncioEndpoint":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _sessions(session: Union["aiohttp.ClientSession", "Sessions", None], api_key: str | None) -> "Sessions":
    try:
        from submodel.client.sessions import Sessions
    except ImportError as error:
        raise ConfigurationError("the asynchronous client needs aiohttp; install submodel-runtime[asyncio]") from error
    return session if isinstance(session, Sessions) else Sessions(settings.target(api_key), session)
