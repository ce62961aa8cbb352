"""Values of a service model's shapes, drawn by hypothesis: what its operations take and give."""

from __future__ import annotations

import string
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from hypothesis import strategies as st

from turnlock.wire.patterns import compile_pattern


def texts(shape: StringShape) -> st.SearchStrategy[str]:
    """Return texts that meet the demands of `shape`; where their pattern lets them, at most 20 longer than they must be."""
    low, most = shape.metadata.get("min", 0), shape.metadata.get("max", 1 << 16)
    high = min(most, low + 20)
    if shape.enum:
        return st.sampled_from(shape.enum)
    pattern = shape.metadata.get("pattern")
    return st.text(min_size=low, max_size=high) if pattern is None else _matching(pattern, low, high, most)


@cache
def _matching(pattern: str, low: int, high: int, most: int) -> st.SearchStrategy[str]:
    matches = compile_pattern(pattern).fullmatch
    letters = [char for char in string.printable if matches(char * max(low, 1))]
    if letters:
        return st.text(letters, min_size=low, max_size=high).filter(matches)
    return st.from_regex(compile_pattern(pattern), fullmatch=True).filter(
        lambda text: low <= len(text) <= most
    )


SCALARS: Mapping[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "timestamp": st.integers(0, 7_000_000_000_000).map(lambda ms: datetime.fromtimestamp(ms / 1000, UTC)),
}


def values(shape: Shape) -> st.SearchStrategy[Any]:
    """Return valid values of `shape`, as botocore takes and gives them."""
    low, high = shape.metadata.get("min", 0), shape.metadata.get("max", 50)
    if isinstance(shape, StructureShape):
        members = {name: values(member) for name, member in shape.members.items()}
        required = {name: members.pop(name) for name in shape.required_members}
        return st.fixed_dictionaries(required, optional=members)
    if isinstance(shape, ListShape):
        return st.lists(values(shape.member), min_size=low, max_size=min(high, low + 2))
    if isinstance(shape, MapShape):
        return st.dictionaries(
            values(shape.key), values(shape.value), min_size=low, max_size=min(high, low + 2)
        )
    if isinstance(shape, StringShape):
        return texts(shape)
    if shape.type_name in {"integer", "long"}:
        return st.integers(low, high)
    if shape.type_name == "blob":
        return st.binary(min_size=low, max_size=min(high, low + 20))
    return SCALARS[shape.type_name]
