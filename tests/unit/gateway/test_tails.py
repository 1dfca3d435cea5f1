"""Following a stream: what is committed here is not read back, and whatever else happens is not missed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from submodel.contract.exchange import Chunks, Held, LeasedJob
from submodel.contract.states import JobState
from submodel_gateway.jobs.record import Job
from submodel_gateway.service.streams import BEGINNING, StreamPart
from submodel_gateway.service.tails import TAIL_BYTES, Tail
from submodel_gateway.store import base
from submodel_gateway.store.memory import MemoryStore
from tests.support.gateway_world import ENDPOINT, Worker, World, at_work, here, settle
from tests.support.store_operations import take


class CountedReads(MemoryStore):
    """The store in memory, and how often a job was read there."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    async def job(self, endpoint: str, id: str) -> Job | None:
        self.reads += 1
        return await super().job(endpoint, id)


class Followed:
    """A job's stream, what is written to it here and elsewhere, and a reader who follows it.

    `got` is what the reader has of the attempt that it reads, `sent` what there is of the present one.
    """

    def __init__(self, w: World, worker: Worker, job: LeasedJob, tail: Tail) -> None:
        self._w = w
        self._worker = worker
        self._tail = tail
        self._place = BEGINNING
        self.job = job
        self.sent: list[bytes] = []
        self.got: list[bytes] = []

    async def append(self, *items: bytes) -> None:
        """By this gateway."""
        await self._send(len(self.sent) + 1, *items)
        self.sent += items

    async def append_again(self) -> None:
        """What was sent last comes once more, with an item more."""
        known = self.sent[-1:]
        await self._send(len(self.sent) + 1 - len(known), *known, b"0")
        self.sent.append(b"0")

    async def append_first_again(self) -> None:
        if self.sent:
            await self._send(1, self.sent[0])

    async def append_elsewhere(self, *items: bytes) -> None:
        """By another gateway, which is not heard of."""
        id, token, seq = self.job.id, self.job.token, len(self.sent) + 1
        self._elsewhere(base.AppendChunk(endpoint=ENDPOINT, id=id, token=token, seq=seq, items=items))
        self.sent += items

    async def heartbeat(self) -> None:
        await self._worker.say()

    async def finish(self) -> None:
        await self._worker.finish(self.job)

    async def run_again(self) -> None:
        """Its worker gives it back and takes it again."""
        held = [Held(id=self.job.id, token=self.job.token)]
        self._worker.held.clear()
        await self._worker.say(running=[], released=held)
        (self.job,) = await self._worker.take()
        self.sent = []

    async def run_again_elsewhere(self) -> None:
        self._elsewhere(base.Release(endpoint=ENDPOINT, id=self.job.id, token=self.job.token))
        taken = self._elsewhere(take())
        assert isinstance(taken, base.Taken)
        self.job = replace(self.job, token=taken.leases[0].job.token)
        self.sent = []

    def _elsewhere(self, operation: base.Operation) -> base.Outcome:
        (outcome,) = self._w.store.apply([operation], self._w.clock.now_ms())
        assert not isinstance(outcome, base.Refused)
        return outcome

    async def _send(self, seq: int, *items: bytes) -> None:
        raw = [msgspec.Raw(item) for item in items]
        chunk = Chunks(id=self.job.id, token=self.job.token, seq=seq, items=raw)
        assert (await self._worker.say(chunks=[chunk])).refused == []

    async def read(self) -> StreamPart:
        """What there is; a look that finds nothing is held until its caller hangs up."""
        hangup, follow = here(), self._w.gateway.streams.follow
        look = asyncio.ensure_future(follow(ENDPOINT, self.job.id, self._place, 600_000, hangup, None, self._tail))
        await settle()
        if not look.done():
            hangup.set_result(None)
        part = await look
        self.got = part.items if part.restarted else self.got + part.items
        self._place = part.place if part.job.state is not JobState.IN_QUEUE else BEGINNING
        return part


