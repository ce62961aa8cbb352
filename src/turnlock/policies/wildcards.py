"""Matching texts against patterns of `*` (any characters) and `?` (one character), without a regular expression.

All places of a text that a pattern can have reached are the bits of one number. Each character or wildcard of the pattern is
a few operations on that number, and there is nothing to go back to. What is reached moves right with each character, so that
a pattern takes at most as many steps as it has characters, and about as many as the text has. What begins or ends a pattern
without wildcards is compared outright, which settles most comparisons.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from typing import Final

from turnlock.core.work import Work


class Wild(Enum):
    """What a wildcard stands for."""

    ONE = "?"
    """Any one character."""
    MANY = "*"
    """Any characters, or none."""
    ONE_INSIDE = "?:"
    """Any one character but the colon that ends a segment of an ARN."""
    MANY_INSIDE = "*:"
    """Any characters but the colon, or none."""


Part = str | Wild
"""A piece of a pattern: characters that stand for themselves, or a wildcard."""

_MANY: Final = (Wild.MANY, Wild.MANY_INSIDE)

_BITS: Final = 1024
"""Bits of a number on which an operation takes about one unit of work."""

_SHORT: Final = 4096
"""Product of two lengths up to which one text is looked for in the other at no charge: a microsecond at most."""


class Matcher:
    """Tells whether a whole text is one that a pattern stands for; case counts."""

    __slots__ = ("_longest", "_prefix", "_steps", "_suffix", "_wild")

    def __init__(self, joined: Sequence[Part]) -> None:
        """`joined` has no two texts and no two stars beside each other: see `compile_parts`, `compile_glob`."""
        first = joined[0] if joined else ""
        self._prefix = first if isinstance(first, str) else ""
        self._wild = joined[1:] if self._prefix else joined
        self._steps = -1

    def _measure(self) -> None:
        """Find, once, what the first text that is not settled by the pattern's beginning has to be compared with."""
        last = self._wild[-1]
        self._suffix = last if isinstance(last, str) else ""
        texts = [part for part in self._wild if isinstance(part, str)]
        self._longest = max(texts, key=len, default="")
        self._steps = sum(map(len, texts)) + len(self._wild) - len(texts)

    def __call__(self, text: str, work: Work | None = None) -> bool:
        """Tell whether the pattern stands for the text. Raises WorkSpent where that is more than `work` has left."""
        if not text.startswith(self._prefix):
            return False
        if not self._wild:
            return len(text) == len(self._prefix)
        if len(self._wild) == 1 and self._wild[0] is Wild.MANY:
            return True
        if self._steps < 0:
            self._measure()
        length, longest = len(text), self._longest
        if not text.endswith(self._suffix) or (len(longest) * length <= _SHORT and longest not in text):
            return False
        return self._steps_through(text, work or Work())

    def _steps_through(self, text: str, work: Work) -> bool:
        length = len(text)
        # Every character of a pattern moves what is reached by one: after `length` of them nothing is.
        work.charge(min(self._steps, 2 * length + 2) * (1 + length // _BITS))
        places = _places_of(text, work)
        reached = 1 << len(self._prefix)
        for part in self._wild:
            reached = places.after(part, reached, work)
            if not reached:
                return False
        return bool(reached >> length)


class _Places:
    """The places in one text: bit n stands for the place before its character n, the last bit for its end."""

    __slots__ = ("_all", "_of", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._all = (1 << (len(text) + 1)) - 1
        self._of: dict[str, int] = {}

    def after(self, part: Part, reached: int, work: Work) -> int:
        """Return the places that are reached when a part of a pattern follows those that were; 0 for none."""
        if isinstance(part, str):
            for character in part:
                reached = (reached & self._where(character, work)) << 1
                if not reached:
                    break
            return reached
        if part is Wild.MANY:
            return self._all & -(reached & -reached)
        if part is Wild.ONE:
            return (reached << 1) & self._all
        inside = self._all >> 1 & ~self._where(":", work)
        if part is Wild.ONE_INSIDE:
            return (reached & inside) << 1
        # The sum carries each place on to the end of its run of characters that are no colon.
        return (((reached & inside) + inside) ^ inside) | reached

    def _where(self, character: str, work: Work) -> int:
        found = self._of.get(character)
        if found is None:
            found = 0
            if character in self._text:
                work.charge(1 + len(self._text) // 4)
                found = int(self._text[::-1].translate(_Mark(character)), 2)
            self._of[character] = found
        return found


class _Mark(dict[int, str]):
    """Translates one character to 1 and all others to 0."""

    def __init__(self, character: str) -> None:
        super().__init__({ord(character): "1"})

    def __missing__(self, key: int) -> str:
        return "0"


def _places_of(text: str, work: Work) -> _Places:
    """Return a text's places, found once in a request."""
    places: _Places | None = work.kept.get(text)
    if places is None:
        work.charge(10)
        places = work.kept[text] = _Places(text)
    return places


def matches(pattern: str, text: str) -> bool:
    """Tell whether the whole text is one that a pattern of `*` and `?` stands for; case counts."""
    return _glob(pattern)(text)


def parts_of(pattern: str) -> list[Part]:
    """Return the pieces of a pattern in which every `*` and `?` is a wildcard."""
    return _parts(pattern, Wild.MANY, Wild.ONE)


def parts_inside(pattern: str) -> list[Part]:
    """Return the pieces of a pattern in which every `*` and `?` is a wildcard that matches no colon."""
    return _parts(pattern, Wild.MANY_INSIDE, Wild.ONE_INSIDE)


def _parts(pattern: str, many: Wild, one: Wild) -> list[Part]:
    if not is_wild(pattern):
        return [pattern] if pattern else []
    found: list[Part] = []
    for number, piece in enumerate(pattern.split("*")):
        if number and (not found or found[-1] is not many):
            found.append(many)
        if "?" in piece:
            found += [one if part == "?" else part for part in _ONES.split(piece) if part]
        elif piece:
            found.append(piece)
    return found


def is_wild(pattern: str) -> bool:
    """Tell whether a pattern has wildcards."""
    return "*" in pattern or "?" in pattern


def compile_parts(parts: Sequence[Part]) -> Matcher:
    """Return the matcher of a pattern."""
    return Matcher(joined_parts(parts))


def compile_glob(pattern: str) -> Matcher:
    """Return the matcher of a pattern in which every `*` and `?` is a wildcard."""
    return Matcher(parts_of(pattern))


_ONES: Final = re.compile(r"(\?)")


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> Matcher:
    return compile_glob(pattern)


def joined_parts(parts: Sequence[Part]) -> list[Part]:
    """Return the same pattern with neighbouring characters as one text and neighbouring stars as one star."""
    joined: list[Part] = []
    texts: list[str] = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
            continue
        _end_text(joined, texts)
        last = joined[-1] if joined else None
        if part in _MANY and last in _MANY:
            joined[-1] = Wild.MANY if Wild.MANY in (part, last) else Wild.MANY_INSIDE
        else:
            joined.append(part)
    _end_text(joined, texts)
    return joined


def _end_text(joined: list[Part], texts: list[str]) -> None:
    text = "".join(texts)
    texts.clear()
    if text:
        joined.append(text)
