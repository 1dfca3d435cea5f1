"""`--rp_debugger`: the times that `rp_debugger` measured become a part of each output."""

import functools
import inspect
import time
from typing import Any

from submodel.serverless.executor import Handler
from submodel.serverless.log import about, logger
from submodel.serverless.utils.rp_debugger import clear_debugger_output, get_debugger_output

KEY = "rp_debugger"


def measured(handler: Handler, imported_at: float) -> Handler:
    """`handler` with `rp_debugger` in each dict that it gives; other outputs have no place for it and stay as they are.

    Args:
        imported_at: when `submodel.serverless` was imported, on the clock of `time.perf_counter`.
    """
    ready_delay_ms = (time.perf_counter() - imported_at) * 1000

    def call(job: dict[str, Any]) -> Any:
        clear_debugger_output()
        job_id = str(job.get("id"))
        value = handler(job)
        if inspect.isawaitable(value):
            return _later(value, job_id, ready_delay_ms)
        return _extended(value, job_id, ready_delay_ms)

    return functools.update_wrapper(call, handler)


async def _later(value: Any, job_id: str, ready_delay_ms: float) -> Any:
    return _extended(await value, job_id, ready_delay_ms)


def _extended(value: Any, job_id: str, ready_delay_ms: float) -> Any:
    if not isinstance(value, dict):
        logger.warning("The output is no dict: it stays without what the debugger measured.", extra=about(job_id))
        return value
    return {**value, KEY: {**get_debugger_output(), "ready_delay_ms": ready_delay_ms}}
