"""Webhooks of a real gateway to a real receiver: delivered, signed, repeated after a death, never in anybody's way."""

import base64
import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from tests.support.gateway_ports import TOKEN, register
from tests.support.live_gateway import Http, LiveGateway
from tests.support.postgres import shared_server
from tests.support.webhook_receiver import Receiver

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()

POLL_SECONDS = 0.02


def tried(view: Any) -> bool:
    return "lastAnswer" in view


def arrived_at_once(id: str, view: Any) -> bool:
    """Whether the webhook was delivered by its only try, and the log says so."""
    (line,) = view.pop("log")
    assert line.pop("agoMs") >= 0
    assert line == {"answer": "HTTP 200"}
    return bool(view == {"id": id, "state": "DELIVERED", "tries": 1, "lastAnswer": "HTTP 200"})


class Site:
    """A gateway with the endpoint `e` that may send webhooks to this machine, its client and its worker."""

    def __init__(self, folder: Path, **environ: str) -> None:
        settings = {
            "SUBMODEL_GATEWAY_WEBHOOK_ALLOW": "127.0.0.1",
            "SUBMODEL_GATEWAY_WEBHOOK_SECRET": SECRET,
            **environ,
        }
        self.gateway = LiveGateway(folder, **settings)
        self.client = Http(self.gateway.public)
        self._worker = Http(self.gateway.public, TOKEN)
        register(self.gateway)
        self._requests = itertools.count(1)

    def __enter__(self) -> "Site":
        return self

    def __exit__(self, *exc: object) -> None:
        self.client.close()
        self._worker.close()
        self.gateway.kill()

    def run(self, webhook: str | None = None, output: Any = "done") -> str:
        """A job from its submission to its result."""
        id: str = self.client.ok("POST", "/v2/e/run", {"input": 1, "webhook": webhook})["id"]
        (job,) = self._exchange(capacity=1, waitMs=20_000)["jobs"]
        assert job["id"] == id
        self._exchange(results=[{"id": id, "token": job["token"], "output": output}])
        return id

    def status(self, id: str) -> bytes:
        return self.client.raw("GET", f"/v2/e/status/{id}")

    def webhook(self, id: str) -> Any:
        return self.client.ok("GET", f"/v2/e/webhook/{id}")

    def settled(self, id: str) -> Any:
        """What became of the webhook, once the gateway has noted what its receiver answered."""
        return self.until(id, lambda view: view["state"] != "PENDING")

    def until(self, id: str, wanted: Callable[[Any], bool]) -> Any:
        """What became of the webhook, once it is what is wanted; asked for at intervals, for nobody tells."""
        while not wanted(view := self.webhook(id)):
            threading.Event().wait(POLL_SECONDS)
        return view

    def _exchange(self, **fields: Any) -> Any:
        message = {"session": "s", "phase": "ready", "request": next(self._requests), **fields}
        return self._worker.ok("POST", "/v2/e/workers/w/exchange", message)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def test_an_outcome_arrives_once_signed_and_as_the_status_reads(tmp_path: Path, receiver: Receiver) -> None:
    with Site(tmp_path) as site:
        id = site.run(receiver.url, {"text": "é", "n": [1, None]})
        came = receiver.next()
        assert Webhook(SECRET).verify(came.body, dict(came.headers))["output"] == {"text": "é", "n": [1, None]}
        assert came.headers["webhook-id"] == f"{id}-g1"
        assert came.body == site.status(id)
        assert arrived_at_once(id, site.settled(id))
        assert receiver.received.empty()


def test_runsync_tells_its_webhook_too(tmp_path: Path, receiver: Receiver) -> None:
    with Site(tmp_path) as site:
        id = site.client.ok("POST", "/v2/e/runsync?wait=0", {"input": 1, "webhookV2": receiver.url})["id"]
        site.client.ok("POST", f"/v2/e/cancel/{id}")
        assert receiver.next().document == {"id": id, "status": "CANCELLED"}


def test_a_receiver_that_does_not_answer_holds_up_no_job(tmp_path: Path, receiver: Receiver) -> None:
    receiver.hold()
    with Site(tmp_path) as site:
        ids = [site.run(receiver.url, number) for number in range(12)]
        for _ in range(4):
            receiver.next()
        assert site.webhook(ids[0])["state"] == "PENDING"
        assert b'"output":11' in site.status(ids[-1])


def test_a_webhook_can_be_seen_and_sent_again(tmp_path: Path, receiver: Receiver) -> None:
    with Site(tmp_path) as site:
        plain, open_ = site.run(), site.client.ok("POST", "/v2/e/run", {"input": 1, "webhook": receiver.url})["id"]
        assert site.webhook(open_) == {"id": open_, "state": "ARMED", "tries": 0}
        assert site.client.call("POST", f"/v2/e/webhook/{open_}/replay")[0] == 409
        assert site.client.call("GET", f"/v2/e/webhook/{plain}")[0] == 404
        assert site.client.call("POST", f"/v2/e/webhook/{plain}/replay")[0] == 404
        assert site.client.call("GET", f"/v2/e/webhook/{open_}/replay")[0] == 405
        site.client.ok("POST", f"/v2/e/cancel/{open_}")
        first = receiver.next()
        site.settled(open_)
        assert site.client.ok("POST", f"/v2/e/webhook/{open_}/replay")["tries"] == 0
        assert receiver.next().headers["webhook-id"] == first.headers["webhook-id"]


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://10.0.0.1/", "address that is not public"),
        ("http://hooks.example.com/", "use https"),
        ("https://user:hunter2@hooks.example.com/", "user name or password"),
        ("https://2130706433/", "four decimal numbers"),
        ("hooks.example.com", "must begin with https://"),
    ],
)
def test_a_hostile_webhook_is_refused_with_its_reason(tmp_path: Path, url: str, sentence: str) -> None:
    with Site(tmp_path) as site:
        for operation in ("run", "runsync"):
            status, answer = site.client.call("POST", f"/v2/e/{operation}", {"input": 1, "webhook": url})
            assert status == 400
            assert sentence in answer["error"]
            assert "hunter2" not in answer["error"]


