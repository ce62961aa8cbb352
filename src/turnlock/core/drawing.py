"""Drawing unbiased characters from entropy."""

from __future__ import annotations

from turnlock.core.ports import Entropy

ALPHANUMERICS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def draw_index(entropy: Entropy, below: int) -> int:
    """Return a uniform integer in [0, below), 1 ≤ below ≤ 2^16; bytes that would bias it are thrown away."""
    ceiling = 65_536 - 65_536 % below
    while True:
        value = int.from_bytes(entropy.bytes(2))
        if value < ceiling:
            return value % below


def draw_text(entropy: Entropy, alphabet: str, count: int) -> str:
    """Return `count` characters, each drawn uniformly from `alphabet`."""
    return "".join(alphabet[draw_index(entropy, len(alphabet))] for _ in range(count))


def shuffled(entropy: Entropy, text: str) -> str:
    """Return the characters of `text` in a uniformly random order (Fisher and Yates)."""
    characters = list(text)
    for last in range(len(characters) - 1, 0, -1):
        other = draw_index(entropy, last + 1)
        characters[last], characters[other] = characters[other], characters[last]
    return "".join(characters)
