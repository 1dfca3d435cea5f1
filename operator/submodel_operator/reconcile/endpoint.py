"""One reconcile: resolve, gather, decide, plan, act, one status write. Called by the controller with a key.

It is level-triggered: it reads everything anew, never what happened, and may be stopped between any two actions.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from submodel_operator import protection
from submodel_operator.api.conditions import Reason
from submodel_operator.api.manifest import parse_endpoint
from submodel_operator.cold_start import StartWatch, asked_at
from submodel_operator.desired import DesiredPool, desired_pool
from submodel_operator.diagnosis import Problem, broken, overdue, problem, seconds_until_overdue
from submodel_operator.errors import (
    ClusterRefused,
    ClusterUnavailable,
    Conflict,
    EndpointIdTaken,
    GatewayRefused,
    GatewayUnavailable,
    InvalidEndpoint,
    NameConflict,
    OperatorError,
    ReferenceMissing,
)
from submodel_operator.events import events_between
from submodel_operator.metrics import Metrics
from submodel_operator.never_ready import never_ready
from submodel_operator.plan import (
    Action,
    Apply,
    DeletePool,
    Drain,
    Ensure,
    Replace,
    Scale,
    Undrain,
    Unmark,
    Views,
    plan,
    seconds_until_long_start,
)
from submodel_operator.ports import Clock, Cluster, Event, Gateway, Key, Manifest, Observed, Reference, Signals
from submodel_operator.reconcile import gather
from submodel_operator.reconcile.decision_log import DecisionLog
from submodel_operator.reconcile.keys import AGAIN_SECONDS, KeyReader, OwnKeys
from submodel_operator.reconcile.steadiness import HOLD_SECONDS, Steadiness
from submodel_operator.reconcile.witness import Witness
from submodel_operator.references import references
from submodel_operator.resolve import ResolvedEndpoint, resolve
from submodel_operator.scaling import ScalerState, ScalingDecision, Term, decide
from submodel_operator.scaling.explained import beliefs, describe_proposal
from submodel_operator.scaling.log import Record
from submodel_operator.scaling.state import decode, encode
from submodel_operator.settings import WorkerSettings
from submodel_operator.silence import Silence
from submodel_operator.status import Account, build_status, describe_decision

STATUS_PERIOD_SECONDS = 1.0
"""Shortest time between two status writes of one endpoint: many endpoints under load must not flood the cluster."""

MISSING_PERIOD_SECONDS = 10.0
"""How often something that is missing is looked for."""

_PROBLEM_REASONS: Mapping[type[OperatorError], Reason] = {
    InvalidEndpoint: Reason.INVALID_SPEC,
    EndpointIdTaken: Reason.ENDPOINT_ID_TAKEN,
    ReferenceMissing: Reason.REFERENCE_MISSING,
    NameConflict: Reason.NAME_CONFLICT,
    ClusterRefused: Reason.REFUSED,
    GatewayUnavailable: Reason.GATEWAY_UNREACHABLE,
    GatewayRefused: Reason.GATEWAY_REFUSED,
}


_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the controller does next with the key: nothing, or look again after a while; or count a failure."""

    again_after_seconds: float | None = None
    failure: OperatorError | None = None
    others: frozenset[Key] = frozenset()
    """Endpoints that waited for what this one has given up."""


