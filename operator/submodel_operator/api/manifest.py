"""From a manifest to a `SubModelEndpoint`: text in local mode, an object of the API server in the operator.

Imports neither Kopf nor a Kubernetes client.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from submodel_operator.api import constants
from submodel_operator.api.document import read_document
from submodel_operator.api.problems import sentences
from submodel_operator.api.status import EndpointStatus
from submodel_operator.api.v1alpha1 import SubModelEndpoint
from submodel_operator.errors import InvalidEndpoint


def read_manifest(text: str, source: str) -> SubModelEndpoint:
    """The endpoint that the YAML `text` describes.

    Args:
        source: name of the file, for messages about the text as a whole.

    Raises:
        InvalidEndpoint: with one sentence per problem.
    """
    return parse_endpoint(read_document(text, source))


def parse_endpoint(obj: Mapping[str, Any]) -> SubModelEndpoint:
    """The endpoint that `obj`, a parsed manifest or an object of the API server, describes.

    The status is the operator's own record: fields of another version in it are ignored, and one that cannot be read
    counts as none, so that it never stands in the way of the spec.

    Raises:
        InvalidEndpoint: with one sentence per problem.
    """
    _require_kind(obj)
    try:
        return SubModelEndpoint.model_validate({**obj, "status": _status(obj.get("status"))}, by_name=False)
    except ValidationError as error:
        raise InvalidEndpoint(sentences(error)) from None


def _require_kind(obj: Mapping[str, Any]) -> None:
    """Another kind of object has problems of another kind; name this one alone."""
    wanted = {"apiVersion": constants.API_VERSION, "kind": constants.KIND}
    problems = [
        f"{field}: must be {value}, not {obj[field]!r}"
        if obj.get(field) is not None
        else f"{field}: is missing; write {value}"
        for field, value in wanted.items()
        if obj.get(field) != value
    ]
    if problems:
        raise InvalidEndpoint(problems)


def _status(value: object) -> EndpointStatus | None:
    if value is None:
        return None
    try:
        return EndpointStatus.model_validate(value, by_name=False)
    except ValidationError:
        return None
