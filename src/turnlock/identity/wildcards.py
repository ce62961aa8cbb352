"""Matching texts against patterns of `*` (any characters) and `?` (one character), without a regular expression.

A pattern is compiled once, to an automaton whose states are the bits of one number: each character of a text costs a few
operations on it, whatever the pattern, and there is nothing to go back to. What begins a pattern without wildcards, and a
`*` that ends it, are compared outright, and the longest text in it is looked for: that settles most comparisons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from functools import lru_cache

Matcher = Callable[[str], bool]
"""Tells whether a whole text is one that the pattern stands for; case counts."""


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

_MANY = (Wild.MANY, Wild.MANY_INSIDE)


def matches(pattern: str, text: str) -> bool:
    """Tell whether the whole text is one that a pattern of `*` and `?` stands for; case counts."""
    return _glob(pattern)(text)


def parts_of(pattern: str) -> list[Part]:
    """Return the pieces of a pattern in which every `*` and `?` is a wildcard."""
    return [_WILD.get(character, character) for character in pattern]


def compile_parts(parts: Sequence[Part]) -> Matcher:
    """Return the matcher of a pattern."""
    joined = _joined(parts)
    first = joined[0] if joined else ""
    prefix = first if isinstance(first, str) else ""
    wild = joined[1:] if prefix else joined
    if not wild:
        return prefix.__eq__
    if wild == [Wild.MANY]:
        return lambda text: text.startswith(prefix)
    rest, length = _automaton(wild), len(prefix)
    longest = max((part for part in wild if isinstance(part, str)), key=len, default="")
    return lambda text: text.startswith(prefix) and longest in text and rest(text, length)


_WILD: dict[str, Part] = {"?": Wild.ONE, "*": Wild.MANY}


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> Matcher:
    return compile_parts(parts_of(pattern))


def _joined(parts: Sequence[Part]) -> list[Part]:
    """Return the same pattern with neighbouring characters as one text and neighbouring stars as one star."""
    joined: list[Part] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, str) and isinstance(last, str):
            joined[-1] = last + part
        elif part in _MANY and last in _MANY:
            joined[-1] = Wild.MANY if Wild.MANY in (part, last) else Wild.MANY_INSIDE
        elif part != "":
            joined.append(part)
    return joined


def _automaton(parts: Sequence[Part]) -> Callable[[str, int], bool]:
    """Return a function of (text, where it begins). Bit n of its states is set where n units of the pattern are matched."""
    units: list[Part] = [unit for part in parts for unit in (part if isinstance(part, str) else (part,))]
    stays = _bits(units, _MANY)
    stays_at_colon = _bits(units, (Wild.MANY,))
    moves = _bits(units, (Wild.ONE, Wild.ONE_INSIDE))
    moves_at = {
        character: _bits(units, (character,)) | moves
        for character in {unit for unit in units if isinstance(unit, str)}
    }
    moves_at[":"] = _bits(units, (":", Wild.ONE))
    accepting = 1 << len(units)

    def run(text: str, start: int) -> bool:
        states = 1
        states |= (states & stays) << 1
        for character in text[start:]:
            still = states & (stays_at_colon if character == ":" else stays)
            states = ((states & moves_at.get(character, moves)) << 1) | still
            if not states:
                return False
            # A star has matched nothing yet, or enough already.
            states |= (states & stays) << 1
        return bool(states & accepting)

    return run


def _bits(units: Sequence[Part], wanted: Sequence[Part]) -> int:
    """Return the number whose bit n is set where unit n is one of these."""
    return sum(1 << place for place, unit in enumerate(units) if unit in wanted)