class Reconciler:
    """Brings endpoints closer to their spec, one call per key and step."""

    def __init__(
        self,
        cluster: Cluster,
        gateway: Gateway,
        clock: Clock,
        settings: WorkerSettings,
        status_period_seconds: float = STATUS_PERIOD_SECONDS,
        decisions: DecisionLog | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._cluster = cluster
        self._gateway = gateway
        self._clock = clock
        self._settings = settings
        self._status_period_seconds = status_period_seconds
        self._metrics = metrics or Metrics()
        self._status_written_at: dict[Key, float] = {}
        self._unheard_since: dict[Key, float] = {}
        self._last_decisions: dict[Key, dict[str, Any]] = {}
        self._at_rest: set[Key] = set()
        """Endpoints of which the newest look asked for no other number."""

        self._scalers: dict[Key, ScalerState] = {}
        self._witness = Witness()
        self._steadiness = Steadiness()
        self._silence = Silence()
        self._starts = StartWatch()
        self._busy: dict[Key, protection.Memory] = {}
        self._unprotectable: set[Key] = set()
        self._waiting: defaultdict[str, set[Key]] = defaultdict(set)
        """Endpoints that want an id which another one has."""

        self._decisions = decisions
        self._keys = KeyReader(cluster, clock)

    async def reconcile(self, key: Key) -> Outcome:
        """One step for `key`.

        Raises:
            ClusterUnavailable, Conflict: to be retried with back-off; nothing is half done.
        """
        observed = self._cluster.observe(key, self._clock.now())
        if observed is None or observed.deleting:
            return Outcome(others=await self._forget(key))
        try:
            account, again = await self._step(observed)
            failure = None
        except tuple(_PROBLEM_REASONS) as error:
            account, again, failure = self._failed(observed, error), None, error
        status_due = await self._write_status(account)
        if isinstance(failure, InvalidEndpoint):
            failure = None  # only a new spec helps; its event comes by itself
        if isinstance(failure, (ReferenceMissing, EndpointIdTaken)):
            failure, again = None, MISSING_PERIOD_SECONDS
        return Outcome(_earliest(again, status_due), failure)

    async def _step(self, observed: Observed) -> tuple[Account, float | None]:
        monotonic = self._clock.monotonic()
        disturbances = self._witness.found(observed, monotonic)
        for event in disturbances:
            self._metrics.endpoints.disturbed(*observed.key, event.reason)
        await self._record(observed, disturbances)
        unsteady = self._unsteady(monotonic)
        endpoint, named = await self._understood(observed)
        await self._claim(endpoint)
        desired = desired_pool(endpoint)
        keys = await self._keys.read(observed.key.namespace, endpoint.key_secrets)
        await self._tell_gateway(endpoint, observed, desired, keys)
        signals = self._gateway.signals(endpoint.endpoint_id)
        inputs = gather.scaling_inputs(
            endpoint, observed, desired.revision, signals, hold=unsteady.message if unsteady else ""
        )
        before, now = self._remembered(observed), self._clock.now()
        decision, scaler = decide(inputs, before, now)
        self._scalers[observed.key] = scaler
        views, deadline_seconds = gather.views(signals), float(endpoint.startup_deadline_seconds)
        silent = self._silent(observed, views, monotonic, known=signals is not None and signals.fresh and not unsteady)
        late = overdue(observed, desired.revision, views, silent, deadline_seconds) if silent else {}
        unproven = never_ready(observed, desired.revision, signals)
        for action in plan(observed, desired, decision, views, late, broken(observed, unproven, views)):
            await self._act(observed, endpoint.endpoint_id, action)
        settles = await self._protect(observed, endpoint, signals)
        self._measure(observed, desired.revision, decision, signals)
        self._note(observed, Record(endpoint.endpoint_id, now, inputs, before, decision))
        account = Account(
            observed=self._cluster.observe(observed.key, self._clock.now()) or observed,
            revision=desired.revision,
            decision=decision,
            replicas_before=inputs.replicas,
            last_decision=self._last_decisions.get(observed.key),
            shadow=_shadow(endpoint, decision),
            memory=encode(scaler) if scaler != ScalerState(revision=scaler.revision) else None,
            signals=signals,
            endpoint=endpoint,
            overdue=late,
            never_ready=unproven,
            disturbance=unsteady or _unready(decision) or self._witness.disturbance(observed.key, monotonic),
            key_problem=keys.problem,
        )
        again = _earliest(
            decision.evaluate_after_seconds,
            seconds_until_overdue(observed, desired.revision, views, silent, deadline_seconds),
            seconds_until_long_start(observed, desired.revision),
            self._cluster.look_up_again_after(observed.key, named) if named else None,
            AGAIN_SECONDS if endpoint.key_secrets else None,
            settles,
            self._steadiness.seconds_until_steady(monotonic),
            self._witness.seconds_until_quiet(observed.key, monotonic),
        )
        return account, again

    def _silent(self, observed: Observed, views: Views, monotonic: float, *, known: bool) -> dict[str, float]:
        """For how long workers have been silent; of none, unless the gateway and all ages are to be relied on."""
        if known:
            return self._silence.look(observed, views, monotonic)
        self._silence.forget(observed.key)
        return {}

    async def _understood(self, observed: Observed) -> tuple[ResolvedEndpoint, tuple[Reference, ...]]:
        """The endpoint, and what its manifest names. Raises `InvalidEndpoint`, `ReferenceMissing`."""
        parsed = parse_endpoint({**observed.manifest, "status": None})  # it is read as it is, where it is needed
        named = references(parsed.spec.worker)
        found = await self._cluster.look_up(observed.key, named) if named else {}
        return resolve(parsed, observed.uid, observed.generation, self._settings, found), named

    def _unsteady(self, monotonic: float) -> Problem | None:
        """Why ages are not to be relied on at the moment."""
        if jump := self._steadiness.look(self._clock.now(), monotonic):
            self._metrics.clock_jumps.inc()
            _log.warning("the clock was set by %+.1f s; no worker goes for %g s", jump, HOLD_SECONDS)
        return self._steadiness.problem(monotonic)

    def _measure(self, observed: Observed, revision: str, decision: ScalingDecision, signals: Signals | None) -> None:
        key = observed.key
        self._metrics.endpoints.decided(
            *key, {str(term): workers for term, workers in decision.terms}, beliefs(decision)
        )
        if signals and signals.fresh:
            heard = asked_at(signals, self._clock.now())
            for seconds in self._starts.over(observed, revision, gather.views(signals), heard):
                self._metrics.endpoints.started(*key, seconds)

    async def _protect(self, observed: Observed, endpoint: ResolvedEndpoint, signals: Signals | None) -> float | None:
        """Returns after how many seconds to look again. What the user says of eviction stands."""
        key, users = observed.key, endpoint.pod_template.metadata.annotations
        if key in self._unprotectable or users.keys() & protection.ANNOTATIONS.keys():
            return None
        if signals is None or not signals.fresh:
            return None
        memory, now = self._busy.get(key, {}), self._clock.monotonic()
        wanted, self._busy[key] = protection.protection(observed, gather.views(signals), memory, now)
        try:
            if wanted.changes:
                await self._cluster.protect(key, wanted.changes)
        except ClusterRefused as refused:  # a cluster may forbid it, and jobs run all the same
            _log.warning("%s: its busy workers cannot be protected from node autoscalers: %s", key.endpoint_id, refused)
            self._unprotectable.add(key)
        return wanted.again_after_seconds

    async def _claim(self, endpoint: ResolvedEndpoint) -> None:
        """Raise `EndpointIdTaken` while the id is another's; let go of one that the endpoint had under another spec."""
        key, wanted = endpoint.key, endpoint.endpoint_id
        holder = self._cluster.holder(wanted)
        if holder not in (None, key):
            self._waiting[wanted].add(key)
            raise EndpointIdTaken(_taken(wanted, holder, key))
        for former in self._gateway.ids_of(key):
            if former != wanted:
                await self._gateway.forget(former)

    def _note(self, observed: Observed, record: Record) -> None:
        """A shrink takes several steps, each of which comes to the same decision: it is told once, also when the
        operator is another by then. One that was taken back in between is a new one.
        """
        key, decision = observed.key, record.decision
        if decision.replicas == record.inputs.replicas:
            self._at_rest.add(key)
            return
        described = describe_decision(decision, record.inputs, record.now)
        last = self._last_decisions.get(key) or _decided_before(observed)
        same = all(last.get(name) == described[name] for name in ("current", "desired", "reason"))
        if same and key not in self._at_rest:
            return
        self._at_rest.discard(key)
        self._last_decisions[key] = described
        self._metrics.endpoints.changed(*key, described["reason"])
        if self._decisions:
            self._decisions.write(record)

    def _remembered(self, observed: Observed) -> ScalerState:
        """The scaler's memory: this process's own, or after a restart the one that the status holds."""
        if (known := self._scalers.get(observed.key)) is not None:
            return known
        status = observed.manifest.get("status") or {}
        return decode((status.get("autoscaling") or {}).get("memory"))

    async def _tell_gateway(
        self, endpoint: ResolvedEndpoint, observed: Observed, desired: DesiredPool, keys: OwnKeys
    ) -> None:
        revisions = gather.live_revisions(observed, desired.revision)
        await self._gateway.register(gather.registration(endpoint, revisions, keys.keys))
        views = gather.views(self._gateway.signals(endpoint.endpoint_id))
        if gone := gather.gone(observed, views):
            await self._gateway.report_gone(endpoint.endpoint_id, gone)
        await self._gateway.publish_workers(endpoint.endpoint_id, gather.presence(observed))

    async def _act(self, observed: Observed, endpoint_id: str, action: Action) -> None:
        key = observed.key
        match action:
            case Apply(child):
                await self._cluster.apply(observed, child)
            case Ensure(child):
                await self._cluster.ensure(observed, child)
            case Scale(pool, present, replicas, victims):
                await self._cluster.scale(key, pool, present, replicas, victims)
                self._witness.asked(observed, action)
            case Replace(worker, uid):
                await self._cluster.replace(key, worker, uid)
            case DeletePool(pool):
                await self._cluster.delete_pool(key, pool)
            case Unmark(workers):
                await self._cluster.unmark(key, workers)
            case Drain(workers):
                await self._gateway.drain(endpoint_id, workers)
            case Undrain(workers):
                await self._gateway.undrain(endpoint_id, workers)

    def _failed(self, observed: Observed, error: OperatorError) -> Account:
        known = next(iter(self._gateway.ids_of(observed.key)), "")
        return Account(
            observed=observed,
            replicas_before=sum(pool.replicas for pool in observed.pools),
            signals=self._gateway.signals(known),
            disturbance=self._witness.disturbance(observed.key, self._clock.monotonic()),
            problem=_problem(error),
        )

    async def _write_status(self, account: Account) -> float | None:
        """Write the status if it differs; returns after how many seconds to come back when it is too early."""
        key, now = account.observed.key, self._clock.monotonic()
        status: dict[str, Any] = build_status(account, self._clock.now())
        self._metrics.endpoints.show(*key, status)
        if status == account.observed.manifest.get("status"):
            return None
        wait_seconds = max(self._status_written_at.get(key, float("-inf")), self._unheard_at(account, now))
        wait_seconds += self._status_period_seconds - now
        if wait_seconds > 0:
            return wait_seconds
        self._status_written_at[key] = now
        await self._cluster.write_status(account.observed, status)
        await self._record(account.observed, events_between(account.observed.manifest.get("status") or {}, status))
        return None

    def _unheard_at(self, account: Account, now: float) -> float:
        """Since when the gateway owes its first word on an endpoint that it was told of: it comes within moments, and a
        status without it would be written twice."""
        key = account.observed.key
        if account.signals or account.problem:
            self._unheard_since.pop(key, None)
            return float("-inf")
        return self._unheard_since.setdefault(key, now)

    async def _record(self, observed: Observed, events: Iterable[Event]) -> None:
        """Tell what happened. Nothing depends on events: none is retried."""
        for event in events:
            try:
                await self._cluster.record(observed, event)
            except (ClusterUnavailable, ClusterRefused, Conflict) as error:
                _log.info("%s: the event %s is not recorded: %s", observed.key.endpoint_id, event.reason, error)

    async def _forget(self, key: Key) -> frozenset[Key]:
        """The endpoint is gone. A cache may err, and forgetting cancels jobs: ask the cluster itself first.

        Returns the endpoints that waited for its id.
        """
        self._status_written_at.pop(key, None)
        self._unheard_since.pop(key, None)
        self._last_decisions.pop(key, None)
        self._at_rest.discard(key)
        self._metrics.endpoints.forget(*key)
        self._scalers.pop(key, None)
        self._busy.pop(key, None)
        self._unprotectable.discard(key)
        self._witness.forget(key)
        self._starts.forget(key)
        self._silence.forget(key)
        ids = self._gateway.ids_of(key)
        if not ids or await self._cluster.exists(key):
            return frozenset()
        for endpoint_id in ids:
            await self._gateway.forget(endpoint_id)
        return frozenset().union(*(self._waiting.pop(each, set()) for each in ids))


def _shadow(endpoint: ResolvedEndpoint, decision: ScalingDecision) -> dict[str, Any] | None:
    policy = endpoint.scaling.shadow
    return describe_proposal(policy, decision.shadow) if policy and decision.shadow else None


def _unready(decision: ScalingDecision) -> Problem | None:
    return problem(Reason.UNREADY_WORKER, decision.message) if decision.term is Term.UNREADY else None


def _decided_before(observed: Observed) -> Manifest:
    status = observed.manifest.get("status") or {}
    decided: Manifest = (status.get("autoscaling") or {}).get("lastDecision") or {}
    return decided


def _taken(endpoint_id: str, holder: Key | None, key: Key) -> str:
    """Names the holder to its neighbours only: who sees one namespace need not hear of another."""
    near = holder is not None and holder.namespace == key.namespace
    whose = f"endpoint {holder.name}" if holder and near else "an endpoint of another namespace"
    return f"spec.endpointId: {endpoint_id} belongs to {whose}, which is older"


def _problem(error: OperatorError) -> Problem:
    reason = next(reason for kind, reason in _PROBLEM_REASONS.items() if isinstance(error, kind))
    tells_what_to_do = isinstance(error, (InvalidEndpoint, NameConflict))
    return Problem(reason, str(error)) if tells_what_to_do else problem(reason, str(error))


def _earliest(*seconds: float | None) -> float | None:
    return min((each for each in seconds if each is not None), default=None)
