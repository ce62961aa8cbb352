"""Patterns with policy variables (IAM user guide, "Policy variables").

`${key}` stands for the value of a condition key, `${key, 'default'}` for the default where the request has none; `${*}`,
`${?}` and `${$}` are these characters themselves. Documents of version 2008-10-17 have no variables: there it is all text.
A value stands for itself: a `*` in it is no wildcard. A variable without a value makes its pattern one that nothing
matches. A key with many values can be no variable: which of them it stands for cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from turnlock.policies.asked import Asked, Unreadable
from turnlock.policies.wildcards import (
    Matcher,
    Part,
    Wild,
    compile_glob,
    compile_parts,
    parts_inside,
    parts_of,
)

_THEMSELVES: Final = ("*", "?", "$")
_SEGMENTS: Final = 5
"""Colons of an ARN that end a segment; what comes after them is the resource."""

_WITH_VARIABLES: Final = re.compile(r"\$\{[^}]*\}|[*?:]|[^*?:$]+|\$")
_PLAIN: Final = re.compile(r"[*?:]|[^*?:]+")


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
"""A `*`, a `?` or a colon of a pattern as it was written, a text with none of them, or a variable."""


class Pattern:
    """A pattern, compiled as far as it is without variables."""

    __slots__ = ("_matcher", "_parts")

    def __init__(self, parts: Sequence[Part | Variable], matcher: Matcher | None = None) -> None:
        """`matcher` is of a pattern without variables; `parts` are then none."""
        self._parts = parts
        self._matcher = matcher

    @property
    def fixed(self) -> bool:
        """True without variables: what it matches is the same in every request."""
        return self._matcher is not None

    def matches(self, text: str, asked: Asked) -> bool | None:
        """Tell whether the whole text is one that the pattern stands for in this request.

        None where a variable has no value: nothing matches then. Raises WorkSpent, and Unreadable for a variable whose key
        has many values.
        """
        if self._matcher is not None:
            return self._matcher(text, asked.work)
        asked.work.charge(2 * len(self._parts))
        parts: list[Part] = []
        for part in self._parts:
            value = value_of(part, asked) if isinstance(part, Variable) else part
            if value is None:
                return None
            parts.append(value)
        if sum(len(part) for part in parts if isinstance(part, str)) > len(text):
            return False
        return compile_parts(parts)(text, asked.work)


def has_variables(text: str) -> bool:
    """Tell whether a text of a document that can have variables may have some."""
    return "${" in text


def written(text: str, *, variables: bool) -> list[Written]:
    """Take a pattern apart; an unfinished variable is text."""
    end = text.rfind("}") + 1 if variables else 0
    parts: list[Written] = [_read(one) for one in _WITH_VARIABLES.findall(text, 0, end)]
    return [*parts, *_PLAIN.findall(text, end)]


def text_pattern(text: str, *, wildcards: bool, variables: bool) -> Pattern:
    """Return the pattern of a text in which `*` and `?` are wildcards anywhere, or nowhere."""
    if not (variables and has_variables(text)):
        return Pattern((), compile_glob(text) if wildcards else compile_parts([text]))
    wild: dict[str, Part] = {"*": Wild.MANY, "?": Wild.ONE} if wildcards else {}
    return _pattern([_part(one, wild) for one in written(text, variables=variables)])


def resource_pattern(text: str, *, variables: bool) -> Pattern:
    """Return the pattern of a Resource element.

    Wildcards stay inside the segments of an ARN. Only a `*` that ends one may go on beyond its colon (IAM user guide,
    "IAM JSON policy elements: Resource").
    """
    return _arn_pattern(text, variables=variables, beyond_its_end=True)


def arn_pattern(text: str, *, variables: bool) -> Pattern:
    """Return the pattern of the ARN operators, which compare each of the six components for itself."""
    return _arn_pattern(text, variables=variables, beyond_its_end=False)


def value_of(variable: Variable, asked: Asked) -> str | None:
    """Return what a variable stands for in this request, None when nothing. Raises Unreadable for many values."""
    values = asked.lookup(variable.key)
    if len(values) > 1:
        raise Unreadable
    return values[0] if values else variable.default


def _pattern(parts: Sequence[Part | Variable]) -> Pattern:
    fixed = [part for part in parts if not isinstance(part, Variable)]
    return Pattern(parts) if len(fixed) < len(parts) else Pattern((), compile_parts(fixed))


def _arn_pattern(text: str, *, variables: bool, beyond_its_end: bool) -> Pattern:
    if text == "*":
        return Pattern((), compile_glob(text))
    if variables and has_variables(text):
        return _pattern(_segmented(written(text, variables=variables), beyond_its_end=beyond_its_end))
    parts: list[Part] = []
    segments = text.split(":", _SEGMENTS)
    for number, segment in enumerate(segments):
        if number:
            parts.append(":")
        if number == _SEGMENTS:
            parts += parts_of(segment)
        elif beyond_its_end and segment.endswith("*") and number + 1 < len(segments):
            parts += [*parts_inside(segment[:-1]), Wild.MANY]
        else:
            parts += parts_inside(segment)
    return Pattern((), compile_parts(parts))


def _read(one: str) -> Written:
    if not one.startswith("${"):
        return one
    inside = one[2:-1]
    return Literal(inside) if inside in _THEMSELVES else _variable(inside)


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
        ends = beyond_its_end and place + 1 < len(parts) and parts[place + 1] == ":"
        found.append(_part(one, beyond if (ends and one == "*") or colons >= _SEGMENTS else inside))
    return found


def _part(one: Written, wild: dict[str, Part]) -> Part | Variable:
    if isinstance(one, Variable):
        return one
    return one.character if isinstance(one, Literal) else wild.get(one, one)
