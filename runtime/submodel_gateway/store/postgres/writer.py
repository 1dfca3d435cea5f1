"""Applies groups: one transaction each, on a connection of its own, by one thread at a time.

Each transaction first signs the row of its gateway with the number of the group. That row settles a commit whose
answer was lost with its connection: a new connection writes the same row, so it waits until the server has done with
the old transaction, and reads which group was the last. If it is ours, the outcomes that were made before the commit
are the truth; if not, nothing happened, and the group is applied again. Nothing is concluded from the operations
themselves. As that write is a commit too, a synchronous standby has confirmed whatever it read.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

import psycopg

from submodel_gateway.errors import StoreAway, StoreError
from submodel_gateway.store import base
from submodel_gateway.store.execute import execute
from submodel_gateway.store.postgres import statements as sql
from submodel_gateway.store.postgres.columns import COUNT_FIELDS, Count, document
from submodel_gateway.store.postgres.faults import Collision, ConnectionGone, away, fault
from submodel_gateway.store.postgres.line import Line
from submodel_gateway.store.postgres.loading import load
from submodel_gateway.store.postgres.needs import needs_of
from submodel_gateway.store.postgres.server_clock import ServerClock
from submodel_gateway.store.postgres.tallies import Tallies
from submodel_gateway.store.postgres.transaction import Transaction
from submodel_gateway.store.postgres.unit import Unit

OUTAGE_SECONDS = 5.0
"""How long a group waits for the database to come back; once that is over, the next ones try once each."""

PAUSE_SECONDS = 0.05
PAUSE_SECONDS_MAX = 1.0
COLLISIONS_MAX = 8
ADMITTED = 0.8
"""Share of the quota above which no new jobs are taken."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sent:
    """A group whose COMMIT is under way, and what it comes to if it arrives."""

    group_no: int
    outcomes: list[base.Outcome]
    counts: dict[str, Count]
    """What it adds to the counts of each endpoint that it touches."""


