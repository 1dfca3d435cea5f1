"""The OpenAPI document of the job API, made from the table of operations that the router uses. Pure."""

from typing import Any

import msgspec

from submodel.contract import limits
from submodel_gateway.http import documents
from submodel_gateway.http.envelope import BATCH_MAX, KEY_LENGTH_MAX, PRIORITY_MAX
from submodel_gateway.http.operations import OPENAI, OPERATIONS, Base, Body, Operation
from submodel_gateway.http.parameters import Parameter, Whole
from submodel_gateway.http.stream_events import HEADER
from submodel_gateway.jobs.record import WebhookState

VERSION = "3.1.0"
PREFIX = Base.V2 + "/{endpoint}/"
_SCHEMAS = "#/components/schemas/"
_FAILURE = {"$ref": f"{_SCHEMAS}{documents.Failure.__name__}"}

REFUSALS = {
    400: "The body or a parameter does not fit; the sentence names the field.",
    401: "The API key is missing, unknown or expired.",
    403: "The API key may not do this.",
    404: "There is no such endpoint, job or path, or the job's result has expired.",
    409: "The job is in another state.",
    413: "The body is over its limit.",
    415: "The body is compressed.",
    422: "The Idempotency-Key came with another body before.",
    429: "More requests than the key may make, or a queue that is full; Retry-After says when to come back.",
    503: "The job store could not do it, or the gateway is going down; Retry-After says when to come back.",
}
ALWAYS = (400, 401, 403, 404, 429, 503)

_POLICY: dict[str, Any] = {
    "type": ["object", "null"],
    "description": "Limits of this job, where they are to differ from the endpoint's.",
    "additionalProperties": False,
    "properties": {
        "executionTimeout": {
            "type": ["integer", "null"],
            "minimum": limits.EXECUTION_TIMEOUT_MS_MIN,
            "maximum": limits.POLICY_MS_MAX,
            "description": "Milliseconds that one execution may take.",
        },
        "ttl": {
            "type": ["integer", "null"],
            "minimum": limits.TTL_MS_MIN,
            "maximum": limits.POLICY_MS_MAX,
            "description": "Milliseconds from submission until an unfinished job ends; no less than executionTimeout.",
        },
        "priority": {
            "type": "integer",
            "minimum": -PRIORITY_MAX,
            "maximum": PRIORITY_MAX,
            "default": 0,
            "description": "A job of a higher priority goes first.",
        },
        "lowPriority": {
            "type": "boolean",
            "default": False,
            "description": "Whether the job starts no worker; it runs once one is there for other jobs.",
        },
    },
}
_WEBHOOK = {"type": ["string", "null"], "format": "uri", "description": "A URL that hears of the outcome."}
JOB_REQUEST: dict[str, Any] = {
    "type": "object",
    "description": "A job; fields of other names are passed on to the handler.",
    "required": ["input"],
    "properties": {
        "input": {"description": "What the handler gets as `input`: any JSON."},
        "policy": _POLICY,
        "webhook": _WEBHOOK,
        "webhookV2": {**_WEBHOOK, "description": "Another name of `webhook`."},
    },
}
OPENAI_REQUEST: dict[str, Any] = {
    "type": "object",
    "description": "A body of OpenAI's API.",
    "properties": {"stream": {"type": ["boolean", "null"], "description": "Whether to answer with an event stream."}},
}
BATCH_REQUEST: dict[str, Any] = {
    "type": "object",
    "description": "Jobs, each as `run` takes it; an `idempotencyKey` in one is its Idempotency-Key.",
    "required": ["requests"],
    "additionalProperties": False,
    "properties": {
        "requests": {
            "type": "array",
            "minItems": 1,
            "maxItems": BATCH_MAX,
            "items": {"$ref": f"{_SCHEMAS}JobRequest"},
        }
    },
}
BODIES = {
    Body.JOB: ("JobRequest", JOB_REQUEST),
    Body.BATCH: ("BatchRequest", BATCH_REQUEST),
    Body.OPENAI: ("OpenAiRequest", OPENAI_REQUEST),
}


