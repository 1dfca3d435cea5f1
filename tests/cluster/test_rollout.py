"""Changes and deletions in the middle of work: what runs ends where it runs, and what shall go goes."""

from concurrent.futures import ThreadPoolExecutor

from tests.cluster.endpoints import OURS, apply_ready, apply_spec, inline
from tests.cluster.job_api import JobApi
from tests.cluster.kubernetes import get, kubectl, wait_for_path

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
