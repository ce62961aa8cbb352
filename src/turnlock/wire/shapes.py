"""Compiles the shapes of a service model into functions, once each: parse, serialise, redact.

Each shape becomes one `Codec`, kept by the shape's name and the traits that a member can add to it. A structure's codec
is kept before its members are compiled, so that recursive shapes end: in AWS's models every cycle passes a structure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.model import ListShape, MapShape, Shape, StructureShape

from turnlock.errors import AnswerMismatch
from turnlock.wire.constraints import Rules, missing, rules_of, violation
from turnlock.wire.scalars import STRING, Scalar, mismatch, scalar_of, wrong_type


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """One shape, compiled."""

    parse: Callable[[Any, str, list[str]], Any]
    """Document value, its place, the sentences about broken demands so far → Python value; raises SerializationException."""
    serialise: Callable[[Any, str], Any]
    """Python value and its place → what JSON can hold; raises AnswerMismatch."""
    redact: Callable[[Any], Any]
    """Python value → what a trail record may show of it."""
    hidden: bool
    """True when nothing of it may be shown: it is sensitive, is bytes, or is a list or map of such."""
    rules: Rules
    scalar: Scalar | None = None
    """The scalar type; None for structures, lists and maps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    name: str
    wire_name: str
    camel: str
    codec: Codec
    is_text: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Members:
    """The members of a structure; filled after the structure's codec was made, so that it can hold itself."""

    by_wire_name: dict[str, _Member] = field(default_factory=dict)
    by_name: dict[str, _Member] = field(default_factory=dict)
    required: dict[str, str] = field(default_factory=dict)
    """Names of required members with their camelCase spelling."""


def camel_case(name: str) -> str:
    """Return a member's name as validation errors and trail records spell it: `SecretId` → `secretId`, `ARN` → `arn`."""
    return name.lower() if name.isupper() else name[:1].lower() + name[1:]


CREDENTIALS: Final = frozenset(
    {"tokenType", "tokenCodeType", "authenticationCodeType", "contextAssertionType"}
)
"""Shapes of STS and IAM that let somebody in and that AWS's models do not flag sensitive: session tokens, codes of MFA
devices, assertions of who somebody is."""


class ShapeCompiler:
    """Compiles the shapes of one service model."""

    def __init__(self) -> None:
        self._codecs: dict[tuple[str, bool, str | None], Codec] = {}

    def codec(self, shape: Shape, *, within_sensitive: bool = False) -> Codec:
        """Return the codec of `shape`; what is inside something sensitive is sensitive too.

        Raises ConfigurationError when a pattern of it cannot be compiled.
        """
        flagged = bool(shape.metadata.get("sensitive")) or shape.name in CREDENTIALS
        sensitive = within_sensitive or flagged
        key = (shape.name, sensitive, shape.serialization.get("timestampFormat"))
        known = self._codecs.get(key)
        if known is None:
            known = self._codecs[key] = self._compile(shape, key)
        return known

    def _compile(self, shape: Shape, key: tuple[str, bool, str | None]) -> Codec:
        sensitive = key[1]
        if isinstance(shape, StructureShape):
            members = _Members()
            self._codecs[key] = structure = _structure(shape, members, sensitive=sensitive)
            self._fill(members, shape, sensitive=sensitive)
            return structure
        if isinstance(shape, ListShape):
            element = self.codec(shape.member, within_sensitive=sensitive)
            return _list(shape, element, sensitive=sensitive)
        if isinstance(shape, MapShape):
            names = self.codec(shape.key, within_sensitive=sensitive)
            items = self.codec(shape.value, within_sensitive=sensitive)
            return _map(shape, names, items, sensitive=sensitive)
        return _scalar(shape, sensitive=sensitive)

    def _fill(self, members: _Members, shape: StructureShape, *, sensitive: bool) -> None:
        for name, member in shape.members.items():
            wire_name = member.serialization.get("name", name)
            codec = self.codec(member, within_sensitive=sensitive)
            members.by_name[name] = members.by_wire_name[wire_name] = _Member(
                name=name,
                wire_name=wire_name,
                camel=camel_case(name),
                codec=codec,
                is_text=codec.scalar is STRING,
            )
        members.required.update((name, camel_case(name)) for name in shape.required_members)


def _scalar(shape: Shape, *, sensitive: bool) -> Codec:
    hidden = sensitive or shape.type_name == "blob"
    rules, scalar = rules_of(shape, quotable=not hidden), scalar_of(shape)
    decode, judge = scalar.decode, rules.judge

    def parse(value: object, place: str, broken: list[str]) -> object:
        native = decode(value, place)
        judge(native, place, broken)
        return native

    return Codec(
        parse=parse if rules.constraints else lambda value, place, _broken: decode(value, place),
        serialise=scalar.encode,
        redact=scalar.record,
        hidden=hidden,
        rules=rules,
        scalar=scalar,
    )


def _structure(shape: StructureShape, members: _Members, *, sensitive: bool) -> Codec:
    return Codec(
        parse=_structure_parser(members),
        serialise=_structure_serialiser(shape.name, members),
        redact=_structure_redactor(members),
        hidden=sensitive,
        rules=Rules(constraints=(), quotable=False),
    )


