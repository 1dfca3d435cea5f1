"""A job's trace, from the client's own span to the webhook: real gateways, a real worker, a real collector."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from submodel.contract import legacy_env
from tests.support.gateway_ports import TOKEN, register
from tests.support.live_gateway import Http, LiveGateway
from tests.support.trace_collector import SeenSpan, TraceCollector
from tests.support.webhook_receiver import Receiver
from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.slow

TRACE = "0af7651916cd43dd8448eb211c80319c"
CLIENT = "b7ad6b7169203331"
SECRET = "planted-secret"
EXAMPLE = Path(__file__).parents[2] / "docs/examples/tracing/handler.py"
PAGE = Path(__file__).parents[2] / "docs/how-to/tracing.md"

HANDLER = """
import submodel


def handler(job):
    try:
        from opentelemetry import trace
        context = trace.get_current_span().get_span_context()
        seen = f"{context.trace_id:032x}/{context.span_id:016x}"
    except ModuleNotFoundError:
        seen = ""
    if job["input"].get("fails"):
        raise ValueError("planted-secret")
    return {"seen": seen, "fields": sorted(job)}


submodel.serverless.start({"handler": handler})
"""


def native(gateway: LiveGateway) -> dict[str, str]:
    return {
        "SUBMODEL_GATEWAY_URL": gateway.public,
        "SUBMODEL_ENDPOINT_ID": "e",
        "SUBMODEL_WORKER_ID": "w-1",
        "SUBMODEL_WORKER_TOKEN": TOKEN,
    }


def hosted(gateway: LiveGateway) -> dict[str, str]:
    told = legacy_env.settings("RUNPOD_", gateway.public, "e")
    return {**told, "RUNPOD_AI_API_KEY": TOKEN, "RUNPOD_POD_ID": "w-1"}


@pytest.fixture
def collector() -> Iterator[TraceCollector]:
    opened = TraceCollector()
    with opened:
        yield opened


@pytest.fixture
def gateway(tmp_path: Path, collector: TraceCollector) -> Iterator[LiveGateway]:
    with LiveGateway(tmp_path, SUBMODEL_GATEWAY_WEBHOOK_ALLOW="127.0.0.1", **collector.environ) as started:
        register(started)
        yield started


def run(gateway: LiveGateway, document: Any, traceparent: str = f"00-{TRACE}-{CLIENT}-01") -> Any:
    """A job from its submit to its end."""
    with Http(gateway.public) as client:
        client.headers["traceparent"] = traceparent
        id = client.ok("POST", "/v2/e/run", document)["id"]
        return client.ok("GET", f"/v2/e/status-sync/{id}?wait=60000")


def by_name(spans: list[SeenSpan]) -> dict[str, SeenSpan]:
    assert len({span.name for span in spans}) == len(spans), spans
    return {span.name: span for span in spans}


def test_one_trace_leads_from_the_client_through_gateway_and_worker_to_the_webhook(
    tmp_path: Path, gateway: LiveGateway, collector: TraceCollector
) -> None:
    with Receiver() as receiver, WorkerProcess(tmp_path, HANDLER, {**native(gateway), **collector.environ}) as worker:
        answer = run(gateway, {"input": {"text": SECRET}, "webhook": f"{receiver.url}?token={SECRET}"})
        hook = receiver.next()
        assert worker.terminate() == 0
    assert gateway.terminate() == 0
    spans = by_name(collector.collect())
    assert set(spans) == {"submit", "queue", "take", "execute", "result", "webhook"}
    assert {span.trace for span in spans.values()} == {TRACE}
    parents = {name: span.parent for name, span in spans.items()}
    submit = spans["submit"].id
    assert parents == {
        "submit": CLIENT,
        "queue": submit,
        "take": submit,
        "execute": spans["take"].id,
        "result": spans["execute"].id,
        "webhook": submit,
    }
    assert {name for name, span in spans.items() if span.service == "submodel-worker"} == {"execute"}
    assert {span.attributes["submodel.job.id"] for span in spans.values()} == {answer["id"]}
    assert not any(span.failed for span in spans.values())
    # The handler's own spans would go below ours, and sees nothing else of it.
    assert answer["output"] == {"seen": f"{TRACE}/{spans['execute'].id}", "fields": ["id", "input"]}
    assert hook.headers["traceparent"] == f"00-{TRACE}-{spans['webhook'].id}-01"
    assert SECRET in hook.path
    assert not any(SECRET.encode() in body for body in collector.bodies)


def test_what_a_handler_traces_goes_below_its_execution(
    tmp_path: Path, gateway: LiveGateway, collector: TraceCollector
) -> None:
    source = EXAMPLE.read_text(encoding="utf-8")
    assert source.partition('"""\n\n')[2] in PAGE.read_text(encoding="utf-8")
    with WorkerProcess(tmp_path, source, {**native(gateway), **collector.environ}) as worker:
        assert run(gateway, {"input": {"name": "you"}})["output"] == "hello you"
        worker.terminate()
    spans = by_name(collector.collect())
    assert spans["think"].parent == spans["execute"].id
    assert spans["think"].service == "submodel-worker"


