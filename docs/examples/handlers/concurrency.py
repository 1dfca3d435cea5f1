import asyncio

import submodel

MOST = 8


async def handler(job):
    await asyncio.sleep(0.01)  # stands for a request to a model server
    return job["input"]


def concurrency(at_once):
    """One more, each time that it is asked, until there are enough."""
    return min(at_once + 1, MOST)


submodel.serverless.start({"handler": handler, "concurrency_modifier": concurrency})
