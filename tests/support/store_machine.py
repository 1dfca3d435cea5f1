"""The frame of a comparison: an engine, the store in memory, and what was promised, driven by rules of hypothesis.

The store in memory is given each operation alone and at once, the engine gets them in groups of several; whenever a
group is through, both are read and compared.
"""

import asyncio
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant
from msgspec.structs import replace

from submodel_gateway.errors import StoreError
from submodel_gateway.store import base
from submodel_gateway.store.base import Store
from submodel_gateway.store.memory import MemoryStore
from tests.support.store_engines import Engine, engine
from tests.support.store_promises import Promises
from tests.support.store_readings import check, read_endpoint

ENDPOINTS = ("e", "f", "g")

FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where syncing costs nothing: what survives a crash is not asked here."""


class Model(MemoryStore):
    """The store in memory, whose queue numbers can be moved on."""

    def skip_to(self, seq: int) -> None:
        self._rows.seq = seq


class StoreMachine(RuleBasedStateMachine):
    engine_name: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.exit = ExitStack()
        self.runner = self.exit.enter_context(asyncio.Runner())
        folder = self.exit.enter_context(tempfile.TemporaryDirectory(dir=FOLDER))
        self.engine: Engine = self.exit.enter_context(engine(self.engine_name, Path(folder)))
        self.store = self.opened()
        self.memory = Model()
        self.promises = Promises()
        self.now = 1_000
        self.in_time = True
        """Whether the open store was told what time it is: before, delayed jobs that are ready may count as due."""

        self.number = 0
        self.size = 1
        self.group: list[base.Operation] = []
        self.expected: list[base.Outcome] = []
        self.touched: set[str] = set()
        """Jobs that changed since the last look at them, as those of endpoints."""

        self.concerned: set[str] = {*ENDPOINTS}
        self.twins: dict[base.Payload, base.Blob] = {}
        """A payload stashed in the engine -> the same in memory."""

        self.stashed: dict[base.Payload, bytes] = {}
        """By the name in memory."""

    def teardown(self) -> None:
        try:
            self.commit_group()
            self.look_at_everything()
            self.reads_are_the_same_and_as_promised()
            self.payloads_live_as_long_as_their_jobs()
        finally:
            self.runner.run(self.store.close())
            self.exit.close()

    def look_at_everything(self) -> None:
        self.touched = {*self.promises.jobs}
        self.concerned = {*ENDPOINTS}

    def opened(self) -> Store:
        store = self.engine.open()
        self.runner.run(store.start(lambda endpoints: None))
        return store

    def do(self, operation: base.Operation, twin: base.Operation | None = None) -> base.Outcome:
        """Apply an operation to the store in memory at once, and its `twin` to the engine with the next group."""
        (outcome,) = self.memory.apply([operation], self.now)
        self.promises.saw(operation, outcome, self.now)
        self.group.append(twin or operation)
        self.expected.append(outcome)
        self.touched |= {change.before.id for change in base.changes(outcome) if change.before}
        if len(self.group) >= self.size:
            self.commit_group()
        return outcome

    def commit_group(self) -> None:
        if self.group:
            self.concerned |= {endpoint for each in self.group for endpoint in _endpoints_of(each)}
            operations, expected = self.group, self.expected
            self.group, self.expected = [], []
            outcomes = self.store.apply(operations, self.now)
            self.in_time = True
            assert [self.translated(outcome) for outcome in outcomes] == expected

    def translated(self, outcome: base.Outcome) -> base.Outcome:
        """The engine's outcome in terms of the store in memory: payloads have other names there."""
        if not isinstance(outcome, base.Taken):
            return outcome
        leases = [replace(lease, input=self.twins.get(lease.input, lease.input)) for lease in outcome.leases]
        return replace(outcome, leases=tuple(leases))

    def stash(self, data: bytes) -> tuple[base.Blob, base.Blob]:
        """The payload's name in memory, and in the engine."""
        ours, theirs = self.runner.run(self.memory.stash(data)), self.runner.run(self.store.stash(data))
        self.twins[theirs] = ours
        self.stashed[ours] = data
        return ours, theirs

    @invariant()
    def reads_are_the_same_and_as_promised(self) -> None:
        if self.concerned and not self.group:
            self.runner.run(self.compare_reads(sorted(self.concerned)))
            self.touched.clear()
            self.concerned.clear()

    async def compare_reads(self, endpoints: list[str]) -> None:
        late_at = self.now - 1_000
        readings = (read_endpoint(self.store, endpoint, late_at, self.touched) for endpoint in endpoints)
        for endpoint, theirs in zip(endpoints, await asyncio.gather(*readings), strict=True):
            ours = await read_endpoint(self.memory, endpoint, late_at, self.touched)
            closely = {
                id: replace(each, content=self.translated_content(each.content)) for id, each in theirs.closely.items()
            }
            assert replace(theirs, closely=closely) == ours
            check(ours, self.promises, endpoint, self.now, late_at)
        for id in self.touched:
            known = self.promises.jobs.get(id)
            endpoint = known.submit.endpoint if known else ENDPOINTS[0]
            assert await self.store.job(endpoint, id) == (known.job if known else None)
            assert await self.store.webhook(endpoint, id) == await self.memory.webhook(endpoint, id)
        assert await self.store.endpoints() == self.promises.endpoints
        assert await self.store.next_webhook() == await self.memory.next_webhook()
        assert await self.store.last_seq() == self.promises.seq
        assert (await self.store.time()).mark_ms <= self.now
        if self.in_time:
            assert await self.store.next_due() == await self.memory.next_due()

    def translated_content(self, content: base.Content) -> base.Content:
        output = content.output
        return replace(content, output=self.twins.get(output, output)) if output is not None else content

    def payloads_live_as_long_as_their_jobs(self) -> None:
        needed = {known.submit.input for known in self.promises.jobs.values()}
        needed |= {known.content.output for known in self.promises.jobs.values() if known.content.output is not None}
        for theirs, ours in self.twins.items():
            assert isinstance(theirs, base.Blob)
            if ours in needed:
                assert self.runner.run(self.store.fetch(theirs)) == self.stashed[ours]
            else:
                with pytest.raises(StoreError):
                    self.runner.run(self.store.fetch(theirs))


def _endpoints_of(operation: base.Operation) -> tuple[str, ...]:
    return ENDPOINTS if isinstance(operation, base.Sweep | base.LeaseWebhooks) else (operation.endpoint,)
