import asyncio

import submodel


async def handler(job):
    for step in range(job["input"]["steps"]):
        await asyncio.sleep(0.01)  # stands for a model
        yield {"step": step}


submodel.serverless.start({"handler": handler})
