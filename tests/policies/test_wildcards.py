"""Wildcards against a naive recursive matcher, and their time."""

from __future__ import annotations

import time
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlock.policies.wildcards import Part, Wild, compile_parts, matches


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


HOSTILE = [
    "*a" * 500 + "a",
    "?*" * 500 + "a",
    "*" * 2000 + "a",
    "a*" * 900 + "a",
    "*" + "a" * 900 + "a",
    "*" + "?" * 900 + "a",
    "*" + "a?" * 400 + "c?*",
    "*a*a?a*" * 250 + "a",
]


@pytest.mark.parametrize("pattern", HOSTILE, ids=range(len(HOSTILE)))
def test_patterns_made_to_be_slow_are_not(pattern: str) -> None:
    """Every text in these patterns occurs in the text, so that no short way settles them.

    Twice the text takes about twice the time, whatever the pattern; a matcher that tries again takes four times or more.
    """

    def spent(length: int) -> float:
        text = "a" * length + "c"
        began = time.thread_time()
        for _ in range(5):
            assert not matches(pattern, text)
        return time.thread_time() - began

    matches(pattern, "warm")
    short, long = min(spent(4_000) for _ in range(3)), min(spent(8_000) for _ in range(3))
    assert long < 3.2 * short + 0.01
    assert long < 2.0


def test_the_longest_policy_with_the_longest_pattern_is_decided_quickly() -> None:
    pattern = "*a?" * 6_800
    began = time.thread_time()
    matches(pattern, "a" * 2_048)
    assert time.thread_time() - began < 2.0


@given(st.text("ab:*?", max_size=12), st.text("ab:", max_size=12))
def test_wildcards_that_stay_in_their_segment_match_no_colon(pattern: str, text: str) -> None:
    inside: dict[str, Part] = {"*": Wild.MANY_INSIDE, "?": Wild.ONE_INSIDE}
    matcher = compile_parts([inside.get(character, character) for character in pattern])
    patterns, texts = pattern.split(":"), text.split(":")
    expected = len(patterns) == len(texts) and all(map(naive, patterns, texts))
    assert matcher(text) == expected
