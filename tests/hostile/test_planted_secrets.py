"""A secret planted in every field of every request is found in no log, no metric and no answer to anybody else."""

import json
from pathlib import Path
from typing import Any

import pytest
import urllib3

from submodel_gateway.auth.keys import digest_of, key_text
from tests.support.gateway_ports import TOKEN, register
from tests.support.live_gateway import INTERNAL_TOKEN, LiveGateway

PEPPER = "canary-of-the-pepper"
KEY = key_text("mine", "k" * 43)
SIGNING = "whsec_" + "QUJD" * 8


class Canaries:
    """Texts that are nowhere but where they were planted."""

    def __init__(self) -> None:
        self.planted: list[str] = []

    def __call__(self, where: str) -> str:
        self.planted.append(f"canary-{len(self.planted)}-{where}")
        return self.planted[-1]


def send(base: str, method: str, path: str, body: Any, **headers: str) -> tuple[int, str]:
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    answer = urllib3.request(method, base + path, body=data, headers=headers, retries=False, timeout=20)
    return answer.status, answer.data.decode()


def plant(gateway: LiveGateway, canary: Canaries) -> list[str]:
    """Send requests of every kind, sound and broken; returns what the answers of the broken ones said."""
    base, mine = gateway.public, {"authorization": f"Bearer {KEY}"}
    job = {
        "input": {canary("name"): canary("input")},
        "s3Config": {"accessId": canary("access-id"), "accessSecret": canary("access-secret")},
        "webhook": f"https://hooks.example.com/{canary('hook-path')}?token={canary('hook-query')}",
        canary("extra-name"): canary("extra"),
    }
    status, text = send(base, "POST", "/v2/ns.app/run", job, **mine, **{"idempotency-key": canary("idempotency-key")})
    assert status == 200, text
    id = json.loads(text)["id"]
    worker = {"authorization": f"Bearer {TOKEN}"}
    exchange = {"session": canary("session"), "request": 1, "phase": "ready", "capacity": 1}
    _, text = send(base, "POST", "/v2/ns.app/workers/w/exchange", exchange, **worker)
    (lease,) = json.loads(text)["jobs"]
    held = {"id": id, "token": lease["token"]}
    said = {
        **exchange,
        "request": 2,
        "capacity": 0,
        "progress": [{**held, "value": canary("progress")}],
        "chunks": [{**held, "seq": 1, "items": [canary("item")]}],
        "results": [{**held, "output": canary("output"), "error": canary("error")}],
        canary("unknown"): canary("unknown-value"),
    }
    assert send(base, "POST", "/v2/ns.app/workers/w/exchange", said, **worker)[0] == 200
    legacy = {"output": canary("late-output"), "error": canary("late-error")}
    assert send(base, "POST", f"/v2/ns.app/job-done/w/{id}", legacy, **worker)[0] == 200
    assert send(base, "POST", f"/v2/ns.app/job-stream/w/{id}", canary("chunk").encode(), **worker)[0] == 200
    assert send(base, "GET", f"/v2/ns.app/status/{id}", None, **mine)[0] == 200
    broken = [
        send(base, "GET", "/v2/ns.app/health", None, authorization=canary("wrong-key")),
        send(base, "GET", "/v2/ns.app/health", None, **{"x-apikey": canary("wrong-apikey")}),
        send(base, "GET", "/v2/ns.app/health", None, authorization=f"Bearer {key_text('mine', canary('secret'))}"),
        send(base, "POST", "/v2/ns.app/workers/w/exchange", {}, authorization=f"Bearer {canary('wrong-token')}"),
        send(base, "POST", "/v2/ns.app/job-done/w/x", {}, authorization=canary("wrong-legacy-token")),
        send(base, "POST", f"/v2/ns.app/job-stream/w/x?t={canary('wrong-url-token')}", {}, **worker),
        send(base, "GET", f"/v2/ns.app/health?wait={canary('parameter')}&key={canary('key-in-url')}", None),
        send(base, "GET", f"/v2/ns.app/ping/w?t={canary('wrong-ping-token')}", None),
        send(base, "POST", "/v2/ns.app/run", b'{"input": "%s"' % canary("cut-off").encode(), **mine),
        send(base, "POST", "/v2/ns.app/run", {"input": 1, "policy": {"ttl": canary("policy")}}, **mine),
        send(base, "POST", "/v2/ns.app/run", {"input": 1, "webhook": {"url": canary("hook-object")}}, **mine),
        send(
            base, "POST", "/v2/ns.app/run", {"input": 1, "webhook": f"https://u:{canary('hook-password')}@h/"}, **mine
        ),
        send(base, "POST", "/v2/ns.app/run", {"input": 1, "webhook": f"http://h/?t={canary('hook-http')}"}, **mine),
        send(base, "POST", "/v2/ns.app/openai/v1/chat/completions", b"{" + canary("openai").encode(), **mine),
        send(gateway.internal, "GET", "/internal/v1/snapshots", None, authorization=f"Bearer {canary('operator')}"),
    ]
    assert all(400 <= status < 500 for status, _ in broken), broken
    return [text for _, text in broken]


@pytest.mark.slow
@pytest.mark.parametrize("level", ["DEBUG", "INFO"])
def test_no_secret_is_found_outside_of_its_place(tmp_path: Path, level: str) -> None:
    (tmp_path / "keys").mkdir()
    document = {"id": "mine", "digest": digest_of(PEPPER, "k" * 43), "endpoints": ["ns.*"]}
    (tmp_path / "keys" / "mine.json").write_text(json.dumps(document))
    settings = {
        "SUBMODEL_GATEWAY_LOG_LEVEL": level,
        "SUBMODEL_GATEWAY_KEYS": str(tmp_path / "keys"),
        "SUBMODEL_GATEWAY_KEY_PEPPER": PEPPER,
        "SUBMODEL_GATEWAY_WEBHOOK_SECRETS": SIGNING,
    }
    canary = Canaries()
    with LiveGateway(tmp_path, **settings) as gateway:
        register(gateway, "ns.app")
        errors = plant(gateway, canary)
        seen = {
            "the errors": "\n".join(errors),
            "the snapshots": send(
                gateway.internal, "GET", "/internal/v1/snapshots", None, authorization=f"Bearer {INTERNAL_TOKEN}"
            )[1],
            "the metrics": send(gateway.internal, "GET", "/metrics", None)[1],
            "the health": send(gateway.public, "GET", "/v2/ns.app/health", None, authorization=KEY)[1],
            "the list of jobs": send(gateway.public, "GET", "/v2/ns.app/requests", None, authorization=KEY)[1],
        }
        gateway.kill()
        seen["the log"] = "".join(gateway.log)
    assert len(canary.planted) > 25
    for secret in (*canary.planted, PEPPER, "k" * 43, TOKEN, INTERNAL_TOKEN, SIGNING):
        found = [place for place, text in seen.items() if secret in text]
        assert not found, (secret, found)
