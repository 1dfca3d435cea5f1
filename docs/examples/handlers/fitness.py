import shutil

import submodel


@submodel.serverless.register_fitness_check
def room_for_results():
    if shutil.disk_usage(".").free < 2**20:
        raise RuntimeError("less than 1 MiB is free")


def handler(job):
    return len(job["input"]["text"])


submodel.serverless.start({"handler": handler})
