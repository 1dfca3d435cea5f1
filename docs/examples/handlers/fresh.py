import submodel


def handler(job):
    return {"output_tokens": 7, "refresh_worker": job["input"].get("last", False)}


submodel.serverless.start({"handler": handler})
