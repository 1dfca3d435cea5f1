"""The page of the reference, from the table."""

from submodel_gateway.metrics.table import ENDPOINTS_MAX, METRICS, Metric

_HEAD = """\
# Metrics

The gateway tells them at `GET /metrics` of its internal port, in the text format of Prometheus, without a token.
This page is made from the code (`make manifests`).

| Metric | Kind | Labels | Meaning |
|---|---|---|---|
"""

_NOTES = (
    "An endpoint is `endpoint_namespace` and `endpoint_name`, also one with an id of its own. "
    f"The first {ENDPOINTS_MAX} endpoints of a process have series of their own; all further ones are `other`.",
    "ᶠ Of several gateways on one PostgreSQL each shows the value of all: aggregate with `max`, not with `sum`. "
    "Everything else counts what this process did: aggregate with `sum`.",
    "Counters are there with a 0 before their first event, but for `submodel_http_requests_total`. "
    "They begin again with the process that serves, which a crash or an upgrade replaces.",
    "`process_…` (CPU, memory, open files) are those of the serving process.",
)

_TAIL = """
## Alerts to begin with

```yaml
- alert: JobsWait
  expr: max by (endpoint_namespace, endpoint_name) (submodel_jobs_oldest_queued_seconds) > 600
- alert: WorkersAreLost
  expr: sum by (endpoint_namespace, endpoint_name) (rate(submodel_leases_expired_total[10m])) > 0.01
- alert: StoreIsSlow
  expr: histogram_quantile(0.99, sum by (le) (rate(submodel_store_commit_seconds_bucket[5m]))) > 1
- alert: StoreFails
  expr: sum(rate(submodel_store_failures_total[5m])) > 0
- alert: NoJobMoves
  expr: sum by (store) (increase(submodel_canary_failures_total[5m])) > 3
- alert: GatewayAnswersErrors
  expr: sum(rate(submodel_http_requests_total{code=~"5.."}[5m])) / sum(rate(submodel_http_requests_total[5m])) > 0.01
- alert: WebhooksDoNotLeave
  expr: max by (store) (submodel_webhook_overdue_seconds) > 60
- alert: WebhooksAreGivenUp
  expr: sum(rate(submodel_webhook_tries_total{outcome="given_up"}[1h])) > 0
```

## Scraping

The chart does it with `monitoring.enabled`, and brings these alerts and a dashboard ([how](../how-to/monitor.md)).
Without it, with the Prometheus operator:

```yaml
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: submodel-gateway
  namespace: submodel-system
spec:
  selector:
    matchLabels: {app.kubernetes.io/name: submodel, app.kubernetes.io/component: gateway}
  podMetricsEndpoints:
    - port: internal
```

Where the chart's NetworkPolicy is enforced, `networkPolicy.metricsFrom` lets the scraper in.
"""


def page() -> str:
    """The whole page."""
    notes = "".join(f"- {note}\n" for note in _NOTES)
    return f"{_HEAD}{''.join(map(_row, METRICS))}\n{notes}{_TAIL}"


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    mark = " ᶠ" if metric.everywhere else ""
    return f"| `{metric.shown}`{mark} | {metric.kind} | {labels} | {metric.help} |\n"
