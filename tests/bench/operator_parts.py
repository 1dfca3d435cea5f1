"""The parts of `make bench-operator`: what is done to the operator, and the figures that come of it.

Each part begins with the operator running and all endpoints at rest, except `apply`, which brings them.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from submodel_operator.clock import pause
from submodel_operator.kube.resources import DEPLOYMENTS, ENDPOINTS, PODS, SELECTOR
from tests.bench.operator_bed import FAKE_NODE, Audit, Requests, writes
from tests.bench.operator_process import OperatorProcess, cpu_seconds, memory_mib
from tests.bench.table import Bounds, Row
from tests.support.kube_api import NAMESPACES, KubeApi, Object
from tests.support.live_gateway import Http, LiveGateway

SPREAD = 10
"""Namespaces that the endpoints are spread over."""

AT_ONCE = 32
"""Requests in flight while endpoints are created."""

SAMPLES = 60
REST_SECONDS = 60.0
QUIET_SECONDS = 5.0
API_SERVER_PID = Path("/run/bed/pid/kube-apiserver")

ALL_READY = Bounds(goal=60.0, floor=90.0, most=True)
CAUGHT_UP = Bounds(goal=20.0, most=True)
MOST_WRITES = Bounds(goal=4.0, most=True)
NO_WRITES = Bounds(goal=0.0, most=True)
MOST_WRITES_OF_A_CHANGE = Bounds(goal=3.0, most=True)
CHANGE = (("patch", "deployments/scale"), ("patch", "pods"), ("create", "events"), ("patch", "events"))
"""What a change of a number writes beside the status, which tells it together with all else that is new."""

MEMORY = Bounds(goal=300.0, most=True)
GOALS_UP_TO = 1000
"""Endpoints; with more, figures that grow with their number are reported only."""


@dataclass
class Bench:
    """Everything of one run with `count` endpoints."""

    api: KubeApi
    kubeconfig: str
    gateway: LiveGateway
    folder: Path
    count: int
    quick: bool
    audit: Audit = field(default_factory=Audit)

    def operator(self) -> OperatorProcess:
        """A new operator process."""
        return OperatorProcess(self.kubeconfig, self.gateway, self.folder)

    def goal(self, bounds: Bounds) -> Bounds | None:
        """The bounds, if they are meant for so many endpoints."""
        return bounds if self.count <= GOALS_UP_TO else None

    def places(self) -> list[tuple[str, str]]:
        """Namespace and name of all endpoints."""
        return [(f"bench-{number % SPREAD}", f"e-{number}") for number in range(self.count)]


def endpoint(name: str) -> Object:
    """An endpoint whose workers run on nodes of KWOK."""
    toleration = {"key": FAKE_NODE, "operator": "Exists", "effect": "NoSchedule"}
    placed = {"nodeSelector": {FAKE_NODE: "fake"}, "tolerations": [toleration]}
    worker = {"handler": {"inline": f"# {name}\n"}, "podTemplate": {"spec": placed}}
    return {"metadata": {"name": name}, "spec": {"worker": worker, "scaling": {"idleTimeout": 3600}}}


class Changes:
    """Watches a kind, and remembers when each object was first seen as somebody waits for it."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self._waiting: list[tuple[Callable[[Object], bool], asyncio.Future[float]]] = []

    async def follow(self, version: str) -> None:
        """Hear of Deployments from `version` on, for ever."""
        async for _, raw in self._api.events(DEPLOYMENTS, None, version, SELECTOR):
            now = time.perf_counter()
            for entry in list(self._waiting):
                holds, seen = entry
                if not seen.done() and holds(raw):
                    seen.set_result(now)
                    self._waiting.remove(entry)

    def first(self, holds: Callable[[Object], bool]) -> asyncio.Future[float]:
        """When an object is first seen of which this holds."""
        seen: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting.append((holds, seen))
        return seen


