"""What a unit of work knows beside jobs: the sweepers' mark, breakers, idempotency keys and registrations."""

from collections.abc import Iterable

from msgspec.structs import replace

from submodel_gateway.jobs.breaker import CLOSED, Breaker
from submodel_gateway.jobs.record import Job
from submodel_gateway.store.execute import KeyEntry, Mark
from submodel_gateway.store.postgres import statements as sql
from submodel_gateway.store.postgres.columns import breaker_of, document, key_entry_of, text
from submodel_gateway.store.postgres.faults import Collision
from submodel_gateway.store.postgres.needs import Key
from submodel_gateway.store.postgres.pending import Last, key_row
from submodel_gateway.store.postgres.transaction import Row, Transaction


class Aside:
    """Its part of `execute.Rows`. Everything is written at the end, as `Last` says."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._keys: dict[Key, KeyEntry | None] = {}
        self._breakers: dict[str, tuple[int | None, Breaker]] = {}
        """Endpoint -> version, None where no loss was known of and nobody looked, and breaker."""

        self._locked = False
        self._mark: Mark | None = None
        self._last = Last()
        self.wrote = False
        """Whether there is anything to commit."""

    def adopt_keys(self, asked: Iterable[Key], rows: Iterable[Row]) -> None:
        """The entries of these idempotency keys."""
        found = {(row[0], row[1], row[2]): key_entry_of(row[3:]) for row in rows}
        for endpoint, principal, key in asked:
            place = (text(endpoint), text(principal), text(key))
            self._keys[endpoint, principal, key] = found.get(place)

    def adopt_breakers(self, endpoints: Iterable[str], rows: Iterable[Row]) -> None:
        """The breakers of these endpoints."""
        found = {endpoint: (version, breaker_of(losses)) for endpoint, losses, version in rows}
        self._breakers.update((endpoint, found.get(endpoint, (0, CLOSED))) for endpoint in endpoints)

    def adopt_closed(self, endpoints: Iterable[str]) -> None:
        """These endpoints have no losses."""
        self._breakers.update((endpoint, (None, CLOSED)) for endpoint in endpoints)

    def adopt_mark(self, row: Row) -> None:
        """The locked mark of the sweepers."""
        self._mark = Mark(*row)

    def mark(self) -> Mark:
        if self._mark is None:
            self.adopt_mark(self._transaction.fetch(sql.MARK)[0])
            assert self._mark is not None
        return self._mark

    def put_mark(self, mark: Mark) -> None:
        self.wrote = True
        self._mark = self._last.mark = mark

    def breaker(self, endpoint: str) -> Breaker:
        if endpoint not in self._breakers:
            self.adopt_breakers([endpoint], self._transaction.fetch(sql.BREAKERS, [endpoint]))
        return self._breakers[endpoint][1]

    def put_breaker(self, endpoint: str, breaker: Breaker) -> None:
        self.wrote = True
        version, known = self._breakers[endpoint]
        if version is None:
            self.adopt_breakers([endpoint], self._transaction.fetch(sql.BREAKERS, [endpoint]))
            version, present = self._breakers[endpoint]
            if version is None or present != known:
                raise Collision("losses came in between", locked=False)
        self._breakers[endpoint] = self._last.breakers[endpoint] = (version, breaker)

    def lock_breakers(self) -> None:
        """Keep other gateways from the breakers of this unit; all of them in the order in which they are written.

        Locked one by one as takes come to them, two groups over the same endpoints would wait for each other.
        """
        if not self._locked:
            self._locked = True
            self._transaction.fetch(sql.LOCK_BREAKERS, sorted(map(text, self._breakers)))

    def key(self, endpoint: str, principal: str, key: str) -> KeyEntry | None:
        place = (endpoint, principal, key)
        if place not in self._keys and endpoint in self._last.cleared:
            return None
        return self._keys[place] if place in self._keys else self.read_key(*place)

    def read_key(self, endpoint: str, principal: str, key: str) -> KeyEntry | None:
        """The entry of a key as the database has it now."""
        place = (endpoint, principal, key)
        self.adopt_keys([place], self._transaction.fetch(sql.KEYS, document([key_row(place)])))
        return self._keys[place]

    def put_key(self, endpoint: str, principal: str, key: str, entry: KeyEntry) -> None:
        self.wrote = True
        place = (endpoint, principal, key)
        known = self._keys.get(place)
        if known is not None and place not in self._last.keys:
            self._last.replaced[place] = known.job
        self._keys[place] = self._last.keys[place] = entry

    def settle_keys(self, job: Job) -> None:
        self._last.settled[job.id] = job.state
        for place, entry in self._keys.items():
            if entry is not None and entry.job == job.id:
                settled = replace(entry, state=job.state)
                self._keys[place] = settled
                if place in self._last.keys:
                    self._last.keys[place] = settled

    def expire_keys(self, now: int, limit: int) -> None:
        self.wrote = True
        # Sweeps that meet in one group drop as many as they would one after another.
        before = self._last.expired[1] if self._last.expired else 0
        self._last.expired = (now, before + limit)

    def put_endpoint(self, endpoint: str, registration: bytes) -> None:
        self.wrote = True
        self._last.endpoints[endpoint] = registration

    def delete_endpoint(self, endpoint: str, limit: int) -> bool:
        self.wrote = True
        dropped = self._transaction.fetch(sql.DROP_ENDPOINTS_KEYS, endpoint, limit)
        if len(dropped) == limit:
            gone = {(endpoint, *key) for key in dropped}
            for place in [place for place in self._keys if tuple(map(text, place)) in gone]:
                self._keys[place] = None
                self._last.drop_key(place)
            return True
        self._last.clear(endpoint)
        self._breakers[endpoint] = (0, CLOSED)
        self._keys = {place: entry for place, entry in self._keys.items() if place[0] != endpoint}
        return False
