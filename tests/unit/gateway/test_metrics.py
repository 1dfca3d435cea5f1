"""What Prometheus gets to read: counted as it happens, bounded in series, without payloads."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from submodel.contract.exchange import Result
from submodel_gateway.errors import StoreAway
from submodel_gateway.http.internal import internal_app
from submodel_gateway.http.public import public_app
from submodel_gateway.metrics import table
from submodel_gateway.metrics.measures import Measures
from submodel_gateway.metrics.reference import page
from submodel_gateway.service import gauges
from submodel_gateway.service.access import Open
from submodel_gateway.service.clients import NewJob
from submodel_gateway.store import base
from submodel_gateway.store.memory import MemoryStore
from tests.support.gateway_world import ENDPOINT, Worker, World, world
from tests.support.legacy_worker import Call

PAGE = Path(__file__).parents[3] / "docs/reference/metrics.md"
HERE = {"endpoint_namespace": "ns", "endpoint_name": "app"}
OLDEST = "submodel_jobs_oldest_queued_seconds"
T = TypeVar("T")
Samples = dict[str, dict[frozenset[tuple[str, str]], float]]


@pytest_asyncio.fixture
async def w() -> AsyncIterator[World]:
    async with world() as made:
        made.gateway.ready = True
        yield made


async def scraped(w: World) -> Samples:
    """Values by name and labels, as a scraper reads them."""
    answer = await Call(internal_app(w.gateway, "token"), "GET", "/metrics", {}, b"").answer()
    assert answer.headers[b"content-type"] == b"text/plain; version=0.0.4; charset=utf-8"
    samples: Samples = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        for sample in family.samples:
            samples.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return samples


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name][frozenset(labels.items())]


async def test_a_job_is_counted_from_submit_to_its_end(w: World) -> None:
    await w.submit()
    await w.submit()
    w.clock.ms += 3_000
    before = await scraped(w)
    assert value(before, "submodel_jobs_queued", **HERE) == 2
    assert value(before, "submodel_jobs_oldest_queued_seconds", **HERE) == 3
    worker = Worker(w)
    (job,) = await worker.take()
    w.clock.ms += 7_000
    assert value(await scraped(w), "submodel_workers", **HERE, state="running") == 1
    await worker.finish(job)
    after = await scraped(w)
    assert value(after, "submodel_jobs_submitted_total", **HERE) == 2
    assert value(after, "submodel_jobs_finished_total", **HERE, state="COMPLETED") == 1
    assert value(after, "submodel_job_delay_seconds_sum", **HERE) == 3
    assert value(after, "submodel_job_delay_seconds_bucket", **HERE, le="2.5") == 0
    assert value(after, "submodel_job_delay_seconds_bucket", **HERE, le="5") == 1
    assert value(after, "submodel_job_execution_seconds_sum", **HERE) == 7
    assert value(after, "submodel_workers", **HERE, state="idle") == 1
    assert value(after, "submodel_gateway_ready") == 1


async def test_a_worker_that_falls_silent_and_comes_back_is_counted(w: World) -> None:
    await w.submit()
    lost = Worker(w, "w-1")
    (job,) = await lost.take()
    await w.pass_time(120_000)
    await Worker(w, "w-2", "s-2").take(wait_ms=0)
    await lost.say(results=[Result(id=job.id, token=job.token, output=msgspec.Raw(b"1"))], running=[])
    samples = await scraped(w)
    assert value(samples, "submodel_executions_lost_total", **HERE) == 1
    assert value(samples, "submodel_leases_expired_total", **HERE) == 1
    assert value(samples, "submodel_jobs_redelivered_total", **HERE) == 1
    assert value(samples, "submodel_stale_writes_total", **HERE) == 1


async def test_requests_are_counted_by_operation_and_never_by_what_callers_make_up(w: World) -> None:
    app = public_app(w.gateway, Open())
    for path in (f"/v2/{ENDPOINT}/status/none", "/v2/made-up/made-up-too", "/x"):
        await Call(app, "GET", path, {}, b"").answer()
    await Call(app, "POST", f"/v2/{ENDPOINT}/run", {}, b'{"input": "secret"}').answer()
    samples = (await scraped(w))["submodel_http_requests_total"]
    told = {(dict(labels)["operation"], dict(labels)["code"]): count for labels, count in samples.items()}
    assert told == {("status", "404"): 1, ("none", "404"): 2, ("run", "200"): 1}


async def test_groups_of_the_store_are_timed_and_counted(w: World) -> None:
    before = value(await scraped(w), "submodel_store_group_operations_sum", store="1")
    await w.gateway._stores.of(ENDPOINT).many([base.Heartbeat(endpoint=ENDPOINT, id="x", token="1-1", lease_ms=1)] * 3)
    samples = await scraped(w)
    assert value(samples, "submodel_store_group_operations_sum", store="1") == before + 3
    assert value(samples, "submodel_store_commit_seconds_count", store="1") > 0


async def test_a_webhook_that_is_due_and_does_not_leave_shows_for_how_long(w: World) -> None:
    assert value(await scraped(w), "submodel_webhook_overdue_seconds", store="1") == 0
    await w.submit(webhook="https://hooks.example.com/x")
    worker = Worker(w)
    (job,) = await worker.take()
    await worker.finish(job)
    w.clock.ms += 90_000
    assert value(await scraped(w), "submodel_webhook_overdue_seconds", store="1") == 90


async def test_while_the_store_is_away_all_that_is_known_is_told_and_nothing_is_made_up() -> None:
    class Away(MemoryStore):
        away = False

        async def backlogs(self, late_at: Mapping[str, int | None]) -> dict[str, base.Backlog]:
            return self._unless_away(await super().backlogs(late_at))

        async def next_webhook(self) -> int | None:
            return self._unless_away(await super().next_webhook())

        def _unless_away(self, answer: T) -> T:
            if self.away:
                raise StoreAway("the database does not answer")
            return answer

    store = Away()
    async with world(store) as w:
        await w.submit()
        await w.register("ns.idle")
        store.away = True
        samples = await scraped(w)
        assert value(samples, "submodel_jobs_queued", **HERE) == 1
        ages = {dict(labels)["endpoint_name"]: age for labels, age in samples[OLDEST].items()}
        assert ages == {"idle": 0}, "how old the queue of the other is, nobody knows"
        assert "submodel_webhook_overdue_seconds" not in samples


async def test_a_store_that_stands_still_holds_no_scraper_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "ANSWER_SECONDS", 0.01)

    class Still(MemoryStore):
        asked = 0
        goes_on = asyncio.Event()

        async def next_webhook(self) -> int | None:
            self.asked += 1
            await self.goes_on.wait()
            return await super().next_webhook()

    store = Still()
    async with world(store) as w:
        await w.submit()
        for _ in range(3):
            samples = await scraped(w)
            assert value(samples, "submodel_jobs_queued", **HERE) == 1
            assert value(samples, "submodel_store_up", store="1") == 0
            assert OLDEST not in samples
        assert store.asked == 1, "nobody asks again what is being asked already"
        store.goes_on.set()
        while value(samples := await scraped(w), "submodel_store_up", store="1") == 0:
            continue
        assert value(samples, OLDEST, **HERE) == 0


async def test_others_are_served_while_a_long_text_is_made(w: World) -> None:
    measures = w.gateway.measures
    for number in range(table.ENDPOINTS_MAX):
        await w.register(f"ns.e-{number}")
        measures.observe(table.DELAY, 1, measures.endpoint(f"ns.e-{number}"))
    scrape = asyncio.create_task(scraped(w))
    turns = 0
    while not scrape.done():
        turns += 1
        measures.count(table.REQUESTS, ("run", str(turns)))
        await asyncio.wait([scrape], timeout=0)
    assert turns > 100
    assert value(await scrape, "submodel_job_delay_seconds_count", endpoint_namespace="ns", endpoint_name="e-1") == 1


async def test_counters_are_there_before_anything_happens_so_that_the_first_event_is_seen_to_come(w: World) -> None:
    samples = await scraped(w)
    for metric in table.METRICS:
        if metric.kind is table.Kind.COUNTER and metric is not table.REQUESTS:
            assert metric.shown in samples
            assert set(samples[metric.shown].values()) == {0}
    for state in ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"):
        assert value(samples, "submodel_jobs_finished_total", **HERE, state=state) == 0
    for outcome in ("delivered", "failed", "given_up"):
        assert value(samples, "submodel_webhook_tries_total", outcome=outcome) == 0


async def test_an_endpoint_with_an_id_of_its_own_is_called_by_its_namespace_and_name(w: World) -> None:
    await w.register("chat", owner="team.llm")
    await w.gateway.clients.submit("chat", NewJob(input=b"1"))
    samples = await scraped(w)
    named = {"endpoint_namespace": "team", "endpoint_name": "llm"}
    assert value(samples, "submodel_jobs_queued", **named) == 1
    assert value(samples, "submodel_jobs_submitted_total", **named) == 1


def test_the_series_of_an_endpoint_stay_with_the_one_that_took_its_name() -> None:
    measures = Measures(lambda id: "ns.e")
    for id in ("first", "second"):
        measures.count(table.SUBMITTED, measures.endpoint(id))
    measures.keep(["second"])
    assert measures.counts[table.SUBMITTED] == {("ns", "e"): 2}


def test_series_are_bounded_and_go_with_their_endpoints() -> None:
    measures = Measures()
    for number in range(table.ENDPOINTS_MAX + 50):
        measures.count(table.SUBMITTED, measures.endpoint(f"ns.e-{number}"))
    assert len(measures.counts[table.SUBMITTED]) == table.ENDPOINTS_MAX + 1
    assert measures.counts[table.SUBMITTED][table.OTHER] == 50
    measures.keep(["ns.e-7"])
    assert measures.counts[table.SUBMITTED].keys() == {("ns", "e-7"), table.OTHER}
    assert measures.endpoint("own-id") == ("", "own-id")


def test_the_reference_page_is_made_from_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make manifests`"


@pytest.mark.parametrize("metric", table.METRICS, ids=lambda metric: metric.name)
def test_names_and_units_follow_the_conventions_of_prometheus(metric: table.Metric) -> None:
    assert re.fullmatch(r"submodel_[a-z_]+", metric.name)
    assert not metric.name.endswith("_total")
    assert metric.help.endswith(".")
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert {"namespace", "endpoint", "job", "instance"}.isdisjoint(metric.labels)
