"""Patterns with policy variables (IAM user guide, "Policy variables").

`${key}` stands for the value of a condition key, `${key, 'default'}` for the default where the request has none; `${*}`,
`${?}` and `${$}` are these characters themselves. Documents of version 2008-10-17 have no variables: there it is all text.
A value stands for itself: a `*` in it is no wildcard. A variable without a value makes its pattern one that nothing
matches, and so does a key with many values, which no variable can be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from turnlock.identity.wildcards import Matcher, Part, Wild, compile_parts

Lookup = Callable[[str], Sequence[str]]
"""Returns the values of a condition key, which is given in lower case; none where the request has no such key."""

_THEMSELVES: Final = ("*", "?", "$")
_SEGMENTS: Final = 5
"""Colons of an ARN that end a segment; what comes after them is the resource."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable in a pattern."""

    key: str
    """In lower case."""
    default: str | None


@dataclass(frozen=True, slots=True)
class Literal:
    """A character that stands for itself, though it could be a wildcard."""

    character: str


Written = str | Literal | Variable
"""One character of a pattern as it was written, or a variable."""


class Pattern:
    """A pattern, compiled as far as it is without variables."""

    __slots__ = ("_matcher", "_parts")

    def __init__(self, parts: Sequence[Part | Variable]) -> None:
        fixed = [part for part in parts if not isinstance(part, Variable)]
        self._parts = parts
        self._matcher: Matcher | None = compile_parts(fixed) if len(fixed) == len(parts) else None

    @property
    def fixed(self) -> bool:
        """True without variables: what it matches is the same in every request."""
        return self._matcher is not None

    def matches(self, text: str, lookup: Lookup) -> bool:
        """Tell whether the whole text is one that the pattern stands for in this request."""
        if self._matcher is not None:
            return self._matcher(text)
        parts: list[Part] = []
        for part in self._parts:
            value = value_of(part, lookup) if isinstance(part, Variable) else part
            if value is None:
                return False
            parts.append(value)
        return compile_parts(parts)(text)


def written(text: str, *, variables: bool) -> list[Written]:
    """Take a pattern apart into characters and variables; an unfinished variable is text."""
    parts: list[Written] = []
    place = 0
    while place < len(text):
        end = text.find("}", place) if variables and text.startswith("${", place) else -1
        if end < 0:
            parts.append(text[place])
            place += 1
        else:
            inside = text[place + 2 : end]
            parts.append(Literal(inside) if inside in _THEMSELVES else _variable(inside))
            place = end + 1
    return parts


def text_pattern(text: str, *, wildcards: bool, variables: bool) -> Pattern:
    """Return the pattern of a text in which `*` and `?` are wildcards anywhere, or nowhere."""
    wild: dict[str, Part] = {"*": Wild.MANY, "?": Wild.ONE} if wildcards else {}
    return Pattern([_part(one, wild) for one in written(text, variables=variables)])


def resource_pattern(text: str, *, variables: bool) -> Pattern:
    """Return the pattern of a Resource element.

    Wildcards stay inside the segments of an ARN. Only a `*` that ends one may go on beyond its colon (IAM user guide,
    "IAM JSON policy elements: Resource").
    """
    parts = written(text, variables=variables)
    if text == "*":
        return Pattern([Wild.MANY])
    return Pattern(_segmented(parts, beyond_its_end=True))


def arn_pattern(text: str, *, variables: bool) -> Pattern:
    """Return the pattern of the ARN operators, which compare each of the six components for itself."""
    if text == "*":
        return Pattern([Wild.MANY])
    return Pattern(_segmented(written(text, variables=variables), beyond_its_end=False))


def value_of(variable: Variable, lookup: Lookup) -> str | None:
    """Return what a variable stands for in this request, None when nothing."""
    values = lookup(variable.key)
    return values[0] if len(values) == 1 else variable.default


def _variable(inside: str) -> Variable:
    key, comma, rest = inside.partition(",")
    default = rest.strip()
    if comma and len(default) > 1 and default[0] == default[-1] == "'":
        return Variable(key.strip().lower(), default[1:-1])
    return Variable(inside.strip().lower(), None)


def _segmented(parts: Sequence[Written], *, beyond_its_end: bool) -> list[Part | Variable]:
    inside: dict[str, Part] = {"*": Wild.MANY_INSIDE, "?": Wild.ONE_INSIDE}
    beyond: dict[str, Part] = {"*": Wild.MANY, "?": Wild.ONE}
    colons, found = 0, []
    for place, one in enumerate(parts):
        colons += one == ":"
        ends = beyond_its_end and parts[place + 1 : place + 2] == [":"]
        found.append(_part(one, beyond if (ends and one == "*") or colons >= _SEGMENTS else inside))
    return found


def _part(one: Written, wild: dict[str, Part]) -> Part | Variable:
    if isinstance(one, Variable):
        return one
    return one.character if isinstance(one, Literal) else wild.get(one, one)
