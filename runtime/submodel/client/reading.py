"""What a job's answers mean: its output or why there is none, and the place in its stream. Pure."""

from typing import Any

from submodel.client.answers import Document
from submodel.contract.states import JobState
from submodel.errors import JobCancelled, JobEnded, JobFailed, JobTimedOut

FINAL = frozenset(state.value for state in JobState if state.terminal)

_ENDINGS: dict[str, type[JobEnded]] = {
    JobState.FAILED: JobFailed,
    JobState.CANCELLED: JobCancelled,
    JobState.TIMED_OUT: JobTimedOut,
}


def output(job_id: str, found: Document) -> Any:
    """The output in a status: the result of a completed job, the newest progress of one that goes on.

    Raises `JobFailed`, `JobCancelled` or `JobTimedOut` for a job that ended otherwise.
    """
    status = found["status"]
    if status in _ENDINGS:
        error = found.get("error")
        raise _ENDINGS[status](job_id, status, None if error is None else str(error), found.get("output"))
    return found.get("output")


class StreamPlace:
    """A reader's place in the stream of one job: the next offset, and the attempt that it counts in."""

    def __init__(self) -> None:
        self.offset = 0
        self.attempt: int | None = None
        self.ended = False

    def read(self, found: Document) -> list[Any]:
        """The new items of an answer; moves on, and back to the first item when the job runs anew."""
        if self._restarted(found):
            return []
        items = [item["output"] for item in found.get("stream") or []]
        counted = "offset" in found
        self.offset = found["offset"] if counted else self.offset + len(items)
        # A server that counts sends all that is left with the final status; of others one empty answer more is read.
        self.ended = found["status"] in FINAL and (counted or not items)
        return items

    def _restarted(self, found: Document) -> bool:
        before, self.attempt = self.attempt, found.get("attempt")
        if before in (None, self.attempt) or self.offset == 0:
            return False
        self.offset = 0
        return True
