"""GetRandomPassword: every flag, what cannot be had, and that the drawing is fair."""

from __future__ import annotations

import random
import string
from collections import Counter
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlock.core.drawing import draw_index, draw_text, shuffled
from turnlock.core.ports import SystemEntropy
from turnlock.errors import InvalidParameterException
from turnlock.secrets.values.password import random_password

TYPES = {
    "ExcludeLowercase": string.ascii_lowercase,
    "ExcludeUppercase": string.ascii_uppercase,
    "ExcludeNumbers": string.digits,
    "ExcludePunctuation": "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
}


class SeededEntropy:
    """Repeatable bytes."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)

    def bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)


def password(**request: Any) -> str:
    return random_password(request, SystemEntropy())


def test_by_default_it_has_32_characters_of_all_four_types_and_no_space() -> None:
    for _ in range(50):
        made = password()
        assert len(made) == 32
        assert " " not in made
        for alphabet in TYPES.values():
            assert set(made) & set(alphabet)


@pytest.mark.parametrize("flags", list(product([False, True], repeat=4)))
def test_excluded_types_do_not_occur_and_included_ones_each_do(flags: tuple[bool, ...]) -> None:
    request = dict(zip(TYPES, flags, strict=True))
    if all(flags):
        with pytest.raises(InvalidParameterException, match="every character is excluded"):
            password(**request)
        return
    for _ in range(10):
        made = set(password(PasswordLength=12, **request))
        for flag, alphabet in TYPES.items():
            assert bool(made & set(alphabet)) is not request[flag]


@given(
    length=st.integers(1, 64),
    flags=st.tuples(*[st.booleans()] * 4),
    space=st.booleans(),
    excluded=st.text(st.sampled_from(string.ascii_letters + string.digits + " !#é"), max_size=80),
    each=st.booleans(),
)
def test_any_request_is_met_or_refused_as_plain_words_say(
    length: int, flags: tuple[bool, ...], space: bool, excluded: str, each: bool
) -> None:
    request = {
        **dict(zip(TYPES, flags, strict=True)),
        "PasswordLength": length,
        "IncludeSpace": space,
        "ExcludeCharacters": excluded,
        "RequireEachIncludedType": each,
    }
    left = [
        set(alphabet) - set(excluded)
        for flag, alphabet in TYPES.items()
        if not request[flag] and set(alphabet) - set(excluded)
    ]
    pool = set().union(*left) | ({" "} if space and " " not in excluded else set())
    if not pool or (each and length < len(left)):
        with pytest.raises(InvalidParameterException):
            password(**request)
        return
    made = password(**request)
    assert len(made) == length
    assert set(made) <= pool
    if each:
        assert all(set(made) & alphabet for alphabet in left)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_length_that_cannot_hold_every_type_is_refused_unless_it_need_not(length: int) -> None:
    with pytest.raises(InvalidParameterException, match=f"Password length {length} is too short"):
        password(PasswordLength=length)
    assert len(password(PasswordLength=length, RequireEachIncludedType=False)) == length
    assert len(password(PasswordLength=4)) == 4


def test_the_longest_is_4096() -> None:
    assert len(password(PasswordLength=4096)) == 4096


def test_space_is_drawn_only_when_asked_for_and_may_be_all_there_is() -> None:
    assert " " in password(PasswordLength=4096, IncludeSpace=True)
    flags = dict.fromkeys(TYPES, True)
    assert password(PasswordLength=5, IncludeSpace=True, **flags) == "     "
    with pytest.raises(InvalidParameterException):
        password(IncludeSpace=True, ExcludeCharacters=" ", **flags)


def chi_square(counts: Counter[Any], cells: int, total: int) -> float:
    expected = total / cells
    return sum((counts[key] - expected) ** 2 / expected for key in counts) + expected * (cells - len(counts))


def test_every_character_is_as_likely_as_another() -> None:
    """94 equally likely characters: chi-square with 93 degrees is above 160 once in more than 10^5 runs."""
    entropy = SeededEntropy()
    total = 47_000
    counts = Counter(
        random_password({"PasswordLength": 4_700, "RequireEachIncludedType": False}, entropy)
        for _ in range(total // 4_700)
    )
    characters: Counter[Any] = Counter()
    for text in counts:
        characters.update(text)
    assert chi_square(characters, 94, total) < 160


def test_required_characters_may_stand_anywhere() -> None:
    """Of four characters, one of each type: every order is as likely (24 cells; 23 degrees, limit far out)."""
    entropy = SeededEntropy()
    kinds = {character: number for number, alphabet in enumerate(TYPES.values()) for character in alphabet}
    total = 2_400
    orders = Counter(
        tuple(kinds[character] for character in random_password({"PasswordLength": 4}, entropy))
        for _ in range(total)
    )
    assert len(orders) == 24
    assert chi_square(orders, 24, total) < 65


@pytest.mark.parametrize("below", [1, 2, 3, 10, 94, 255, 256, 257, 65_535, 65_536])
def test_an_index_is_always_inside_its_range(below: int) -> None:
    entropy = SeededEntropy(below)
    drawn = [draw_index(entropy, below) for _ in range(300)]
    assert min(drawn) >= 0
    assert max(drawn) < below


def test_bytes_that_would_favour_the_first_indices_are_thrown_away() -> None:
    class Scripted:
        def __init__(self, *values: int) -> None:
            self._values = iter(values)

        def bytes(self, count: int) -> bytes:
            return next(self._values).to_bytes(count)

    # 65536 = 17 * 3855 + 1: the one value beyond is drawn again.
    assert draw_index(Scripted(65_535, 4), 17) == 4
    assert draw_index(Scripted(65_534), 17) == 65_534 % 17


def test_indices_are_fair() -> None:
    entropy = SeededEntropy(7)
    counts = Counter(draw_index(entropy, 10) for _ in range(20_000))
    assert chi_square(counts, 10, 20_000) < 40


@given(text=st.text(max_size=20))
def test_shuffling_keeps_the_characters(text: str) -> None:
    assert sorted(shuffled(SystemEntropy(), text)) == sorted(text)


def test_text_is_drawn_from_its_alphabet_only() -> None:
    drawn = draw_text(SystemEntropy(), "abc", 200)
    assert len(drawn) == 200
    assert set(drawn) == {"a", "b", "c"}
    assert draw_text(SystemEntropy(), "abc", 0) == ""
