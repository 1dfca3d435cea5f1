"""One request of a worker: what it says as operations for the store, and its answer. Pure; `workers` drives it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from submodel.contract import limits
from submodel.contract.exchange import (
    REFUSED_GAP,
    REFUSED_STALE,
    REFUSED_TOO_LARGE,
    ExchangeAnswer,
    ExchangeRequest,
    Held,
    JobPolicy,
    LeasedJob,
    Refused,
)
from submodel.contract.states import WorkerPhase
from submodel.contract.wire import encode
from submodel_gateway.jobs.ids import payload_limit
from submodel_gateway.jobs.transition import Reason
from submodel_gateway.service.endpoints import EndpointState
from submodel_gateway.service.session import Session
from submodel_gateway.service.waiting import Hangup
from submodel_gateway.store import base
from submodel_gateway.tracing.spans import taken_from

RENEW_MS = 5_000
"""A lease is renewed no more often than this: a busy worker exchanges many times per second."""

MISSED_GRACE_MS = 20_000
MISSES_MAX = 2
"""A held job that this many requests do not list although they could, this long after its take, is lost."""

RETRY_AFTER_MS = 500
"""Told to workers when the gateway goes down: time enough for another to take over."""

_REFUSED = {Reason.GAP: REFUSED_GAP, Reason.TOO_LARGE: REFUSED_TOO_LARGE}
"""What workers hear; every other reason means that the token is not the live one."""

_EXTRA = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NOTHING = b"{}"


@dataclass(slots=True)
class Turn:
    """One request of a worker on its way to its answer."""

    endpoint: EndpointState
    session: Session
    request: ExchangeRequest
    hangup: Hangup
    refused: list[Refused] = field(default_factory=list)
    stop: set[str] = field(default_factory=set)
    stop_tokens: set[str] = field(default_factory=set)
    leases: tuple[base.Lease, ...] = ()

    def let_go(self) -> None:
        """Forget what was delivered, which may be large, while the request is held."""
        if self.request.results or self.request.chunks or self.request.progress:
            self.request = replace(self.request, results=[], chunks=[], progress=[])

    @property
    def wants(self) -> int:
        """How many jobs the worker may get; none once it has gone away."""
        if self.hangup.done():
            return 0
        ready = self.request.phase is WorkerPhase.READY and not self.endpoint.drains(self.session)
        return self.request.capacity if ready else 0

    def has_news(self) -> bool:
        """Whether the worker should hear of something at once; what it was told before can wait."""
        return bool(
            self.leases
            or self.refused
            or self.session.stops
            or self.stop - self.session.stops_told
            or self.session.drain_told != self.endpoint.drains(self.session)
        )

    def writes(self, outputs: Mapping[str, base.Payload]) -> Iterator[base.JobOperation]:
        """What it delivers and gives back. Too much of one job ends the job, and is refused.

        Args:
            outputs: by lease token, as the store has kept them; those of a legal size.
        """
        endpoint = self.endpoint.id
        for item in self.request.progress:
            progress = base.Progress(endpoint=endpoint, id=item.id, token=item.token, value=bytes(item.value))
            if len(progress.value) > limits.CHUNK_BYTES:
                self.refused.append(Refused(id=item.id, reason=REFUSED_TOO_LARGE, token=item.token))
                yield too_large(progress, f"a progress value is larger than {limits.CHUNK_BYTES} bytes")
            else:
                yield progress
        for chunk in self.request.chunks:
            items = tuple(bytes(item) for item in chunk.items)
            append = base.AppendChunk(endpoint=endpoint, id=chunk.id, token=chunk.token, seq=chunk.seq, items=items)
            if max(map(len, items), default=0) > limits.CHUNK_BYTES:
                self.refused.append(Refused(id=chunk.id, reason=REFUSED_TOO_LARGE, token=chunk.token))
                yield too_large(append, f"a streamed item is larger than {limits.CHUNK_BYTES} bytes")
            else:
                yield append
        for result in self.request.results:
            size = 0 if isinstance(result.output, msgspec.UnsetType) else memoryview(result.output).nbytes
            error_length, limit = len(result.error or ""), payload_limit(result.id)
            finish = base.Finish(
                endpoint=endpoint,
                id=result.id,
                token=result.token,
                output=outputs.get(result.token),
                error=result.error,
                execution_ms=None if result.execution_ms is None else _bounded(result.execution_ms),
            )
            if size > limit:
                self.refused.append(Refused(id=result.id, reason=REFUSED_TOO_LARGE, token=result.token))
                yield too_large(finish, f"its output has {size} bytes, the limit is {limit}")
            elif error_length > limit:
                self.refused.append(Refused(id=result.id, reason=REFUSED_TOO_LARGE, token=result.token))
                yield too_large(finish, f"its error has {error_length} characters, the limit is {limit}")
            else:
                yield finish
        for held in self.request.released:
            yield base.Release(endpoint=endpoint, id=held.id, token=held.token)

    def signs_of_life(self, now: int) -> Iterator[base.JobOperation]:
        """A heartbeat for each job that it lists, unless its lease was renewed just now."""
        for item in self.request.running:
            holding = self.session.held.get(item.id)
            if holding is not None and holding.token == item.token:
                holding.misses = 0
                if now - holding.renewed_at < RENEW_MS:
                    continue
                holding.renewed_at = now
            yield _heartbeat(self.endpoint.id, item)

    def lost(self, now: int) -> Iterator[base.JobOperation]:
        """Held jobs that the worker has twice not listed."""
        request = self.request
        listed = {item.id for items in (request.running, request.results, request.released) for item in items}
        for id, holding in self.session.held.items():
            if id in listed or now - holding.taken_at <= MISSED_GRACE_MS or not holding.missing_from(request):
                continue
            holding.misses += 1
            if holding.misses >= MISSES_MAX:
                reason = f"worker {self.session.worker} no longer listed it as running"
                yield base.Lose(endpoint=self.endpoint.id, id=id, token=holding.token, reason=reason)

    def refuse(self, operation: base.JobOperation, reason: Reason) -> None:
        """Tell the worker that the store refused what it said."""
        if isinstance(operation, base.Heartbeat):
            self.stop.add(operation.id)
            self.stop_tokens.add(operation.token)
        elif not isinstance(operation, base.Lose | base.Cancel | base.Retry):
            refusal = _REFUSED.get(reason, REFUSED_STALE)
            self.refused.append(Refused(id=operation.id, reason=refusal, token=operation.token))

    def answer(self, *, closing: bool) -> bytes:
        """Its answer as JSON; what is in it counts as told.

        Args:
            closing: the gateway goes down, so the worker waits a moment before it asks again.
        """
        session = self.session
        # For a worker that stops by id alone: one that got the job again must keep it.
        self.stop = (self.stop | session.stops) - session.held.keys()
        session.stops_told = (session.stops_told | self.stop) & {item.id for item in self.request.running} | self.stop
        session.stops.clear()
        self.stop_tokens |= session.stop_tokens
        session.stop_tokens.clear()
        session.drain_told = self.endpoint.drains(session)
        return encode(
            ExchangeAnswer(
                jobs=[_leased(lease) for lease in self.leases],
                refused=self.refused,
                stop=sorted(self.stop),
                stop_tokens=sorted(self.stop_tokens),
                drain=session.drain_told,
                lease_ms=limits.LEASE_MS,
                retry_after_ms=RETRY_AFTER_MS if closing else 0,
            )
        )


def too_large(operation: base.JobOperation, why: str) -> base.Finish:
    """A refusal that repeating cannot change must end the job, or it would run again for ever."""
    error = f"the job was ended because {why}"
    token = "" if isinstance(operation, base.Cancel | base.Retry) else operation.token
    return base.Finish(endpoint=operation.endpoint, id=operation.id, token=token, error=error, final=True)


def _heartbeat(endpoint: str, item: Held) -> base.Heartbeat:
    return base.Heartbeat(endpoint=endpoint, id=item.id, token=item.token, lease_ms=limits.LEASE_MS)


def _bounded(milliseconds: int) -> int:
    return max(0, min(milliseconds, limits.POLICY_MS_MAX))


def _leased(lease: base.Lease) -> LeasedJob:
    job, extra = lease.job, {} if lease.extra == _NOTHING else _EXTRA.decode(lease.extra)
    return LeasedJob(
        id=job.id,
        token=job.token,
        input=msgspec.Raw(lease.input if isinstance(lease.input, bytes) else b"null"),
        policy=JobPolicy(execution_timeout_ms=job.execution_timeout_ms, ttl_ms=job.ttl_ms),
        attempt=job.attempt,
        trace=taken_from(extra),
        extra=extra,
    )
