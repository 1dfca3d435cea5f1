"""The error tree of the `submodel` package.

SubModelError
├── ConfigurationError   an environment or an argument is wrong; the text says what to set
├── GatewayUnavailable   the gateway did not answer, or asks to come back later
├── GatewayRefused       the gateway answered with a refusal (status, message)
│   ├── InvalidRequest   what was sent cannot be served as it is (400, 413, 415, 422)
│   ├── Unauthorized     the API key is missing, unknown or may not do this (401, 403)
│   ├── NotFound         no such endpoint or job, or its result has expired (404)
│   └── Conflict         the job is in another state (409)
├── JobNotFinished       the time to wait is over and the job goes on; also a `TimeoutError`
├── JobEnded             a job has no result (job_id, status, error, output)
│   ├── JobFailed
│   ├── JobCancelled
│   └── JobTimedOut
├── TimeLimitExceeded    raised in a handler that blocks and shall end
├── DownloadRefused      a URL or an archive is not safe to fetch or to unpack; also a `ValueError`
├── DownloadFailed       a file could not be fetched
└── UploadFailed         a file could not be stored in its bucket
"""

from typing import Any


class SubModelError(Exception):
    """Base of every error this package raises on purpose."""


class ConfigurationError(SubModelError):
    """The environment or an argument cannot be used."""


class GatewayUnavailable(SubModelError):
    """No answer, or one that asks to come back later. A client has tried again by then; a worker goes on trying."""


class GatewayRefused(SubModelError):
    """A refusal that only a change elsewhere ends: a registration, a token, another request.

    Args:
        status: the HTTP status.
        message: the gateway's own sentence.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the gateway refused the request ({status}): {message}")
        self.status = status


class InvalidRequest(GatewayRefused):
    """What was sent cannot be served as it is."""


class Unauthorized(GatewayRefused):
    """The API key is missing, unknown or may not do this."""


class NotFound(GatewayRefused):
    """No such endpoint or job, or the job's result has expired."""


class Conflict(GatewayRefused):
    """The job is in another state, or the same idempotency key came with another request."""


class JobNotFinished(SubModelError, TimeoutError):
    """The time to wait is over. The job goes on and can be asked again by `job_id`."""

    def __init__(self, job_id: str, status: str, timeout_seconds: float) -> None:
        super().__init__(f"job {job_id} is {status} after {timeout_seconds:g} seconds; it goes on, ask again later")
        self.job_id = job_id
        self.status = status


class JobEnded(SubModelError):
    """A job that is final without a result.

    Args:
        status: its final state.
        error: the job's error text; a handler's exception is a JSON text with `error_type` and `error_message`; that of
            a generator is a plain text.
        output: what it left behind all the same; None when nothing.
    """

    def __init__(self, job_id: str, status: str, error: str | None, output: Any = None) -> None:
        super().__init__(f"job {job_id} is {status}" + (f": {error}" if error else ""))
        self.job_id = job_id
        self.status = status
        self.error = error
        self.output = output


class JobFailed(JobEnded):
    """The handler failed, its result was too large, or its workers were lost too often."""


class JobCancelled(JobEnded):
    """Somebody cancelled the job or purged the queue."""


class JobTimedOut(JobEnded):
    """The job's execution timeout or time to live has passed."""


class TimeLimitExceeded(SubModelError):
    """Raised inside a blocking handler whose job was stopped or has run for too long; what it returns is not used."""


class DownloadRefused(SubModelError, ValueError):
    """The URL leads to a place that is not public, or what it holds is too large or not safe to unpack."""


class DownloadFailed(SubModelError):
    """The file could not be fetched or unpacked; `temporary` when another try may do better."""

    def __init__(self, message: str, temporary: bool = False) -> None:
        super().__init__(message)
        self.temporary = temporary


class UploadFailed(SubModelError):
    """The bucket did not take the file."""
