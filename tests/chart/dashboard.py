"""The Grafana dashboard: a line per panel here, the JSON that Grafana reads from it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT, ACROSS = 8, 8, 3
DATA = {"type": "prometheus", "uid": "${datasource}"}

OURS = 'endpoint_namespace=~"$namespace", endpoint_name=~"$endpoint"'
"""Of the gateway's metrics."""

THEIRS = 'namespace=~"$namespace", name=~"$endpoint"'
"""Of the operator's."""

PER_ENDPOINT = "{{endpoint_namespace}}/{{endpoint_name}}"
BY_ENDPOINT = "by (endpoint_namespace, endpoint_name)"
RATE = "[$__rate_interval]"


@dataclass(frozen=True)
class Panel:
    """Curves over time: legends with their queries, and Grafana's name for the unit."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    about: str = ""


def quantiles(metric: str, selector: str) -> tuple[tuple[str, str], ...]:
    """Median, 95th and 99th percentile of a histogram."""
    return tuple(
        (f"p{percent}", f"histogram_quantile(0.{percent}, sum by (le) (rate({metric}_bucket{{{selector}}}{RATE})))")
        for percent in (50, 95, 99)
    )


ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Jobs",
        (
            Panel("Queued jobs", "short", ((PER_ENDPOINT, f"max {BY_ENDPOINT} (submodel_jobs_queued{{{OURS}}})"),)),
            Panel(
                "Age of the oldest queued job",
                "s",
                ((PER_ENDPOINT, f"max {BY_ENDPOINT} (submodel_jobs_oldest_queued_seconds{{{OURS}}})"),),
            ),
            Panel("Running jobs", "short", ((PER_ENDPOINT, f"max {BY_ENDPOINT} (submodel_jobs_running{{{OURS}}})"),)),
            Panel(
                "Jobs in and out",
                "ops",
                (
                    ("submitted", f"sum(rate(submodel_jobs_submitted_total{{{OURS}}}{RATE}))"),
                    ("{{state}}", f"sum by (state) (rate(submodel_jobs_finished_total{{{OURS}}}{RATE}))"),
                ),
            ),
            Panel("Wait for a worker", "s", quantiles("submodel_job_delay_seconds", OURS)),
            Panel("Execution", "s", quantiles("submodel_job_execution_seconds", OURS)),
        ),
    ),
    (
        "Workers",
        (
            Panel(
                "Workers by state",
                "short",
                (
                    (
                        "{{state}}",
                        "sum by (state) (max by (endpoint_namespace, endpoint_name, state) "
                        f"(submodel_workers{{{OURS}}}))",
                    ),
                ),
            ),
            Panel(
                "Wanted and ready",
                "short",
                (
                    ("wanted", f"sum(submodel_endpoint_workers_desired{{{THEIRS}}})"),
                    ("ready", f"sum(submodel_endpoint_workers_ready{{{THEIRS}}})"),
                ),
                "What the operator asks for, and what takes jobs. A gap that stays: no room, or starts that fail.",
            ),
            Panel(
                "Lost with their worker",
                "ops",
                (
                    ("executions lost", f"sum(rate(submodel_executions_lost_total{{{OURS}}}{RATE}))"),
                    ("leases expired", f"sum(rate(submodel_leases_expired_total{{{OURS}}}{RATE}))"),
                    ("handed out again", f"sum(rate(submodel_jobs_redelivered_total{{{OURS}}}{RATE}))"),
                    ("late writes refused", f"sum(rate(submodel_stale_writes_total{{{OURS}}}{RATE}))"),
                ),
            ),
            Panel(
                "Endpoints that cannot serve",
                "short",
                (("{{namespace}}/{{name}}", f"submodel_endpoint_ready{{{THEIRS}}} == 0"),),
                "Empty when all is well. kubectl describe says why.",
            ),
        ),
    ),
    (
        "Gateway",
        (
            Panel(
                "Requests",
                "reqps",
                (("{{operation}}", f"sum by (operation) (rate(submodel_http_requests_total{RATE}))"),),
            ),
            Panel(
                "Refused and failed",
                "reqps",
                (("{{code}}", f'sum by (code) (rate(submodel_http_requests_total{{code=~"[45].."}}{RATE}))'),),
            ),
            Panel("Time to answer run", "s", quantiles("submodel_http_request_seconds", 'operation="run"')),
            Panel("Transactions of the job store", "s", quantiles("submodel_store_commit_seconds", "")),
            Panel(
                "Store and webhooks",
                "ops",
                (
                    ("store failures", f"sum(rate(submodel_store_failures_total{RATE}))"),
                    ("webhooks {{outcome}}", f"sum by (outcome) (rate(submodel_webhook_tries_total{RATE}))"),
                ),
            ),
            Panel("Gateways that are ready", "short", (("ready", "sum(submodel_gateway_ready)"),)),
        ),
    ),
    (
        "Operator",
        (
            Panel(
                "Reconciles",
                "ops",
                (("{{result}}", f"sum by (result) (rate(submodel_operator_reconcile_total{RATE}))"),),
            ),
            Panel("Time of a reconcile", "s", quantiles("submodel_operator_reconcile_duration_seconds", "")),
            Panel("Waiting to be reconciled", "short", (("endpoints", "max(submodel_operator_workqueue_depth)"),)),
            Panel(
                "Since the gateway last answered",
                "s",
                (("seconds", "max(submodel_operator_gateway_age_seconds and submodel_operator_leader == 1)"),),
                "Above 15 seconds the number of workers is held.",
            ),
            Panel(
                "Requests to the Kubernetes API",
                "reqps",
                (
                    (
                        "{{verb}} {{resource}} {{code}}",
                        f"sum by (verb, resource, code) (rate(submodel_operator_api_requests_total{RATE}))",
                    ),
                ),
            ),
        ),
    ),
)


def queries() -> list[str]:
    """Every query, those of the variables included."""
    panels = [query for _, row in ROWS for panel in row for _, query in panel.queries]
    return [*panels, *(each["query"] for each in _variables() if each["type"] == "query")]


def text() -> str:
    """The file that Grafana reads."""
    document = {
        "uid": "submodel",
        "title": "SubModel",
        "tags": ["submodel"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": _variables()},
        "panels": list(_panels()),
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _variables() -> list[dict[str, Any]]:
    def of_label(name: str, label: str, query: str) -> dict[str, Any]:
        chosen = {"multi": True, "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}}
        return {
            "name": name,
            "label": label,
            "type": "query",
            "datasource": DATA,
            "query": query,
            "refresh": 2,
            **chosen,
        }

    return [
        {"name": "datasource", "label": "Data", "type": "datasource", "query": "prometheus"},
        of_label("namespace", "Namespace", "label_values(submodel_jobs_queued, endpoint_namespace)"),
        of_label(
            "endpoint",
            "Endpoint",
            'label_values(submodel_jobs_queued{endpoint_namespace=~"$namespace"}, endpoint_name)',
        ),
    ]


def _panels() -> Iterator[dict[str, Any]]:
    number, top = 0, 0
    for title, row in ROWS:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "gridPos": {"x": 0, "y": top, "w": 24, "h": 1},
            "panels": [],
        }
        top += 1
        for index, panel in enumerate(row):
            number += 1
            place = {"x": index % ACROSS * WIDTH, "y": top + index // ACROSS * HEIGHT, "w": WIDTH, "h": HEIGHT}
            yield {"id": number, "gridPos": place, **_panel(panel)}
        top += -(-len(row) // ACROSS) * HEIGHT


def _panel(panel: Panel) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + index), "datasource": DATA, "expr": query, "legendFormat": legend}
        for index, (legend, query) in enumerate(panel.queries)
    ]
    shown = {"unit": panel.unit, "min": 0}
    about = {"description": panel.about} if panel.about else {}
    return {
        "type": "timeseries",
        "title": panel.title,
        **about,
        "datasource": DATA,
        "targets": targets,
        "fieldConfig": {"defaults": shown, "overrides": []},
    }
