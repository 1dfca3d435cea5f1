"""Chooses the spans of a process: none unless they are asked for, and OpenTelemetry is not imported before."""

import logging
from collections.abc import Mapping

from submodel.contract import tracing as names
from submodel_gateway.errors import ConfigurationError
from submodel_gateway.tracing.spans import Spans

log = logging.getLogger(__name__)


def open_spans(environ: Mapping[str, str]) -> Spans:
    """What the environment of this process asks for. Raises `ConfigurationError` for what cannot be done."""
    if not names.wanted(environ):
        return Spans()
    if refusal := names.refusal(environ):
        raise ConfigurationError(refusal)
    try:
        from submodel_gateway.tracing.otel import exporting
    except ModuleNotFoundError as error:
        log.warning("no traces: %s is missing; install submodel-runtime[otel]", error.name)
        return Spans()
    return exporting(environ)
