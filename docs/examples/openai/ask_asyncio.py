"""The same with asyncio, several questions at once."""

import asyncio

import openai


async def ask(client: openai.AsyncOpenAI, question: str) -> str:
    messages = [{"role": "user", "content": question}]
    pieces = await client.chat.completions.create(model="parrot", messages=messages, stream=True)
    return "".join([piece.choices[0].delta.content or "" async for piece in pieces])


async def main() -> None:
    async with openai.AsyncOpenAI() as client:
        for answer in await asyncio.gather(*(ask(client, f"question {number}") for number in range(3))):
            print(answer)


asyncio.run(main())
