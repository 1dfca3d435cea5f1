import submodel


def handler(job):
    pages = job["input"]["pages"]
    for page in range(pages):
        submodel.serverless.progress_update(job, {"page": page + 1, "of": pages})
    return {"read": pages}


submodel.serverless.start({"handler": handler})