@asynccontextmanager
async def followed(store: MemoryStore | None = None) -> AsyncIterator[Followed]:
    async with at_work(store) as (w, worker, job):
        with w.gateway.streams.tail(ENDPOINT, job.id) as tail:
            yield Followed(w, worker, job, tail)


async def test_what_is_committed_here_is_not_read_back() -> None:
    store = CountedReads()
    async with followed(store) as stream:
        await stream.append(b"1")
        await stream.read()
        reads = store.reads
        for number in range(2, 5):
            await stream.append(b"%d" % number)
            await stream.read()
        assert (stream.got, store.reads) == ([b"1", b"2", b"3", b"4"], reads)


async def test_what_another_gateway_committed_comes_before_what_follows_it_here() -> None:
    async with followed() as stream:
        await stream.append(b"1", b"2")
        await stream.read()
        await stream.append_elsewhere(b"3", b"4")
        await stream.append(b"5", b"6")
        await stream.read()
        assert stream.got == [b"1", b"2", b"3", b"4", b"5", b"6"]


async def test_an_item_that_comes_twice_is_read_once() -> None:
    store = CountedReads()
    async with followed(store) as stream:
        await stream.append(b"1", b"2")
        await stream.read()
        reads = store.reads
        await stream.append(b"3")
        await stream.append(b"4")
        await stream.append_again()
        await stream.append_first_again()
        await stream.read()
        assert (stream.got, store.reads) == (stream.sent, reads)


async def test_a_job_that_another_gateway_ran_again_is_read_from_its_beginning() -> None:
    async with followed() as stream:
        await stream.append(b"1", b"2")
        await stream.run_again_elsewhere()
        await stream.read()
        await stream.append_elsewhere(b"3", b"4")
        await stream.append(b"5")
        await stream.read()
        assert stream.got == [b"3", b"4", b"5"]


async def test_what_nobody_told_of_is_found_in_the_end() -> None:
    async with followed() as stream:
        await stream.append(b"1")
        await stream.read()
        await stream.append_elsewhere(b"2")
        assert (await stream.read()).items == [b"2"]


async def test_a_reader_that_is_slower_than_its_stream_reads_the_rest_from_the_store() -> None:
    store = CountedReads()
    large = [b'"%s"' % (b"%d" % number * (TAIL_BYTES // 3)) for number in range(5)]
    async with followed(store) as stream:
        await stream.append(b"1")
        await stream.read()
        for item in large:
            await stream.append(item)
        reads = store.reads
        await stream.read()
        assert stream.got == [b"1", *large]
        assert store.reads > reads


async def test_the_end_comes_with_all_that_is_left() -> None:
    async with followed() as stream:
        await stream.append(b"1")
        await stream.read()
        await stream.append(b"2")
        await stream.finish()
        assert (await stream.read()).job.state is JobState.COMPLETED
        assert stream.got == [b"1", b"2"]


async def test_a_job_that_runs_again_is_read_from_its_beginning() -> None:
    async with followed() as stream:
        await stream.append(b"1", b"2")
        await stream.read()
        await stream.append(b"3")
        await stream.run_again()
        await stream.append(b"4")
        assert (await stream.read()).restarted
        assert stream.got == [b"4"]


HAPPENS = (
    "append",
    "append_again",
    "append_first_again",
    "append_elsewhere",
    "heartbeat",
    "run_again",
    "run_again_elsewhere",
    "read",
    "read",
)


@given(st.lists(st.sampled_from(HAPPENS), min_size=10, max_size=40))
def test_whatever_happens_a_reader_has_the_stream_in_order(happens: Sequence[str]) -> None:
    async def happen() -> None:
        async with followed() as stream:
            for number, what in enumerate(happens):
                if what in ("append", "append_elsewhere"):
                    await getattr(stream, what)(b"%d" % number, b"%d" % -number)
                else:
                    await getattr(stream, what)()
            await stream.read()  # it may tell only of the end of an attempt
            await stream.read()
            assert stream.got == stream.sent

    asyncio.run(happen())
