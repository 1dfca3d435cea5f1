"""Types for authors of handlers: what a handler is given, what it is, and what `start` is given.

Editors complete the keys, and a type checker finds a misspelled one. Nothing here is needed at run time.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypedDict

__all__ = ["Handler", "Job", "ServerlessConfig"]


class _Job(TypedDict):
    id: str
    """Unique per execution: a job that runs again has another one on the hosted platforms' dialect."""

    input: Any
    """What the client sent."""


class Job(_Job, total=False):
    """What a handler is called with. Other fields of the client's request are beside these: `job.get("mine")`."""

    s3Config: dict[str, Any]
    """Credentials of a bucket, in the words that `rp_upload` takes as `bucket_creds`."""


Handler = Callable[[Job], Any] | Callable[[dict[str, Any]], Any]
"""A function, a coroutine function, a generator or an asynchronous generator of a job."""


class _Config(TypedDict):
    handler: Handler
    """Called with each job."""


class ServerlessConfig(_Config, total=False):
    """What `submodel.serverless.start` is given."""

    return_aggregate_stream: bool
    """Collect what a generator yields in the job's output as well."""

    refresh_worker: bool
    """End the worker after one job, so that each job gets a fresh process."""

    concurrency_modifier: Callable[[int], int]
    """Is given the number of jobs at once, now and then, and gives the next one."""

    jobs_fetcher: Callable[[Any, int], Awaitable[list[Any] | None]]
    """For tests without a platform: is given a session and how many jobs may run, and gives up to so many jobs."""

    jobs_fetcher_timeout: float
    """Seconds after which it is cancelled and called again; 90 when missing."""

    jobs_handler: Callable[[Any, dict[str, Any], dict[str, Any]], Awaitable[Any]]
    """Is given a session, this configuration and a job of the fetcher, in place of the handler's call."""

    stop_signals_fetcher: Callable[[Any], Awaitable[list[str] | None]]
    """Is given a session; gives the ids of the fetcher's jobs that shall end."""

    stop_signals_fetcher_timeout: float
    """Seconds after which it is cancelled and called again; 90 when missing."""
