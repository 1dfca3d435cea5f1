"""Types for authors of handlers: what a handler is given, what it is, and what `start` is given.

Editors complete the keys, and a type checker finds a misspelled one. Nothing here is needed at run time.
"""

from collections.abc import Callable
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
