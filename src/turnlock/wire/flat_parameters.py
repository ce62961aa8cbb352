"""The query protocol's flat parameters: from `Tags.member.1.Key=a&…` to the document that a contract parses.

The names follow the service's model: `A.B` for structures, `A.member.N` for lists, `A.entry.N.key` and `A.entry.N.value`
for maps, the middle word left out where the model says flattened, other words where the model has other names. `A=` with
nothing after it is an empty list or map. Elements are numbered from 1 without gaps, each number written one way.

What cannot be read in one way only is refused with a SerializationException, which never quotes what was sent. Parameters
that the model does not know are left out, as unknown members are in JSON; inside a list or map there is nothing unknown.
"""

from __future__ import annotations

import math
import re
from binascii import a2b_qp
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, TypeAlias

from botocore.model import ListShape, MapShape, Shape, StructureShape

from turnlock.errors import SerializationException
from turnlock.wire.scalars import read_iso8601

MAX_PARAMETERS = 4_096
"""How many parameters a body or a query string may hold: the largest input of AWS's query services has some hundreds."""

MAX_NAMES = 32
"""How many names, joined by dots, one parameter may have."""

Tree: TypeAlias = Mapping[str, Any]
"""By name: the text of a parameter, or the tree of those that go on after a dot."""

_ENCODED = bytes(range(ord("!"), ord("~") + 1))
"""What encoded text is made of."""
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,19}")
_NUMBER = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,3})?")


def read_parameters(*encoded: str) -> dict[str, str]:
    """Return the parameters of form-encoded texts (a query string, a body) by name, decoded.

    Raises SerializationException for what is not percent-encoded UTF-8, for a name that comes twice, in one text or in two,
    and for more than MAX_PARAMETERS in one text.
    """
    pairs = [pair for text in encoded for pair in read_pairs(text)]
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise SerializationException("A parameter was sent more than once.")
    return parameters


def read_pairs(text: str) -> list[tuple[str, str]]:
    """Return the parameters of one form-encoded text in order, decoded, repetitions kept; raises as `read_parameters`."""
    if not text:
        return []
    # Errors quote what was sent: they must not become a context of ours.
    with suppress(ValueError):
        encoded = text.encode("ascii")
        if encoded.count(b"&") < MAX_PARAMETERS and not encoded.translate(None, _ENCODED):
            return [_pair(pair) for pair in encoded.split(b"&")]
    raise SerializationException(
        f"Parameters must be at most {MAX_PARAMETERS} pairs name=value joined by &, in percent-encoded UTF-8."
    )


def _pair(encoded: bytes) -> tuple[str, str]:
    name, equals, value = encoded.partition(b"=")
    if not equals:
        raise ValueError("A parameter has no value.")
    return _decoded(name), _decoded(value)


def _decoded(encoded: bytes) -> str:
    """Return form-encoded text without spaces and line ends, decoded. Raises ValueError.

    Quoted-printable is percent-encoding with another mark, and has a decoder in C: what urllib has takes 0.3 s for a body of
    1 MiB. It leaves a mark alone that no two digits follow, which the length tells.
    """
    marked = encoded.replace(b"=", b"%3D").replace(b"+", b"%20").replace(b"%", b"=")
    decoded = a2b_qp(marked)
    if len(decoded) != len(marked) - 2 * marked.count(b"="):
        raise ValueError("A percent sign is followed by other than two digits.")
    return decoded.decode("utf-8")


def as_tree(parameters: Mapping[str, str]) -> Tree:
    """Return the parameters by the first of their names, each with what follows after the dot.

    Raises SerializationException for a parameter that has text and goes on after a dot, and for one of more than MAX_NAMES.
    """
    tree: dict[str, Any] = {}
    for parameter, text in parameters.items():
        if parameter.count(".") >= MAX_NAMES:
            raise SerializationException(f"A parameter's name has more than {MAX_NAMES} parts.")
        *outer, last = parameter.split(".")
        branch = tree
        for name in outer:
            branch = _branch(branch.setdefault(name, {}), "")
        if last in branch:
            raise _ambiguous("")
        branch[last] = text
    return tree


