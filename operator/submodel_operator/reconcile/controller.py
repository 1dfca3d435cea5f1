"""Runs the reconciler: several workers over one keyed queue, woken by the cluster's and the gateway's events."""

import asyncio
import logging
from collections.abc import Callable

from submodel_operator.errors import ClusterUnavailable, Conflict, OperatorError
from submodel_operator.metrics import Metrics
from submodel_operator.ports import Key
from submodel_operator.reconcile.endpoint import Reconciler
from submodel_operator.reconcile.queue import KeyedQueue

RECONCILE_TIMEOUT_SECONDS = 60.0

_log = logging.getLogger(__name__)


class Controller:
    """Takes keys from the queue until it is cancelled; asks `may_act` before each."""

    def __init__(
        self,
        reconciler: Reconciler,
        queue: KeyedQueue[Key],
        workers: int,
        metrics: Metrics | None = None,
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        self._reconciler = reconciler
        self._queue = queue
        self._workers = workers
        self._metrics = metrics or Metrics()
        self._may_act = may_act

    async def run(self) -> None:
        """Process keys for ever. An error of one key delays that key and no other."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._work())
        finally:
            self._queue.close()

    async def _work(self) -> None:
        while True:
            key = await self._queue.take()
            try:
                with self._metrics.reconcile_seconds.time():
                    result = await self._process(key)
                self._metrics.reconciles.labels(result).inc()
            finally:
                self._queue.done(key)

    async def _process(self, key: Key) -> str:
        """Reconcile once; returns how it ended, in the words of the metric."""
        if not self._may_act():  # the process stood still and another one acts by now; this one is about to end
            self._queue.fail(key)
            return "retried"
        try:
            async with asyncio.timeout(RECONCILE_TIMEOUT_SECONDS):
                outcome = await self._reconciler.reconcile(key)
        except Conflict:
            self._queue.add(key)
            return "retried"
        except (OperatorError, TimeoutError) as error:
            self._retry(key, error)
            return "retried"
        except Exception:  # a defect of ours may stop one key, never the loop
            _log.exception("%s: reconcile failed", key.endpoint_id)
            self._queue.fail(key)
            return "failed"
        if outcome.failure:
            self._retry(key, outcome.failure)
        else:
            self._queue.succeed(key)
        for other in outcome.others:
            self._queue.add(other)
        if outcome.again_after_seconds is not None:  # after a failure: what the status has to tell is due before
            self._queue.add_after(key, outcome.again_after_seconds)
        return "retried" if outcome.failure else "done"

    def _retry(self, key: Key, error: BaseException) -> None:
        wanted = error.retry_after_seconds if isinstance(error, ClusterUnavailable) else 0.0
        delay = self._queue.fail(key, wanted)
        level = logging.INFO if isinstance(error, ClusterUnavailable) else logging.WARNING
        _log.log(level, "%s: %s; again in %.1f s", key.endpoint_id, str(error) or "reconcile timed out", delay)
