"""What the operator makes of snapshots of a gateway that does not reach all of its job stores."""

from collections.abc import Iterator

from aiohttp import web
from aiohttp.test_utils import TestServer

from submodel.contract import wire
from submodel.contract.internal import EndpointSnapshot, Snapshots
from submodel_operator.gateway_client import GatewayClient
from submodel_operator.ports import Key


class Clock:
    """Moved by the test."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> float:
        return self.seconds


def snapshots(*known: str, unknown: tuple[str, ...] = (), now_ms: int = 0) -> Snapshots:
    endpoints = [EndpointSnapshot(endpoint_id=id, registration="e/1", queued=1, late=0, in_progress=0) for id in known]
    return Snapshots(boot="b", version=7, now_ms=now_ms, endpoints=endpoints, unknown=list(unknown))


def answering(answers: Iterator[Snapshots], asked: list[str]) -> web.Application:
    """The internal API, as far as polls go; notes where each poll goes on from."""

    async def poll(request: web.Request) -> web.Response:
        asked.append(request.query["since"])
        return web.Response(body=wire.encode(next(answers)))

    app = web.Application()
    app.router.add_get("/internal/v1/snapshots", poll)
    return app


async def test_what_was_said_of_an_endpoint_gets_old_while_its_job_store_is_away() -> None:
    said = iter(
        [
            snapshots("n.a", "n.b", now_ms=0),
            snapshots("n.a", unknown=("n.b",), now_ms=20_000),
            snapshots("n.a", unknown=("n.b",), now_ms=40_000),
            snapshots("n.a", "n.b", now_ms=60_000),
            snapshots(now_ms=61_000),
        ]
    )
    clock, asked, news = Clock(), list[str](), list[list[str]]()
    async with (
        TestServer(answering(said, asked)) as server,
        GatewayClient(str(server.make_url("")).rstrip("/"), "token", clock) as client,
    ):
        ages: list[dict[str, float]] = []
        for _ in range(5):
            changed: list[Key] = []
            await client._poll(changed.append)
            news.append(sorted(key.endpoint_id for key in changed))
            found = {id: client.signals(id) for id in ("n.a", "n.b")}
            ages.append({id: signals.age_seconds for id, signals in found.items() if signals})
            clock.seconds += 20
        aged = client.signals("n.b")
    assert ages == [{"n.a": 0, "n.b": 0}, {"n.a": 0, "n.b": 20}, {"n.a": 0, "n.b": 40}, *[{"n.a": 0, "n.b": 0}] * 2]
    assert news == [["n.a", "n.b"]] * 4 + [[]]
    # Everything is asked for until all is known: whoever answers next may not think it news.
    assert asked == ["0", "7", "0", "0", "7"]
    assert aged is not None
    assert (aged.now_ms, aged.fresh) == (61_000, False)
