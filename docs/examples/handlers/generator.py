import submodel


def handler(job):
    for word in job["input"]["prompt"].split():
        yield word.upper()


submodel.serverless.start({"handler": handler, "return_aggregate_stream": True})
