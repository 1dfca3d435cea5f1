"""Send one job and print its items as they come."""

import submodel

with submodel.Endpoint("default.tokens") as endpoint:
    job = endpoint.run({"prompt": "hi"})
    for item in job.stream():
        print(item)
    print(job.status(), job.output())
