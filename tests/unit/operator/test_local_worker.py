"""A worker process of local mode that cannot even be started."""

import asyncio

from submodel_operator.local.worker import LocalWorker


async def test_a_command_that_cannot_be_started_is_told_and_tried_again() -> None:
    told = asyncio.Event()
    lines: list[str] = []

    def changed(worker: LocalWorker) -> None:
        if worker.observe(0).ended:
            told.set()

    worker = LocalWorker("w-1", "r1", ["/there/is/no/such/program"], {}, lines.append, changed)
    await told.wait()
    words = "/there/is/no/such/program: No such file or directory"
    assert worker.observe(0).message == f"{words} (it cannot be started)"
    worker.leave()
    await worker.gone()
    assert worker.left
    assert words in lines[0]
    assert lines[1] == "worker w-1 ended (it cannot be started); next start in 1 s"
