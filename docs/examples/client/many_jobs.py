"""Send some jobs at once and print what became of each."""

import asyncio

import submodel
from submodel.errors import SubModelError


async def main() -> None:
    async with submodel.AsyncioEndpoint("default.tokens") as endpoint:
        outputs = await asyncio.gather(
            *(endpoint.run_sync({"number": number}, timeout=120) for number in range(3)),
            return_exceptions=True,
        )
    for output in outputs:
        print("failed:" if isinstance(output, SubModelError) else "done:", output)


asyncio.run(main())
