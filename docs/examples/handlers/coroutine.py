import asyncio

import submodel


async def handler(job):
    return await asyncio.gather(*(lookup(word) for word in job["input"]["words"]))


async def lookup(word):
    await asyncio.sleep(0.01)  # stands for a request to another service
    return {word: len(word)}


submodel.serverless.start({"handler": handler})
