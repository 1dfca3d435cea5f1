"""The caches: newest version wins, whatever the order in which events, lists and answers arrive."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from submodel_operator.kube.caches import Cache, Caches, EndpointCache, PoolCache, is_newer
from submodel_operator.kube.objects import EndpointView, endpoint_view
from submodel_operator.kube.resources import DEPLOYMENTS, ENDPOINTS
from submodel_operator.ports import Key

KEY = Key("team-a", "tokens")


def endpoint(version: int, uid: str = "u1", generation: int = 1, name: str = "tokens") -> dict[str, Any]:
    metadata = {"namespace": "team-a", "name": name, "uid": uid, "generation": generation}
    metadata |= {"resourceVersion": str(version), "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"metadata": metadata, "spec": {}}


def claimant(name: str, created_at: str, wanted_id: str = "speech", version: int = 7) -> dict[str, Any]:
    raw = endpoint(version, uid=f"u-{name}", name=name)
    return {"metadata": {**raw["metadata"], "creationTimestamp": created_at}, "spec": {"endpointId": wanted_id}}


def deployment(version: int, replicas: int, hash_: str = "h", uid: str = "d1") -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "team-a",
            "name": "tokens-r1",
            "uid": uid,
            "resourceVersion": str(version),
            "labels": {"serverless.submodel.ai/endpoint": "tokens"},
            "annotations": {"serverless.submodel.ai/desired-hash": hash_},
        },
        "spec": {"replicas": replicas},
    }


def test_of_endpoints_that_ask_for_one_id_the_oldest_has_it_until_it_is_gone() -> None:
    cache = EndpointCache()
    older, younger = claimant("b", "2026-01-01T00:00:00Z"), claimant("a", "2026-01-02T00:00:00Z")
    cache.put(younger)
    assert cache.holder("speech") == Key("team-a", "a")
    cache.put(older)
    assert cache.holder("speech") == Key("team-a", "b")
    cache.remove(older)
    assert cache.holder("speech") == Key("team-a", "a")
    cache.remove(younger)
    assert cache.holder("speech") is None


def test_an_endpoint_that_asks_for_another_id_frees_the_one_before() -> None:
    cache = EndpointCache()
    cache.put(claimant("a", "2026-01-01T00:00:00Z"))
    cache.put(claimant("a", "2026-01-01T00:00:00Z", wanted_id="text", version=8))
    assert (cache.holder("speech"), cache.holder("text")) == (None, Key("team-a", "a"))


def endpoints() -> Cache[EndpointView]:
    return Cache(endpoint_view)


def test_an_event_that_is_not_newer_than_an_own_write_brings_no_news() -> None:
    cache = endpoints()
    assert cache.put(endpoint(7, generation=2)) == KEY
    assert cache.put(endpoint(7, generation=2)) is None
    assert cache.put(endpoint(6)) is None
    held = cache.get(*KEY)
    assert held is not None
    assert held.generation == 2


def test_a_new_version_of_the_same_content_brings_no_news_but_is_held() -> None:
    cache = endpoints()
    cache.put(endpoint(7))
    assert cache.put(endpoint(8)) is None
    assert cache.versions() == {KEY: "8"}


def test_the_answer_to_a_write_does_not_bring_a_deleted_object_back() -> None:
    cache = endpoints()
    cache.put(endpoint(7))
    assert cache.remove(endpoint(8)) == KEY
    assert cache.put(endpoint(9)) is None
    assert cache.get(*KEY) is None
    assert list(cache.owners()) == []


def test_the_late_news_of_a_deletion_does_not_touch_the_namesake_that_came_after() -> None:
    cache = endpoints()
    cache.put(endpoint(9, uid="u2"))
    assert cache.remove(endpoint(8, uid="u1")) is None
    assert cache.get(*KEY) is not None


@given(st.permutations([endpoint(version, generation=version) for version in range(5, 12)]))
def test_in_any_order_the_newest_version_stays(events: list[dict[str, Any]]) -> None:
    cache = endpoints()
    for event in events:
        cache.put(event)
    held = cache.get(*KEY)
    assert held is not None
    assert held.generation == 11


def test_a_list_removes_what_vanished_unseen_and_nothing_that_came_meanwhile() -> None:
    cache = endpoints()
    cache.put(endpoint(5, uid="gone", name="gone"))
    cache.put(endpoint(5, uid="changed", name="changed"))
    before = cache.versions()
    cache.put(endpoint(9, uid="changed", name="changed"))
    cache.put(endpoint(9, uid="new", name="new"))
    assert cache.sweep(listed=set(), before=before) == {Key("team-a", "gone")}
    assert set(cache.owners()) == {Key("team-a", "changed"), Key("team-a", "new")}


def test_a_list_is_believed_over_a_higher_version_from_before_a_restore() -> None:
    cache = endpoints()
    cache.put(endpoint(900, generation=9))
    assert cache.put_listed(endpoint(40, generation=4), cache.versions()) == KEY
    held = cache.get(*KEY)
    assert held is not None
    assert (held.version, held.generation) == ("40", 4)


def test_a_list_is_not_believed_over_what_changed_after_it_began() -> None:
    cache = endpoints()
    cache.put(endpoint(5))
    before = cache.versions()
    cache.put(endpoint(9, generation=2))
    assert cache.put_listed(endpoint(5), before) is None
    held = cache.get(*KEY)
    assert held is not None
    assert held.generation == 2


def test_events_from_before_a_scale_write_keep_its_count_and_bring_their_other_news() -> None:
    cache = PoolCache()
    cache.put(deployment(5, replicas=0))
    held = cache.get("team-a", "tokens-r1")
    assert held is not None
    cache.scaled(held, "8", 3)
    assert replicas(cache) == 3
    assert cache.put(deployment(6, replicas=0, hash_="new")) == KEY
    assert replicas(cache) == 3
    cache.put(deployment(9, replicas=1))
    assert replicas(cache) == 1


def replicas(cache: PoolCache) -> int:
    held = cache.get("team-a", "tokens-r1")
    assert held is not None
    return held.observed.replicas


def test_an_object_that_moves_to_another_endpoint_is_found_there_alone() -> None:
    cache = PoolCache()
    cache.put(deployment(5, replicas=0))
    moved = deployment(6, replicas=0)
    moved["metadata"]["labels"] = {"serverless.submodel.ai/endpoint": "other"}
    cache.put(moved)
    assert list(cache.of(KEY)) == []
    assert [view.name for view in cache.of(Key("team-a", "other"))] == ["tokens-r1"]


def test_events_are_taken_by_kind() -> None:
    caches = Caches()
    assert caches.take_event(ENDPOINTS, None, endpoint(1)) == KEY
    assert caches.take_event(DEPLOYMENTS, "ADDED", deployment(2, replicas=0)) == KEY
    assert caches.take_event(DEPLOYMENTS, "DELETED", deployment(3, replicas=0)) == KEY
    assert caches.take_event(ENDPOINTS, "MODIFIED", endpoint(1)) is None


def test_versions_are_compared_as_numbers_and_else_as_texts() -> None:
    assert is_newer("10", "9")
    assert not is_newer("9", "10")
    assert not is_newer("9", "9")
    assert is_newer("b", "a")
    assert not is_newer("a", "a")
