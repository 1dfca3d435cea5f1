import json
import time

import submodel

MODEL = "parrot"


async def tokens(messages):
    """Stands for a model: says word by word what it was told last. Put yours here."""
    for word in messages[-1]["content"].split():
        yield word + " "


def piece(content, finish_reason=None):
    choice = {"index": 0, "delta": {"content": content} if content else {}, "finish_reason": finish_reason}
    created = int(time.time())
    return {"id": "1", "object": "chat.completion.chunk", "created": created, "model": MODEL, "choices": [choice]}


def event(document):
    return f"data: {json.dumps(document)}\n\n"


def answer(content):
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return {"id": "1", "object": "chat.completion", "created": int(time.time()), "model": MODEL, "choices": [choice]}


async def handler(job):
    route, asked = job["input"]["openai_route"], job["input"].get("openai_input") or {}
    if route != "/v1/chat/completions":
        yield {"error": {"message": f"{route} is not served here", "type": "invalid_request_error", "code": 404}}
    elif asked.get("stream"):
        async for token in tokens(asked["messages"]):
            yield event(piece(token))
        yield event(piece(None, "stop"))
        yield "data: [DONE]\n\n"
    else:
        yield answer("".join([token async for token in tokens(asked["messages"])]))


submodel.serverless.start({"handler": handler})