@asynccontextmanager
async def deployments(api: KubeApi) -> AsyncIterator[Changes]:
    """Hear of Deployments for the time of the context."""
    listed = await api.call("GET", f"{DEPLOYMENTS.path(None)}?limit=1")
    changes = Changes(api)
    following = asyncio.create_task(changes.follow(listed["metadata"]["resourceVersion"]))
    try:
        yield changes
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def apply(bench: Bench, operator: OperatorProcess) -> list[Row]:
    """All endpoints at once, to all Ready."""
    for number in range(SPREAD):
        await bench.api.create(NAMESPACES, None, {"metadata": {"name": f"bench-{number}"}})
    await operator.ready()
    bench.audit.mark()
    cpu, server_cpu, began = operator.cpu_seconds, _server_cpu(), time.perf_counter()
    waiting = asyncio.create_task(_all_ready(bench))
    slots = asyncio.Semaphore(AT_ONCE)

    async def create(namespace: str, name: str) -> None:
        async with slots:
            await bench.api.create(ENDPOINTS, namespace, endpoint(name))

    await asyncio.gather(*(create(*place) for place in bench.places()))
    created = time.perf_counter() - began
    await waiting
    seconds = time.perf_counter() - began
    await operator.looked_at(bench.count)
    requests = await bench.audit.requests()
    per = f"{bench.count:,} endpoints at once"
    used = operator.cpu_seconds - cpu
    return [
        Row(f"{per}: to create them alone", created, "s"),
        Row(f"{per}: to all Ready", seconds, "s", bench.goal(ALL_READY)),
        Row(f"{per}: writes of the operator, each", writes(requests) / bench.count, "", MOST_WRITES),
        Row(f"{per}: requests of the operator, each", requests.total() / bench.count, ""),
        Row(f"{per}: operator's processor time, each", 1000 * used / bench.count, "ms"),
        Row(f"{per}: API server's processor time, each", 1000 * (_server_cpu() - server_cpu) / bench.count, "ms"),
        Row(f"{per}: operator's memory", memory_mib(operator.pid), "MiB", bench.goal(MEMORY)),
        *_busiest(requests, bench.count),
    ]


async def _all_ready(bench: Bench) -> None:
    while True:
        found, version = await bench.api.listed(ENDPOINTS, None)
        ready = {raw["metadata"]["name"] for raw in found if _is_ready(raw)}
        if len(ready) >= bench.count:
            return
        async for _, raw in bench.api.events(ENDPOINTS, None, version):
            if _is_ready(raw):
                ready.add(raw["metadata"]["name"])
            if len(ready) >= bench.count:
                return


def _is_ready(raw: Object) -> bool:
    generation = raw["metadata"]["generation"]
    conditions = (raw.get("status") or {}).get("conditions") or ()
    wanted = ("Ready", "True", generation)
    return any((each["type"], each["status"], each["observedGeneration"]) == wanted for each in conditions)


async def rest(bench: Bench, operator: OperatorProcess) -> list[Row]:
    """What it costs when nothing happens."""
    seconds = REST_SECONDS / (6 if bench.quick else 1)
    bench.audit.mark()
    cpu = operator.cpu_seconds
    await pause(seconds)
    requests = await bench.audit.requests()
    share = (operator.cpu_seconds - cpu) / seconds
    per = f"{bench.count:,} at rest"
    return [
        Row(f"{per}: writes a minute", 60 * writes(requests) / seconds, "", NO_WRITES),
        Row(f"{per}: requests a minute", 60 * requests.total() / seconds, ""),
        Row(f"{per}: of one core", 100 * share, "%"),
    ]


async def change(bench: Bench, operator: OperatorProcess) -> list[Row]:
    """One endpoint among many is changed: until its new child is there."""
    delays = []
    async with deployments(bench.api) as changes:
        for number, (namespace, name) in enumerate(bench.places()[: _samples(bench)]):
            before = await bench.api.get(ENDPOINTS, namespace, name)
            old = before["status"]["revision"]
            seen = changes.first(partial(_is_new_pool, name, old))
            began = time.perf_counter()
            patch = {"spec": {"worker": {"handler": {"inline": f"# changed {number} {began}\n"}}}}
            await bench.api.merge(ENDPOINTS, namespace, name, patch)
            delays.append(await seen - began)
    return _delays(f"{bench.count:,} endpoints: one changed, to its child", delays, Bounds(goal=500.0, most=True))


def _is_new_pool(name: str, old: str, raw: Object) -> bool:
    labels = raw["metadata"]["labels"]
    return bool(labels["serverless.submodel.ai/endpoint"] == name and labels["serverless.submodel.ai/revision"] != old)


