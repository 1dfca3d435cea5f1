import submodel


def handler(job):
    steps = job["input"].get("steps", 1)
    if not isinstance(steps, int):
        return {"error": "steps must be a whole number"}
    return {"share": 100 / steps}  # 0 raises: the job fails with the traceback


submodel.serverless.start({"handler": handler})
