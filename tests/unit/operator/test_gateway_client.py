"""What the operator makes of snapshots of a gateway that does not reach all of its job stores."""

from collections.abc import Iterator

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer

from submodel.contract import wire
from submodel.contract.internal import EndpointRegistration, EndpointSnapshot, Snapshots, fingerprint
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


def of(known: Snapshots, *there: str) -> Snapshots:
    """The same from a gateway that tells which endpoints it knows."""
    return msgspec.structs.replace(known, known=sum(fingerprint(id, "e/1") for id in there))


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


async def test_everything_is_asked_for_when_the_gateway_knows_others_and_what_it_lost_is_pushed_again() -> None:
    said = iter(
        [
            of(snapshots("n.a", "n.b"), "n.a", "n.b"),
            of(snapshots("n.a"), "n.a"),
            of(snapshots("n.a"), "n.a"),
            of(snapshots(), "n.a"),
        ]
    )
    asked, news, pushed = list[str](), list[list[str]](), list[str]()

    async def register(request: web.Request) -> web.Response:
        pushed.append(request.match_info["id"])
        return web.Response()

    app = answering(said, asked)
    app.router.add_put("/internal/v1/endpoints/{id}", register)
    async with (
        TestServer(app) as server,
        GatewayClient(str(server.make_url("")).rstrip("/"), "token", Clock()) as client,
    ):
        for _ in range(4):
            changed: list[Key] = []
            await client._poll(changed.append)
            news.append(sorted(key.endpoint_id for key in changed))
            for id in ("n.a", "n.b"):
                await client.register(EndpointRegistration(endpoint_id=id, epoch="e", generation=1))
        assert client.signals("n.b") is None
    assert asked == ["0", "7", "0", "7"]
    assert news == [["n.a", "n.b"], ["n.a"], ["n.a", "n.b"], []]
    assert pushed == ["n.a", "n.b", "n.b"]
