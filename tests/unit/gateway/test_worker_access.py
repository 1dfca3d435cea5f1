"""Workers that show the token of their pod: who is let in, who is asked about, and what holds while nobody answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from submodel.contract.internal import WorkerPool, WorkerPresence
from submodel_gateway.auth import verdicts
from submodel_gateway.auth.pods import Pod, Pools, claims, deployment_of
from submodel_gateway.errors import NotFound, Unauthorized, Unavailable
from submodel_gateway.metrics import table
from submodel_gateway.service import worker_access
from submodel_gateway.service.worker_access import AT_ONCE_OF_ONE, AWAY_MS
from tests.support.gateway_world import ENDPOINT, TOKEN, Worker, World, settle
from tests.support.pod_tokens import LIFE_SECONDS, Vouching, pod_token

POD = "app-r1-5d9c7b8f4c-abcde"
POOL = WorkerPool(revision="r1", namespace="ns", deployment="app-r1")


class Cluster(World):
    """A gateway whose workers are pods, and the API server that vouches for them."""

    def __init__(self) -> None:
        self.reviews = Vouching()
        super().__init__(reviewer=self.reviews)

    def token(self, pod: str = POD, *, good: bool = True, **fields: Any) -> str:
        text = pod_token(pod, **{"expires_at": self.clock.ms // 1_000 + LIFE_SECONDS, **fields})
        if good:
            self.reviews.known[text] = Pod(fields.get("namespace", "ns"), pod, f"uid-{pod}")
        return text

    async def lets_in(self, token: str, worker: str = POD, endpoint: str = ENDPOINT) -> None:
        await self.gateway.workers.authorize(endpoint, worker, token)


@asynccontextmanager
async def cluster() -> AsyncIterator[Cluster]:
    new = Cluster()
    await new.register(worker_pools=[POOL])
    other = WorkerPool(revision="r7", namespace="ns", deployment="other-r7")
    await new.register("ns.other", worker_tokens=[], worker_pools=[other])
    yield new
    await new.gateway.close()


async def test_a_worker_that_shows_its_pods_token_gets_jobs_and_has_the_revision_of_its_pool() -> None:
    async with cluster() as c:
        id = await c.submit()
        worker = Worker(c, POD, token=c.token())
        (job,) = await worker.take()
        assert job.id == id
        assert [(each.worker, each.revision) for each in (await view(c)).workers] == [(POD, "r1")]


async def view(c: Cluster) -> Any:
    snapshots = (await c.gateway.snapshots.read(0, None, 0, asyncio.get_running_loop().create_future())).endpoints
    return next(each for each in snapshots if each.endpoint_id == ENDPOINT)


async def test_tokens_of_images_of_others_let_in_as_before() -> None:
    async with cluster() as c:
        await c.lets_in(TOKEN)
        assert not c.reviews.asked


async def test_a_pod_of_another_endpoint_hears_the_same_as_of_an_endpoint_that_does_not_exist() -> None:
    async with cluster() as c:
        token = c.token("other-r7-5d9c7b8f4c-xyzzy")
        for endpoint in (ENDPOINT, "ns.nowhere"):
            with pytest.raises(NotFound, match=f"endpoint '{endpoint}' does not exist"):
                await c.lets_in(token, "other-r7-5d9c7b8f4c-xyzzy", endpoint)


async def test_a_pod_does_not_speak_for_another_one_of_its_endpoint() -> None:
    async with cluster() as c:
        with pytest.raises(NotFound):
            await c.lets_in(c.token(), worker="app-r1-5d9c7b8f4c-other")


@pytest.mark.parametrize(
    "fields",
    [
        {"good": False},
        {"good": False, "audience": "somebody-else"},
        {"good": False, "pod": "app-r2-5d9c7b8f4c-abcde"},
        {"good": False, "namespace": "elsewhere"},
        {"namespace": "elsewhere"},
        {"pod": "app-r2-5d9c7b8f4c-abcde"},
    ],
)
async def test_every_other_token_hears_what_an_unknown_one_hears(fields: dict[str, Any]) -> None:
    async with cluster() as c:
        with pytest.raises(Unauthorized) as unknown:
            await c.lets_in("unknown")
        with pytest.raises(Unauthorized) as other:
            await c.lets_in(c.token(**fields), fields.get("pod", POD))
        assert str(other.value) == str(unknown.value)


@pytest.mark.parametrize(
    "token",
    ["a.b.c", "..", "a.e30.c", "a.bnVsbA.c", "a.W10.c", "a.é.c", "x" * 9_000 + ".b.c", "a.eyJhdWQiOiAieCJ9.c"],
)
async def test_a_text_that_is_no_token_of_a_pod_is_refused_without_a_question(token: str) -> None:
    async with cluster() as c:
        with pytest.raises(Unauthorized):
            await c.lets_in(token)
        assert not c.reviews.asked


async def test_a_stranger_without_the_name_of_a_pool_cannot_make_the_gateway_ask() -> None:
    async with cluster() as c:
        for fields in ({"namespace": "elsewhere"}, {"pod": "app-r2-5d9c7b8f4c-abcde"}, {"audience": "other"}):
            with pytest.raises(Unauthorized):
                await c.lets_in(c.token(good=False, **fields))
        assert not c.reviews.asked


async def test_without_a_reviewer_no_pods_token_counts() -> None:
    world = World()
    await world.register(worker_pools=[POOL])
    with pytest.raises(Unauthorized):
        await world.gateway.workers.authorize(ENDPOINT, POD, pod_token(POD, expires_at=world.clock.ms // 1_000 + 60))
    await world.gateway.close()


async def test_a_token_is_asked_about_once_a_minute_however_many_requests_come() -> None:
    async with cluster() as c:
        token = c.token()
        await asyncio.gather(*(c.lets_in(token) for _ in range(5)))
        assert c.reviews.asked == [token]
        c.clock.ms += verdicts.FRESH_MS - 1
        await c.lets_in(token)
        assert c.reviews.asked == [token]
        c.clock.ms += 1
        await c.lets_in(token)
        assert c.reviews.asked == [token] * 2


async def test_while_the_operator_lists_the_pod_it_is_asked_about_more_rarely_and_at_once_when_it_has_left() -> None:
    async with cluster() as c:
        token = c.token()
        await c.lets_in(token)
        listed = [WorkerPresence(worker=POD, uid=f"uid-{POD}", revision="r1", phase="Running")]
        await c.gateway.registry.put_workers(ENDPOINT, listed, c.clock.ms)
        c.clock.ms += verdicts.LISTED_FRESH_MS - 1
        await c.lets_in(token)
        assert c.reviews.asked == [token]
        c.clock.ms += 1
        await c.lets_in(token)
        assert c.reviews.asked == [token] * 2
        c.clock.ms += verdicts.FRESH_MS
        await c.lets_in(token)
        assert c.reviews.asked == [token] * 2
        del c.reviews.known[token]
        await c.gateway.registry.put_workers(ENDPOINT, [], c.clock.ms)
        with pytest.raises(Unauthorized):
            await c.lets_in(token)


async def test_a_token_that_is_no_good_is_not_asked_about_each_time_either() -> None:
    async with cluster() as c:
        for expires_at in (c.clock.ms // 1_000 + 60, c.clock.ms // 1_000 - 60):
            token = c.token(good=False, expires_at=expires_at)
            for _ in range(3):
                with pytest.raises(Unauthorized):
                    await c.lets_in(token)
            assert c.reviews.asked.count(token) == 1
        c.clock.ms += verdicts.REFUSED_MS
        c.reviews.known[token] = Pod("ns", POD, f"uid-{POD}")
        await c.lets_in(token)


async def test_the_token_of_a_deleted_pod_lets_in_for_a_minute_at_most() -> None:
    async with cluster() as c:
        token = c.token()
        await c.lets_in(token)
        del c.reviews.known[token]
        c.clock.ms += verdicts.FRESH_MS
        with pytest.raises(Unauthorized):
            await c.lets_in(token)


async def test_a_renewed_token_of_the_same_pod_lets_in_and_so_does_the_one_before() -> None:
    async with cluster() as c:
        before, after = c.token(salt=1), c.token(salt=2)
        worker = Worker(c, POD, token=before)
        await worker.say()
        worker.token = after
        assert not (await worker.say()).drain
        worker.token = before
        assert not (await worker.say()).drain


async def test_while_the_api_server_is_away_tokens_that_it_accepted_count_until_they_expire() -> None:
    async with cluster() as c:
        token = c.token()
        await c.lets_in(token)
        c.reviews.away = True
        c.clock.ms += 600_000
        await c.lets_in(token)
        c.clock.ms += LIFE_SECONDS * 1_000
        with pytest.raises(Unavailable, match="cannot be checked while the API server is away"):
            await c.lets_in(token)


async def test_a_new_worker_is_asked_to_come_back_while_the_api_server_is_away_and_never_refused() -> None:
    async with cluster() as c:
        c.reviews.away = True
        token = c.token()
        with pytest.raises(Unavailable):
            await c.lets_in(token)
        c.reviews.away = False
        c.clock.ms += AWAY_MS
        await c.lets_in(token)


async def test_requests_do_not_wait_for_an_absent_api_server_one_after_the_other() -> None:
    async with cluster() as c:
        c.reviews.away = True
        for salt in range(20):
            with pytest.raises(Unavailable):
                await c.lets_in(c.token(salt=salt))
        assert len(c.reviews.asked) == 1


async def test_a_caller_that_goes_away_does_not_take_the_answer_from_the_others() -> None:
    async with cluster() as c:
        token = c.token()
        first, second = (asyncio.ensure_future(c.lets_in(token)) for _ in range(2))
        await settle(1)
        first.cancel()
        await second
        assert c.reviews.asked == [token]


async def test_the_operators_list_speaks_against_a_pod_only_when_it_names_another_one() -> None:
    async with cluster() as c:
        token = c.token()
        await c.gateway.registry.put_workers(ENDPOINT, [], c.clock.ms)
        await c.lets_in(token)
        same = WorkerPresence(worker=POD, uid=f"uid-{POD}", revision="r1", phase="Running")
        await c.gateway.registry.put_workers(ENDPOINT, [same], c.clock.ms)
        await c.lets_in(token)
        another = WorkerPresence(worker=POD, uid="another", revision="r1", phase="Running")
        await c.gateway.registry.put_workers(ENDPOINT, [another], c.clock.ms)
        with pytest.raises(Unauthorized):
            await c.lets_in(token)


async def test_workers_of_a_pool_that_is_no_more_are_out_and_their_sessions_end() -> None:
    async with cluster() as c:
        token = c.token()
        worker = Worker(c, POD, token=token)
        await worker.say()
        await c.register(generation=2, worker_tokens=[], worker_pools=[])
        with pytest.raises(Unauthorized):
            await worker.say()
        assert all(session.gone for session in c.gateway.endpoints.get(ENDPOINT).sessions.values())


async def test_a_deleted_endpoint_lets_no_pod_in() -> None:
    async with cluster() as c:
        token = c.token()
        await c.lets_in(token)
        await c.gateway.registry.delete(ENDPOINT)
        with pytest.raises(Unauthorized):
            await c.lets_in(token)


async def test_what_became_of_questions_is_counted() -> None:
    async with cluster() as c:
        await c.lets_in(c.token())
        with pytest.raises(Unauthorized):
            await c.lets_in(c.token(good=False, salt=1))
        c.reviews.away = True
        with pytest.raises(Unavailable):
            await c.lets_in(c.token(salt=2))
        outcomes = {("accepted",): 1, ("refused",): 1, ("unanswered",): 1}
        assert c.gateway.measures.counts[table.REVIEWS] == outcomes


def test_no_more_verdicts_are_kept_than_there_is_room_for() -> None:
    kept = verdicts.Verdicts()
    for number in range(verdicts.KEPT_MAX + 5):
        kept.note(number.to_bytes(4, "big"), verdicts.Verdict(None, judged_at=number, expires_at=0))
    assert len(kept) == verdicts.KEPT_MAX
    assert kept.fresh((4).to_bytes(4, "big"), 10, lambda pod: False) is None
    assert kept.fresh((5).to_bytes(4, "big"), 10, lambda pod: False) is not None


def test_made_up_tokens_push_no_good_one_out() -> None:
    kept, pod = verdicts.Verdicts(), Pod("ns", POD, "uid")
    kept.note(b"good", verdicts.Verdict(pod, judged_at=0, expires_at=99))
    for number in range(verdicts.KEPT_MAX + 5):
        kept.note(number.to_bytes(4, "big"), verdicts.Verdict(None, judged_at=1, expires_at=99))
    assert kept.accepted(b"good", 1) == pod


async def test_made_up_tokens_of_one_endpoint_keep_no_worker_of_another_one_waiting() -> None:
    async with cluster() as c, flood(c, 100) as asked:
        other = "other-r7-5d9c7b8f4c-xyzzy"
        async with asyncio.timeout(20):
            await c.lets_in(c.token(other), other, "ns.other")
        assert len(c.reviews.asked) == AT_ONCE_OF_ONE + 1
        assert not any(each.done() for each in asked)


async def test_questions_that_wait_are_bounded_and_those_beyond_are_told_to_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_access, "OPEN_MAX", 8)
    async with cluster() as c, flood(c, 10) as asked:
        refused = [each.exception() for each in asked if each.done()]
        assert [type(each) for each in refused] == [Unavailable, Unavailable]


async def test_made_up_tokens_of_one_endpoint_leave_room_for_the_questions_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_access, "OPEN_MAX", 8)
    monkeypatch.setattr(worker_access, "OPEN_MAX_OF_ONE", 4)
    async with cluster() as c, flood(c, 10) as asked:
        other = "other-r7-5d9c7b8f4c-xyzzy"
        await c.lets_in(c.token(other), other, "ns.other")
        refused = [each.exception() for each in asked if each.done()]
        assert [type(each) for each in refused] == [Unavailable] * 6
        c.reviews.released.set()
        await asyncio.gather(*asked, return_exceptions=True)
        await c.lets_in(c.token(salt=10))


@asynccontextmanager
async def flood(c: Cluster, count: int) -> AsyncIterator[list["asyncio.Task[None]"]]:
    """So many made-up tokens of one endpoint, about which the API server thinks for long."""
    tokens = [c.token(good=False, salt=salt) for salt in range(count)]
    c.reviews.slow.update(tokens)
    asked = [asyncio.create_task(c.lets_in(token)) for token in tokens]
    await settle()
    yield asked
    c.reviews.released.set()
    await asyncio.gather(*asked, return_exceptions=True)


@pytest.mark.parametrize("deployment", ["app-r1", "a-b-c-0123456789", "n" * 45 + "-0123456789"])
@pytest.mark.parametrize("template_hash", ["5", "5d9c7b8f4c"])
def test_a_pods_name_leads_to_its_deployment_also_where_the_api_server_shortens_it(
    deployment: str, template_hash: str
) -> None:
    generated = f"{deployment}-{template_hash}-"[:58] + "abcde"
    assert deployment_of(generated) == deployment


def test_an_endpoint_named_like_a_pool_of_another_keeps_its_pods() -> None:
    pools = Pools()
    pools.put("ns.a", [("ns", "a-r1", "r1")])
    pools.put("ns.a-r1", [("ns", "a-r1-q9", "q9")])
    found = [pools.find("ns", pod) for pod in ("a-r1-5d9c-abcde", "a-r1-q9-5d9c-abcde", "a-r1", "", "abcde")]
    assert [each and each.endpoint for each in found] == ["ns.a", "ns.a-r1", None, None, None]
    pools.remove("ns.a")
    assert pools.find("ns", "a-r1-5d9c-abcde") is None
    assert pools.find("ns", "a-r1-q9-5d9c-abcde") is not None


def test_what_a_token_claims_is_read_from_it() -> None:
    found = claims(pod_token("p", namespace="n", audience="a", expires_at=17))
    assert found is not None
    assert (found.namespace, found.pod, found.audiences, found.expires_at_ms) == ("n", "p", ("a",), 17_000)
