"""An operator that is stopped before or after any one of its actions: the next one ends at the same place."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from submodel_operator.reconcile import Reconciler
from tests.support.endpoints import KEY, manifest, signals, view, worker_settings
from tests.support.memory_world import ManualClock, MemoryCluster, MemoryGateway

ACTIONS = ("apply", "scale", "unmark", "delete_pool", "replace", "protect", "write_status", "record")
PUSHES = ("register", "publish_workers", "drain", "undrain", "forget")
NEVER = 10_000


class Stopped(BaseException):
    """As SIGKILL: nothing after it is done."""


class World:
    """A cluster and a gateway that outlive operators; the operator is stopped at its `stop_at`th action."""

    def __init__(self, stop_at: int, *, done: bool) -> None:
        self.cluster, self.gateway, self.clock = MemoryCluster(), MemoryGateway(), ManualClock()
        self.calls, self._stop_at, self._done = 0, stop_at, done
        self.objects: set[tuple[str, str]] = set()
        for port, names in ((self.cluster, ACTIONS), (self.gateway, PUSHES)):
            for name in names:
                setattr(port, name, self._stopping(getattr(port, name)))
        self.reconciler = self._operator()

    def _operator(self) -> Reconciler:
        return Reconciler(self.cluster, self.gateway, self.clock, worker_settings())

    def _stopping(self, action: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*arguments: Any) -> None:
            child = arguments[1] if action.__name__ == "apply" else None
            self.calls += 1
            now = self.calls == self._stop_at
            if now and not self._done:
                raise Stopped
            await action(*arguments)
            if child:
                self.objects.add((child["kind"], child["metadata"]["name"]))
            if now:
                raise Stopped

        return call

    async def steps(self, count: int = 2) -> None:
        for _ in range(count):
            self.clock.seconds += 10
            try:
                await self.reconciler.reconcile(KEY)
            except Stopped:
                self.reconciler = self._operator()
                await self.reconciler.reconcile(KEY)

    async def live(self) -> dict[str, Any]:
        """A job from zero, a rollout while it runs, and back to zero; returns all that is left at the end."""
        self.cluster.put(manifest())
        self.gateway.say(signals(queued=1))
        await self.steps()
        (old,) = self.cluster.start_missing()
        first = self._present()
        self.gateway.say(signals(view(old, first, running=1), in_progress=1, queued=1))
        await self.steps()
        status = self.cluster.endpoints[KEY].manifest["status"]
        self.cluster.put({**manifest({"handler": {"inline": "print()"}}), "status": status}, generation=2)
        await self.steps()
        names = self.cluster.start_missing()
        (new,) = (name for name in names if name != old)
        second = self._present()
        self.gateway.say(signals(view(old, first, running=1), view(new, second, running=1), in_progress=2))
        await self.steps()
        assert set(self.gateway.drained) == {old}
        assert old in {worker.name for worker in self.cluster.endpoints[KEY].workers}, "busy workers stay"
        self.gateway.say(signals(view(old, first, draining=True), view(new, second, running=1), in_progress=1))
        await self.steps(3)
        self.gateway.say(signals(view(new, second, idle_since_ms=0)))
        await self.steps()
        self.gateway.say(signals(view(new, second, idle_since_ms=0, draining=True)))
        await self.steps(3)
        self.gateway.say(signals())
        await self.steps()
        observed = self.cluster.endpoints[KEY]
        conditions = {each["type"]: each["reason"] for each in observed.manifest["status"]["conditions"]}
        facts = replace(observed, manifest={})
        return {"facts": facts, "conditions": conditions, "objects": self.objects, "drained": set(self.gateway.drained)}

    def _present(self) -> str:
        return str(self.cluster.endpoints[KEY].manifest["status"]["revision"])


@pytest.mark.slow
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
async def test_wherever_an_operator_is_stopped_the_next_one_ends_at_the_same_place(done: bool) -> None:
    undisturbed = World(NEVER, done=done)
    wanted = await undisturbed.live()
    assert undisturbed.calls > 40
    assert [pool.replicas for pool in wanted["facts"].pools] == [0]
    for stop_at in range(1, undisturbed.calls + 1):
        assert await World(stop_at, done=done).live() == wanted, f"stopped at action {stop_at}"


async def test_an_operator_that_is_started_again_at_rest_does_nothing_at_all() -> None:
    world = World(NEVER, done=False)
    await world.live()
    applied, statuses = len(world.cluster.applied), len(world.cluster.statuses)
    world.reconciler = world._operator()
    await world.steps()
    assert (len(world.cluster.applied), len(world.cluster.statuses)) == (applied, statuses)
