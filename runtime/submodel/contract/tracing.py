"""Whether a process is asked for traces: OpenTelemetry's own variables say so, in all of ours. Pure."""

from collections.abc import Mapping

EXPORTER = "OTEL_TRACES_EXPORTER"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
DISABLED = "OTEL_SDK_DISABLED"
PROTOCOL = "http/protobuf"
"""The only one that is spoken."""

SERVICE = "OTEL_SERVICE_NAME"

ENDPOINT_KEY = "submodel.endpoint"
JOB_KEY = "submodel.job.id"
ATTEMPT_KEY = "submodel.job.attempt"
STATE_KEY = "submodel.job.state"
WORKER_KEY = "submodel.worker"
TRY_KEY = "submodel.webhook.try"
"""Names of the attributes; there are no others, and none of them holds what a client or a handler has sent."""


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether spans shall be exported."""
    if environ.get(DISABLED, "").strip().lower() == "true":
        return False
    exporter = environ.get(EXPORTER, "").strip().lower()
    if exporter:
        return exporter == "otlp"
    return any(environ.get(name) for name in ENDPOINTS)


def refusal(environ: Mapping[str, str]) -> str:
    """Why they cannot be exported as the variables say; empty when they can."""
    for name in PROTOCOLS:
        if (protocol := environ.get(name, "")) not in ("", PROTOCOL):
            return f"{name} is {protocol}; traces are exported by {PROTOCOL} only"
    return ""
