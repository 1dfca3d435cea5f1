"""The list of promises and the tests that carry its ids agree, in both directions, and the page says the same."""

import re

import pytest

from tests.requirements import catalogue, page

PROMISES = catalogue.read()
MARKED = catalogue.marked()


def test_ids_are_unique_and_belong_to_a_group() -> None:
    ids = [promise.id for promise in PROMISES.promise]
    assert len(set(ids)) == len(ids)
    assert {promise.group for promise in PROMISES.promise} == PROMISES.groups.keys()
    assert not [id for id in ids if not re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)+", id)]


@pytest.mark.parametrize("promise", PROMISES.promise, ids=lambda promise: promise.id)
def test_a_promise_has_a_test_or_says_why_not(promise: catalogue.Promise) -> None:
    tests = MARKED.get(promise.id, [])
    excuses = [excuse for excuse in (promise.missing, promise.unproved) if excuse]
    assert len(excuses) == (0 if tests else 1), (tests, excuses)


def test_every_id_that_a_test_carries_is_a_promise() -> None:
    assert MARKED.keys() <= {promise.id for promise in PROMISES.promise}


@pytest.mark.parametrize("promise", PROMISES.promise, ids=lambda promise: promise.id)
def test_a_promise_is_whole_sentences(promise: catalogue.Promise) -> None:
    for words in (promise.says, promise.differs, promise.missing, promise.unproved):
        assert not words or words.endswith(".")
        assert "|" not in words


def test_the_page_is_what_the_list_says() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.text(PROMISES), "run `make manifests`"
