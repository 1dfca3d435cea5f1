"""The jobs held by this worker, each with everything of it that the gateway has not acknowledged. Pure; for `session`.

The items of a lease travel in one request at a time, so that chunks arrive in order and the result arrives last. They
stay here until the answer to that request acknowledges them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from submodel.contract.exchange import (
    REFUSED_GAP,
    REFUSED_TOO_LARGE,
    REFUSED_UNREADABLE,
    Chunks,
    ExchangeAnswer,
    ExchangeRequest,
    Held,
    LeasedJob,
    Progress,
    Result,
)
from submodel.serverless.outcome import Outcome

GAPS_MAX = 2
"""Refusals for a gap in a row after which the stream counts as lost."""


@dataclass(frozen=True, slots=True)
class Cargo:
    """What one request carries of one lease."""

    chunks: int
    progress: bytes | None
    final: bool


@dataclass(slots=True)
class Lease:
    """A job handed to this worker; `token` is its key."""

    id: str
    token: str
    begun: bool = False
    """The handler was called."""

    stopped: bool = False
    """Ended by the gateway: nothing of it is sent any more, but its slot is taken until the handler returns."""

    released: bool = False
    """Given back; another worker runs it."""

    outcome: Outcome | None = None
    execution_ms: int = 0
    chunks: list[bytes] = field(default_factory=list)
    first_seq: int = 1
    """Sequence number of `chunks[0]`."""

    progress: bytes | None = None
    size: int = 0
    """Bytes of chunks, output and error kept here."""

    carrier: int = 0
    """Number of the request under way that carries items of this lease; 0 when none does."""

    gaps: int = 0
    alone: bool = False
    """Goes in a request of its own: one that carried more was refused as a whole."""

    @property
    def weight(self) -> int:
        """Bytes of a request that carries all that is here, about."""
        return self.size + len(self.progress or b"")

    @property
    def final(self) -> bool:
        """Whether nothing follows what is here."""
        return self.released or self.outcome is not None

    @property
    def loaded(self) -> bool:
        """Whether there is something to send that is not under way."""
        return not self.carrier and not self.stopped and (self.final or self.progress is not None or bool(self.chunks))

    def add_chunk(self, chunk: bytes) -> None:
        """One item of its stream, as JSON."""
        self.chunks.append(chunk)
        self.size += len(chunk)

    def finish(self, outcome: Outcome, execution_ms: int) -> None:
        """The handler has returned; what is here is final from now on."""
        self.outcome = outcome
        self.execution_ms = execution_ms
        self.size += len(outcome.output or b"") + len(outcome.error or "")

    def clear(self) -> None:
        """Drop all that was not acknowledged."""
        self.chunks.clear()
        self.progress = self.outcome = None
        self.size = self.carrier = 0
        self.released = False

    def load(self, request: ExchangeRequest) -> Cargo:
        """Put what is here into `request`."""
        self.carrier = request.request
        cargo = Cargo(len(self.chunks), self.progress, self.final)
        if self.chunks:
            items = [msgspec.Raw(chunk) for chunk in self.chunks]
            request.chunks.append(Chunks(id=self.id, token=self.token, seq=self.first_seq, items=items))
        if self.progress is not None and not self.final:
            request.progress.append(Progress(id=self.id, token=self.token, value=msgspec.Raw(self.progress)))
        if self.released:
            request.released.append(Held(id=self.id, token=self.token))
        elif self.outcome is not None:
            request.results.append(self._result(self.outcome))
        return cargo

    def _result(self, outcome: Outcome) -> Result:
        return Result(
            id=self.id,
            token=self.token,
            output=msgspec.UNSET if outcome.output is None else msgspec.Raw(outcome.output),
            error=outcome.error,
            execution_ms=self.execution_ms,
            stop_worker=outcome.stop_worker,
            trace=outcome.trace,
        )

    def acknowledge(self, cargo: Cargo) -> None:
        """The gateway has what `cargo` names."""
        self.carrier = 0
        self.gaps = 0
        self.size -= sum(map(len, self.chunks[: cargo.chunks]))
        del self.chunks[: cargo.chunks]
        self.first_seq += cargo.chunks
        if self.progress is cargo.progress:
            self.progress = None


class Leases(dict[str, Lease]):
    """All jobs that are here, by token, and what an answer of the gateway means for them."""

    def read(self, answer: ExchangeAnswer, running: Iterable[Held], carried: Mapping[str, Cargo]) -> list[str]:
        """Settle what a request carried, and end what the gateway wants to end or knows no more.

        Args:
            running: the leases that the request listed.
            carried: what it carried, by token.

        Returns:
            Tokens of the jobs whose handlers shall end.
        """
        stops: list[str] = []
        refused = {(item.id, item.token): item.reason for item in answer.refused}
        for token, cargo in carried.items():
            self._settle(token, cargo, refused, stops)
        if refused:
            for held in running:
                if _reason(refused, held) and held.token not in carried:
                    self._stop(self.get(held.token), stops)
        if answer.stop_tokens or answer.stop:
            for lease in self._meant(answer):
                self._stop(lease, stops)
        return stops

    def accept(self, jobs: Iterable[LeasedJob], *, leaving: bool) -> list[LeasedJob]:
        """The jobs to be run of those that came; a worker that leaves gives all of them back."""
        accepted = [job for job in jobs if job.token not in self]
        for job in accepted:
            self[job.token] = Lease(job.id, job.token, released=leaving)
        return [] if leaving else accepted

    def _meant(self, answer: ExchangeAnswer) -> list[Lease]:
        """The leases that shall end."""
        if answer.stop_tokens:
            return [self[token] for token in answer.stop_tokens if token in self]
        return [lease for lease in self.values() if lease.id in answer.stop]

    def _settle(self, token: str, cargo: Cargo, refused: dict[tuple[str, str], str], stops: list[str]) -> None:
        lease = self.get(token)
        if lease is None:
            return
        reason = _reason(refused, lease)
        if reason is None or lease.stopped:
            lease.acknowledge(cargo)
            if cargo.final:
                del self[token]
        elif reason == REFUSED_TOO_LARGE:
            self._fail(lease, "the gateway refused the output: it is too large; upload it and return its URL", stops)
        elif reason == REFUSED_UNREADABLE:
            self._fail(lease, "the gateway cannot read the output; return plain JSON values, nested less deeply", stops)
        elif reason == REFUSED_GAP and lease.gaps + 1 < GAPS_MAX:
            lease.carrier = 0
            lease.gaps += 1
        elif reason == REFUSED_GAP:
            self._fail(lease, "chunks of the stream were lost on the way to the gateway", stops)
        elif cargo.final:
            del self[token]
        else:
            lease.carrier = 0
            self._stop(lease, stops)

    def _fail(self, lease: Lease, text: str, stops: list[str]) -> None:
        if lease.outcome is None:
            stops.append(lease.token)
        elif lease.outcome.error == text:
            del self[lease.token]
            return
        execution_ms = lease.execution_ms
        lease.clear()
        lease.finish(Outcome(error=text), execution_ms)

    def _stop(self, lease: Lease | None, stops: list[str]) -> None:
        if lease is None or lease.stopped or lease.final:
            return
        if lease.begun:
            lease.clear()
            lease.stopped = True
            stops.append(lease.token)
        else:
            del self[lease.token]


def _reason(refused: dict[tuple[str, str], str], item: Held | Lease) -> str | None:
    """Why the gateway refused what came under this token, if it did; see `Refused`."""
    return refused.get((item.id, item.token)) or refused.get((item.id, ""))