def test_neither_urls_nor_secrets_nor_results_are_logged(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers(500)
    with Site(tmp_path, SUBMODEL_GATEWAY_LOG_LEVEL="DEBUG") as site:
        id = site.run(receiver.url + "?token=hunter2", "the-result")
        receiver.next()
        gone = site.run("http://127.0.0.1:1/?token=hunter2", "the-result")
        assert site.until(id, tried)["lastAnswer"] == "HTTP 500"
        site.until(gone, tried)
        site.gateway.terminate()
        log = "".join(site.gateway.log)
    assert f"webhook of job {id} to 127.0.0.1 failed in try 1: HTTP 500" in log
    for secret in ("hunter2", "token=", "/hook", SECRET, SECRET.removeprefix("whsec_"), "the-result"):
        assert secret not in log


@pytest.mark.slow
def test_a_webhook_that_failed_is_repeated_by_the_next_gateway(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers(503, 200)
    with Site(tmp_path) as site:
        id = site.run(receiver.url)
        first = receiver.next()
        view = site.until(id, tried)
        assert (view["state"], view["lastAnswer"]) == ("PENDING", "HTTP 503")
        assert 0 < view["nextTryInMs"] <= 12_000
    with Site(tmp_path) as again:
        second = receiver.next()
        assert (second.body, second.headers["webhook-id"]) == (first.body, first.headers["webhook-id"])
        assert again.settled(id)["tries"] == 2


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_webhook_that_was_being_sent_when_the_gateway_was_killed_is_sent_again(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.hold()
    with Site(tmp_path) as site:
        id = site.run(receiver.url)
        first = receiver.next()
    receiver.let_go()
    receiver.answers(200)
    with Site(tmp_path) as again:
        assert receiver.received.get(timeout=60).body == first.body
        assert again.settled(id)["state"] == "DELIVERED"


@pytest.mark.slow
def test_a_gateway_that_is_told_to_end_gives_back_what_it_could_not_send(tmp_path: Path, receiver: Receiver) -> None:
    receiver.hold()
    with Site(tmp_path) as site:
        id = site.run(receiver.url)
        receiver.next()
        assert site.gateway.terminate() == 0
    receiver.let_go()
    receiver.answers(200)
    with Site(tmp_path) as again:
        receiver.next()
        assert arrived_at_once(id, again.settled(id))


@pytest.mark.slow
def test_a_thousand_outcomes_arrive_each_at_least_once(tmp_path: Path, receiver: Receiver) -> None:
    seen: set[str] = set()
    with Site(tmp_path) as site:
        ids = {site.client.ok("POST", "/v2/e/run", {"input": 1, "webhook": receiver.url})["id"] for _ in range(1_000)}
        assert site.client.ok("POST", "/v2/e/purge-queue")["removed"] == len(ids)
        while seen != ids:
            seen.add(receiver.next().document["id"])


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_gateways_of_one_database_share_the_work_and_take_over_from_one_that_is_killed(
    tmp_path: Path, receiver: Receiver
) -> None:
    with (
        shared_server().database() as url,
        Site(tmp_path, SUBMODEL_GATEWAY_STORE=url) as first,
        Site(tmp_path, SUBMODEL_GATEWAY_STORE=url) as second,
    ):
        ids = {first.client.ok("POST", "/v2/e/run", {"input": 1, "webhook": receiver.url})["id"] for _ in range(100)}
        assert second.client.ok("POST", "/v2/e/purge-queue")["removed"] == len(ids)
        calm = [receiver.next().headers["webhook-id"] for _ in ids]
        assert sorted(calm) == sorted(f"{id}-g1" for id in ids)
        receiver.hold()
        ids = {first.run(receiver.url) for _ in range(6)}
        receiver.next()
        first.gateway.kill()
        receiver.let_go()
        receiver.answers(200)
        assert {second.settled(id)["state"] for id in ids} == {"DELIVERED"}


@pytest.mark.parametrize(("variable", "text"), [("SECRET", "hunter2"), ("ALLOW", "https://a")])
def test_a_setting_that_cannot_be_used_ends_the_gateway_with_a_sentence(
    tmp_path: Path, variable: str, text: str
) -> None:
    environ = {
        "SUBMODEL_GATEWAY_LISTEN": "127.0.0.1:0",
        "SUBMODEL_GATEWAY_INTERNAL_LISTEN": "127.0.0.1:0",
        "SUBMODEL_GATEWAY_STORE": f"sqlite://{tmp_path / 'jobs.db'}",
        "SUBMODEL_GATEWAY_INTERNAL_TOKEN": "token",
        "SUBMODEL_GATEWAY_KEYS": "none",
        f"SUBMODEL_GATEWAY_WEBHOOK_{variable}": text,
    }
    command = [sys.executable, "-m", "submodel_gateway"]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30)
    assert ran.returncode == 2
    assert ran.stderr.startswith(f"submodel-gateway: SUBMODEL_GATEWAY_WEBHOOK_{variable} holds")
    assert "hunter2" not in ran.stderr
