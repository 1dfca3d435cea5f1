"""What becomes of operations, for the metrics: told by the queue in front of each store, once per group."""

from collections.abc import Iterable, Sequence

from submodel_gateway.jobs.transition import Reason
from submodel_gateway.metrics import table
from submodel_gateway.metrics.measures import Measures
from submodel_gateway.store import base

_WRITES = base.Finish, base.AppendChunk, base.Progress, base.Heartbeat
_NOT_LIVE = Reason.STALE, Reason.FINISHED


class GroupWatch:
    """Watches one store's groups; `store` is what it is called in the metrics."""

    def __init__(self, measures: Measures, store: str) -> None:
        self._measures = measures
        self._store = store
        measures.store(store)

    def __call__(
        self, groups: Iterable[tuple[Sequence[base.Operation], Sequence[base.Outcome]]], seconds: float
    ) -> None:
        count = failed = 0
        for operations, outcomes in groups:
            count += len(operations)
            for operation, outcome in zip(operations, outcomes, strict=True):
                if isinstance(outcome, base.Failed):
                    failed += 1
                elif isinstance(outcome, base.Refused):
                    self._refused(operation, outcome.reason)
                if isinstance(operation, base.SettleWebhook):
                    self._settled(operation, last=isinstance(outcome, base.Applied))
        self._measures.group(self._store, count, seconds, failed)

    def _refused(self, operation: base.Operation, reason: Reason) -> None:
        if isinstance(operation, _WRITES) and reason in _NOT_LIVE:
            self._measures.count(table.STALE, self._measures.endpoint(operation.endpoint))

    def _settled(self, operation: base.SettleWebhook, *, last: bool) -> None:
        outcome = "delivered" if operation.delivered else "given_up" if last else "failed"
        self._measures.count(table.WEBHOOKS, (outcome,))