async def demand(bench: Bench, operator: OperatorProcess) -> list[Row]:
    """A job for an endpoint without workers: until its Deployment is scaled."""
    delays, audit = [], Audit()
    audit.mark()
    async with deployments(bench.api) as changes:
        with Http(bench.gateway.public) as http:
            for namespace, name in bench.places()[-_samples(bench) :]:
                seen = changes.first(partial(_is_awake, name))
                began = time.perf_counter()
                await asyncio.to_thread(http.ok, "POST", f"/v2/{namespace}.{name}/run", {"input": {}})
                delays.append(await seen - began)
    # The cluster makes pods at a rate of its own: what they bring is no part of what follows.
    await bench.api.until(PODS, None, lambda found: sum(map(_runs, found)) == len(delays), SELECTOR)
    await settled(bench)
    requests, per = await audit.requests(), f"{bench.count:,} endpoints: job at zero"
    changing = 1 + sum(requests[request] for request in CHANGE) / len(delays)
    return [
        *_delays(f"{per}, to scaled", delays, Bounds(goal=300.0, most=True)),
        Row(f"{per}: count, event and one status, each", changing, "", MOST_WRITES_OF_A_CHANGE),
        Row(f"{per}: all writes until its worker has come, each", writes(requests) / len(delays), ""),
        *_busiest(requests, len(delays)),
    ]


def _runs(pod: Object) -> bool:
    return bool(pod["status"].get("phase") == "Running")


def _is_awake(name: str, raw: Object) -> bool:
    labels = raw["metadata"]["labels"]
    return bool(labels["serverless.submodel.ai/endpoint"] == name and raw["spec"]["replicas"] > 0)


async def settled(bench: Bench) -> None:
    """Returns once the operator has written nothing for a while: what was begun is done."""
    while True:
        bench.audit.mark()
        await pause(QUIET_SECONDS)
        if not writes(await bench.audit.requests()):
            return


async def restart(bench: Bench, operator: OperatorProcess) -> list[Row]:
    """A second process takes over from the first, which has been ended before this."""
    bench.audit.mark()
    began = time.perf_counter()
    with bench.operator() as fresh:
        await fresh.ready()
        await fresh.looked_at(bench.count)
        seconds = time.perf_counter() - began
        used = fresh.cpu_seconds
        requests = await bench.audit.requests()
        per = f"restart with {bench.count:,}"
        return [
            Row(
                f"{per}: to caught up",
                seconds,
                "s",
                bench.goal(CAUGHT_UP),
            ),
            Row(f"{per}: writes", writes(requests), "", NO_WRITES),
            Row(f"{per}: requests", requests.total(), ""),
            Row(f"{per}: operator's processor time", used, "s"),
            Row(
                f"{per}: operator's memory",
                memory_mib(fresh.pid),
                "MiB",
                bench.goal(MEMORY),
            ),
            Row(f"{per}: operator's memory at its most", memory_mib(fresh.pid, "VmHWM"), "MiB"),
            *_busiest(requests, 1),
        ]


Part = Callable[[Bench, OperatorProcess], Coroutine[Any, Any, list[Row]]]

PARTS: dict[str, Part] = {"apply": apply, "rest": rest, "change": change, "demand": demand, "restart": restart}


def _samples(bench: Bench) -> int:
    return min(bench.count, SAMPLES // (3 if bench.quick else 1))


def _delays(what: str, delays: list[float], bounds: Bounds) -> list[Row]:
    milliseconds = sorted(1000 * each for each in delays)
    p95 = milliseconds[min(len(milliseconds) - 1, round(0.95 * len(milliseconds)))]
    return [
        Row(f"{what}, p50 of {len(delays)}", statistics.median(milliseconds), "ms"),
        Row(f"{what}, p95", p95, "ms", bounds),
        Row(f"{what}, most", milliseconds[-1], "ms"),
    ]


def _busiest(requests: Requests, count: int) -> list[Row]:
    return [Row(f"    {verb} {what}", number / count, "") for (verb, what), number in requests.most_common(7)]


def _server_cpu() -> float:
    return cpu_seconds(int(API_SERVER_PID.read_text()))
