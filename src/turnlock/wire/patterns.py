r"""Turns the patterns of AWS's models, written for Java, into Python's.

Four things differ and are all that is translated: Unicode categories (`\p{L}`), which Python's `re` does not know;
characters beyond U+FFFF, which the models write as pairs of surrogates; and `\d`, `\s`, `\w`, which mean ASCII in Java;
and a hyphen after one of these in a class, which is only a hyphen there.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache
from itertools import groupby

from turnlock.errors import ConfigurationError

_CATEGORY = re.compile(r"\\p\{([A-Z][a-z]?)\}")
_AFTER_CLASS = re.compile(r"(?<!\\)(\\[dsw])-")
_ASTRAL_AS_SURROGATES = r"\uD800\uDC00-\uDBFF\uDFFF"
_ASTRAL = r"\U00010000-\U0010FFFF"


@cache
def _major_categories() -> str:
    """Return the first letter of the general category of every code point, in order."""
    return "".join(unicodedata.category(chr(point))[0] for point in range(sys.maxunicode + 1))


@cache
def _category_ranges(category: str) -> str:
    """Return the inside of a character class that holds all characters of `category`, such as `L` or `Nd`."""
    ranges = []
    point = 0
    for major, run in groupby(_major_categories()):
        end = point + sum(1 for _ in run)
        if major == category[0]:
            ranges.extend(_sub_ranges(point, end, category))
        point = end
    return "".join(ranges)


def _sub_ranges(start: int, end: int, category: str) -> list[str]:
    """Return the ranges of `category` among the code points from `start` to before `end`, all of one major category."""
    if len(category) == 1:
        return [f"\\U{start:08x}-\\U{end - 1:08x}"]
    return [f"\\U{point:08x}" for point in range(start, end) if unicodedata.category(chr(point)) == category]


@cache
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return `pattern`, as the model writes it, compiled for `fullmatch`; ConfigurationError when Python cannot."""
    translated = pattern.replace(_ASTRAL_AS_SURROGATES, _ASTRAL)
    translated = _CATEGORY.sub(lambda found: _category_ranges(found[1]), translated)
    translated = _AFTER_CLASS.sub(r"\1\\-", translated)
    try:
        return re.compile(translated, re.ASCII)
    except re.error as error:
        raise ConfigurationError(
            f"The model's pattern {pattern!r} cannot be compiled: {error.msg}."
        ) from None
