"""The receiver of the how-to works: it knows the gateway's webhooks, and refuses those of anybody else."""

import base64
import hmac
import re
import runpy
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from standardwebhooks.webhooks import Webhook

from submodel_gateway.webhooks.signing import headers, keys
from tests.integration.test_webhooks import SECRET, Site

ROOT = Path(__file__).parents[2]
RECEIVER = ROOT / "docs/examples/webhooks/receiver.py"
BODY = b'{"id":"a","status":"COMPLETED","output":1}'


class Running:
    """The example as a process of its own."""

    def __init__(self) -> None:
        environ = {"WEBHOOK_SECRET": SECRET}
        self.process = subprocess.Popen([sys.executable, RECEIVER, "0"], env=environ, stdout=subprocess.PIPE, text=True)
        self.url = self.line().removeprefix("listening on ")

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> str:
        self.process.terminate()
        return self.process.communicate(timeout=20)[0]


@pytest.fixture
def example() -> Iterator[Running]:
    running = Running()
    yield running
    running.end()


def verified(secret: str, sent: dict[str, str], body: bytes, now_seconds: float) -> Any:
    return runpy.run_path(str(RECEIVER))["verified"](secret, sent, body, now_seconds)


def test_the_page_shows_the_function_of_the_example() -> None:
    page = (ROOT / "docs/how-to/webhooks.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert shown in RECEIVER.read_text(encoding="utf-8")


def test_the_example_hears_of_an_outcome_once(tmp_path: Path, example: Running) -> None:
    with Site(tmp_path) as site:
        id = site.run(example.url + "/jobs", "done")
        assert example.line() == f"{id} COMPLETED done"
        assert site.settled(id)["lastAnswer"] == "HTTP 204"
        site.client.ok("POST", f"/v2/e/webhook/{id}/replay")
        assert site.settled(id)["state"] == "DELIVERED"
    assert example.end() == ""


def test_the_example_refuses_what_does_not_come_from_the_gateway(example: Running) -> None:
    forged = urllib3.request("POST", example.url, body=BODY, headers={"webhook-id": "a", "webhook-timestamp": "1"})
    assert forged.status == 401
    assert example.end() == ""


def test_the_example_and_the_library_of_the_specification_agree() -> None:
    now = time.time_ns() // 1_000_000
    other = "whsec_" + base64.b64encode(bytes(32)).decode()
    sent = headers(keys([other, SECRET]), "a-g1", now, BODY)
    assert verified(SECRET, sent, BODY, now / 1000) == Webhook(SECRET).verify(BODY, sent)
    for now_seconds, body in ((now / 1000 + 301, BODY), (now / 1000 - 301, BODY), (now / 1000, BODY + b" ")):
        with pytest.raises(ValueError):
            verified(SECRET, sent, body, now_seconds)


def test_a_signature_by_hand_is_the_same() -> None:
    signed = b"a-g1.1700000000." + BODY
    expected = base64.b64encode(hmac.digest(bytes(range(32)), signed, "sha256")).decode()
    assert headers(keys([SECRET]), "a-g1", 1_700_000_000_999, BODY)["webhook-signature"] == f"v1,{expected}"
