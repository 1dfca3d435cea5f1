"""Where jobs are kept, and how many gateways that allows."""

import pytest

from tests.support.helm import find, kinds, refusal

CLUSTER = ("gateway.store.cluster.enabled=true",)
SCALED = ("gateway.autoscaling.enabled=true",)


def test_a_database_of_cloudnativepg_confirms_on_two_machines_and_promotes_none_that_lacks_a_commit() -> None:
    spec = find("Cluster", "demo-store", *CLUSTER)["spec"]
    assert spec["instances"] == 3
    assert spec["postgresql"]["synchronous"] == {
        "method": "any",
        "number": 1,
        "dataDurability": "required",
        "failoverQuorum": True,
    }
    assert spec["bootstrap"]["initdb"]["encoding"] == "UTF8"


def test_one_instance_waits_for_no_other() -> None:
    assert "postgresql" not in find("Cluster", "demo-store", *CLUSTER, "gateway.store.cluster.instances=1")["spec"]


def test_the_gateways_read_the_url_from_the_secret_that_cloudnativepg_makes() -> None:
    template = find("StatefulSet", "demo-gateway", *CLUSTER)["spec"]["template"]["spec"]
    (container,) = template["containers"]
    (volume,) = [each for each in template["volumes"] if each["name"] == "store"]
    (mount,) = [each for each in container["volumeMounts"] if each["name"] == "store"]
    variables = {each["name"]: each["value"] for each in container["env"]}
    assert volume["secret"]["secretName"] == f"{find('Cluster', 'demo-store', *CLUSTER)['metadata']['name']}-app"
    (item,) = volume["secret"]["items"]
    assert item["key"] == "uri"
    assert variables["SUBMODEL_GATEWAY_STORE_FILE"] == f"{mount['mountPath']}/{item['path']}"
    assert not kinds("PersistentVolumeClaim", *CLUSTER)


def test_the_database_outlives_the_release_unless_it_is_said() -> None:
    keep = {"helm.sh/resource-policy": "keep"}
    assert find("Cluster", "demo-store", *CLUSTER)["metadata"]["annotations"] == keep
    gone = find("Cluster", "demo-store", *CLUSTER, "gateway.store.cluster.keep=false")
    assert "annotations" not in gone["metadata"]


def test_the_sizes_classes_and_image_of_the_database_are_those_that_are_said() -> None:
    spec = find(
        "Cluster",
        "demo-store",
        *CLUSTER,
        "gateway.store.cluster.size=50Gi",
        "gateway.store.cluster.walSize=5Gi",
        "gateway.store.cluster.storageClass=fast",
        "gateway.store.cluster.image=registry.example/postgresql:17",
        "imagePullSecrets[0].name=registry",
    )["spec"]
    assert spec["storage"] == {"size": "50Gi", "storageClass": "fast"}
    assert spec["walStorage"] == {"size": "5Gi", "storageClass": "fast"}
    assert spec["imageName"] == "registry.example/postgresql:17"
    assert spec["imagePullSecrets"] == [{"name": "registry"}]


@pytest.mark.parametrize("store", [*CLUSTER, "gateway.store.existingSecret=db"])
def test_gateways_on_postgresql_may_be_many_by_load(store: str) -> None:
    settings = (*SCALED, store)
    scaler = find("HorizontalPodAutoscaler", "demo-gateway", *settings)["spec"]
    gateways = find("StatefulSet", scaler["scaleTargetRef"]["name"], *settings)
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 6)
    assert scaler["scaleTargetRef"]["kind"] == gateways["kind"]
    assert "replicas" not in gateways["spec"], "each upgrade would set the number back"
    assert kinds("PodDisruptionBudget", *settings)
    assert not kinds("HorizontalPodAutoscaler", store)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (SCALED, "gateway.autoscaling.enabled is set without"),
        ((*SCALED, *CLUSTER, "gateway.replicas=3"), "use gateway.autoscaling.minReplicas instead"),
        ((*SCALED, *CLUSTER, "gateway.autoscaling.minReplicas=9"), "minReplicas is above"),
        ((*CLUSTER, "gateway.store.existingSecret=db"), "name two databases"),
        (("gateway.replicas=2",), "several need PostgreSQL"),
    ],
)
def test_what_makes_no_sense_together_is_refused_with_the_remedy(settings: tuple[str, ...], words: str) -> None:
    assert words in refusal(*settings)


def test_credentials_that_the_chart_made_outlive_the_release_unless_it_is_said() -> None:
    keep = {"helm.sh/resource-policy": "keep"}
    assert [secret["metadata"].get("annotations") for secret in kinds("Secret")] == [keep] * 3
    assert not any("annotations" in secret["metadata"] for secret in kinds("Secret", "credentials.keep=false"))
