"""The small memory of what was opened lately."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlock.core.recent import Recent


@given(st.integers(1, 4), st.lists(st.integers(0, 6), max_size=40))
def test_it_keeps_exactly_the_values_asked_for_last(size: int, asked: list[int]) -> None:
    recent = Recent[str](size)
    made: list[int] = []
    order: list[int] = []

    def make(key: int) -> str:
        made.append(key)
        return str(key)

    for key in asked:
        expected_to_make = key not in order
        made.clear()
        assert recent.get(key, lambda key=key: make(key)) == str(key)  # type: ignore[misc]
        assert made == ([key] if expected_to_make else [])
        order = [*(other for other in order if other != key), key][-size:]


def test_what_fails_to_be_made_is_tried_again() -> None:
    recent = Recent[str](2)

    def fail() -> str:
        raise LookupError

    with pytest.raises(LookupError):
        recent.get("key", fail)
    assert recent.get("key", lambda: "value") == "value"


def test_many_threads_get_their_own_values() -> None:
    recent = Recent[int](8)

    def ask(number: int) -> bool:
        return recent.get(number % 16, lambda: number % 16) == number % 16

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(4000)))
