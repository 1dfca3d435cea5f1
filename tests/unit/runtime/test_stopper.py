"""When a handler may be interrupted, and when that has to wait."""

import threading

import pytest

from submodel.errors import TimeLimitExceeded
from submodel.serverless.stopper import undisturbed


def test_an_interruption_waits_for_the_end_of_the_runtimes_own_code_and_is_raised_once() -> None:
    assert not undisturbed.postpones()
    with pytest.raises(TimeLimitExceeded), undisturbed:
        assert undisturbed.postpones()
    with undisturbed:
        pass
    assert not undisturbed.postpones()


def test_an_interruption_is_not_left_over_by_an_error_of_the_runtimes_own_code() -> None:
    def fail() -> None:
        with undisturbed:
            undisturbed.postpones()
            raise LookupError

    with pytest.raises(TimeLimitExceeded):
        fail()
    with undisturbed:
        pass


def test_what_another_thread_does_postpones_nothing_in_the_main_thread() -> None:
    inside, over = threading.Event(), threading.Event()

    def tell() -> None:
        with undisturbed:
            inside.set()
            over.wait()

    thread = threading.Thread(target=tell)
    thread.start()
    inside.wait()
    assert not undisturbed.postpones()
    over.set()
    thread.join()
