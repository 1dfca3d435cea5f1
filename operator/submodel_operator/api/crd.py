"""The CustomResourceDefinition, as an object and as the text of the two generated files.

Called by `python -m submodel_operator.api`, which writes the files, and by the tests that compare them.
"""

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any, Final

import yaml

from submodel_operator.api import constants
from submodel_operator.api.schema import Schema, structural
from submodel_operator.api.status import EndpointStatus
from submodel_operator.api.v1alpha1 import (
    NAME_RULES,
    SPEC_RULES,
    TRANSITION_RULES,
    EndpointSpec,
    Rule,
    SubModelEndpoint,
)

NAME: Final = f"{constants.PLURAL}.{constants.GROUP}"
MANIFEST_PATH: Final = PurePosixPath("crds", f"{NAME}.yaml")
TEMPLATE_PATH: Final = PurePosixPath("charts/submodel/templates", f"crd-{constants.PLURAL}.yaml")

_GENERATED: Final = "generated from operator/submodel_operator/api/v1alpha1.py; do not edit; run make manifests"

_TEMPLATE: Final = """\
{{{{- /* {generated} */ -}}}}
{{{{- if .Values.crds.enabled }}}}
{head}  {{{{- if .Values.crds.keep }}}}
  annotations:
    helm.sh/resource-policy: keep
  {{{{- end }}}}
{rest}{{{{- end }}}}
"""

_COLUMNS: Final = (
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', "Whether jobs are accepted", 0),
    ("Phase", "string", ".status.phase", "Summary of the state", 0),
    ("Workers", "integer", ".status.workers.ready", "Workers that take jobs", 0),
    ("Desired", "integer", ".status.workers.desired", "Workers that should run", 0),
    ("Min", "integer", ".spec.scaling.workersMin", "Workers that always run", 0),
    ("Max", "integer", ".spec.scaling.workersMax", "Most workers that ever run", 0),
    ("Queued", "integer", ".status.jobs.queued", "Jobs that wait for a worker", 0),
    ("Running", "integer", ".status.jobs.inProgress", "Jobs that run", 0),
    ("Scaler", "string", ".spec.scaling.scalerType", "Rule by which workers are added", 0),
    ("GPU", "string", ".status.gpu.summary", "GPUs of one worker", 0),
    ("Title", "string", ".spec.displayName", "Name for people", 1),
    ("Oldest", "date", ".status.jobs.oldestQueuedAt", "How long the oldest queued job waits", 1),
    ("P95", "number", ".status.jobs.executionSecondsP95", "Seconds that 95 of a hundred jobs run at most", 1),
    ("Busy", "integer", ".status.workers.busy", "Workers that run at least one job", 1),
    ("Starting", "integer", ".status.workers.starting", "Workers that have not asked for a job yet", 1),
    ("Reason", "string", ".status.autoscaling.lastDecision.reason", "What decided the number of workers", 1),
    ("Image", "string", ".spec.worker.image", "Image of the workers; empty for the bundled runtime", 1),
    ("URL", "string", ".status.url", "Base URL of the job API", 1),
    ("Age", "date", ".metadata.creationTimestamp", "Time since the endpoint was created", 0),
)


def custom_resource_definition() -> dict[str, Any]:
    """The CustomResourceDefinition of `SubModelEndpoint`."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME},
        "spec": {
            "group": constants.GROUP,
            "names": {
                "kind": constants.KIND,
                "listKind": f"{constants.KIND}List",
                "plural": constants.PLURAL,
                "singular": constants.SINGULAR,
                "shortNames": [constants.SHORT_NAME],
                "categories": list(constants.CATEGORIES),
            },
            "scope": "Namespaced",
            "versions": [_version()],
        },
    }


def manifest_text() -> str:
    """The file for `kubectl apply`."""
    return f"# {_GENERATED}\n{_yaml(custom_resource_definition())}"


def template_text() -> str:
    """The template of the chart: the same object behind `crds.enabled`, kept on uninstall by `crds.keep`."""
    body = _yaml(custom_resource_definition())
    if "{{" in body:
        raise ValueError("a description holds {{, which Helm would read as a template")
    head, name, rest = body.partition(f"  name: {NAME}\n")
    return _TEMPLATE.format(generated=_GENERATED, head=head + name, rest=rest)


def _version() -> dict[str, Any]:
    return {
        "name": constants.VERSION,
        "served": True,
        "storage": True,
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.scaling.replicas",
                "statusReplicasPath": ".status.workers.total",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": [_column(*column) for column in _COLUMNS],
        "schema": {"openAPIV3Schema": _schema()},
    }


def _schema() -> Schema:
    spec = structural(EndpointSpec, defaults=True)
    status = structural(EndpointStatus, defaults=False)
    return {
        "description": SubModelEndpoint.__doc__,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"description": f"{constants.API_VERSION}.", "type": "string"},
            "kind": {"description": f"{constants.KIND}.", "type": "string"},
            # The name is declared so that rules may point at it; the API server validates it as in every object.
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": {**spec, "x-kubernetes-validations": _rules((*SPEC_RULES, *TRANSITION_RULES))},
            "status": status,
        },
        "x-kubernetes-validations": _rules(NAME_RULES),
    }


def _rules(rules: Iterable[Rule]) -> list[dict[str, str]]:
    return [
        {"rule": rule.rule, "message": rule.message, "fieldPath": rule.field_path, "reason": "FieldValueInvalid"}
        for rule in rules
    ]


def _column(name: str, kind: str, path: str, description: str, priority: int) -> dict[str, Any]:
    column = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return {**column, "priority": priority} if priority else column


class _Dumper(yaml.SafeDumper):
    """Writes every object out: anchors in a CRD help nobody."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _yaml(value: Any) -> str:
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text
