"""What a request asks of a desk. The routes of the hosted SDK's development server and, below `/v2/{endpoint}` and the
other prefixes of the hosted platforms, those of the job API.

At the root a POST to `status` or `stream` waits for the end of the job, because there the SDK's server ran it. GET, and
all below a prefix, answers as the gateway does.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submodel.contract import limits
from submodel.contract.exchange import JobPolicy
from submodel.contract.states import JobState
from submodel.errors import SubModelError
from submodel.serverless.local.desk import Closed, Desk
from submodel.serverless.local.jobs import LocalJob, body_bytes_max
from submodel.serverless.local.web import Reply, Request, as_json, refusal

PAGE = Path(__file__).with_name("page.html")
STREAM_WAIT_MS = 1000
LIST_MAX = 100

_PREFIXES = re.compile(r"/(?:v2|v1/sl|api/v1/sl|v1)/[^/]+(?=/)")
_REALTIME = re.compile(r"/([^/]+)/realtime")


class Refused(SubModelError):
    """The request cannot be served as it is."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True, slots=True)
class Asked:
    """A request at its route. `job_id` is empty where the route has none."""

    request: Request
    job_id: str
    like_gateway: bool
    """Answer as the gateway does."""

    def wait_seconds(self, default_ms: int | None) -> float | None:
        """How long it may be waited; None for as long as it takes."""
        wait = self.number("wait", default_ms)
        return None if wait is None else min(wait, limits.RUNSYNC_WAIT_MS_MAX) / 1000

    def number(self, name: str, default: int | None) -> int | None:
        """A whole number of the query, `default` without one. Raises `Refused` for anything else."""
        text = self.request.query.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit()):
            raise Refused(400, f"{name} must be a whole number, not {text!r}")
        return int(text)