def document() -> dict[str, Any]:
    """The document."""
    return {
        "openapi": VERSION,
        "info": {
            "title": "SubModel job API",
            "version": "v2",
            "description": f"The same operations are under {', '.join(Base)}.",
        },
        "paths": {PREFIX + operation.path: _path(operation) for operation in OPERATIONS},
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-apikey"},
            },
        },
        "security": [{"bearer": []}, {"key": []}],
    }


def schemas() -> dict[str, Any]:
    """The documents that are asked for and answered, by name."""
    answers = {operation.answer for operation in OPERATIONS if operation.answer} | {documents.Failure}
    in_order = sorted(answers, key=lambda each: each.__name__)
    _, components = msgspec.json.schema_components(in_order, ref_template=_SCHEMAS + "{name}")
    # The state of a job without a webhook, which has no such document.
    components[WebhookState.__name__]["enum"].remove(WebhookState.NONE)
    return {**dict(sorted(components.items())), **dict(BODIES.values())}


def _path(operation: Operation) -> dict[str, Any]:
    segments = [word[1:-1] for word in (PREFIX + operation.path).split("/") if word.startswith("{")]
    return {
        "parameters": [_segment(name) for name in segments],
        **{method.lower(): _operation(operation, method) for method in operation.methods},
    }


def _operation(operation: Operation, method: str) -> dict[str, Any]:
    name = operation.path.replace("/{id}", "").replace("/{path}", "").replace("s/{model}", "").replace("/", "-")
    has_body = operation.body is not None and method == "POST"
    found = [_parameter(each) for each in operation.parameters]
    found += ([_KEY] if has_body and operation.body is not Body.BATCH else []) + ([_PLACE] if operation.events else [])
    return {
        "operationId": name if method == operation.methods[0] else f"{name}-{method.lower()}",
        "summary": operation.summary,
        **({"parameters": found} if found else {}),
        **({"requestBody": _body(operation)} if has_body else {}),
        "responses": {"200": _answer(operation), **(_TOLD if operation.events else {}), **_refusals(operation)},
    }


_SEGMENTS = {
    "endpoint": "The endpoint's id, `<namespace>.<name>`.",
    "id": "The job's id.",
    "model": "The model's name, which may have slashes.",
    "path": "For example `v1/models`.",
}


def _segment(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": _SEGMENTS[name], "schema": {"type": "string"}}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {"name": parameter.name, "in": "query", "description": described(parameter), "schema": parameter.schema()}


def described(parameter: Parameter) -> str:
    """What a parameter means, with the bound that it is held to."""
    if isinstance(parameter, Whole) and parameter.maximum is not None:
        return f"{parameter.text} More than {parameter.maximum} counts as {parameter.maximum}."
    return parameter.text


_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Requests with the same key and body are one job for 24 hours.",
    "schema": {"type": "string", "maxLength": KEY_LENGTH_MAX},
}


_PLACE = {
    "name": HEADER,
    "in": "header",
    "description": "The `id` of the last event that was read; with `Accept: text/event-stream`.",
    "schema": {"type": "string"},
}
_TOLD = {"204": {"description": "The reader of events was told the end."}}
_EVENTS = {"text/event-stream": {"schema": {"type": "string", "description": "Items as server-sent events."}}}


def _body(operation: Operation) -> dict[str, Any]:
    assert operation.body is not None
    schema = {"$ref": _SCHEMAS + BODIES[operation.body][0]}
    text = f"At most {operation.body_bytes // 2**20} MiB."
    return {"required": True, "description": text, "content": {"application/json": {"schema": schema}}}


def _answer(operation: Operation) -> dict[str, Any]:
    if operation.answer is None:
        return {
            "description": "What the worker answered.",
            "content": {"application/json": {}, "text/event-stream": {"schema": {"type": "string"}}},
        }
    schema = {"$ref": _SCHEMAS + operation.answer.__name__}
    content = {"application/json": {"schema": schema}, **(_EVENTS if operation.events else {})}
    return {"description": "It was done.", "content": content}


def _refusals(operation: Operation) -> dict[str, Any]:
    schema = {} if operation is OPENAI else {"schema": _FAILURE}
    statuses = sorted({*ALWAYS, *operation.refusals})
    found = {str(each): {"description": REFUSALS[each], "content": {"application/json": schema}} for each in statuses}
    if operation is OPENAI:
        found["5XX"] = {"description": "The worker failed.", "content": {"application/json": {}}}
    return found
