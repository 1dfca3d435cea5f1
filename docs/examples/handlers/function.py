import submodel
from submodel.serverless import Job


def handler(job: Job) -> dict[str, str]:
    return {"greeting": f"Hello, {job['input']['name']}"}


submodel.serverless.start({"handler": handler})
