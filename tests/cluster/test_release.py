"""`helm test` and `helm upgrade` on a release that works."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

from tests.cluster.helm import IMAGE_TAG, RELEASE, helm_test, upgrade
from tests.cluster.job_api import JobApi
from tests.cluster.kubernetes import get, kubectl, run, wait_for_path
from tests.cluster.test_endpoint import ECHO, GATED, apply

TEST = f"{RELEASE}-test"


def test_helm_test_runs_a_job_from_end_to_end_and_leaves_nothing_but_its_log(release: str) -> None:
    said = helm_test(release)
    assert "Phase:          Succeeded" in said, said
    assert "job COMPLETED, with the output it should have" in said
    assert "might not work" not in said
    assert not kubectl("get", "sme", TEST, "-n", release, check=False).out
    assert "the installation works" in kubectl("logs", TEST, "-n", release).out


def test_helm_test_that_fails_says_what_the_endpoint_says(release: str) -> None:
    upgrade(release, "--set=worker.image.tag=does-not-exist", "--set=test.timeoutSeconds=30")
    try:
        said = helm_test(release)
        assert "Phase:          Failed" in said, said
        assert "after 30 seconds the job is still IN_QUEUE" in said
        assert "WorkersHealthy is False, ImagePullFailed" in said
        assert not kubectl("get", "sme", TEST, "-n", release, check=False).out
    finally:
        upgrade(release, f"--set=worker.image.tag={IMAGE_TAG}", "--set=test.timeoutSeconds=240")


def test_an_upgrade_under_load_loses_no_job_and_interrupts_none(release: str, namespace: str, api: JobApi) -> None:
    endpoint = apply(namespace, ECHO.format(greeting="hello"), name="echo", workersMax=2)
    held = apply(namespace, GATED, name="held")
    long = api.run(held)
    while not api.ok(f"/v2/{held}/stream/{long}?offset=0")["stream"]:
        pass
    (worker,) = get("pods", "-n", namespace, "-l", "serverless.submodel.ai/endpoint=held")["items"]
    before = gateway_pod(release)

    upgraded = Event()
    with ThreadPoolExecutor(max_workers=1) as pool:
        load = pool.submit(run_jobs_until, upgraded, api, endpoint)
        try:
            upgrade(release, "--set=gateway.logFormat=json", "--set=operator.logFormat=json")
        finally:
            upgraded.set()
        outputs = load.result()
    assert gateway_pod(release) != before, "the gateway was not replaced, so nothing was proved"
    assert outputs == ["hello"] * len(outputs)

    name = worker["metadata"]["name"]
    kubectl("exec", "-n", namespace, name, "-c", "worker", "--", "python", "-c", "open('/tmp/go', 'w').close()")
    result = api.finished(held, long)
    assert (result["status"], result["output"]) == ("COMPLETED", ["started", "went on"])
    assert result["workerId"] == name
    run("helm", "rollback", RELEASE, "-n", release, "--wait", "--timeout=120s")
    wait_for_path("sme/echo", ".status.phase", "Idle", namespace)


def run_jobs_until(stop: Event, api: JobApi, endpoint: str) -> list[object]:
    """Run jobs one after the other until `stop`, a few at least; what they gave."""
    outputs: list[object] = []
    while not stop.is_set() or len(outputs) < 5:
        outputs.append(api.finished(endpoint, api.run(endpoint))["output"])
    return outputs


def gateway_pod(release: str) -> str:
    """The uid of the gateway's pod."""
    uid: str = get("pod", f"{RELEASE}-gateway-0", "-n", release)["metadata"]["uid"]
    return uid
