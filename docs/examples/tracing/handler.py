"""A handler with a span of its own, below the one that the runtime makes of each execution."""

from typing import Any

from opentelemetry import trace

import submodel

tracer = trace.get_tracer(__name__)


async def handler(job: dict[str, Any]) -> str:
    with tracer.start_as_current_span("think"):
        return f"hello {job['input']['name']}"


submodel.serverless.start({"handler": handler})
