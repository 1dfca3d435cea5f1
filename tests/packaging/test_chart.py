"""The pods, settings and network of the chart; its words are those of the processes it starts."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from submodel_gateway import tokenreview
from submodel_gateway.auth.folder import KeyFolder
from submodel_gateway.service import bodies, unread
from submodel_gateway.settings import Settings as GatewaySettings
from submodel_operator import settings as operator_settings
from tests.support.helm import CHART, KUBERNETES, find, helm, kinds

SECRETS = ("credentials", "api-key", "api-keys")
PLAIN = {"SUBMODEL_GATEWAY_INTERNAL_TOKEN": "secret", "SUBMODEL_GATEWAY_KEYS": "none"}
WORKLOADS = ("demo-operator", "demo-gateway")


def workload(name: str, *settings: str) -> dict[str, Any]:
    return find("Deployment" if name.endswith("operator") else "StatefulSet", name, *settings)


def pod(name: str, *settings: str) -> dict[str, Any]:
    spec: dict[str, Any] = workload(name, *settings)["spec"]["template"]["spec"]
    return spec


def container(name: str, *settings: str) -> dict[str, Any]:
    (only,) = pod(name, *settings)["containers"]
    found: dict[str, Any] = only
    return found


def environment(name: str, *settings: str) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container(name, *settings)["env"]}


EVERYTHING = (
    "gateway.autoscaling.enabled=true",
    "gateway.httpRoute.enabled=true",
    "gateway.httpRoute.parentRefs[0].name=public",
    "gateway.ingress.enabled=true",
    "gateway.ingress.host=jobs.example.com",
    "gateway.store.cluster.enabled=true",
    "monitoring.dashboard.enabled=true",
    "monitoring.enabled=true",
    "operator.namespaces={a,b}",
    "operator.replicas=2",
)


@pytest.mark.parametrize("settings", [(), EVERYTHING], ids=["defaults", "everything"])
def test_the_chart_passes_lint(settings: tuple[str, ...]) -> None:
    chosen = [f"--set={setting}" for setting in settings]
    result = helm("lint", "--strict", "--kube-version", KUBERNETES, str(CHART), *chosen)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_operator_writes_its_log_as_the_values_say() -> None:
    said = environment("demo-operator", "operator.logFormat=json", "operator.logLevel=DEBUG")
    names = ("SUBMODEL_OPERATOR_LOG_FORMAT", "SUBMODEL_OPERATOR_LOG_LEVEL")
    assert [said[name] for name in names] == ["json", "DEBUG"]
    assert [environment("demo-operator")[name] for name in names] == ["text", "INFO"]


@pytest.mark.parametrize("name", WORKLOADS)
def test_pods_keep_the_restricted_standard_and_a_read_only_root(name: str) -> None:
    context = pod(name)["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == context["fsGroup"] == 65532
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(name)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not pod(name).keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers"}
    kept = {"emptyDir", "projected", "secret", "persistentVolumeClaim"}
    assert all(volume.keys() & kept for volume in pod(name)["volumes"])


@pytest.mark.parametrize(
    "setting",
    [
        "gateway.persistence.enabled=true",
        "gateway.persistence.enabled=false",
        "gateway.store.existingSecret=db",
        "gateway.webhooks.existingSecret=hooks",
        "workerTokens.tokenReview=false",
    ],
)
@pytest.mark.parametrize("name", WORKLOADS)
def test_every_mount_has_its_volume_and_tmp_can_be_written(name: str, setting: str) -> None:
    volumes = [volume["name"] for volume in pod(name, setting)["volumes"]]
    mounts = {mount["mountPath"]: mount["name"] for mount in container(name, setting)["volumeMounts"]}
    assert sorted(volumes) == sorted(mounts.values())
    assert {"name": mounts["/tmp"], "emptyDir": {}} in pod(name, setting)["volumes"]


def test_the_store_lies_on_the_claimed_volume() -> None:
    settings = ("gateway.persistence.size=7Gi", "gateway.persistence.storageClass=fast")
    (volume,) = [each for each in pod("demo-gateway", *settings)["volumes"] if each["name"] == "store"]
    claim = find("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"], *settings)
    assert claim["spec"]["resources"]["requests"]["storage"] == "7Gi"
    assert claim["spec"]["storageClassName"] == "fast"
    (mount,) = [each for each in container("demo-gateway")["volumeMounts"] if each["name"] == "store"]
    store = environment("demo-gateway")["SUBMODEL_GATEWAY_STORE"].removeprefix("sqlite://")
    assert Path(store).parent == Path(mount["mountPath"])


def test_the_volume_outlives_the_release_unless_it_is_said_and_is_made_for_sqlite_alone() -> None:
    (claim,) = kinds("PersistentVolumeClaim")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    (temporary,) = kinds("PersistentVolumeClaim", "gateway.persistence.keep=false")
    assert "annotations" not in temporary["metadata"]
    assert not kinds("PersistentVolumeClaim", "gateway.persistence.enabled=false")
    assert not kinds("PersistentVolumeClaim", "gateway.store.existingSecret=db")


def test_an_upgrade_to_another_store_changes_nothing_that_a_statefulset_forbids() -> None:
    def fixed(*settings: str) -> object:
        spec = workload("demo-gateway", *settings)["spec"]
        return {
            name: spec.get(name) for name in ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates")
        }

    assert fixed() == fixed("gateway.store.existingSecret=db") == fixed("gateway.persistence.size=99Gi")


def test_a_database_of_ones_own_is_read_from_its_secret_and_needs_no_volume() -> None:
    setting = "gateway.store.existingSecret=my-database"
    variables = environment("demo-gateway", setting)
    assert "SUBMODEL_GATEWAY_STORE" not in variables
    (mount,) = [m for m in container("demo-gateway", setting)["volumeMounts"] if m["name"] == "store"]
    (volume,) = [v for v in pod("demo-gateway", setting)["volumes"] if v["name"] == "store"]
    (item,) = volume["secret"]["items"]
    assert volume["secret"]["secretName"] == "my-database"
    assert variables["SUBMODEL_GATEWAY_STORE_FILE"] == f"{mount['mountPath']}/{item['path']}"


def test_the_generated_api_key_opens_the_gateway_and_nothing_mounts_its_text(tmp_path: Path) -> None:
    (credentials, own, documents) = (plain(find("Secret", f"demo-{name}")) for name in SECRETS)
    (tmp_path / "default.json").write_text(documents["default.json"])
    keyring = KeyFolder(tmp_path, credentials["api-key-pepper"]).keyring(0)
    assert keyring.find(own["api-key"], 0) is not None
    mounts = [volume["secret"]["secretName"] for volume in pod("demo-gateway")["volumes"] if "secret" in volume]
    assert mounts == ["demo-credentials", "demo-api-keys"]


def test_keys_of_ones_own_are_mounted_instead() -> None:
    setting = "auth.existingSecret=my-keys"
    (volume,) = [volume for volume in pod("demo-gateway", setting)["volumes"] if volume["name"] == "keys"]
    assert volume["secret"]["secretName"] == "my-keys"


def test_everybody_is_let_in_only_when_it_is_said() -> None:
    assert environment("demo-gateway")["SUBMODEL_GATEWAY_KEYS"] == "/etc/submodel-keys"
    assert environment("demo-gateway", "auth.mode=None")["SUBMODEL_GATEWAY_KEYS"] == "none"


def test_a_quota_is_handed_on_as_whole_bytes() -> None:
    variables = environment("demo-gateway", "gateway.store.quotaBytes=10737418240")
    assert variables["SUBMODEL_GATEWAY_STORE_QUOTA_BYTES"] == "10737418240"


def test_webhooks_are_signed_from_a_secret_and_go_where_they_are_let() -> None:
    assert not [name for name in environment("demo-gateway") if "WEBHOOK" in name]
    settings = ("gateway.webhooks.existingSecret=hooks", "gateway.webhooks.allow={.svc,10.0.0.0/8}")
    variables = environment("demo-gateway", *settings)
    assert variables["SUBMODEL_GATEWAY_WEBHOOK_ALLOW"] == ".svc 10.0.0.0/8"
    (mount,) = [m for m in container("demo-gateway", *settings)["volumeMounts"] if m["name"] == "webhooks"]
    (volume,) = [v for v in pod("demo-gateway", *settings)["volumes"] if v["name"] == "webhooks"]
    assert volume["secret"]["secretName"] == "hooks"
    assert variables["SUBMODEL_GATEWAY_WEBHOOK_SECRET_FILE"] == (
        f"{mount['mountPath']}/{volume['secret']['items'][0]['path']}"
    )


def test_traces_go_to_the_collector_that_is_named_and_else_nowhere() -> None:
    assert not [name for name in environment("demo-gateway") if name.startswith("OTEL_")]
    settings = ("gateway.tracing.endpoint=http://collector:4318", "gateway.tracing.ratio=0.1")
    variables = environment("demo-gateway", *settings)
    assert {name: value for name, value in variables.items() if name.startswith("OTEL_")} == {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.1",
    }


def test_limits_are_handed_on() -> None:
    assert "SUBMODEL_GATEWAY_RATE_LIMITS" not in environment("demo-gateway")
    assert environment("demo-gateway")["SUBMODEL_GATEWAY_QUEUE_LIMIT"] == "500"
    assert environment("demo-gateway")["SUBMODEL_GATEWAY_BODY_BYTES"] == str(bodies.TOTAL_BYTES)
    assert environment("demo-gateway")["SUBMODEL_GATEWAY_ANSWER_BYTES"] == str(unread.TOTAL_BYTES)
    assert "SUBMODEL_GATEWAY_CONNECTIONS_PER_ADDRESS" not in environment("demo-gateway")
    assert (
        environment("demo-gateway", "gateway.limits.connectionsPerAddress=200")[
            "SUBMODEL_GATEWAY_CONNECTIONS_PER_ADDRESS"
        ]
        == "200"
    )
    variables = environment("demo-gateway", "gateway.limits.rates={run=5,all=off}", "gateway.limits.queuePerWorker=0")
    assert (variables["SUBMODEL_GATEWAY_RATE_LIMITS"], variables["SUBMODEL_GATEWAY_QUEUE_LIMIT"]) == (
        "run=5 all=off",
        "off",
    )


@pytest.mark.parametrize("name", WORKLOADS)
def test_there_is_one_pod_of_each(name: str) -> None:
    assert workload(name)["spec"]["replicas"] == 1


def test_several_gateways_need_a_store_that_they_can_share() -> None:
    refused = helm("template", "demo", str(CHART), "--kube-version", KUBERNETES, "--set", "gateway.replicas=2")
    assert "several need PostgreSQL" in refused.stderr
    shared = "gateway.store.existingSecret=store"
    assert find("StatefulSet", "demo-gateway", "gateway.replicas=2", shared)["spec"]["replicas"] == 2


def test_two_operators_never_run_at_once() -> None:
    assert workload("demo-operator")["spec"]["strategy"] == {"type": "Recreate"}


def test_the_gateway_has_a_token_of_the_kubernetes_api_only_to_review_others() -> None:
    assert pod("demo-operator")["automountServiceAccountToken"] is True
    assert pod("demo-gateway")["automountServiceAccountToken"] is False
    (volume,) = [volume for volume in pod("demo-gateway")["volumes"] if "projected" in volume]
    (mount,) = [each for each in container("demo-gateway")["volumeMounts"] if each["name"] == volume["name"]]
    read = GatewaySettings.read({**PLAIN, "SUBMODEL_GATEWAY_WORKER_TOKEN_AUDIENCE": "a"})
    assert read.review is not None
    assert mount["mountPath"] == str(read.review.credentials)
    token, authority = volume["projected"]["sources"]
    assert token["serviceAccountToken"]["path"] == tokenreview.TOKEN
    assert [item["path"] for item in authority["configMap"]["items"]] == [tokenreview.AUTHORITY]
    without = pod("demo-gateway", "workerTokens.tokenReview=false")
    assert not [volume for volume in without["volumes"] if "projected" in volume]


def test_gateway_and_operator_mean_the_same_tokens_which_no_other_installation_takes() -> None:
    asked = environment("demo-operator")["SUBMODEL_OPERATOR_WORKER_TOKEN_AUDIENCE"]
    assert asked == environment("demo-gateway")["SUBMODEL_GATEWAY_WORKER_TOKEN_AUDIENCE"] == "demo-gateway.team.svc"
    for name in WORKLOADS:
        assert not [each for each in environment(name, "workerTokens.tokenReview=false") if "AUDIENCE" in each]


@pytest.mark.parametrize("name", WORKLOADS)
def test_variables_of_services_do_not_reach_the_settings(name: str) -> None:
    assert pod(name)["enableServiceLinks"] is False


@pytest.mark.parametrize(
    ("name", "probe", "path", "port"),
    [
        ("demo-operator", "livenessProbe", "/livez", 8080),
        ("demo-operator", "readinessProbe", "/readyz", 8080),
        ("demo-gateway", "livenessProbe", "/livez", 8001),
        ("demo-gateway", "readinessProbe", "/readyz", 8001),
    ],
)
def test_probes_ask_where_the_process_answers(name: str, probe: str, path: str, port: int) -> None:
    ports = {declared["name"]: declared["containerPort"] for declared in container(name)["ports"]}
    asked = container(name)[probe]["httpGet"]
    assert (asked["path"], ports[asked["port"]]) == (path, port)


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_pod_is_seen_to_be_ready_soon_after_it_is_and_may_fail_as_long_as_by_default(name: str) -> None:
    probe = container(name)["readinessProbe"]
    assert probe["periodSeconds"] <= 2
    assert probe["periodSeconds"] * probe["failureThreshold"] == 30


def test_a_digest_wins_over_a_tag_and_the_tag_over_the_version_of_the_app() -> None:
    digest = f"sha256:{'a' * 64}"
    assert container("demo-gateway")["image"] == f"submodel-gateway:{_chart()['appVersion']}"
    assert container("demo-gateway", "gateway.image.tag=v2")["image"] == "submodel-gateway:v2"
    with_digest = ("gateway.image.tag=v2", f"gateway.image.digest={digest}")
    assert container("demo-gateway", *with_digest)["image"] == f"submodel-gateway@{digest}"


@pytest.mark.parametrize("name", WORKLOADS)
def test_placement_and_registry_credentials_reach_the_pods(name: str) -> None:
    part = name.removeprefix("demo-")
    spec = pod(
        name,
        "imagePullSecrets[0].name=registry",
        f"{part}.nodeSelector.pool=system",
        f"{part}.tolerations[0].key=system",
        f"{part}.affinity.podAntiAffinity.x=y",
        f"{part}.priorityClassName=high",
    )
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["nodeSelector"] == {"pool": "system"}
    assert spec["tolerations"] == [{"key": "system"}]
    assert spec["affinity"] == {"podAntiAffinity": {"x": "y"}}
    assert spec["priorityClassName"] == "high"


def plain(secret: Mapping[str, Any]) -> dict[str, str]:
    """The entries of a Secret as its readers see them."""
    decoded = {key: base64.b64decode(value).decode() for key, value in secret.get("data", {}).items()}
    return {**decoded, **secret.get("stringData", {})}


def mounted(name: str, folder: Path) -> Mapping[str, str]:
    """The environment of a workload's container, with the files of its Secrets laid out below `folder`."""
    places = {mount["name"]: mount["mountPath"] for mount in container(name)["volumeMounts"]}
    for volume in pod(name)["volumes"]:
        if "secret" in volume:
            place = folder / places[volume["name"]].lstrip("/")
            place.mkdir(parents=True)
            entries = plain(find("Secret", volume["secret"]["secretName"]))
            for item in volume["secret"].get("items", [{"key": key, "path": key} for key in entries]):
                (place / item["path"]).write_text(entries[item["key"]])
    return {key: value.replace("/etc/", f"{folder}/etc/") for key, value in environment(name).items()}


