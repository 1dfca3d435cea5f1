"""A span for each execution of a handler: the only module of the runtime that imports OpenTelemetry, which the extra
`otel` installs. Imported only where its variables ask for traces.

The span is current while the handler runs, so that what the handler or the libraries that it uses trace belongs to it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from submodel.contract import tracing as names
from submodel.contract.exchange import LeasedJob

SERVICE = "submodel-worker"
FLUSH_SECONDS = 3.0
_W3C = TraceContextTextMapPropagator()


class Execution:
    """One execution under way; `context` is what the gateway is told of its span."""

    def __init__(self, span: Span) -> None:
        self._span = span
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, trace.set_span_in_context(span, Context()))
        self.context = carrier.get("traceparent", "")

    def ended(self, *, failed: bool) -> None:
        """The handler is done."""
        if failed:
            self._span.set_status(StatusCode.ERROR)


class Tracing:
    """Makes spans of executions.

    Args:
        provider: where they go; also what handlers get that ask OpenTelemetry for a tracer.
    """

    def __init__(self, provider: TracerProvider, endpoint: str, worker: str) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("submodel.serverless")
        self._about = {names.ENDPOINT_KEY: endpoint, names.WORKER_KEY: worker}

    @contextmanager
    def execution(self, job: LeasedJob) -> Iterator[Execution]:
        """Around a call of the handler. What it raises is not noted: its text may hold a payload."""
        attributes: dict[str, str | int] = {**self._about, names.JOB_KEY: job.id, names.ATTEMPT_KEY: job.attempt}
        parent = _W3C.extract({"traceparent": job.trace}, Context())
        with self._tracer.start_as_current_span(
            "execute", parent, SpanKind.CONSUMER, attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            yield Execution(span)

    def close(self) -> None:
        """Export what is left. Blocks for seconds at most."""
        # Beside this thread: the exporter takes its own time, half a minute and more for a collector that is away.
        flush = Thread(target=self._provider.force_flush, name="traces", daemon=True)
        flush.start()
        flush.join(FLUSH_SECONDS)


def exporting(service: str, endpoint: str, worker: str) -> Tracing:
    """Traces to the collector that the environment of this process names, as of `service` or an own name.

    An image that has set up OpenTelemetry for itself keeps its own provider, and our spans go where it leads.
    """
    present = trace.get_tracer_provider()
    if isinstance(present, TracerProvider):
        return Tracing(present, endpoint, worker)
    resource = Resource.create({"service.name": service or SERVICE})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return Tracing(provider, endpoint, worker)
