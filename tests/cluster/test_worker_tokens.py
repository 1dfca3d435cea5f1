"""Workers show the token of their pod: what a real API server makes, and what it says of it.

A token is checked before a body is read: a body that is no JSON tells with 400 that the token let it in, and does
nothing else.
"""

from typing import Any

from tests.cluster.conftest import SYSTEM
from tests.cluster.helm import RELEASE
from tests.cluster.job_api import JobApi
from tests.cluster.kubernetes import get, kubectl
from tests.cluster.test_endpoint import ECHO, apply

AUDIENCE = f"{RELEASE}-gateway.{SYSTEM}.svc"
OURS = "serverless.submodel.ai/endpoint"
FENCE_TRIES = 500

SHOW = """
import os, sys, urllib.error, urllib.request
endpoint, worker, token = sys.argv[1:4]
token = token or open(os.environ["SUBMODEL_WORKER_TOKEN_FILE"]).read()
url = f"{os.environ['SUBMODEL_GATEWAY_URL']}/v2/{endpoint}/workers/{worker}/exchange"
try:
    urllib.request.urlopen(urllib.request.Request(url, b"no json", {"Authorization": f"Bearer {token}"}))
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"""


def pod_of(namespace: str, name: str) -> dict[str, Any]:
    """The only worker of an endpoint, once it runs."""
    kubectl("wait", "pods", "-l", f"{OURS}={name}", "--for=condition=Ready", "-n", namespace, "--timeout=60s")
    (pod,) = get("pods", "-n", namespace, "-l", f"{OURS}={name}")["items"]
    found: dict[str, Any] = pod
    return found


def shown(namespace: str, inside: str, endpoint: str, worker: str, token: str = "") -> tuple[int, str]:
    """What the gateway answers when the pod `inside` shows `token`, or its own, as `worker` of `endpoint`."""
    said = kubectl(
        "exec", "-n", namespace, inside, "-c", "worker", "--", "python", "-c", SHOW, endpoint, worker, token
    ).out
    code, _, words = said.partition(" ")
    return int(code), words


def another_token(pod: dict[str, Any], audience: str = AUDIENCE) -> str:
    """A second token of the pod, as the kubelet asks for when it renews."""
    metadata = pod["metadata"]
    bound = (f"--bound-object-name={metadata['name']}", f"--bound-object-uid={metadata['uid']}")
    options = ("--bound-object-kind=Pod", *bound, f"--audience={audience}", "--duration=600s")
    return kubectl("create", "token", "default", "-n", metadata["namespace"], *options).out.strip()


def test_a_worker_has_only_its_pods_token_which_is_good_for_it_alone(namespace: str, api: JobApi) -> None:
    first = apply(namespace, ECHO.format(greeting="first"), name="first", workersMin=1)
    second = apply(namespace, ECHO.format(greeting="second"), name="second", workersMin=1)
    assert api.finished(first, api.run(first))["output"] == "first"
    assert api.finished(second, api.run(second))["output"] == "second"
    mine, other = pod_of(namespace, "first"), pod_of(namespace, "second")
    name, others_name = mine["metadata"]["name"], other["metadata"]["name"]
    assert get("secrets", "-n", namespace)["items"] == [], "there is no other token to steal"

    assert shown(namespace, name, first, name)[0] == 400
    refused = shown(namespace, others_name, first, others_name)
    assert refused[0] == 404
    nowhere = shown(namespace, others_name, f"{namespace}.nowhere", others_name)
    assert nowhere == (404, refused[1].replace(first, f"{namespace}.nowhere"))
    assert shown(namespace, others_name, first, name)[0] == 404, "nor by the name of its worker"
    assert shown(namespace, others_name, second, name)[0] == 404, "nor as another worker of its own endpoint"
    assert shown(namespace, name, first, name, "stolen")[0] == 401


def test_a_renewed_token_is_as_good_and_ends_with_its_pod(namespace: str, api: JobApi) -> None:
    endpoint = apply(namespace, ECHO.format(greeting="hello"), workersMin=1)
    pod = pod_of(namespace, "tokens")
    name = pod["metadata"]["name"]
    renewed = another_token(pod)
    assert shown(namespace, name, endpoint, name, renewed)[0] == 400
    assert shown(namespace, name, endpoint, name)[0] == 400, "the one before goes on until it expires"
    assert shown(namespace, name, endpoint, name, another_token(pod, "somebody-else"))[0] == 401

    witness = apply(namespace, ECHO.format(greeting="still here"), name="witness", workersMin=1)
    inside = pod_of(namespace, "witness")["metadata"]["name"]
    kubectl("delete", "pod", name, "-n", namespace, "--wait=true")
    for _ in range(FENCE_TRIES):
        if (answer := shown(namespace, inside, endpoint, name, renewed)[0]) == 401:
            break
        assert answer == 400
    else:
        raise AssertionError("the token of a deleted pod goes on")
    assert api.finished(witness, api.run(witness))["output"] == "still here"


def test_the_gateway_may_do_nothing_else_in_the_cluster(release: str) -> None:
    account = f"--as=system:serviceaccount:{release}:{RELEASE}-gateway"
    assert kubectl("auth", "can-i", "create", "tokenreviews.authentication.k8s.io", account).out.strip() == "yes"
    for verb, what in (("get", "pods"), ("list", "secrets"), ("get", "submodelendpoints.serverless.submodel.ai")):
        assert kubectl("auth", "can-i", verb, what, account, "-A", check=False).out.strip() == "no"
