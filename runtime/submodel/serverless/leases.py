"""One job held by this worker, with everything of it that the gateway has not acknowledged. Pure; used by `session`.

The items of a lease travel in one request at a time, so that chunks arrive in order and the result arrives last. They
stay here until the answer to that request acknowledges them.
"""

from dataclasses import dataclass, field

import msgspec

from submodel.contract.exchange import Chunks, ExchangeRequest, Held, Progress, Result
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
    """Bytes of chunks and output kept here."""

    carrier: int = 0
    """Number of the request under way that carries items of this lease; 0 when none does."""

    gaps: int = 0

    @property
    def final(self) -> bool:
        """Whether nothing follows what is here."""
        return self.released or self.outcome is not None

    @property
    def loaded(self) -> bool:
        """Whether there is something to send that is not under way."""
        return not self.carrier and not self.stopped and (self.final or self.progress is not None or bool(self.chunks))

    def add_chunk(self, chunk: bytes) -> None:
        self.chunks.append(chunk)
        self.size += len(chunk)

    def finish(self, outcome: Outcome, execution_ms: int) -> None:
        self.outcome = outcome
        self.execution_ms = execution_ms
        self.size += len(outcome.output or b"")

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
