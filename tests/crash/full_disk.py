"""A store whose disk fills up and gets space again. Run on a small filesystem; prints what happened as JSON."""

import asyncio
import errno
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from submodel.contract import limits
from submodel_gateway.errors import StoreError
from submodel_gateway.jobs.record import Job
from submodel_gateway.store import base
from submodel_gateway.store.group import GroupCommit
from tests.crash.ledger import Ledger, output_of
from tests.crash.load import open_group
from tests.support.store_operations import ENDPOINT, finish, heartbeat, submit, take

RUNNING = 200
INPUT = b'"%s"' % (b"x" * 20_000)
LATE = 1_000
BACK_SECONDS = 20


async def main(folder: Path) -> None:
    ledger = Ledger()
    group = await open_group(f"sqlite://{folder}/jobs.db")
    stage = Stage(group, ledger)
    await stage.apply([submit(f"early-{number}", input=INPUT) for number in range(2 * RUNNING)])
    await stage.apply([take(limit=RUNNING)])
    held = await group.store.held(ENDPOINT, "w")

    filler = fill(folder / "filler")
    told: dict[str, object] = {
        "submits": await stage.apply([submit(f"late-{number}", input=INPUT) for number in range(LATE)])
    }
    told["large outputs"] = await stashed(group.store)
    told["finishes"] = await stage.apply([finish(job, output_of(job)) for job in held[:100]])
    told["heartbeats"] = await stage.apply([heartbeat(job) for job in held[100:]])
    told["cancels"] = await stage.apply([base.Cancel(endpoint=ENDPOINT, id=job.id) for job in held[100:110]])
    told["takes"] = await stage.apply([take(nonce=number + 1_000_000) for number in range(10)])

    filler.unlink()
    await stage.until_back()
    told["submits after"] = await stage.apply([submit(f"after-{number}", input=INPUT) for number in range(RUNNING)])
    told["finishes after"] = await stage.apply([finish(job, output_of(job)) for job in held[110:]])
    await group.close()

    group = await open_group(f"sqlite://{folder}/jobs.db")
    lost = await ledger.violations(group.store, ledger.told)
    await group.close()
    print(json.dumps({**told, "lost": lost}))  # noqa: T201  # this is what the process is for


class Stage:
    """Applies operations and keeps the book."""

    def __init__(self, group: GroupCommit, ledger: Ledger) -> None:
        self._group = group
        self._ledger = ledger

    async def apply(self, operations: Sequence[base.Operation]) -> dict[str, int]:
        """How often each kind of answer came; refusals are named by their reason or error."""
        outcomes = await asyncio.gather(*(self._group.many([operation]) for operation in operations))
        for (outcome,) in outcomes:
            self._note(change.after for change in base.changes(outcome))
        return Counter(name(outcome) for (outcome,) in outcomes)

    async def until_back(self) -> None:
        """Sweep and submit, as a gateway does, until a job is accepted."""
        async with asyncio.timeout(BACK_SECONDS):
            for number in range(sys.maxsize):
                await self.apply([base.Sweep(hold_ms=limits.LEASE_MS)])
                if await self.apply([submit(f"back-{number}", input=INPUT)]) == {"Applied": 1}:
                    return

    def _note(self, jobs: Iterable[Job | None]) -> None:
        for job in jobs:
            if job is not None:
                self._ledger.note(job)


def name(outcome: base.Outcome) -> str:
    if isinstance(outcome, base.Failed):
        return type(outcome.error).__name__
    return outcome.reason.value if isinstance(outcome, base.Refused) else type(outcome).__name__


async def stashed(store: base.Store) -> str:
    """What comes of a large payload."""
    try:
        await store.stash(b"x" * 2 * base.BLOB_BYTES)
    except StoreError as error:
        return type(error).__name__
    return "stored"


def fill(path: Path) -> Path:
    """A file that takes all space there is."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 65_536)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    return path


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
