"""Opens the unit of work of a group: one round trip signs the transaction, locks rows and loads them."""

from psycopg import Cursor

from submodel_gateway.store.postgres import statements as sql
from submodel_gateway.store.postgres.columns import document
from submodel_gateway.store.postgres.faults import ConnectionGone
from submodel_gateway.store.postgres.needs import Needs
from submodel_gateway.store.postgres.pending import key_row
from submodel_gateway.store.postgres.transaction import Row, Transaction
from submodel_gateway.store.postgres.unit import Unit

_NO_KEY = {"endpoint": None, "principal": None, "key": None}


def load(transaction: Transaction, unit: Unit, needs: Needs, now: int, signed: Cursor[Row]) -> None:
    """Bring into `unit` what the group needs. Rows of jobs are locked in order of their ids.

    Args:
        signed: the statement that signs the transaction. Raises `ConnectionGone` when there was nothing to sign.
    """
    # Whoever waits for another sweeper holds nothing that this one may wait for.
    mark = transaction.queue(sql.MARK) if needs.sweeps else None
    jobs = _queue_jobs(transaction, needs)
    webhooks = transaction.queue(sql.WEBHOOKS, list(needs.webhooks)) if needs.webhooks else None
    takes = {
        endpoint: transaction.queue(sql.READY, endpoint, now, now, limit) for endpoint, limit in needs.takes.items()
    }
    keys = transaction.queue(sql.KEYS, document(map(key_row, needs.keys))) if needs.keys else None
    new = _queue_new(transaction, needs, now)

    if not (answer := transaction.rows(signed)):
        raise ConnectionGone("this gateway was silent for so long that it is taken for gone")
    ((losses,),) = answer
    if jobs is not None:
        unit.adopt_jobs(transaction.rows(jobs))
        unit.adopt_new(needs.jobs)
        unit.adopt_holders(needs.gone)
    if webhooks is not None:
        unit.adopt_webhooks(needs.webhooks, transaction.rows(webhooks))
    for endpoint, ready in takes.items():
        unit.adopt_ready(endpoint, transaction.rows(ready), needs.takes[endpoint])
    if losses and needs.breakers:
        unit.adopt_breakers(needs.breakers, transaction.fetch(sql.BREAKERS, list(needs.breakers)))
    else:
        unit.adopt_closed(needs.breakers)
    if keys is not None:
        unit.adopt_keys(needs.keys, transaction.rows(keys))
    if new is not None:
        rows = transaction.rows(new)
        unit.adopt_new(id for id, _ in rows)
        unit.seqs.extend(seq for _, seq in rows)
        if known := needs.submits.keys() - {id for id, _ in rows}:
            unit.adopt_jobs(transaction.fetch(sql.LOCK_JOBS, sorted(known)))
            unit.adopt_new(known)
    if mark is not None:
        unit.adopt_mark(transaction.rows(mark)[0])


def _queue_jobs(transaction: Transaction, needs: Needs) -> Cursor[Row] | None:
    ids = sorted(needs.jobs)
    if not needs.gone and not needs.purges:
        return transaction.queue(sql.LOCK_JOBS, ids) if ids else None
    gone = document({"endpoint": endpoint, "worker": worker} for endpoint, worker in needs.gone)
    purged = document(
        {"endpoint": each.endpoint, "up_to": each.up_to, "most": each.limit, "running": each.running}
        for each in needs.purges
    )
    return transaction.queue(sql.LOCK_MANY, ids, gone, purged, purged)


def _queue_new(transaction: Transaction, needs: Needs, now: int) -> Cursor[Row] | None:
    """Give queue numbers to those submits that are new, and to no others: a number is never used later."""
    rows = [{"id": id, **(_NO_KEY if key is None else key_row(key))} for id, key in needs.submits.items()]
    return transaction.queue(sql.NEW_JOBS, document(rows), now) if rows else None