def document_of(shape: Shape, node: str | Tree, place: str = "") -> Any:
    """Return what `node`, found at `place`, says of `shape`, as a document that the contract of the shape parses.

    Text that is no value of its scalar type stays text: the contract refuses it. Raises SerializationException where the
    parameters' structure is not the shape's.
    """
    if isinstance(shape, StructureShape):
        return _structure(shape, _branch(node, place), place)
    if isinstance(shape, ListShape):
        return [] if node == "" else _list(shape, _branch(node, place), place)
    if isinstance(shape, MapShape):
        return {} if node == "" else _map(shape, _branch(node, place), place)
    if not isinstance(node, str):
        raise _ambiguous(place)
    read = _SCALARS.get(shape.type_name)
    return node if read is None else read(shape, node)


def _structure(shape: StructureShape, branch: Tree, place: str) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for name, member in shape.members.items():
        node = branch.get(_parameter_name(name, member))
        if node is not None:
            within = f"{place}.{name}" if place else name
            document[member.serialization.get("name", name)] = document_of(member, node, within)
    return document


def _parameter_name(name: str, member: Shape) -> str:
    """Return how parameters spell a member; the elements of a flattened list may have a name of their own instead."""
    own: str = member.serialization.get("name", name)
    if isinstance(member, ListShape) and member.serialization.get("flattened"):
        return str(member.member.serialization.get("name", own))
    return own


def _list(shape: ListShape, branch: Tree, place: str) -> list[Any]:
    within = _within(shape, branch, shape.member.serialization.get("name", "member"), place)
    return [document_of(shape.member, node, place) for node in _in_order(within, place)]


def _map(shape: MapShape, branch: Tree, place: str) -> dict[str, Any]:
    key_name = shape.key.serialization.get("name", "key")
    value_name = shape.value.serialization.get("name", "value")
    document: dict[str, Any] = {}
    for node in _in_order(_within(shape, branch, "entry", place), place):
        entry = _branch(node, place)
        if entry.keys() != {key_name, value_name}:
            raise SerializationException(
                f"Each entry of '{place}' must have one {key_name} and one {value_name}."
            )
        key = document_of(shape.key, entry[key_name], place)
        if key in document:
            raise SerializationException(f"The map at '{place}' has the same {key_name} twice.")
        document[key] = document_of(shape.value, entry[value_name], place)
    return document


def _within(shape: Shape, branch: Tree, word: str, place: str) -> Tree:
    """Return the numbered elements of a list or map: what stands under `word`, unless the shape is flattened."""
    if shape.serialization.get("flattened"):
        return branch
    if branch.keys() != {word}:
        raise SerializationException(f"The elements of '{place}' must be sent as {place}.{word}.N.")
    return _branch(branch[word], place)


def _in_order(elements: Tree, place: str) -> list[Any]:
    numbers = [str(number) for number in range(1, len(elements) + 1)]
    if elements.keys() != set(numbers):
        raise SerializationException(f"The elements of '{place}' must be numbered from 1 without gaps.")
    return [elements[number] for number in numbers]


def _branch(node: object, place: str) -> dict[str, Any]:
    if not isinstance(node, dict):
        raise _ambiguous(place)
    return node


def _ambiguous(place: str) -> SerializationException:
    where = f" at '{place}'" if place else ""
    return SerializationException(
        f"A value was sent{where} where a structure is expected, or the other way round."
    )


def _boolean(_shape: Shape, text: str) -> bool | str:
    return {"true": True, "false": False}.get(text, text)


def _whole_number(_shape: Shape, text: str) -> int | str:
    return int(text) if _WHOLE_NUMBER.fullmatch(text) else text


def _number(_shape: Shape, text: str) -> float | str:
    if _NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text


def _moment(shape: Shape, text: str) -> object:
    form = shape.serialization.get("timestampFormat", "iso8601")
    if form == "unixTimestamp":
        return _number(shape, text)
    if form == "iso8601":
        with suppress(ValueError, OverflowError):
            return read_iso8601(text)
    return text


_SCALARS: Mapping[str, Callable[[Shape, str], object]] = MappingProxyType(
    {
        "boolean": _boolean,
        "double": _number,
        "float": _number,
        "integer": _whole_number,
        "long": _whole_number,
        "timestamp": _moment,
    }
)
"""The scalar types whose documents are no text."""
