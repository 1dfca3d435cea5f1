"""What keeps an installation running and tells how it does: disruption budget, policies, monitoring."""

import re
from typing import Any

from submodel_operator.metrics import Metrics
from tests.support.helm import find, kinds

SEVERAL = ("gateway.replicas=3", "gateway.store.existingSecret=db")
MONITORED = ("monitoring.enabled=true", "monitoring.labels.release=prometheus")


def test_several_gateways_go_one_at_a_time_and_one_alone_holds_up_no_node() -> None:
    budget = find("PodDisruptionBudget", "demo-gateway", *SEVERAL)
    assert budget["spec"]["maxUnavailable"] == 1
    labels = find("StatefulSet", "demo-gateway", *SEVERAL)["spec"]["template"]["metadata"]["labels"]
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert not kinds("PodDisruptionBudget")


def test_the_operator_is_reached_at_its_probes_alone() -> None:
    policy = find("NetworkPolicy", "demo-operator")["spec"]
    assert policy["ingress"] == [{"ports": [{"port": "probes"}]}]
    labels = find("Deployment", "demo-operator")["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert not kinds("NetworkPolicy", "networkPolicy.enabled=false")


def test_nothing_of_the_prometheus_operator_is_made_unless_asked_for() -> None:
    assert not kinds("ServiceMonitor")
    assert not kinds("PrometheusRule")


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


def test_every_alert_asks_for_a_metric_that_the_operator_has() -> None:
    have = set(re.findall(r"^# TYPE (\S+)", Metrics().text().decode(), re.MULTILINE))
    rules: list[dict[str, Any]] = find("PrometheusRule", "demo-operator", *MONITORED)["spec"]["groups"][0]["rules"]
    asked = {name for rule in rules for name in re.findall(r"submodel_[a-z_]+", rule["expr"])}
    assert asked
    assert asked <= have
