"""The book of what was acknowledged, and the checker that compares it with what is found after a crash.

A job only ever moves forward through `(generation, attempt, step, streamed items)`. So the checker needs no history:
what is found must be at or beyond the furthest record that anybody was told, and an end that was told stays as it was.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from submodel.contract.states import JobState
from submodel_gateway.jobs.record import Job
from submodel_gateway.store import base

RETRYABLE = (JobState.FAILED, JobState.TIMED_OUT)
_ONCE = (JobState.IN_QUEUE, JobState.IN_PROGRESS, JobState.COMPLETED, JobState.CANCELLED)
Place = tuple[int, int, int, int]


def place(job: Job) -> Place:
    """How far a job has come; grows with everything that is done to it."""
    if job.state is JobState.IN_PROGRESS:
        return job.gen, job.attempt, 0, job.chunks
    return job.gen, job.attempt, 1 if job.state is JobState.IN_QUEUE else 2, 0


def output_of(job: Job) -> bytes:
    """What the worker of this attempt publishes: a JSON text that names it, mostly small, some large, few blobs."""
    text = f"{job.id} by {job.token} ".encode()
    copies = 1 + 400 * (job.seq % 7 == 0) + 2 * base.BLOB_BYTES // len(text) * (job.seq % 101 == 0)
    return b'"%s"' % (text * copies)


def item_of(job: Job, seq: int) -> bytes:
    """What the worker of this attempt streams as item `seq`."""
    return f'"{job.id} by {job.token}: {seq}"'.encode()


class Ledger:
    """Records as told by acknowledged operations, the furthest of each job.

    Args:
        streams: whether what a running job streamed must be found too.
    """

    def __init__(self, *, streams: bool = True) -> None:
        self._parts = 4 if streams else 3
        self.told: dict[str, Job] = {}
        self._published: dict[tuple[str, int], base.Content] = {}

    def note(self, job: Job) -> None:
        """An operation was acknowledged and said that the job is like this now."""
        known = self.told.get(job.id)
        if known is None or place(job) >= place(known):
            self.told[job.id] = job

    async def violations(self, store: base.Store, ids: Iterable[str]) -> list[str]:
        """What the store does not hold although it was acknowledged: one sentence each, none when all is well."""
        return [sentence for id in ids async for sentence in self._violations(store, self.told[id])]

    async def _violations(self, store: base.Store, told: Job) -> AsyncIterator[str]:
        found = await store.job(told.endpoint, told.id)
        if found is None:
            yield f"{told.id} is gone; it was told to be {told}"
            return
        if place(found)[: self._parts] < place(told)[: self._parts]:
            yield f"{told.id} went back: told {told}, found {found}"
        if told.state.terminal and found.gen == told.gen and replace(found, webhook=told.webhook) != told:
            yield f"{told.id} ended twice: told {told}, found {found}"
        if told.state.terminal and found.gen > told.gen and told.state not in RETRYABLE:
            yield f"{told.id} was started again after {told.state}"
        content = await store.content(found)
        if found.state is JobState.COMPLETED and await whole(store, content.output) != output_of(found):
            yield f"{told.id} has another output than its worker published"
        if found.state.terminal and self._published.setdefault((found.id, found.gen), content) != content:
            yield f"{told.id} shows another end than before"
        items = await store.chunks(found, 0, found.chunks + 1)
        if items != [item_of(found, seq) for seq in range(1, found.chunks + 1)]:
            yield f"{told.id} has other streamed items than its record says"


async def whole(store: base.Store, payload: base.Payload | None) -> bytes | None:
    """The bytes of a payload, wherever they are."""
    return await store.fetch(payload) if isinstance(payload, base.Blob) else payload


@dataclass
class Counted:
    """The jobs of an endpoint, counted one by one."""

    states: Counter[JobState] = field(default_factory=Counter)
    generations: int = 0

    def add(self, state: JobState, jobs: int, generations: int) -> None:
        self.states[state] += jobs
        self.generations += generations


def miscounts(store: base.Store, counted: Mapping[str, Counted]) -> list[str]:
    """Where the tallies differ from the jobs as counted; nothing may have expired.

    Each generation is an arrival, and a retried job leaves its failure in the totals.
    """
    wrong = []
    for endpoint, jobs in counted.items():
        tally, states = store.tally(endpoint), jobs.states
        retried = jobs.generations - states.total()
        kept = (tally.queued, tally.in_progress, tally.completed, tally.cancelled)
        same = kept == tuple(states[state] for state in _ONCE)
        failed = states[JobState.FAILED] + states[JobState.TIMED_OUT] + retried
        if not same or tally.failed + tally.timed_out != failed or tally.arrived != jobs.generations:
            wrong.append(f"{endpoint}: the tally says {tally}, counted are {jobs}")
    return wrong
