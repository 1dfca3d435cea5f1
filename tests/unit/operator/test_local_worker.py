"""A worker process of local mode that cannot even be started."""

import asyncio

from submodel_operator.local.worker import LocalWorker


async def test_a_command_that_cannot_be_started_is_told_and_tried_again() -> None:
    told = asyncio.Event()
    lines: list[str] = []

    def changed(worker: LocalWorker) -> None:
        if worker.observe(0).phase == "CrashLoopBackOff":
            told.set()

    worker = LocalWorker("w-1", "r1", ["/there/is/no/such/program"], {}, lines.append, changed)
    await told.wait()
    assert worker.observe(0).message == "cannot be started: No such file or directory"
    worker.leave()
    await worker.gone()
    assert worker.left
    assert "next start in 1 s" in lines[0]
