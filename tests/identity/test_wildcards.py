"""Wildcards against a naive recursive matcher, and their time."""

from __future__ import annotations

import time
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlock.identity.wildcards import matches


@cache
def naive(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return naive(pattern[1:], text) or (bool(text) and naive(pattern, text[1:]))
    return bool(text) and pattern[0] in ("?", text[0]) and naive(pattern[1:], text[1:])


@given(st.text("ab*?", max_size=10), st.text("ab", max_size=10))
def test_they_match_what_the_naive_matcher_matches(pattern: str, text: str) -> None:
    assert matches(pattern, text) == naive(pattern, text)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("*", "", True),
        ("?", "", False),
        ("secretsmanager:*", "secretsmanager:PutResourcePolicy", True),
        ("secretsmanager:Get*", "secretsmanager:PutResourcePolicy", False),
        ("a.c", "abc", False),
        ("[a]", "a", False),
        ("a\n*", "a\nb", True),
    ],
)
def test_nothing_but_the_two_wildcards_is_special(pattern: str, text: str, expected: bool) -> None:
    assert matches(pattern, text) == expected


def test_patterns_made_to_be_slow_are_not() -> None:
    began = time.process_time()
    for pattern in ("*a" * 500 + "b", "?*" * 500 + "b", "*" * 2000 + "b"):
        assert not matches(pattern, "a" * 2000)
    assert time.process_time() - began < 2.0
