"""What keeps an installation running and tells how it does: disruption budget, policies, monitoring."""

import json
import re
from typing import Any

import pytest
import yaml

from submodel_gateway.metrics.table import METRICS, Kind
from submodel_operator.metrics import Metrics
from tests.chart import dashboard
from tests.packaging.test_docs import blocks, page, section
from tests.support.helm import find, kinds

SEVERAL = ("gateway.replicas=3", "gateway.store.existingSecret=db")
MONITORED = ("monitoring.enabled=true", "monitoring.labels.release=prometheus")


def test_several_gateways_go_one_at_a_time_and_one_alone_holds_up_no_node() -> None:
    budget = find("PodDisruptionBudget", "demo-gateway", *SEVERAL)
    assert budget["spec"]["maxUnavailable"] == 1
    labels = find("StatefulSet", "demo-gateway", *SEVERAL)["spec"]["template"]["metadata"]["labels"]
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert not kinds("PodDisruptionBudget")


STANDBY = ("operator.replicas=2",)


def test_of_several_operators_the_holder_of_a_lease_acts_and_they_go_one_at_a_time() -> None:
    deployment = find("Deployment", "demo-operator", *STANDBY)["spec"]
    pod = deployment["template"]["spec"]
    lease = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}["SUBMODEL_OPERATOR_LEASE"]
    rules = find("Role", "demo-operator-lease", *STANDBY)["rules"]
    rights = {(verb, *rule.get("resourceNames", ())) for rule in rules for verb in rule["verbs"]}
    (subject,) = find("RoleBinding", "demo-operator-lease", *STANDBY)["subjects"]
    budget = find("PodDisruptionBudget", "demo-operator", *STANDBY)["spec"]
    assert (deployment["replicas"], deployment["strategy"]["type"]) == (2, "Recreate")
    assert rights == {("create",), ("get", lease), ("update", lease)}
    assert subject["name"] == pod["serviceAccountName"]
    assert budget["selector"]["matchLabels"].items() <= deployment["template"]["metadata"]["labels"].items()


def test_an_operator_alone_holds_no_lease_and_up_no_node() -> None:
    (container,) = find("Deployment", "demo-operator")["spec"]["template"]["spec"]["containers"]
    assert not [each for each in container["env"] if each["name"] == "SUBMODEL_OPERATOR_LEASE"]
    assert not kinds("PodDisruptionBudget")
    assert not [role for role in kinds("Role") if role["metadata"]["name"].endswith("-lease")]


