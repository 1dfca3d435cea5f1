"""Changes and deletions in the middle of work: what runs ends where it runs, and what shall go goes."""

from concurrent.futures import ThreadPoolExecutor

from tests.cluster.endpoints import OURS, apply_ready, apply_spec, inline, wait_for_reason, worker
from tests.cluster.job_api import JobApi
from tests.cluster.kubernetes import get, kubectl, wait_for_path
from tests.cluster.test_endpoint import GATED

BRIEF = """
import asyncio, os
import submodel

async def handler(job):
    await asyncio.sleep(1.5)
    return [{version!r}, os.environ["SUBMODEL_WORKER_ID"]]

submodel.serverless.start({{"handler": handler}})
"""
TWO = {"workersMin": 2, "workersMax": 2, "scalerType": "REQUEST_COUNT", "scalerValue": 1}


def test_jobs_that_run_while_the_handler_changes_all_finish_once(namespace: str, api: JobApi) -> None:
    endpoint = apply_ready(namespace, inline(BRIEF.format(version="old"), TWO))
    wait_for_path("sme/it", ".status.workers.ready", "2", namespace)
    before = [api.run(endpoint) for _ in range(6)]
    wait_for_path("sme/it", ".status.workers.busy", "2", namespace)
    apply_spec(namespace, inline(BRIEF.format(version="new"), TWO))
    during = [api.run(endpoint) for _ in range(6)]
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(lambda job: api.finished(endpoint, job), [*before, *during]))
    assert [each["status"] for each in results] == ["COMPLETED"] * 12
    versions = [each["output"][0] for each in results]
    assert versions[:2] == ["old", "old"], "they ran when the handler changed"
    last = api.finished(endpoint, api.run(endpoint))
    assert last["output"][0] == "new"
    wait_for_path("sme/it", ".status.workers.outdated", "0", namespace)
    wait_for_path("sme/it", '.status.conditions[?(@.type=="RolloutComplete")].status', "True", namespace)
    retried = [each for each in results if each.get("retries")]
    assert retried == []


STAYING = {"idleTimeout": 60}
BROKEN = """
import submodel

def handler(job):
    raise ValueError("the table is gone")

submodel.serverless.start({"handler": handler})
"""


def test_a_revision_whose_jobs_fail_keeps_the_worker_that_is_left_of_the_one_before(
    namespace: str, api: JobApi
) -> None:
    endpoint = apply_ready(namespace, inline(GATED, STAYING))
    long = api.run(endpoint)
    wait_for_path("sme/it", ".status.workers.busy", "1", namespace)
    pod = worker(namespace)["metadata"]["name"]
    apply_spec(namespace, inline(BROKEN, STAYING))
    failed = [api.finished(endpoint, api.run(endpoint)) for _ in range(5)]
    assert {each["status"] for each in failed} == {"FAILED"}
    words = wait_for_reason(namespace, "RolloutComplete", "RolloutFailed")
    assert "about 100 % of the jobs of revision" in words

    apply_spec(namespace, inline(GATED, STAYING))
    wait_for_reason(namespace, "RolloutComplete", "Complete")
    kubectl("exec", "-n", namespace, pod, "-c", "worker", "--", "python", "-c", "open('/tmp/go', 'w').close()")
    again = api.finished(endpoint, api.run(endpoint))
    for each in (api.finished(endpoint, long), again):
        assert (each["status"], each["workerId"]) == ("COMPLETED", pod)


def test_a_namespace_that_is_deleted_in_the_middle_of_work_ends(namespace: str, api: JobApi) -> None:
    endpoint = apply_ready(namespace, inline(BRIEF.format(version="only"), TWO))
    for _ in range(4):
        api.run(endpoint)
    wait_for_path("sme/it", ".status.workers.busy", "2", namespace)
    kubectl("delete", "namespace", namespace, "--timeout=100s")
    while (status := api.call(f"/v2/{endpoint}/run", {"input": {}})[0]) == 200:
        pass
    assert status == 404
    kubectl("create", "namespace", namespace)
    assert get("all", OURS, "-n", namespace)["items"] == []
