"""Bodies, parameters and paths of every kind at every route: a refusal says what is wrong, and is never a 5xx."""

import json
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submodel_gateway.http.operations import OPERATIONS
from submodel_gateway.http.public import public_app
from submodel_gateway.service.access import Open
from tests.support.gateway_world import ENDPOINT, TOKEN, World, settle, world
from tests.support.legacy_worker import Answer, Call

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

CLIENT = [(method, operation.path) for operation in OPERATIONS for method in operation.methods]
WORKER = [("POST", "workers/w/exchange"), ("POST", "job-done/w/{id}"), ("POST", "job-stream/w/{id}"), ("GET", "ping/w")]
ROUTES = [*CLIENT, *WORKER]

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10))
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner)
)
FIELDS = ["input", "policy", "webhook", "webhookV2", "s3Config", "session", "request", "phase", "capacity", "results"]
FIELDS += ["chunks", "running", "progress", "output", "error", "status", "stopPod", "model", "stream", "ttl", "id"]
nearly = st.dictionaries(st.sampled_from(FIELDS), documents, max_size=6)
bodies = st.one_of(
    nearly.map(lambda value: json.dumps(value).encode()),
    nearly.map(lambda value: json.dumps({"input": 1, **value}, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    st.binary(max_size=60),
    st.sampled_from(
        [b"", b"[" * 2_000, b'{"a":' * 2_000, b'{"input":1e999}', b'{"input":1,"input":2}', b"\xef\xbb\xbf{}"]
    ),
)
PARAMETERS = ["wait", "offset", "limit", "before", "status", "ttl", "job_id", "batch_size", "job_in_progress", "x"]
queries = st.dictionaries(st.sampled_from(PARAMETERS), st.text(max_size=12) | st.integers().map(str), max_size=3)


async def ask(w: World, method: str, path: str, query: dict[str, str], body: bytes) -> Answer:
    words = {"wait": "0", **query}
    if words["wait"].isdigit():
        words["wait"] = "0"  # nothing here is to be waited for
    text = "&".join(f"{quote(name)}={quote(value, errors='replace')}" for name, value in words.items())
    headers = {"authorization": f"Bearer {TOKEN}"}
    call = Call(public_app(w.gateway, Open()), method, f"/v2/{ENDPOINT}/{path}?{text}", headers, body)
    await settle()
    call.hang_up()  # what is held waits for a worker, and there is none
    return await call.answer()


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=[f"{method} {path}" for method, path in ROUTES])
@settings(max_examples=40)
@given(body=bodies, query=queries, id=st.text(max_size=12))
async def test_a_route_answers_every_request_with_a_document(
    method: str, path: str, body: bytes, query: dict[str, str], id: str
) -> None:
    async with world() as w:
        known = await w.submit()
        for job in (known, id):
            answer = await ask(w, method, path.format(id=job, path="v1/chat/completions", model=job), query, body)
            assert answer.status < 500, answer
            assert answer.status == 204 or isinstance(answer.json, dict), answer
            assert answer.status == 200 or answer.json["error"], answer
