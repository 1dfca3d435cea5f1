"""Lists of an endpoint's jobs, page by page."""

from submodel.contract.states import JobState
from submodel_gateway.store import base
from submodel_gateway.store.base import Store
from tests.support.store_calls import NOW, applied, one, running, swept, taken
from tests.support.store_operations import ENDPOINT, RETENTION_MS, cancel, finish, retry, submit, take

QUEUED, CANCELLED = JobState.IN_QUEUE, JobState.CANCELLED


async def pages(store: Store, limit: int, *states: JobState) -> list[list[str]]:
    """Ids of all pages."""
    found: list[list[str]] = []
    before: int | None = None
    while True:
        page = await store.requests(ENDPOINT, before, limit, states)
        assert len(page.jobs) <= limit
        found.append([job.id for job in page.jobs])
        if page.next is None:
            return found
        assert before is None or page.next < before
        before = page.next


async def test_an_empty_endpoint_has_one_empty_page(store: Store) -> None:
    assert await store.requests(ENDPOINT, None, 10) == base.Page((), None)


async def test_jobs_are_listed_the_newest_first(store: Store) -> None:
    store.apply([submit(id, pri=number) for number, id in enumerate("abcde")], NOW)
    applied(store, submit("x", endpoint="other"))
    assert await pages(store, 2) == [["e", "d"], ["c", "b"], ["a"]]
    assert await pages(store, 5) == [["e", "d", "c", "b", "a"]]
    assert await pages(store, 1) == [["e"], ["d"], ["c"], ["b"], ["a"]]


async def test_a_page_holds_whole_records(store: Store) -> None:
    job = running(store, pri=1, webhook="https://example.com")
    assert (await store.requests(ENDPOINT, None, 10)).jobs == (job,)


async def test_pages_can_be_of_some_states_only(store: Store) -> None:
    store.apply([submit(id) for id in "abcde"], NOW)
    (held,) = taken(store)
    for id in "bd":
        one(store, base.Cancel(endpoint=ENDPOINT, id=id))
    assert await pages(store, 2, QUEUED) == [["e", "c"]]
    assert await pages(store, 1, CANCELLED) == [["d"], ["b"]]
    assert await pages(store, 9, CANCELLED, JobState.IN_PROGRESS) == [["d", "b", held.id]]
    assert await pages(store, 9, JobState.COMPLETED) == [[]]


async def test_a_page_after_changes_goes_on_where_the_last_one_ended(store: Store) -> None:
    store.apply([submit(id) for id in "abcd"], NOW)
    first = await store.requests(ENDPOINT, None, 2)
    applied(store, submit("e"))
    one(store, cancel(first.jobs[0]))
    second = await store.requests(ENDPOINT, first.next, 2)
    assert [job.id for job in second.jobs] == ["b", "a"]
    assert second.next is None


async def test_a_retried_job_is_listed_as_a_new_one(store: Store) -> None:
    failed = applied(store, finish(running(store), error="boom"))
    applied(store, submit("b"))
    assert await pages(store, 9) == [["b", "a"]]
    applied(store, retry(failed))
    assert await pages(store, 9) == [["a", "b"]]


async def test_forgotten_jobs_are_not_listed(store: Store) -> None:
    applied(store, finish(running(store)))
    applied(store, submit("b"))
    swept(store, NOW + RETENTION_MS)
    assert await pages(store, 9) == [["b"]]


async def test_a_page_looks_at_so_many_jobs_and_may_be_short_or_empty(store: Store) -> None:
    extra = 5
    ids = [f"job-{number:04d}" for number in range(base.SCAN_MAX + extra)]
    store.apply([submit(id) for id in ids], NOW)
    oldest = taken(store, take(limit=extra))
    assert [job.id for job in oldest] == ids[:extra]
    running_pages = await pages(store, 3, JobState.IN_PROGRESS)
    assert running_pages == [[], ids[2:extra][::-1], ids[:2][::-1]]
    first = await store.requests(ENDPOINT, None, 3, [JobState.IN_PROGRESS])
    assert first.jobs == ()
    assert first.next is not None
    one(store, cancel(oldest[-1]))
    one(store, base.Cancel(endpoint=ENDPOINT, id=ids[-1]))
    assert await pages(store, 3, CANCELLED) == [[ids[-1]], [ids[extra - 1]]]


async def test_a_page_that_is_full_where_the_look_ends_leads_on(store: Store) -> None:
    ids = [f"job-{number:04d}" for number in range(base.SCAN_MAX + 1)]
    store.apply([submit(id) for id in ids], NOW)
    page = await store.requests(ENDPOINT, None, base.SCAN_MAX)
    assert len(page.jobs) == base.SCAN_MAX
    assert page.next == page.jobs[-1].seq
    rest = await store.requests(ENDPOINT, page.next, base.SCAN_MAX)
    assert ([job.id for job in rest.jobs], rest.next) == (ids[:1], None)
