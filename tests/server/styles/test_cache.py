"""The cache of style vectors."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from stylewire_server.styles.vectors import StyleCache, fingerprint_of_blend


def test_a_hundred_callers_at_once_compute_once() -> None:
    cache = StyleCache(1 << 20)
    barrier = threading.Barrier(100)
    go = threading.Event()
    calls = []

    def compute() -> np.ndarray:
        calls.append(1)
        go.wait()
        return np.ones(4, np.float32)

    def get(_: int) -> tuple[np.ndarray, bool]:
        if barrier.wait() == 0:
            threading.Timer(0.1, go.set).start()
        return cache.get("wave", compute)

    with ThreadPoolExecutor(100) as threads:
        results = list(threads.map(get, range(100)))
    assert len(calls) == 1
    assert all(vector is results[0][0] for vector, _ in results)
    assert cache.hits + cache.misses == 100
    assert cache.get("wave", compute)[1] is True


def test_an_error_is_of_the_one_that_made_it_and_is_not_kept() -> None:
    cache = StyleCache(1 << 20)
    barrier = threading.Barrier(8)
    failing = threading.Event()

    def get(number: int) -> str:
        def fail() -> np.ndarray:
            failing.wait(0.2)
            raise ValueError(f"styles[{number}] is broken")

        barrier.wait()
        try:
            cache.get("wave", fail)
        except ValueError as error:
            return str(error)
        return "none"

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(get, range(8))) == [f"styles[{number}] is broken" for number in range(8)]
    vector, cached = cache.get("wave", lambda: np.ones(1))
    assert not cached
    assert vector[0] == 1


def test_bytes_are_bounded_and_the_oldest_goes_first() -> None:
    cache = StyleCache(3 * 400)
    computed = []

    def want(key: str) -> None:
        cache.get(key, lambda: computed.append(key) or np.zeros(100, np.float32))

    for key in ("a", "b", "c", "a", "d", "a", "b"):
        want(key)
    # When d came, b was the least recently used.
    assert computed == ["a", "b", "c", "d", "b"]


def test_a_cache_of_no_bytes_keeps_nothing() -> None:
    cache = StyleCache(0)
    for _ in range(3):
        cache.get("a", lambda: np.zeros(1, np.float32))
    assert (cache.hits, cache.misses) == (0, 3)


@pytest.mark.parametrize(("weights", "others"), [([1, 2], [2, 4]), ([0.5, 0.5], [3, 3])])
def test_a_blends_fingerprint_goes_by_shares(weights: list[float], others: list[float]) -> None:
    assert fingerprint_of_blend(["a", "b"], weights) == fingerprint_of_blend(["a", "b"], others)
    assert fingerprint_of_blend(["a", "b"], weights) == fingerprint_of_blend(["b", "a"], weights[::-1])
    assert fingerprint_of_blend(["a", "b"], [1, 3]) != fingerprint_of_blend(["a", "b"], [3, 1])
    assert fingerprint_of_blend(["a"], [7]) == "a"
