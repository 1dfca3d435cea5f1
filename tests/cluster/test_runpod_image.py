"""Images that were made for RunPod run as they are: the released SDK and a handler, and nothing of this project."""

import os
from typing import Any

import pytest

from tests.cluster.endpoints import apply_ready, staying, touch, worker
from tests.cluster.helm import IMAGE_PREFIX, IMAGE_TAG
from tests.cluster.job_api import JobApi
from tests.cluster.kubernetes import kubectl, wait_for_path

IMAGE = f"{IMAGE_PREFIX}submodel-test-runpod:{IMAGE_TAG}"
NEWEST = "1.12.0"
OLDER = "1.7.13"
"""It keeps its jobs in a file in its folder, where it may not write here, and cannot stop a job."""

pytestmark = pytest.mark.skipif(
    os.environ.get("SUBMODEL_TEST_CLUSTER") != "bed", reason="the image is in the project's own test cluster only"
)


def spec(mode: str, sdk: str = NEWEST, **scaling: Any) -> dict[str, Any]:
    """The image with one of its handlers, see `tests/compat/sdk_handler.py`."""
    made = {"image": IMAGE, "env": [{"name": "MODE", "value": mode}]}
    if sdk != NEWEST:
        made["command"] = [f"/opt/runpod-{sdk}/bin/python", "-u", "/handler.py"]
    return {"worker": made, "scaling": {"workersMax": 1, "idleTimeout": 1, **scaling}}


@pytest.mark.parametrize("sdk", [NEWEST, OLDER])
def test_a_job_starts_a_worker_tells_its_progress_and_the_worker_goes(namespace: str, api: JobApi, sdk: str) -> None:
    endpoint = apply_ready(namespace, spec("blocking", sdk))
    job = api.run(endpoint, {"progress": "half", "until": "/tmp/go", "reply": {"n": 1}})
    while api.ok(f"/v2/{endpoint}/status/{job}").get("output") != "half":
        pass
    pod = worker(namespace)["metadata"]["name"]
    touch("go", pod, namespace=namespace)
    result = api.finished(endpoint, job)
    assert (result["status"], result["output"], result["workerId"]) == ("COMPLETED", {"n": 1}, pod)
    wait_for_path("sme/it", ".status.phase", "Idle", namespace)
    kubectl("wait", "pods", "--all", "--for=delete", "-n", namespace, "--timeout=60s")


def test_items_of_a_generator_are_streamed_and_put_together(namespace: str, api: JobApi) -> None:
    endpoint = apply_ready(namespace, spec("aggregating"))
    job = api.run(endpoint, {"reply": ["a", "b", "c"]})
    seen: list[object] = []
    while (answer := api.ok(f"/v2/{endpoint}/stream/{job}?wait=20000"))["status"] != "COMPLETED":
        seen += [each["output"] for each in answer["stream"]]
    seen += [each["output"] for each in answer["stream"]]
    assert seen == ["a", "b", "c"]
    assert api.finished(endpoint, job)["output"] == ["a", "b", "c"]


def test_the_idle_one_of_two_workers_goes_and_the_busy_one_stays(namespace: str, api: JobApi) -> None:
    fast = {"scalerType": "REQUEST_COUNT", "scalerValue": 1, "workersMax": 2}
    endpoint = apply_ready(namespace, spec("waiting", OLDER, **fast))
    jobs = [api.run(endpoint, {"until": "/tmp/go"}) for _ in range(2)]
    wait_for_path("sme/it", ".status.workers.busy", "2", namespace)
    where = {id: api.ok(f"/v2/{endpoint}/status/{id}")["workerId"] for id in jobs}
    assert len(set(where.values())) == 2
    touch("go", where[jobs[0]], namespace=namespace)
    assert api.finished(endpoint, jobs[0])["workerId"] == where[jobs[0]]
    kubectl("wait", f"pod/{where[jobs[0]]}", "--for=delete", "-n", namespace, "--timeout=60s")
    assert [pod["metadata"]["name"] for pod in staying(namespace)] == [where[jobs[1]]]
    touch("go", where[jobs[1]], namespace=namespace)
    result = api.finished(endpoint, jobs[1])
    assert (result["status"], result["workerId"]) == ("COMPLETED", where[jobs[1]])


def test_a_job_whose_worker_leaves_its_process_runs_again(namespace: str, api: JobApi) -> None:
    endpoint = apply_ready(namespace, spec("blocking", OLDER))
    result = api.finished(endpoint, api.run(endpoint, {"exit": 3, "reply": "again"}))
    assert (result["status"], result["output"], result["retries"]) == ("COMPLETED", "again", 1)


def test_a_cancelled_job_is_stopped_in_its_worker(namespace: str, api: JobApi) -> None:
    endpoint = apply_ready(namespace, spec("waiting"))
    job = api.run(endpoint, {"until": "/tmp/go", "begun": "/tmp/begun"})
    wait_for_path("sme/it", ".status.workers.busy", "1", namespace)
    pod = worker(namespace)["metadata"]["name"]
    assert api.ok(f"/v2/{endpoint}/cancel/{job}", {})["status"] == "CANCELLED"
    stopped = ("exec", pod, "-n", namespace, "--", "test", "-e", "/tmp/go.stopped")
    while kubectl(*stopped, check=False).code:
        pass


def test_a_worker_that_refreshes_itself_is_replaced(namespace: str, api: JobApi) -> None:
    endpoint = apply_ready(namespace, spec("refreshing", idleTimeout=60))
    results = [api.finished(endpoint, api.run(endpoint, {"reply": "done"})) for _ in range(2)]
    assert [each["output"] for each in results] == ["done", "done"]
    assert results[0]["workerId"] != results[1]["workerId"]