class Requests:
    """Routes of one desk.

    Args:
        endpoint_id: at which realtime requests come; None for any.
        facts: what the page shows of the handler.
    """

    def __init__(self, desk: Desk, endpoint_id: str | None, facts: Mapping[str, Any]) -> None:
        self._desk = desk
        self._endpoint_id = endpoint_id
        self._facts = facts
        both, post, get = ("GET", "POST"), ("POST",), ("GET",)
        self._plain: dict[str, tuple[tuple[str, ...], Callable[[Asked], Reply]]] = {
            "": (get, self._page),
            "docs": (get, self._docs),
            "handler": (get, self._handler),
            "run": (post, self._run),
            "runsync": (post, self._runsync),
            "run_sync": (post, self._runsync),
            "health": (get, self._health),
            "requests": (get, self._list),
            "purge-queue": (post, self._purge),
            "purge": (post, self._purge),
        }
        self._of_job: dict[str, tuple[tuple[str, ...], Callable[[Asked], Reply]]] = {
            "status": (both, self._status),
            "status-sync": (both, self._status_sync),
            "stream": (both, self._stream),
            "cancel": (both, self._cancel),
        }

    def answer(self, request: Request) -> Reply:
        """The answer to a request."""
        try:
            return self._answer(request)
        except Refused as error:
            return refusal(error.status, str(error))
        except Closed as error:
            return refusal(503, str(error), {"Retry-After": "1"})

    def _answer(self, request: Request) -> Reply:
        found = _REALTIME.fullmatch(request.path)
        if found and self._endpoint_id in (None, found[1]):
            return self._realtime(request)
        prefix = _PREFIXES.match(request.path)
        path = request.path[prefix.end() :] if prefix else request.path
        operation, _, job_id = path.strip("/").partition("/")
        methods, route = (self._of_job if job_id else self._plain).get(operation, ((), None))
        if route is None:
            raise Refused(404, f"there is nothing at {request.path}; the page at / shows what there is")
        if request.method not in methods:
            allow = ", ".join(methods)
            return refusal(405, f"{request.method} is not allowed here; use {allow}", {"Allow": allow})
        return route(Asked(request, job_id, like_gateway=prefix is not None))

    # Jobs:

    def _run(self, asked: Asked) -> Reply:
        return as_json({"id": self._submit(asked.request, sync=False), "status": JobState.IN_QUEUE})

    def _runsync(self, asked: Asked) -> Reply:
        job_id = self._submit(asked.request, sync=True)
        default = limits.RUNSYNC_WAIT_MS_DEFAULT if asked.like_gateway else None
        self._desk.wait(job_id, asked.wait_seconds(default), _final)
        return self._job(job_id, LocalJob.status)

    def _status(self, asked: Asked) -> Reply:
        if self._waits(asked):
            self._desk.wait(asked.job_id, None, _final)
        return self._job(asked.job_id, LocalJob.status)

    def _status_sync(self, asked: Asked) -> Reply:
        self._desk.wait(asked.job_id, asked.wait_seconds(limits.RUNSYNC_WAIT_MS_DEFAULT), _final)
        return self._job(asked.job_id, LocalJob.status)

    def _stream(self, asked: Asked) -> Reply:
        offset = asked.number("offset", None)
        if self._waits(asked):
            self._desk.wait(asked.job_id, None, _final)
            return self._job(asked.job_id, lambda job: job.stream(offset or 0))

        def news(job: LocalJob) -> bool:
            return job.state.terminal or len(job.chunks) > (job.cursor if offset is None else offset)

        def read(job: LocalJob) -> Any:
            found = job.stream(job.cursor if offset is None else offset)
            if offset is None:
                job.cursor = found.offset
            return found

        self._desk.wait(asked.job_id, asked.wait_seconds(STREAM_WAIT_MS), news)
        return self._job(asked.job_id, read)

    def _cancel(self, asked: Asked) -> Reply:
        self._desk.stop(asked.job_id)
        return self._job(asked.job_id, LocalJob.status)

    def _realtime(self, request: Request) -> Reply:
        if request.method != "POST":
            return refusal(405, f"{request.method} is not allowed here; use POST", {"Allow": "POST"})
        body = _object(request.body)
        if body is None or "id" not in body or "input" not in body:
            raise Refused(422, 'send {"id": …, "input": …}')
        job_id = self._desk.submit(body, JobPolicy(), body_bytes_max(sync=True), called=str(body["id"]))
        self._desk.wait(job_id, None, _final)
        return as_json(self._desk.read(job_id, LocalJob.raw_result))

    def _submit(self, request: Request, sync: bool) -> str:
        most = body_bytes_max(sync)
        if len(request.body) > most:
            raise Refused(413, f"the body is over {most} bytes")
        body = _object(request.body)
        if body is None:
            raise Refused(400, 'the body is not a JSON object; send {"input": …}')
        if "input" not in body:
            raise Refused(400, 'input is missing; send {"input": …}')
        return self._desk.submit(body, _policy(body.get("policy")), most)

    def _job(self, job_id: str, view: Callable[[LocalJob], Any]) -> Reply:
        found = self._desk.read(job_id, view)
        if found is None:
            raise Refused(404, f"there is no job {job_id}; jobs are gone when the server starts over")
        return as_json(found)

    @staticmethod
    def _waits(asked: Asked) -> bool:
        return asked.request.method == "POST" and not asked.like_gateway

    # The rest:

    def _page(self, asked: Asked) -> Reply:
        return page()

    def _docs(self, asked: Asked) -> Reply:
        return Reply(307, b"", {"Location": "/"})

    def _handler(self, asked: Asked) -> Reply:
        return as_json(self._facts)

    def _list(self, asked: Asked) -> Reply:
        limit = min(asked.number("limit", 20) or 0, LIST_MAX)
        return as_json({"requests": self._desk.newest(limit), "next": None})

    def _purge(self, asked: Asked) -> Reply:
        return as_json({"removed": self._desk.purge(), "status": "completed"})

    def _health(self, asked: Asked) -> Reply:
        now = self._desk.counts()
        busy = int(now.running > 0)
        return as_json(
            {
                "jobs": {
                    "completed": now.completed,
                    "failed": now.failed,
                    "inProgress": now.running,
                    "inQueue": now.queued,
                    "retried": 0,
                },
                "workers": {
                    "idle": 1 - busy,
                    "initializing": 0,
                    "ready": 1,
                    "running": busy,
                    "throttled": 0,
                    "unhealthy": 0,
                },
            }
        )


_PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        "img-src data: https: http:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
}


def page() -> Reply:
    """The page on which a person tries the handler."""
    return Reply(200, PAGE.read_bytes(), _PAGE_HEADERS, content_type="text/html; charset=utf-8")


def _final(job: LocalJob) -> bool:
    return job.state.terminal


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _policy(given: Any) -> JobPolicy:
    if given is None:
        return JobPolicy()
    if not isinstance(given, dict):
        raise Refused(400, "policy must be an object")
    return JobPolicy(
        execution_timeout_ms=_milliseconds(given, "executionTimeout", limits.EXECUTION_TIMEOUT_MS_MIN),
        ttl_ms=_milliseconds(given, "ttl", limits.TTL_MS_MIN),
    )


def _milliseconds(policy: Mapping[str, Any], name: str, least: int) -> int:
    value = policy.get(name)
    if value is None:
        return 0
    if type(value) is not int or not least <= value <= limits.POLICY_MS_MAX:
        raise Refused(400, f"policy.{name} must be a whole number from {least} to {limits.POLICY_MS_MAX}")
    return value
