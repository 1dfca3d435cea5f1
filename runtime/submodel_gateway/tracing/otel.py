"""Spans for OpenTelemetry: the only module of the gateway that imports it, and imported only when it is asked for.

How, where and how many is said by OpenTelemetry's own environment variables, which its SDK reads.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Thread

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from submodel.contract import tracing as names
from submodel.contract.states import JobState
from submodel_gateway.jobs.outbox import Webhook
from submodel_gateway.jobs.record import Job
from submodel_gateway.tracing.spans import Spans

SERVICE = "submodel-gateway"
FLUSH_SECONDS = 3.0
_MS_NS = 1_000_000
_FAILED = frozenset({JobState.FAILED, JobState.TIMED_OUT})
_W3C = TraceContextTextMapPropagator()


class OtelSpans(Spans):
    """See `Spans`; spans go to `provider`."""

    on = True

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("submodel_gateway")

    def arrive(self, traceparent: str) -> None:
        # Never detached: the context is that of the request's task, and ends with it.
        context.attach(_context(traceparent))

    @contextmanager
    def submit(self, endpoint: str, job: str) -> Iterator[str]:
        attributes = {names.ENDPOINT_KEY: endpoint, names.JOB_KEY: job}
        with self._tracer.start_as_current_span(
            "submit", kind=SpanKind.PRODUCER, attributes=attributes, record_exception=False
        ) as span:
            yield _text(span)

    def handed_out(self, trace: str, job: Job) -> str:
        taken_at = job.queued_at if job.taken_at is None else job.taken_at
        attributes: dict[str, str | int] = {
            names.ENDPOINT_KEY: job.endpoint,
            names.JOB_KEY: job.id,
            names.ATTEMPT_KEY: job.attempt,
        }
        parent = _context(trace)
        waited = self._tracer.start_span("queue", parent, attributes=attributes, start_time=job.queued_at * _MS_NS)
        waited.end(taken_at * _MS_NS)
        attributes[names.WORKER_KEY] = job.worker or ""
        taken = self._tracer.start_span("take", parent, SpanKind.CONSUMER, attributes, start_time=taken_at * _MS_NS)
        taken.end()
        return _text(taken)

    def result(self, trace: str, endpoint: str, job: str) -> Callable[[JobState], None]:
        attributes = {names.ENDPOINT_KEY: endpoint, names.JOB_KEY: job}
        span = self._tracer.start_span("result", _context(trace), SpanKind.CONSUMER, attributes)

        def end(state: JobState) -> None:
            span.set_attribute(names.STATE_KEY, state)
            if state in _FAILED:
                span.set_status(StatusCode.ERROR)
            span.end()

        return end

    def webhook(self, trace: str, webhook: Webhook) -> tuple[Mapping[str, str], Callable[[bool], None]]:
        if not trace:
            return super().webhook(trace, webhook)
        attributes: dict[str, str | int] = {
            names.ENDPOINT_KEY: webhook.endpoint,
            names.JOB_KEY: webhook.id,
            names.TRY_KEY: webhook.tries,
        }
        span = self._tracer.start_span("webhook", _context(trace), SpanKind.CLIENT, attributes)

        def end(delivered: bool) -> None:
            if not delivered:
                span.set_status(StatusCode.ERROR)
            span.end()

        return {"traceparent": _text(span)}, end

    def close(self) -> None:
        # Beside this thread: the exporter takes its own time, half a minute and more for a collector that is away.
        flush = Thread(target=self._provider.force_flush, name="traces", daemon=True)
        flush.start()
        flush.join(FLUSH_SECONDS)


def exporting(environ: Mapping[str, str]) -> OtelSpans:
    """Spans that are sent to the collector which the environment names; `environ` is that of the process."""
    name = environ.get(names.SERVICE) or SERVICE
    provider = TracerProvider(resource=Resource.create({"service.name": name}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OtelSpans(provider)


def _context(traceparent: str) -> Context:
    return _W3C.extract({"traceparent": traceparent}, Context())


def _text(span: Span) -> str:
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, trace.set_span_in_context(span, Context()))
    return carrier.get("traceparent", "")
