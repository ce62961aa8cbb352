"""What the models demand of a value beyond its type, and AWS's words for a value that falls short.

A violation is a finished sentence. All violations of a request are told in one ValidationException, so that a caller
mends them in one go. A value that the model flags sensitive is never quoted, nor is one that cannot be shown as text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.model import Shape, StringShape

from turnlock.errors import ValidationException
from turnlock.wire.patterns import compile_pattern

MATCHED = 256
"""Characters up to which a text is matched against its pattern although it is too long: both violations are told."""

_SIZED = frozenset({"string", "blob", "list", "map"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """One demand."""

    holds: Callable[[Any], bool]
    sentence: str
    """The demand in AWS's words, such as `Member must not be null`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """All demands on a shape's values."""

    constraints: tuple[Constraint, ...]
    quotable: bool
    """True when a value may be quoted in an error message."""

    def hold(self, value: object) -> bool:
        """Say whether `value` meets every demand."""
        return all(constraint.holds(value) for constraint in self.constraints)

    def judge(self, value: object, place: str, broken: list[str]) -> None:
        """Append one sentence to `broken` for each demand that `value`, found at `place`, does not meet."""
        shown = value if self.quotable else None
        broken.extend(
            violation(shown, place, constraint.sentence)
            for constraint in self.constraints
            if not constraint.holds(value)
        )

    def judge_each(
        self, elements: Iterable[object], *, whole: object, place: str, opening: str, broken: list[str]
    ) -> None:
        """Append to `broken` the one sentence that AWS has for a list or map (`whole`) with a scalar element that falls short.

        `opening` is what stands before all demands in brackets, such as `Member must satisfy constraint`.
        """
        if self.constraints and not all(map(self.hold, elements)):
            demands = ", ".join(constraint.sentence for constraint in self.constraints)
            broken.append(violation(whole if self.quotable else None, place, f"{opening}: [{demands}]"))


def rules_of(shape: Shape, *, quotable: bool) -> Rules:
    """Return the demands of `shape`: enum, length or range, pattern."""
    return Rules(constraints=(*_enum(shape), *_bounds(shape), *_pattern(shape)), quotable=quotable)


def _enum(shape: Shape) -> list[Constraint]:
    values: Sequence[str] = shape.enum if isinstance(shape, StringShape) else ()
    if not values:
        return []
    return [
        Constraint(
            holds=frozenset(values).__contains__,
            sentence=f"Member must satisfy enum value set: [{', '.join(values)}]",
        )
    ]


def _bounds(shape: Shape) -> list[Constraint]:
    sized = shape.type_name in _SIZED
    noun = "length" if sized else "value"
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    found = []
    # A length is never negative: a minimum of 0 demands nothing.
    if low is not None and not (sized and low <= 0):
        found.append(_at_least(low, sized=sized, noun=noun))
    if high is not None:
        found.append(_at_most(high, sized=sized, noun=noun))
    return found


def _at_least(low: float, *, sized: bool, noun: str) -> Constraint:
    return Constraint(
        holds=(lambda value: len(value) >= low) if sized else (lambda value: value >= low),
        sentence=f"Member must have {noun} greater than or equal to {low}",
    )


def _at_most(high: float, *, sized: bool, noun: str) -> Constraint:
    return Constraint(
        holds=(lambda value: len(value) <= high) if sized else (lambda value: value <= high),
        sentence=f"Member must have {noun} less than or equal to {high}",
    )


def _pattern(shape: Shape) -> list[Constraint]:
    pattern = shape.metadata.get("pattern")
    if shape.type_name != "string" or pattern is None:
        return []
    matches, longest = compile_pattern(pattern).fullmatch, shape.metadata.get("max")

    def holds(value: str) -> bool:
        # A text that is far too long is refused anyway: no time is spent matching it.
        too_long = longest is not None and len(value) > max(longest, MATCHED)
        return too_long or matches(value) is not None

    return [
        Constraint(holds=holds, sentence=f"Member must satisfy regular expression pattern: {pattern}"),
    ]


def violation(value: object, place: str, sentence: str) -> str:
    """Return AWS's sentence for a `value` at `place` that does not meet a demand; None, and what has no text, is not quoted."""
    shown = _shown(value)
    quoted = "Value at" if shown is None else f"Value '{shown}' at"
    return f"{quoted} '{place}' failed to satisfy constraint: {sentence}"


def missing(place: str) -> str:
    """Return AWS's sentence for a required member that is absent."""
    return f"Value null at '{place}' failed to satisfy constraint: Member must not be null"


def _shown(value: object) -> str | None:
    """Return `value` as Java prints it, None when it is not text, a number, or a list or map of those."""
    if isinstance(value, (str, int, float)):
        return str(value)
    if isinstance(value, list) and all(isinstance(item, (str, int, float)) for item in value):
        return f"[{', '.join(map(str, value))}]"
    if isinstance(value, dict) and all(isinstance(item, (str, int, float)) for item in value.values()):
        return f"{{{', '.join(f'{key}={item}' for key, item in value.items())}}}"
    return None


def refuse(broken: Sequence[str]) -> None:
    """Raise the one ValidationException that tells every sentence in `broken`; return when there is none."""
    if broken:
        noun = "error" if len(broken) == 1 else "errors"
        raise ValidationException(f"{len(broken)} validation {noun} detected: {'; '.join(broken)}")
