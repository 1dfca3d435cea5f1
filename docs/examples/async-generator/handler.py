import asyncio

import submodel


async def handler(job):
    for i in range(5):
        yield f"Generated async token output {i}"
        await asyncio.sleep(1)


submodel.serverless.start({"handler": handler, "return_aggregate_stream": True})
