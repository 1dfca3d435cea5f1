"""The handler of the runtime's benchmark, for our runtime and for the `runpod` package: an input says what it does.

It also runs in environments without types, hence the ignored errors about functions without annotations.
"""

import ctypes
import os
import sys
import time


def submodel_or_runpod():  # type: ignore[no-untyped-def]  # it runs where there are no types
    try:
        import runpod  # type: ignore[import-not-found]  # it is in another environment
    except ImportError:
        import submodel as runpod
    return runpod


def handler(job):  # type: ignore[no-untyped-def]  # see above
    asked = job["input"]
    if isinstance(asked, dict) and "hold" in asked:
        ctypes.PyDLL(None).sleep(asked["hold"])  # unlike `time.sleep`, it keeps the interpreter's lock
    return asked


async def coroutine(job):  # type: ignore[no-untyped-def]  # see above
    return job["input"]


def generator(job):  # type: ignore[no-untyped-def]  # see above
    yield from range(job["input"])


def computing(job):  # type: ignore[no-untyped-def]  # see above
    yield 0
    until = time.perf_counter() + 0.02
    while time.perf_counter() < until:
        sum(range(100))
    yield 1


KINDS = {"function": handler, "coroutine": coroutine, "generator": generator, "computing": computing}

if __name__ == "__main__":
    concurrency = int(os.environ["BENCH_CONCURRENCY"])  # noqa: TID251  # nothing else reaches this process
    config = {"handler": KINDS[os.environ["BENCH_KIND"]]}  # noqa: TID251  # the same
    if concurrency > 1:
        config["concurrency_modifier"] = lambda present: concurrency
    sys.argv = sys.argv[:1]
    submodel_or_runpod().serverless.start(config)  # type: ignore[no-untyped-call]  # see above
