"""How many workers there are, as the manifest says it: a reserve, a bound on starts, a window, a clock, a shadow."""

from tests.cluster.endpoints import LOOK, OURS, apply_ready, inline
from tests.cluster.job_api import JobApi
from tests.cluster.kubernetes import get, kubectl, wait_for_path
from tests.cluster.test_endpoint import GATED
from tests.cluster.watching import changes_of


def test_a_reserve_comes_one_by_one_stands_beside_the_busy_worker_and_stays_for_its_window(
    namespace: str, api: JobApi
) -> None:
    scaling = {
        "workersMax": 3,
        "scalerType": "ADAPTIVE",
        "scalerValue": 1,
        "standby": 2,
        "maxSurge": 1,
        "idleTimeout": 1,
        "stabilizationSeconds": 3600,
        "shadow": "QUEUE_DELAY",
    }
    endpoint = apply_ready(namespace, inline(GATED, scaling))
    with changes_of("deployments", namespace) as counts:
        job = api.run(endpoint)
        wait_for_path("sme/it", ".status.workers.ready", "3", namespace)
        grown = [each["spec"].get("replicas", 0) for each in counts()]
    assert [count for count in dict.fromkeys(grown) if count] == [1, 2, 3]
    status = get("sme/it", "-n", namespace)["status"]
    assert status["workers"]["busy"] == 1
    assert status["autoscaling"]["lastDecision"]["reason"] in ("Standby", "MaxSurge")
    assert status["autoscaling"]["shadow"]["scalerType"] == "QUEUE_DELAY"

    for pod in get("pods", OURS, "-n", namespace)["items"]:
        opened = ("-c", "worker", "--", "python", "-c", "open('/tmp/go', 'w').close()")
        kubectl("exec", "-n", namespace, pod["metadata"]["name"], *opened)
    assert api.finished(endpoint, job)["status"] == "COMPLETED"
    gone = kubectl("wait", "pods", OURS, "-n", namespace, "--for=delete", "--timeout=5s", check=False)
    assert "timed out" in gone.err
    assert get("sme/it", "-n", namespace)["status"]["workers"]["ready"] == 3


def test_the_clock_brings_workers_without_any_job(namespace: str, api: JobApi) -> None:
    each_minute = {"cron": "* * * * *", "timeZone": "Europe/Berlin", "workersMin": 1}
    endpoint = apply_ready(namespace, inline(LOOK, {"schedules": [each_minute], "idleTimeout": "auto"}))
    wait_for_path("sme/it", ".status.workers.ready", "1", namespace)
    assert get("sme/it", "-n", namespace)["status"]["autoscaling"]["lastDecision"]["reason"] == "Schedule"
    assert api.finished(endpoint, api.run(endpoint))["status"] == "COMPLETED"
