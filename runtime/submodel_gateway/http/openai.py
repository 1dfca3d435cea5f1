"""The routes of OpenAI's API, under `/{endpoint}/openai` after every base; `public` hands them over.

A request is held until the job has something to say, so that what goes wrong on the way is still an error with a
status; after that the bytes of the worker pass.
"""

from collections.abc import AsyncGenerator

import msgspec

from submodel.contract.states import JobState
from submodel_gateway.errors import InvalidRequest, Unavailable
from submodel_gateway.http import envelope, openai_frames, sse
from submodel_gateway.http.messages import Answer, Reply, Request, Streamed
from submodel_gateway.http.openai_frames import Failure, Framer
from submodel_gateway.http.operations import OPENAI
from submodel_gateway.service.openai import OpenAi, OpenAiCall, OpenAiJob, Restarted
from submodel_gateway.service.streams import StreamPart

_NO_RETRY = (b"x-should-retry", b"false")
"""OpenAI's clients send a request twice more after a 5xx. The job has run: it would run again."""


class _Asked(msgspec.Struct):
    """What the gateway reads of a body; the rest is the worker's."""

    stream: bool | None = False


_ASKED = msgspec.json.Decoder(_Asked)


class OpenAiRoutes:
    """Serves them. The caller is in already."""

    def __init__(self, openai: OpenAi) -> None:
        self._openai = openai

    async def serve(self, request: Request, endpoint: str, path: list[str]) -> Reply:
        """A request for `/<path>`. Raises what `answers.application` turns into an answer."""
        if request.method == "GET" and path[:2] == ["v1", "models"] and (names := self._openai.models(endpoint)):
            return _models(names, "/".join(path[2:]))
        call, asked = await _call(request, "/" + "/".join(path))
        job = await self._openai.submit(endpoint, call, request.hangup(), request.shelf)
        del call  # what follows is long
        request.forget_body()
        if asked.stream:
            return await self._stream(job)
        try:
            return await self._whole(job)
        finally:
            await job.leave()

    async def _whole(self, job: OpenAiJob) -> Reply:
        view = await job.end()
        if view.job.state is not JobState.COMPLETED:
            return _answer(openai_frames.failed(view.job.state, view.error))
        if view.job.chunks:
            del view  # its output is the same once more
            body = openai_frames.whole(await job.items(), None)
        else:
            body = openai_frames.whole([], view.output)
        return _answer(body) if isinstance(body, Failure) else body

    async def _stream(self, job: OpenAiJob) -> Reply:
        try:
            part = await job.first()
            if not part.items and part.job.state is not JobState.COMPLETED:
                return _answer(openai_frames.failed(part.job.state, (await job.view()).error))
        except BaseException:
            await job.leave()
            raise
        return Streamed(sse.CONTENT_TYPE, _events(job, part))


async def _events(job: OpenAiJob, part: StreamPart | None) -> AsyncGenerator[bytes, None]:
    """The whole stream, from its first part."""
    framer = Framer()
    try:
        if part is not None and not part.items and (output := (await job.view()).output) is not None:
            yield framer.frame([output])
            del output
        with job.followed():
            while part is not None:
                state, place, text = part.job.state, part.place, framer.frame(part.items)
                del part  # the text is the same once more, and the next part may take long
                # A client hangs up at the end of its events, which may come before that of the job.
                job.settled = job.settled or framer.done
                yield text
                del text
                if state.terminal:
                    yield await _end(job, state, framer)
                    return
                part = await job.after(place)
    except Restarted:
        sentence = "the worker was lost after it had begun to answer; send the request again"
        yield openai_frames.error(500, sentence, "worker_error").event
    except Unavailable as error:
        yield openai_frames.error(503, str(error)).event
    finally:
        await job.leave()


async def _end(job: OpenAiJob, state: JobState, framer: Framer) -> bytes:
    """What closes the stream of a job that has ended so."""
    if state is JobState.COMPLETED:
        return framer.end()
    return openai_frames.failed(state, (await job.view()).error).event


async def _call(request: Request, route: str) -> tuple[OpenAiCall, _Asked]:
    body = await request.body(OPENAI.body_bytes)
    if request.method == "GET":
        return OpenAiCall(route, None), _Asked()
    kind = request.header(b"content-type").partition(";")[0].strip().lower()
    if kind.startswith("multipart/"):
        raise InvalidRequest("this endpoint takes JSON; files cannot be uploaded by this route")
    asked = await envelope.beside(body, _asked)
    key = envelope.submit_key(request.header(b"idempotency-key"), request.principal, body)
    return OpenAiCall(route, body, key), asked


def _asked(body: bytes) -> _Asked:
    envelope.object_fields(body)
    return envelope.parse(body, _ASKED)


def _models(names: list[str], wanted: str) -> Reply:
    if not wanted:
        return openai_frames.models(names)
    if wanted in names:
        return openai_frames.model(wanted)
    text = f"the model {wanted!r} does not exist here; there are {', '.join(names)}"
    failure = openai_frames.error(404, text, "invalid_request_error", "model_not_found")
    return Answer(failure.status, failure.body)


def _answer(failure: Failure) -> Answer:
    return Answer(failure.status, failure.body, (_NO_RETRY,))