def test_a_job_that_fails_is_an_error_in_its_trace_without_its_text(
    tmp_path: Path, gateway: LiveGateway, collector: TraceCollector
) -> None:
    with WorkerProcess(tmp_path, HANDLER, {**native(gateway), **collector.environ}) as worker:
        assert run(gateway, {"input": {"fails": True}})["status"] == "FAILED"
        worker.terminate()
    gateway.terminate()
    failed = {span.name for span in collector.collect() if span.failed}
    assert failed == {"execute", "result"}
    assert not any(SECRET.encode() in body for body in collector.bodies)


def test_workers_that_do_not_trace_leave_no_gap_in_it(
    tmp_path: Path, gateway: LiveGateway, collector: TraceCollector
) -> None:
    """Of both dialects; the hosted platforms' has no place for a trace, and their SDKs would trip over one."""
    for environ in (native(gateway), hosted(gateway)):
        with WorkerProcess(tmp_path, HANDLER, environ) as worker:
            assert run(gateway, {"input": {}})["output"]["fields"] == ["id", "input"]
            worker.signal(signal.SIGKILL)
    gateway.terminate()
    spans = collector.collect()
    assert sorted(span.name for span in spans) == sorted(["submit", "queue", "take", "result"] * 2)
    takes = {span.id for span in spans if span.name == "take"}
    assert {span.parent for span in spans if span.name == "result"} == takes


def test_a_client_without_a_trace_begins_one_and_a_broken_header_is_none(
    tmp_path: Path, gateway: LiveGateway, collector: TraceCollector
) -> None:
    with WorkerProcess(tmp_path, HANDLER, native(gateway)):
        for header in ("", "00-nonsense"):
            run(gateway, {"input": {}}, header)
    gateway.terminate()
    submits = [span for span in collector.collect() if span.name == "submit"]
    assert [span.parent for span in submits] == ["", ""]
    assert len({span.trace for span in submits}) == 2


def test_a_collector_that_answers_nothing_keeps_no_process_from_its_end(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        waits = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "600",
        }
        with LiveGateway(tmp_path, **waits) as gateway:
            register(gateway)
            with WorkerProcess(tmp_path, HANDLER, native(gateway) | waits) as worker:
                assert run(gateway, {"input": {}})["status"] == "COMPLETED"
                assert worker.terminate() == 0
            assert gateway.terminate() == 0


def test_any_gateway_of_several_continues_a_trace(tmp_path: Path, collector: TraceCollector) -> None:
    """What a job carries is in the store: here the one that took it in is gone when it is handed out."""
    with ExitStack() as exit:
        first = exit.enter_context(LiveGateway(tmp_path, **collector.environ))
        register(first)
        with Http(first.public) as client:
            client.headers["traceparent"] = f"00-{TRACE}-{CLIENT}-01"
            client.ok("POST", "/v2/e/run", {"input": {}})
        first.terminate()
        second = exit.enter_context(LiveGateway(tmp_path, **collector.environ))
        with Http(second.public, TOKEN) as worker:
            asked = {"session": "s", "request": 1, "phase": "ready", "capacity": 1, "waitMs": 20_000}
            (job,) = worker.ok("POST", "/v2/e/workers/w-1/exchange", asked)["jobs"]
        second.terminate()
    spans = by_name(collector.collect())
    assert {span.trace for span in spans.values()} == {TRACE}
    assert job["trace"] == f"00-{TRACE}-{spans['take'].id}-01"


@pytest.mark.parametrize("module", ["submodel_gateway.serve", "submodel.serverless.worker"])
def test_without_being_asked_for_it_costs_no_import(module: str) -> None:
    code = f"import sys, {module}; print('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
