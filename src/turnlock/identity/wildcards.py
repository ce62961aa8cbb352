"""Matching texts against patterns of `*` (any characters) and `?` (one character), without a regular expression.

Each `*` is matched once, with the leftmost place that the rest allows: there is nothing to go back to before it, so the time
is at most the product of the two lengths, whatever the pattern.
"""

from __future__ import annotations


def matches(pattern: str, text: str) -> bool:
    """Tell whether the whole text is one that the pattern stands for; case counts."""
    at_pattern = at_text = 0
    star, resumed = -1, 0
    while at_text < len(text):
        if at_pattern < len(pattern) and pattern[at_pattern] == "*":
            star, resumed = at_pattern, at_text
            at_pattern += 1
        elif at_pattern < len(pattern) and pattern[at_pattern] in ("?", text[at_text]):
            at_pattern += 1
            at_text += 1
        elif star >= 0:
            resumed += 1
            at_pattern, at_text = star + 1, resumed
        else:
            return False
    return all(character == "*" for character in pattern[at_pattern:])