@pytest.mark.parametrize(
    ("kind", "name", "settings"), [("StatefulSet", "demo-gateway", SEVERAL), ("Deployment", "demo-operator", STANDBY)]
)
def test_several_of_a_kind_lie_on_several_nodes_where_there_are_some(
    kind: str, name: str, settings: tuple[str, ...]
) -> None:
    template = find(kind, name, *settings)["spec"]["template"]
    (spread,) = template["spec"]["topologySpreadConstraints"]
    assert spread["whenUnsatisfiable"] == "ScheduleAnyway"
    assert spread["labelSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert "topologySpreadConstraints" not in find(kind, name)["spec"]["template"]["spec"]


def test_the_operator_is_reached_at_its_probes_alone() -> None:
    policy = find("NetworkPolicy", "demo-operator")["spec"]
    assert policy["ingress"] == [{"ports": [{"port": "probes"}]}]
    labels = find("Deployment", "demo-operator")["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert not kinds("NetworkPolicy", "networkPolicy.enabled=false")


def known_series() -> set[str]:
    """Every name that a query may use: the metrics of both processes, histograms by their three series."""
    counted = re.findall(r"^# TYPE (\S+) (\S+)", Metrics().text().decode(), re.MULTILINE)
    kinds_by_name = dict(counted) | {metric.shown: metric.kind.value for metric in METRICS}
    parts = {f"{name}_{part}" for name, kind in kinds_by_name.items() if kind == Kind.HISTOGRAM for part in PARTS}
    return {name for name, kind in kinds_by_name.items() if kind != Kind.HISTOGRAM} | parts


PARTS = ("bucket", "count", "sum")


def used_series(queries: list[str]) -> set[str]:
    return {name for query in queries for name in re.findall(r"submodel_[a-z_]+", query)}


def used_labels(query: str) -> set[str]:
    """What a query selects and groups by."""
    grouped = [name.strip() for names in re.findall(r"by \(([^)]*)\)", query) for name in names.split(",")]
    return {*grouped, *re.findall(r"(\w+)=~?\"", query)}


def known_labels(series: str) -> set[str]:
    ours = {metric.shown: set(metric.labels) for metric in METRICS}
    name = re.sub(r"_(bucket|count|sum)$", "", series)
    if name in ours:
        return ours[name] | {"le"}
    text = Metrics().registry
    family = next(each for each in text._collector_to_names if series in text._collector_to_names[each])
    return {*family._labelnames, "le"}  # type: ignore[attr-defined] # there is no public way to ask


def rules(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = find("PrometheusRule", name, *MONITORED)["spec"]["groups"][0]["rules"]
    return found


def test_nothing_of_the_prometheus_operator_is_made_unless_asked_for() -> None:
    assert not kinds("ServiceMonitor")
    assert not kinds("PodMonitor")
    assert not kinds("PrometheusRule")


def test_prometheus_finds_the_port_of_the_gateways_that_serves_their_metrics() -> None:
    monitor = find("PodMonitor", "demo-gateway", *MONITORED)
    template = find("StatefulSet", "demo-gateway")["spec"]["template"]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    (container,) = template["spec"]["containers"]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports[endpoint["port"]] == 8001


def test_the_alerts_on_the_page_are_those_of_the_chart() -> None:
    (block,) = blocks(section(page("reference/metrics.md"), "Alerts to begin with"), "yaml")
    assert [rule["expr"] for rule in yaml.safe_load(block)] == [rule["expr"] for rule in rules("demo-gateway")]


def test_the_page_on_monitoring_says_what_to_do_about_every_alert() -> None:
    named = set(re.findall(r"`(SubModel\w+)`", section(page("how-to/monitor.md"), "Alerts")))
    assert named == {rule["alert"] for name in ("demo-gateway", "demo-operator") for rule in rules(name)}


def test_the_dashboard_is_found_by_its_label_and_holds_what_grafana_reads() -> None:
    assert not [each for each in kinds("ConfigMap") if each["metadata"]["name"] == "demo-dashboard"]
    settings = ("monitoring.dashboard.enabled=true", "monitoring.dashboard.annotations.grafana_folder=SubModel")
    found = find("ConfigMap", "demo-dashboard", *settings)
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["metadata"]["annotations"] == {"grafana_folder": "SubModel"}
    assert json.loads(found["data"]["submodel.json"]) == json.loads(dashboard.text())


def test_every_query_of_the_dashboard_asks_for_series_and_labels_that_exist() -> None:
    assert used_series(dashboard.queries()) <= known_series()
    for query in dashboard.queries():
        (series, *_) = used_series([query])
        assert used_labels(query) <= known_labels(series), query


def test_no_two_panels_of_the_dashboard_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(dashboard.text())["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_prometheus_finds_the_port_that_serves_the_metrics() -> None:
    monitor = find("ServiceMonitor", "demo-operator", *MONITORED)
    service = find("Service", "demo-operator-metrics", *MONITORED)
    (endpoint,) = monitor["spec"]["endpoints"]
    (port,) = service["spec"]["ports"]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert endpoint["port"] == port["name"]
    (container,) = find("Deployment", "demo-operator")["spec"]["template"]["spec"]["containers"]
    assert port["targetPort"] in [each["name"] for each in container["ports"]]


def test_every_alert_asks_for_a_metric_that_exists() -> None:
    asked = used_series([rule["expr"] for name in ("demo-operator", "demo-gateway") for rule in rules(name)])
    assert asked
    assert asked <= known_series()
