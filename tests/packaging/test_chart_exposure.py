"""The ways in from outside: what they lead to, and what they never do."""

from typing import Any

import pytest

from tests.support.helm import find, kinds, refusal

INGRESS = ("gateway.ingress.enabled=true", "gateway.ingress.host=jobs.example.com")
ROUTE = (
    "gateway.httpRoute.enabled=true",
    "gateway.httpRoute.parentRefs[0].name=public",
    "gateway.httpRoute.parentRefs[0].namespace=gateways",
    "gateway.httpRoute.hostnames={jobs.example.com}",
)


def operator_variable(name: str, *settings: str) -> str | None:
    (container,) = find("Deployment", "demo-operator", *settings)["spec"]["template"]["spec"]["containers"]
    return {variable["name"]: variable["value"] for variable in container["env"]}.get(name)


def test_nothing_leads_in_from_outside_unless_it_is_said() -> None:
    assert not kinds("Ingress")
    assert not kinds("HTTPRoute")


def test_an_ingress_leads_to_the_port_of_clients_with_tls() -> None:
    spec = find("Ingress", "demo-gateway", *INGRESS, "gateway.ingress.className=nginx")["spec"]
    (rule,) = spec["rules"]
    (path,) = rule["http"]["paths"]
    service = find("Service", path["backend"]["service"]["name"])
    assert rule["host"] == "jobs.example.com"
    assert spec["ingressClassName"] == "nginx"
    assert spec["tls"] == [{"hosts": ["jobs.example.com"]}]
    assert path["backend"]["service"]["port"]["name"] in [port["name"] for port in service["spec"]["ports"]]


def test_an_ingress_has_the_certificate_and_the_annotations_that_are_named() -> None:
    named = ("gateway.ingress.tls.secretName=certificate", "gateway.ingress.annotations.issuer=letsencrypt")
    ingress = find("Ingress", "demo-gateway", *INGRESS, *named)
    assert ingress["spec"]["tls"][0]["secretName"] == "certificate"
    assert ingress["metadata"]["annotations"] == {"issuer": "letsencrypt"}
    assert "tls" not in find("Ingress", "demo-gateway", *INGRESS, "gateway.ingress.tls.enabled=false")["spec"]


def test_a_route_leads_to_the_port_of_clients_without_a_limit_of_time() -> None:
    spec = find("HTTPRoute", "demo-gateway", *ROUTE)["spec"]
    (rule,) = spec["rules"]
    (backend,) = rule["backendRefs"]
    ports = [port["port"] for port in find("Service", backend["name"])["spec"]["ports"]]
    assert ports == [backend["port"]]
    assert spec["parentRefs"] == [{"name": "public", "namespace": "gateways"}]
    assert spec["hostnames"] == ["jobs.example.com"]
    assert rule["timeouts"] == {"request": "0s"}
    (untimed,) = find("HTTPRoute", "demo-gateway", *ROUTE, "gateway.httpRoute.requestTimeout=")["spec"]["rules"]
    assert "timeouts" not in untimed


@pytest.mark.parametrize("settings", [INGRESS, ROUTE, ("gateway.service.type=LoadBalancer",)])
def test_no_way_in_leads_to_the_internal_port(settings: tuple[str, ...]) -> None:
    internal = {
        service["metadata"]["name"]
        for service in kinds("Service", *settings)
        if 8001 in [port["port"] for port in service["spec"]["ports"]]
    }
    assert internal == {"demo-gateway-internal"}
    assert find("Service", "demo-gateway-internal", *settings)["spec"].get("type", "ClusterIP") == "ClusterIP"
    for way in (*kinds("Ingress", *settings), *kinds("HTTPRoute", *settings)):
        assert not internal & set(_texts(way["spec"]))


def test_the_endpoints_show_the_address_of_the_ingress_unless_another_is_said() -> None:
    name = "SUBMODEL_OPERATOR_PUBLIC_URL"
    assert operator_variable(name) is None
    assert operator_variable(name, *INGRESS) == "https://jobs.example.com"
    assert operator_variable(name, *INGRESS, "gateway.ingress.tls.enabled=false") == "http://jobs.example.com"
    assert operator_variable(name, *INGRESS, "publicUrl=https://other.example") == "https://other.example"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("gateway.ingress.enabled=true",), "gateway.ingress.host is missing"),
        (("gateway.httpRoute.enabled=true",), "gateway.httpRoute.parentRefs is missing"),
    ],
)
def test_a_way_in_that_leads_from_nowhere_is_refused(settings: tuple[str, ...], words: str) -> None:
    assert words in refusal(*settings)


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for below in value.values() for text in _texts(below)]
    if isinstance(value, list):
        return [text for below in value for text in _texts(below)]
    return [str(value)]
