"""The reference page of the OpenAPI document, in Markdown. Pure; `python -m submodel_gateway.http` writes it."""

from pathlib import PurePosixPath
from typing import Any, Final

from submodel_gateway.http import openapi
from submodel_gateway.http.operations import OPERATIONS, Base, Operation

PAGE_PATH: Final = PurePosixPath("docs/reference/openapi.md")

_PAGE: Final = """\
<!-- made from runtime/submodel_gateway/http/operations.py by make manifests; do not edit -->

# OpenAPI document

The gateway serves an OpenAPI {version} document of the [job API](job-api.md) at `/openapi.json`, without a key.
Programs generate clients from it; this page shows the same.
`{{endpoint}}` is `<namespace>.<name>`; the operations are under each of {bases}.

{operations}
## Documents

{schemas}
"""

_FIELDS = "| Field | Type | Present | Meaning |\n|---|---|---|---|"


def page_text() -> str:
    """The page."""
    return _PAGE.format(
        version=openapi.VERSION,
        bases=", ".join(f"`{base}`" for base in Base),
        operations="\n".join(_operation(operation) for operation in OPERATIONS),
        schemas="\n".join(_schema(name, schema) for name, schema in openapi.schemas().items()).rstrip(),
    )


def _operation(operation: Operation) -> str:
    lines = [
        f"## {operation.path}\n",
        f"`{' '.join(operation.methods)} {openapi.PREFIX}{operation.path}`\n",
        f"{operation.summary}\n",
    ]
    if operation.aliases:
        lines.append(f"Also as {', '.join(f'`{alias}`' for alias in operation.aliases)}.\n")
    lines.append(f"| | |\n|---|---|\n| Scope of the key | `{operation.scope}` |")
    lines.append(f"| Rate limit | `{operation.group}` |")
    if operation.body is not None:
        name = openapi.BODIES[operation.body][0]
        lines.append(f"| Body | {_link(name)}, at most {operation.body_bytes // 2**20} MiB |")
    answer = "the worker's" if operation.answer is None else _link(operation.answer.__name__)
    lines.append(f"| Answer | {answer}{', or server-sent events' if operation.events else ''} |")
    lines.append(f"| Refusals | {', '.join(map(str, sorted({*openapi.ALWAYS, *operation.refusals})))} |\n")
    if operation.parameters:
        lines.append("| Parameter | Default | Meaning |\n|---|---|---|")
        for each in operation.parameters:
            default = each.schema().get("default")
            lines.append(f"| `{each.name}` | {'' if default is None else default} | {openapi.described(each)} |")
        lines.append("")
    return "\n".join(lines)


def _schema(name: str, schema: dict[str, Any]) -> str:
    lines = [f"### {name}\n", f"{schema.get('description', '')}\n".replace("\n\n", " ")]
    if "enum" in schema:
        lines.append(f"One of {', '.join(f'`{word}`' for word in schema['enum'])}.\n")
    if properties := schema.get("properties"):
        lines.append(_FIELDS)
        lines += _rows(properties, schema.get("required", ()), "")
        lines.append("")
    return "\n".join(lines)


def _rows(properties: dict[str, Any], required: Any, above: str) -> list[str]:
    lines = []
    for name, field in properties.items():
        present = "always" if name in required else ""
        lines.append(f"| `{above}{name}` | {_kind(field)} | {present} | {field.get('description', '')} |")
        lines += _rows(field.get("properties", {}), field.get("required", ()), f"{above}{name}.")
    return lines


def _kind(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return _link(field["$ref"].rpartition("/")[2])
    if "anyOf" in field:
        return " or ".join(_kind(each) for each in field["anyOf"])
    kind = field.get("type", "const" if "const" in field else "any")
    if kind == "array":
        return f"list of {_kind(field['items'])}"
    if "enum" in field:
        return ", ".join(f"`{word}`" for word in field["enum"])
    words = " or ".join(kind) if isinstance(kind, list) else str(kind)
    low, high = field.get("minimum"), field.get("maximum")
    return f"{words}, {low:,} … {high:,}" if low is not None and high is not None else words


def _link(name: str) -> str:
    return f"[{name}](#{name.lower()})"
