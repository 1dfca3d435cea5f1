"""The synchronous client: `Endpoint` submits jobs, `Job` follows one. Threads may share both."""

import time
import uuid
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from submodel.client import calls, reading, retry, settings
from submodel.client.answers import Document, field
from submodel.client.calls import Call
from submodel.client.connections import Connections
from submodel.client.limits import OPERATION_SECONDS, RUN_SYNC_SECONDS, allowed_seconds, request_seconds
from submodel.client.reading import FINAL, StreamPlace
from submodel.errors import JobNotFinished


class Job:
    """A job of an endpoint.

    Args:
        client: the connections of an `Endpoint` (`endpoint.client`); a job without one makes its own.
    """

    def __init__(self, endpoint_id: str, job_id: str, client: Connections | None = None) -> None:
        self.endpoint_id = endpoint_id
        self.job_id = job_id
        self.client = client or Connections(settings.target(None))
        self.attempt: int | None = None
        """Which execution `stream` reads: another number says that the items began again."""

        self._final: Document | None = None

    def status(self) -> str:
        """`IN_QUEUE`, `IN_PROGRESS`, `COMPLETED`, `FAILED`, `CANCELLED` or `TIMED_OUT`."""
        return str(self._document()["status"])

    def output(self, timeout: float = 0) -> Any:
        """The job's output, for which it is waited up to `timeout` seconds.

        With 0 it is what there is now: the newest progress value while the job runs, or None.

        Raises:
            JobNotFinished: `timeout` has passed; also a `TimeoutError`.
            JobFailed, JobCancelled, JobTimedOut: the job has no result.
            NotFound: it does not exist, or its result has expired.
        """
        return self._output_by(time.monotonic() + timeout, timeout) if timeout > 0 else self._output_now()

    def stream(self) -> Iterator[Any]:
        """The items that the handler yields, as they come, until the job ends.

        A job that loses its worker runs again from its beginning, and so do its items: see `attempt`.

        Raises `JobFailed`, `JobCancelled` or `JobTimedOut` after the last item of a job that did not complete.
        """
        place = StreamPlace()
        while not place.ended:
            call = calls.stream(self.endpoint_id, self.job_id, place.offset)
            asked_at = time.monotonic()
            found = self._ask(call, request_seconds(call))
            items = place.read(found)
            self.attempt = place.attempt
            yield from items
            if not items and not place.ended:
                self.client.pause(retry.pace_seconds(call, time.monotonic() - asked_at))
        if found["status"] != "COMPLETED":
            self._output_now()

    def cancel(self, timeout: float = OPERATION_SECONDS) -> Document:
        """End the job unless it is final; returns it as it is then."""
        return self._ask(calls.cancel(self.endpoint_id, self.job_id), timeout)

    def _output_now(self) -> Any:
        return reading.output(self.job_id, self._document())

    def _output_by(self, deadline: float, timeout: float) -> Any:
        while (found := self._final) is None:
            asked_at = time.monotonic()
            call = calls.status_sync(self.endpoint_id, self.job_id, deadline - asked_at)
            status = self._heard(self._ask(call, allowed_seconds(call, deadline - asked_at)))["status"]
            now = time.monotonic()
            if status in FINAL:
                continue
            if now >= deadline:
                raise JobNotFinished(self.job_id, status, timeout)
            self.client.pause(min(retry.pace_seconds(call, now - asked_at), deadline - now))
        return reading.output(self.job_id, found)

    def _document(self) -> Document:
        if self._final is not None:
            return self._final
        call = calls.status(self.endpoint_id, self.job_id)
        return self._heard(self._ask(call, request_seconds(call)))

    def _heard(self, found: Document) -> Document:
        """Remember a final status: it does not change any more."""
        if found["status"] in FINAL:
            self._final = found
        return found

    def _ask(self, call: Call, seconds: float) -> Document:
        found = self.client.ask(call, seconds)
        field(found, "status", call.path)
        return found


class Endpoint:
    """An endpoint by its id, `<namespace>.<name>`; a context manager that closes its connections.

    Args:
        api_key: for this endpoint alone; else `submodel.api_key`.

    Raises `ConfigurationError` when there is no usable base URL.
    """

    def __init__(self, endpoint_id: str, api_key: str | None = None) -> None:
        self.endpoint_id = endpoint_id
        self.client = Connections(settings.target(api_key))

    def run(self, request_input: Any) -> Job:
        """Submit a job; it is stored when this returns, and is one job even when an answer was lost.

        Args:
            request_input: the job's input, or a dict with the key `input` that is a whole request (`policy`, …).

        Raises `TypeError` for an input that JSON cannot hold, and the errors of `submodel.errors`.
        """
        call = calls.run(self.endpoint_id, request_input, uuid.uuid4().hex)
        return self.job(field(self.client.ask(call, request_seconds(call)), "id", call.path))

    def run_sync(self, request_input: Any, timeout: float = RUN_SYNC_SECONDS) -> Any:
        """Submit a job as `run` does, wait up to `timeout` seconds for its end and return its output.

        Raises as `Job.output` does.
        """
        deadline = time.monotonic() + timeout
        call = calls.runsync(self.endpoint_id, request_input, uuid.uuid4().hex, timeout)
        found = self.client.ask(call, allowed_seconds(call, timeout))
        job = self.job(field(found, "id", call.path))
        field(found, "status", call.path)
        job._heard(found)
        return job._output_by(deadline, timeout)

    def job(self, job_id: str) -> Job:
        """A job that was submitted before, here or elsewhere."""
        return Job(self.endpoint_id, job_id, self.client)

    def health(self, timeout: float = OPERATION_SECONDS) -> Document:
        """Counts of the endpoint's jobs and workers."""
        return self.client.ask(calls.health(self.endpoint_id), timeout)

    def purge_queue(self, timeout: float = OPERATION_SECONDS) -> Document:
        """Cancel the jobs that are queued now; `removed` says how many."""
        return self.client.ask(calls.purge_queue(self.endpoint_id), timeout)

    def close(self) -> None:
        """Close the connections; its jobs use them too."""
        self.client.close()

    def __enter__(self) -> "Endpoint":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
