"""A collector of traces for tests: a real HTTP server that takes OTLP, as OpenTelemetry's exporters send it."""

import gzip
import queue
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.webhook_receiver import Receiver


@dataclass(frozen=True)
class SeenSpan:
    """A span that was exported; ids as in `traceparent`."""

    name: str
    service: str
    trace: str
    id: str
    parent: str
    failed: bool
    attributes: dict[str, str] = field(compare=False)


class TraceCollector(Receiver):
    """A context manager; `environ` is what processes are given that shall export to it."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[bytes] = []
        self.spans: list[SeenSpan] = []

    @property
    def environ(self) -> dict[str, str]:
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }

    def collect(self) -> list[SeenSpan]:
        """All spans that have come by now."""
        while True:
            try:
                received = self.received.get_nowait()
            except queue.Empty:
                return self.spans
            assert received.path == "/v1/traces"
            packed = received.headers.get("content-encoding") == "gzip"
            self.bodies.append(gzip.decompress(received.body) if packed else received.body)
            self.spans += _spans(self.bodies[-1])


def _spans(body: bytes) -> list[SeenSpan]:
    return [
        SeenSpan(
            name=span.name,
            service={each.key: each.value.string_value for each in resource.resource.attributes}["service.name"],
            trace=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            failed=span.status.code == span.status.STATUS_CODE_ERROR,
            attributes={each.key: each.value.string_value or str(each.value.int_value) for each in span.attributes},
        )
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