def _structure_parser(members: _Members) -> Callable[[Any, str, list[str]], dict[str, Any]]:
    by_wire_name, required = members.by_wire_name, members.required

    def parse(value: object, place: str, broken: list[str]) -> dict[str, Any]:
        if type(value) is not dict:
            raise wrong_type(value, "Structure", place)
        prefix = f"{place}." if place else ""
        parsed: dict[str, Any] = {}
        for wire_name, item in value.items():
            member = by_wire_name.get(wire_name)
            if member is not None and item is not None:
                parsed[member.name] = member.codec.parse(item, prefix + member.camel, broken)
        for name, camel in required.items():
            if name not in parsed:
                broken.append(missing(prefix + camel))
        return parsed

    return parse


def _structure_serialiser(shape_name: str, members: _Members) -> Callable[[Any, str], dict[str, Any]]:
    by_name = members.by_name

    def serialise(value: object, place: str) -> dict[str, Any]:
        if type(value) is not dict and not isinstance(value, Mapping):
            raise mismatch(f"mapping for {shape_name}", place)
        prefix = f"{place}." if place else ""
        written: dict[str, Any] = {}
        for name, item in value.items():
            member = by_name.get(name)
            if member is None:
                raise AnswerMismatch(f"{shape_name} has no member {name!r}.")
            if member.is_text and type(item) is str:  # as most are: nothing more is asked of them
                written[member.wire_name] = item
            elif item is not None:
                written[member.wire_name] = member.codec.serialise(item, prefix + name)
        return written

    return serialise


def _structure_redactor(members: _Members) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    by_name = members.by_name

    def redact(value: Mapping[str, Any]) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for name, item in value.items():
            member = by_name.get(name)
            if member is not None and item is not None and not member.codec.hidden:
                shown[member.camel] = member.codec.redact(item)
        return shown

    return redact


def _list(shape: ListShape, element: Codec, *, sensitive: bool) -> Codec:
    hidden = sensitive or element.hidden
    rules = rules_of(shape, quotable=not hidden)

    def serialise(value: object, place: str) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise mismatch("list", place)
        if element.scalar is STRING and set(map(type, value)) <= _TEXT:
            return list(value)
        return [element.serialise(item, f"{place}.{at}") for at, item in enumerate(value, 1)]

    return Codec(
        parse=_list_parser(rules, element),
        serialise=serialise,
        redact=lambda value: [element.redact(item) for item in value],
        hidden=hidden,
        rules=rules,
    )


def _list_parser(rules: Rules, element: Codec) -> Callable[[Any, str, list[str]], list[Any]]:
    scalar = element.scalar

    def parse(value: object, place: str, broken: list[str]) -> list[Any]:
        if type(value) is not list:
            raise wrong_type(value, "List", place)
        if None in value:
            broken.append(violation(None, place, "Member must not be null"))
            return []
        if scalar is None:
            parsed = [element.parse(item, f"{place}.{at}.member", broken) for at, item in enumerate(value, 1)]
        else:
            parsed = [scalar.decode(item, place) for item in value]
            element.rules.judge_each(
                parsed, whole=parsed, place=place, opening="Member must satisfy constraint", broken=broken
            )
        rules.judge(parsed, place, broken)
        return parsed

    return parse


_TEXT = frozenset({str})


def _map(shape: MapShape, key: Codec, item: Codec, *, sensitive: bool) -> Codec:
    hidden = sensitive or key.hidden or item.hidden
    rules = rules_of(shape, quotable=not hidden)

    def serialise(value: object, place: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise mismatch("mapping", place)
        return {
            key.serialise(name, f"{place}.key"): item.serialise(content, f"{place}.value")
            for name, content in value.items()
            if content is not None
        }

    return Codec(
        parse=_map_parser(rules, key, item),
        serialise=serialise,
        redact=lambda value: {name: item.redact(content) for name, content in value.items()},
        hidden=hidden,
        rules=rules,
    )


def _map_parser(rules: Rules, key: Codec, item: Codec) -> Callable[[Any, str, list[str]], dict[str, Any]]:
    scalar, quotable = item.scalar, rules.quotable

    def parse_item(name: str, value: object, place: str, broken: list[str]) -> object:
        if scalar is not None:
            return scalar.decode(value, place)
        return item.parse(value, f"{place}.{name if quotable else '?'}.member", broken)

    def judge(parsed: dict[str, Any], place: str, broken: list[str]) -> None:
        keys = list(parsed)
        key.rules.judge_each(
            keys, whole=keys, place=place, opening="Map keys must satisfy constraint", broken=broken
        )
        if scalar is not None:
            shown = parsed if quotable else None
            item.rules.judge_each(
                parsed.values(),
                whole=shown,
                place=place,
                opening="Map value must satisfy constraint",
                broken=broken,
            )
        rules.judge(parsed, place, broken)

    def parse(value: object, place: str, broken: list[str]) -> dict[str, Any]:
        if type(value) is not dict:
            raise wrong_type(value, "Map", place)
        parsed = {
            name: parse_item(name, content, place, broken)
            for name, content in value.items()
            if content is not None
        }
        judge(parsed, place, broken)
        return parsed

    return parse
