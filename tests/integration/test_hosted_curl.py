"""Command lines as the hosted platforms document them, with the address of a gateway of ours in place of theirs."""

import json
import shlex
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from submodel_gateway.auth.keys import digest_of, key_text
from submodel_gateway.http.operations import Base
from tests.support.gateway_ports import TOKEN, register
from tests.support.live_gateway import Http, LiveGateway

KEY = key_text("mine", "k" * 43)
PEPPER = "pepper"

JSON = "-H 'Content-Type: application/json'"
QUEUED = "id status queuePosition waitReason waitMessage"
STREAM = "id status stream offset attempt"
ALL_FIELDS = json.dumps(
    {
        "input": {"prompt": "Hello"},
        "webhook": "https://example.com/hook",
        "policy": {"executionTimeout": 900_000, "ttl": 3_600_000},
        "s3Config": {"accessId": "a", "accessSecret": "b", "bucketName": "c", "endpointUrl": "https://example.com"},
    }
)

LINES = [
    (
        f"""curl -X POST $BASE/run {JSON} -H 'authorization: $KEY' -d '{{"input": {{"n": 1}}}}'""",
        "id status",
        "IN_QUEUE",
    ),
    (
        f"""curl --request POST --url $BASE/run {JSON} -H 'Authorization: Bearer $KEY' --data '{ALL_FIELDS}'""",
        "id status",
        "IN_QUEUE",
    ),
    (
        f"""curl --url '$BASE/runsync?wait=1' -H "Authorization: Bearer $KEY" {JSON} -d '{{"input": {{}}}}'""",
        QUEUED,
        "IN_QUEUE",
    ),
    (
        f"""curl -X POST '$BASE/run_sync?wait=1' -H "x-apikey: $KEY" {JSON} -d '{{"input": {{}}}}'""",
        QUEUED,
        "IN_QUEUE",
    ),
    ("curl --request GET --url $BASE/status/$JOB --header 'authorization: Bearer $KEY'", QUEUED, "IN_QUEUE"),
    ("curl -X POST $BASE/status/$JOB -H 'x-apikey: $KEY'", QUEUED, "IN_QUEUE"),
    ("curl -X POST '$BASE/status-sync/$JOB?wait=1' -H 'x-apikey: $KEY'", QUEUED, "IN_QUEUE"),
    ("curl -X GET '$BASE/status-sync/$JOB?wait=1' -H 'Authorization: Bearer $KEY'", QUEUED, "IN_QUEUE"),
    ("curl --request GET --url '$BASE/stream/$JOB?wait=1' --header 'Authorization: Bearer $KEY'", STREAM, "IN_QUEUE"),
    (f"curl -X POST '$BASE/stream/$JOB?wait=1' -H 'x-apikey: $KEY' {JSON} -d '{{}}'", STREAM, "IN_QUEUE"),
    ("curl --request POST --url $BASE/cancel/$JOB --header 'authorization: $KEY'", "id status", "CANCELLED"),
    ("curl --request GET --url $BASE/cancel/$JOB --header 'x-apikey: $KEY'", "id status", "CANCELLED"),
    (f"curl -X GET $BASE/health {JSON} -H 'Authorization: Bearer $KEY'", "jobs workers", None),
    ("curl -X GET $BASE/metrics -H 'x-apikey: $KEY'", "jobs workers", None),
    ("curl -X GET $BASE/requests -H 'x-apikey: $KEY'", "requests next", None),
    ("curl -X GET $BASE/_requests/$JOB -H 'x-apikey: $KEY'", QUEUED, "IN_QUEUE"),
    (
        "curl --request POST --url $BASE/purge-queue --header 'Authorization: Bearer $KEY'",
        "removed status",
        "completed",
    ),
]

ENVELOPE = ["code", "message", "data"]


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("keys")
    document = {"id": "mine", "digest": digest_of(PEPPER, "k" * 43), "scopes": ["read", "run"], "endpoints": ["ns.*"]}
    (folder / "mine.json").write_text(json.dumps(document))
    keys = {"SUBMODEL_GATEWAY_KEYS": str(folder), "SUBMODEL_GATEWAY_KEY_PEPPER": PEPPER}
    keys["SUBMODEL_GATEWAY_RATE_LIMITS"] = "off"
    with LiveGateway(tmp_path_factory.mktemp("gateway"), **keys) as gateway:
        register(gateway, "ns.app", models=["parrot"])
        yield gateway.public


def run(line: str, **words: str) -> tuple[int, Any]:
    """The status and the document that the command line brings."""
    for name, value in words.items():
        line = line.replace(f"${name}", value)
    arguments = shlex.split(line)
    status = ["--silent", "--show-error", "--max-time", "10", "--write-out", "\n%{http_code}"]
    ran = subprocess.run([arguments[0], *status, *arguments[1:]], capture_output=True, text=True, check=True)
    body, _, code = ran.stdout.rpartition("\n")
    return int(code), json.loads(body)


@pytest.mark.requirement("client.sdk.curl", "client.auth", "client.status200")
@pytest.mark.parametrize("base", list(Base))
@pytest.mark.parametrize(
    ("line", "fields", "state"), LINES, ids=[line.partition("$BASE")[2][:14] for line, *_ in LINES]
)
def test_a_documented_command_line_works(public: str, base: Base, line: str, fields: str, state: str | None) -> None:
    words = {"BASE": f"{public}{base}/ns.app", "KEY": KEY}
    _, job = run(LINES[0][0], **words)
    status, answer = run(line, JOB=job["id"], **words)
    assert status == 200
    assert list(answer) == (ENVELOPE if base is Base.API_V1_SL else []) + fields.split()
    assert answer.get("status") == state


@pytest.mark.requirement("client.sdk.curl", "client.retry")
@pytest.mark.parametrize("base", list(Base))
def test_the_documented_line_runs_a_failed_job_again(public: str, base: Base) -> None:
    words = {"BASE": f"{public}{base}/ns.app", "KEY": KEY}
    run("curl -X POST $BASE/purge-queue -H 'Authorization: $KEY'", **words)
    _, job = run(LINES[0][0], **words)
    with Http(public, TOKEN) as worker:
        exchange = f"/v2/ns.app/workers/w-{base.name}/exchange"
        asks = {"session": "s", "request": 1, "phase": "ready", "capacity": 1}
        (lease,) = worker.ok("POST", exchange, asks)["jobs"]
        failed = {"id": job["id"], "token": lease["token"], "error": "no luck"}
        worker.ok("POST", exchange, {**asks, "request": 2, "capacity": 0, "results": [failed]})
    line = "curl --request POST --url $BASE/retry/$JOB --header 'Authorization: Bearer $KEY'"
    status, answer = run(line, JOB=job["id"], **words)
    assert (status, answer["id"], answer["status"]) == (200, job["id"], "IN_QUEUE")


@pytest.mark.requirement("client.sdk.curl", "platform.openai")
@pytest.mark.parametrize("base", list(Base))
def test_the_documented_line_lists_the_models_in_openais_shape(public: str, base: Base) -> None:
    line = "curl $BASE/openai/v1/models -H 'Content-Type: application/json' -H 'Authorization: Bearer $KEY'"
    status, answer = run(line, BASE=f"{public}{base}/ns.app", KEY=KEY)
    assert (status, answer["object"], [model["id"] for model in answer["data"]]) == (200, "list", ["parrot"])