class Writer:
    """See `base.Store.apply`.

    Args:
        line: how to connect.
        server_clock: what the others set their clocks by, beside the `now` of each group.
        committed: told the endpoints that each committed group touched; called by the thread that applies.
    """

    def __init__(
        self,
        line: Line,
        tallies: Tallies,
        server_clock: ServerClock,
        quota_bytes: int | None,
        committed: Callable[[frozenset[str]], None],
    ) -> None:
        self._line = line
        self._server_clock = server_clock
        self._tallies = tallies
        self._quota_bytes = quota_bytes
        self._committed = committed
        self._group_no = 0
        self._sent: Sent | None = None
        self._given_up = False
        """Whether the callers of `_sent` were told that the store is away."""

        self._began_wall_ms: float | None = None
        """What the database's clock showed at the `now` of the group that is being applied, as far as that is known."""

        self._away_since: float | None = None
        self._closing = Event()
        self.gateway: int | None = None
        """Id of this gateway's row, once there has been a connection."""

    def apply(self, operations: Sequence[base.Operation], now: int) -> list[base.Outcome]:
        self._began_wall_ms = self._server_clock.now_ms()
        try:
            return self._apply(operations, now)
        finally:
            self._given_up = self._sent is not None

    def _apply(self, operations: Sequence[base.Operation], now: int) -> list[base.Outcome]:
        collisions = 0
        pause = 0.0
        late = not self._line.up
        while True:
            try:
                if not self._line.up and (settled := self._connect(now)) is not None:
                    return settled
                outcomes = self._attempt(operations, now, late=late, collided=bool(collisions))
            except Collision as collision:
                collisions += 1
                if collisions >= COLLISIONS_MAX:
                    raise collision.verdict() from collision
            except ConnectionGone as gone:
                self._line.hang_up()
                self._endure(gone, pause)
                pause = min(2 * pause or PAUSE_SECONDS, PAUSE_SECONDS_MAX)
            else:
                self._away_since = None
                return outcomes
            late = True

    def open(self) -> None:
        """Connect and register now. Raises `ConnectionGone` and `StoreError`."""
        self._register()

    def close(self) -> None:
        """Let the connection go; no group is being applied."""
        self._closing.set()
        self._line.hang_up()

    def _endure(self, gone: ConnectionGone, pause: float) -> None:
        """Wait for the next try, or raise when this group has waited enough."""
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
            log.warning("the job store is away, trying again: %s", gone)
        if now - self._away_since > OUTAGE_SECONDS or self._closing.is_set():
            raise away(gone) from gone
        self._closing.wait(pause)

    def _connect(self, now: int) -> list[base.Outcome] | None:
        """Connect, and settle the commit whose answer is missing: returns its outcomes when it went through.

        Raises `StoreAway` when nobody knows any more whether it did.
        """
        last = self._register()
        if self._away_since is not None:
            log.warning("the job store is back")
        sent, self._sent = self._sent, None
        given_up, self._given_up = self._given_up, False
        if sent is not None and last is None and not given_up:
            raise StoreAway("this gateway was taken for gone while it committed; what became of that is not known")
        if sent is None or last != sent.group_no:
            return None
        self._committed(frozenset(sent.counts))
        if not given_up:
            self._away_since = None
            return sent.outcomes
        if releases := _releases(sent.outcomes):
            log.warning("%d jobs were handed out to nobody while the job store went away: given back", len(releases))
            try:
                self._attempt(releases, now, late=True, collided=False)
            finally:
                self._sent = None
        return None

    def _register(self) -> int | None:
        """Connect, and return the number of the last group that this gateway committed; None for a new gateway.

        It is that also when its row of before is gone.
        """
        connection = self._line.dial()
        try:
            with self._line.watched():
                rows = connection.execute(sql.RETURN, [self.gateway]).fetchall() if self.gateway else []
                is_new = not rows
                if is_new:
                    rows = connection.execute(sql.REGISTER).fetchall()
                ((self.gateway, last),) = rows
                counts = connection.execute(sql.OWN_COUNTS, [self.gateway]).fetchall()
        except psycopg.Error as error:
            self._line.hang_up()
            refusal = fault(error)
            # A transaction that is not over yet may still hold our row: that is an outage too.
            raise ConnectionGone(str(refusal)) if isinstance(refusal, Collision) else refusal from error
        self._tallies.restart({endpoint: tuple(count) for endpoint, *count in counts})
        self._group_no = max(self._group_no, last)
        return None if is_new else int(last)

    def _attempt(
        self, operations: Sequence[base.Operation], now: int, *, late: bool, collided: bool
    ) -> list[base.Outcome]:
        """One try. Raises `Collision` or `ConnectionGone` when it may be repeated, else as `apply`.

        Args:
            late: whether `now` may be too old for other gateways to set their clocks by.
            collided: whether another session came between when it was tried before.
        """
        self._group_no += 1
        connection = self._line.connection
        try:
            with self._line.watched(), connection.pipeline():
                transaction = Transaction(connection)
                unit = self._load(transaction, operations, now, late=late, collided=collided)
                outcomes = [execute(unit, operation, now) for operation in operations]
                answer = self._send(transaction, unit, outcomes)
        except psycopg.Error as error:
            # What the server says of a transaction counts only while it can say that nothing of it was committed.
            raise (fault(error) if self._undo() else ConnectionGone(str(fault(error)))) from error
        except BaseException:
            self._undo()
            raise
        sent, self._sent = self._sent, None
        if answer.statusmessage != sql.COMMIT:
            raise StoreError(f"the job store answered {answer.statusmessage} to a commit")
        if sent is not None:
            self._tallies.add(sent.counts)
            self._committed(frozenset(sent.counts))
        return outcomes

    def _load(
        self, transaction: Transaction, operations: Sequence[base.Operation], now: int, *, late: bool, collided: bool
    ) -> Unit:
        needs = needs_of(operations)
        transaction.begin(relaxed=needs.relaxed)
        if late:
            signed = transaction.queue(sql.SIGN_LATE, self._group_no, self.gateway)
        else:
            signed = transaction.queue(sql.SIGN, self._group_no, now, self._began_wall_ms, self.gateway)
        if collided:
            transaction.queue(sql.TURNSTILE)
        unit = Unit(transaction, self._room_bytes())
        load(transaction, unit, needs, now, signed)
        return unit

    def _send(self, transaction: Transaction, unit: Unit, outcomes: list[base.Outcome]) -> "psycopg.Cursor[Any]":
        """Send all writes with the commit behind them; nobody waits for a disk where there is nothing to keep."""
        unit.finish()
        if not unit.wrote:
            transaction.queue(sql.RELAX)
            return transaction.queue(sql.COMMIT)
        counts = unit.counts()
        if counts:
            rows = [{"endpoint": each, **dict(zip(COUNT_FIELDS, count, strict=True))} for each, count in counts.items()]
            transaction.queue(sql.ADD_COUNTS, self.gateway, self._group_no, document(rows))
        self._sent = Sent(self._group_no, outcomes, counts)
        return transaction.queue(sql.COMMIT)

    def _undo(self) -> bool:
        """After an error: let the transaction end with its connection; returns whether it is known to have failed."""
        failed = self._line.in_failed_transaction
        if failed:
            self._sent = None
        self._line.hang_up()
        return failed

    def _room_bytes(self) -> int | None:
        if self._quota_bytes is None:
            return None
        return int(ADMITTED * self._quota_bytes) - self._tallies.used_bytes


def _releases(outcomes: list[base.Outcome]) -> list[base.Operation]:
    jobs = [lease.job for outcome in outcomes if isinstance(outcome, base.Taken) for lease in outcome.leases]
    return [base.Release(endpoint=job.endpoint, id=job.id, token=job.token) for job in jobs]
