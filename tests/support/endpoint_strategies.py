"""Endpoints for property tests, drawn from the schema of the CRD, so that a new field is covered when it appears."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import strategies as st

from submodel_operator.api import constants
from tests.support.endpoint_schema import openapi_schema

_TEXT = st.text(alphabet="aA0_-./ y~", max_size=4)
_QUANTITIES = st.sampled_from([0, 1, "1", "0.5", "500m", "2Gi", "1e3"])
_TEXTS = {  # by pattern, where free text would hardly ever fit
    r"^\S+( \S+){4}$": st.sampled_from(["0 8 * * MON-FRI", "*/5 * * * *", "0 0 31 2 *"]),
    r"^[A-Za-z][A-Za-z0-9_+/-]*$": st.sampled_from(["UTC", "Europe/Berlin", "Nowhere"]),
}
_JUNK = st.sampled_from([None, True, -1, 0, 10**9, 1.5, "", "x", "5", "Ω", [], [None], {}, {"x": 1}]).map(copy.deepcopy)


def endpoints() -> st.SearchStrategy[dict[str, Any]]:
    """Endpoints of which most are valid; cross-field rules may be broken."""
    return _values(openapi_schema()["properties"]["spec"]).map(_endpoint)


@st.composite
def damaged_endpoints(draw: st.DrawFn) -> dict[str, Any]:
    """Endpoints with up to three places in the spec changed into something else, removed, or joined by a stranger."""
    endpoint = copy.deepcopy(draw(endpoints()))
    for _ in range(draw(st.integers(0, 3))):
        container, key = draw(st.sampled_from([(endpoint, "spec"), *_places(endpoint["spec"])]))
        match draw(st.sampled_from(["change", "remove", "join"])):
            case "change":
                container[key] = draw(_JUNK)
            case "remove" if container is not endpoint:
                del container[key]
            case "join" if isinstance(container, dict) and container is not endpoint:
                container[draw(st.sampled_from(["workerMax", "image", "zzz"]))] = draw(_JUNK)
    return endpoint


def _endpoint(spec: dict[str, Any]) -> dict[str, Any]:
    """An endpoint whose worker is one thing, and whose bounds are in order when both are given."""
    worker, scaling = spec["worker"], spec.get("scaling", {})
    if "handler" in worker:
        for name in ("image", "command", "args"):
            worker.pop(name, None)
        handler = worker["handler"]
        handler.pop("configMapRef" if "inline" in handler else "inline", None)
        if not handler:
            handler["inline"] = "pass"
    else:
        worker.setdefault("image", "example/worker:1")
    if scaling.get("workersMin", 0) > scaling.get("workersMax", 3):
        scaling["workersMax"] = scaling["workersMin"]
    _fit_gpus(spec.get("gpu", {}))
    return {
        "apiVersion": constants.API_VERSION,
        "kind": constants.KIND,
        "metadata": {"name": "tokens"},
        "spec": spec,
    }


def _fit_gpus(gpu: dict[str, Any]) -> None:
    """Types need a GPU, stand once, and are not excluded."""
    if not gpu.get("count"):
        for name in ("types", "excludedTypes", "allowedCudaVersions"):
            gpu.pop(name, None)
    if "types" in gpu:
        gpu["types"] = list(dict.fromkeys(gpu["types"]))
        gpu.pop("excludedTypes", None)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from _places(item)


def _values(node: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    if node.get("pattern") == "^auto$":
        return st.sampled_from(["auto", 0, 1, 5, 3600])
    if node.get("x-kubernetes-int-or-string"):
        return _QUANTITIES
    if "enum" in node:
        return st.sampled_from(node["enum"])
    match node["type"]:
        case "object" if "properties" in node:
            fields = {name: _values(field) for name, field in node["properties"].items()}
            required = node.get("required", ())
            return st.fixed_dictionaries(
                {name: fields[name] for name in required},
                optional={name: field for name, field in fields.items() if name not in required},
            )
        case "object" if node.get("x-kubernetes-preserve-unknown-fields"):
            return st.sampled_from([{}, {"priorityClassName": "high"}, {"tolerations": [{"key": "a"}]}]).map(
                copy.deepcopy
            )
        case "object":
            names = st.sampled_from(["cpu", "memory", "nvidia.com/gpu"])
            return st.dictionaries(names, _values(node["additionalProperties"]), max_size=3)
        case "array":
            return st.lists(_values(node["items"]), max_size=3)
        case "integer":
            return st.integers(node["minimum"], node["maximum"]) | st.just(node["minimum"])
        case "number":
            return st.sampled_from([node["minimum"], 1, 4.0, 4.5, node["maximum"]])
        case "boolean":
            return st.booleans()
    if node.get("pattern") in _TEXTS:
        return _TEXTS[node["pattern"]]
    return _TEXT.filter(bool) | st.sampled_from(["A", "B", "x" * node["maxLength"]])