class Watched(dict[str, str]):
    """An environment that remembers which variables were read."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.read: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)


def test_the_operator_reads_every_variable_it_is_given(tmp_path: Path) -> None:
    more = environment(
        "demo-operator",
        "operator.namespaces={a,b}",
        "publicUrl=https://jobs.example.com",
        "nodes.gpuTypes.A100={x,y}",
        "nodes.cudaLabel=example.com/cuda",
        "nodes.access=true",
    )
    env = Watched({**more, **mounted("demo-operator", tmp_path)})
    read = operator_settings.load(env)
    assert env.keys() <= env.read
    assert read.namespaces == ("a", "b")
    assert read.worker.public_url == "https://jobs.example.com"
    assert read.worker.runtime_image == f"submodel-worker:{_chart()['appVersion']}"
    assert read.worker.node_access
    assert read.worker.node_labels == operator_settings.NodeLabels({"A100": ("x", "y")}, cuda="example.com/cuda")
    assert len(read.gateway_token) == len(read.worker.token_key) == 48
    assert read.probe_listen == "0.0.0.0:8080"


def test_the_gateway_reads_every_variable_it_is_given(tmp_path: Path) -> None:
    env = Watched(mounted("demo-gateway", tmp_path))
    read = GatewaySettings.read(env)
    assert env.keys() <= env.read
    assert (str(read.listen), str(read.internal_listen)) == ("0.0.0.0:8000", "0.0.0.0:8001")
    assert read.stores == ("sqlite:///var/lib/submodel/submodel.db",)


def test_both_hold_the_same_internal_token_and_only_the_operator_the_key_of_workers(tmp_path: Path) -> None:
    (tmp_path / "operator").mkdir()
    (tmp_path / "gateway").mkdir()
    mounted("demo-operator", tmp_path / "operator")
    mounted("demo-gateway", tmp_path / "gateway")
    tokens = {(tmp_path / part / "etc/submodel/internal-token").read_text() for part in ("operator", "gateway")}
    assert len(tokens) == 1
    assert not (tmp_path / "gateway/etc/submodel/worker-token-key").exists()
    assert not (tmp_path / "operator/etc/submodel/api-key-pepper").exists()


def test_the_addresses_that_the_operator_is_told_are_services_of_the_release() -> None:
    for variable, port in (("SUBMODEL_OPERATOR_GATEWAY_URL", 8001), ("SUBMODEL_OPERATOR_WORKER_GATEWAY_URL", 8000)):
        host, _, number = environment("demo-operator")[variable].removeprefix("http://").partition(":")
        name, namespace, _ = host.split(".")
        service = find("Service", name)
        assert service["metadata"]["namespace"] == namespace
        assert [declared["port"] for declared in service["spec"]["ports"]] == [int(number)] == [port]


def test_generated_credentials_differ_from_each_other() -> None:
    data = find("Secret", "demo-credentials")["data"]
    assert sorted(data) == ["api-key-pepper", "internal-token", "worker-token-key"]
    assert len(set(data.values())) == 3


def test_credentials_of_the_user_are_taken_instead_of_generated_ones() -> None:
    own = ("credentials.existingSecret=mine", "auth.existingSecret=keys")
    assert not kinds("Secret", *own)
    for name, secrets in (("demo-operator", ["mine"]), ("demo-gateway", ["mine", "keys"])):
        assert [v["secret"]["secretName"] for v in pod(name, *own)["volumes"] if "secret" in v] == secrets


def test_a_key_cannot_be_made_for_credentials_that_the_chart_does_not_see() -> None:
    result = helm("template", "demo", str(CHART), "--kube-version", KUBERNETES, "--set=credentials.existingSecret=mine")
    assert result.returncode != 0
    assert "auth.existingSecret is missing" in result.stderr


@pytest.mark.parametrize("kind", ["ClusterIP", "LoadBalancer"])
def test_the_internal_port_is_never_exposed(kind: str) -> None:
    services = kinds("Service", f"gateway.service.type={kind}")
    types = {
        port["port"]: service["spec"].get("type", "ClusterIP")
        for service in services
        for port in service["spec"]["ports"]
    }
    assert types == {8000: kind, 8001: "ClusterIP"}


def test_services_and_policy_select_the_pods_they_mean() -> None:
    labels = {name: workload(name)["spec"]["template"]["metadata"]["labels"] for name in WORKLOADS}
    policy = find("NetworkPolicy", "demo-gateway")
    selectors = [service["spec"]["selector"] for service in kinds("Service")]
    for selector in [*selectors, policy["spec"]["podSelector"]["matchLabels"]]:
        assert selector.items() <= labels["demo-gateway"].items()
        assert not selector.items() <= labels["demo-operator"].items()
    for name in WORKLOADS:
        assert workload(name)["spec"]["selector"]["matchLabels"].items() <= labels[name].items()


def test_only_the_operator_may_reach_the_internal_port() -> None:
    policy = find("NetworkPolicy", "demo-gateway")
    public, internal = policy["spec"]["ingress"]
    assert public == {"ports": [{"port": "http"}]}
    assert internal["ports"] == [{"port": "internal"}]
    (peer,) = internal["from"]
    assert (
        peer["podSelector"]["matchLabels"].items()
        <= workload("demo-operator")["spec"]["template"]["metadata"]["labels"].items()
    )
    assert not kinds("NetworkPolicy", "networkPolicy.enabled=false")


def _chart() -> dict[str, Any]:
    chart: dict[str, Any] = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    return chart
