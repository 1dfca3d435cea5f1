"""What a failed statement means for the caller: try again, connect again, or give up with a sentence."""

import psycopg

from submodel_gateway.errors import StoreAway, StoreError, StoreFull

_AGAIN = {
    "40001",  # serialization_failure: the distributed databases' word for it
    "40P01",  # deadlock_detected
    "55P03",  # lock_not_available: longer than lock_timeout
    "23505",  # unique_violation: another gateway wrote the same key between our read and our write
}
_GONE = {
    "25006",  # read_only_sql_transaction: a former primary
    "25P03",  # idle_in_transaction_session_timeout
    "53300",  # too_many_connections
    "57P01",  # admin_shutdown
    "57P02",  # crash_shutdown
    "57P03",  # cannot_connect_now
    "57P05",  # idle_session_timeout
}


class ConnectionGone(Exception):
    """The connection is lost, or of no use any more."""


class Collision(Exception):
    """Another session came between; the transaction is undone and may be repeated."""

    def __init__(self, text: str, *, locked: bool) -> None:
        super().__init__(text)
        self._locked = locked

    def verdict(self) -> StoreError:
        """What to say when repeating did not help: somebody holds a lock, or the operations contradict each other."""
        text = f"the job store's rows are held by another session: {self}" if self._locked else f"it collides: {self}"
        return StoreAway(text) if self._locked else StoreError(text)


def fault(error: psycopg.Error) -> Exception:
    """The exception to raise in place of the driver's."""
    state = error.sqlstate or ""
    text = _one_line(error)
    if state in _AGAIN:
        return Collision(text, locked=state != "23505")
    if state in _GONE or state.startswith("08") or (not state and isinstance(error, psycopg.OperationalError)):
        return ConnectionGone(text)
    if state == "53100":
        return StoreFull(f"the job store's disk is full: {text}")
    return StoreError(f"the job store refused a statement: {text}")


def away(why: Exception) -> StoreAway:
    """What callers hear when the store stays unreachable."""
    return StoreAway(f"the job store cannot be reached: {why}")


def _one_line(error: psycopg.Error) -> str:
    # The message alone: details may quote rows, and rows hold payloads.
    return error.diag.message_primary or " ".join(str(error).split()) or type(error).__name__
