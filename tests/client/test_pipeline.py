"""`ordered_map`: order, bounds, errors in their turn."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfclient.pipeline import ordered_map


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=20), st.integers(1, 5), st.integers(1, 8))
def test_order_is_the_items_whatever_finishes_first(delays, threads, ahead):
    with ThreadPoolExecutor(threads) as pool:
        found = list(ordered_map(pool, lambda delay: (time.sleep(delay / 1000), delay)[1], delays, ahead))
    assert found == delays


def test_items_are_taken_lazily_and_bounded():
    taken = []
    released = threading.Event()
    with ThreadPoolExecutor(2) as pool:

        def items():
            for item in range(100):
                taken.append(item)
                yield item

        results = ordered_map(pool, lambda item: released.wait(5) and item, items(), ahead=6)
        threading.Timer(0.1, released.set).start()
        assert next(results) == 0
        assert len(taken) <= 6
        assert list(results) == list(range(1, 100))


def test_an_error_is_raised_in_its_turn_and_ends_the_rest():
    begun = []

    def work(item):
        begun.append(item)
        if item == 3:
            raise KeyError(item)
        return item

    with ThreadPoolExecutor(1) as pool:
        results = ordered_map(pool, work, range(1000), ahead=4)
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(KeyError):
            next(results)
    assert len(begun) < 10
