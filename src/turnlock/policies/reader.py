"""Reading policy documents: strictly, by the grammar in the IAM user guide ("Grammar of the IAM JSON policy language").

What is not understood makes the whole document unreadable: half understood, it could allow what its author denied.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, NoReturn

from turnlock.core.half_pairs import holds_half_pairs
from turnlock.policies.condition_reader import read_conditions
from turnlock.policies.document import Document, Effect, NamedPrincipal, Patterns, PrincipalType, Statement


class Form(Enum):
    """What a policy is attached to, which decides the elements of its statements."""

    IDENTITY = "identity"
    """A user, a group, a role, or a session; also a boundary: it names no principals."""
    RESOURCE = "resource"
    """A resource: it names principals."""
    TRUST = "trust"
    """A role: it names who may assume the role, and no resource, for it is about its own role."""


MOST_READING: Final = 300_000
"""Units of work that reading one policy may take: what is left of a request's (core/work.py) is for deciding by it."""

_ITEM: Final = 25
"""Units of work that a value of a policy takes: what a comma ends, or quotation marks surround."""

_WILDCARD: Final = 20
"""Units of work that a wildcard or a variable takes beside that."""

_VERSIONS: Final = ("2008-10-17", "2012-10-17")
_DOCUMENT: Final = frozenset({"Version", "Id", "Statement"})
_STATEMENT: Final = frozenset(
    {
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    }
)
_PRINCIPALS: Final = frozenset({"Principal", "NotPrincipal"})
_RESOURCES: Final = frozenset({"Resource", "NotResource"})
_ELEMENTS: Final = {
    Form.IDENTITY: _STATEMENT - _PRINCIPALS,
    Form.RESOURCE: _STATEMENT,
    Form.TRUST: _STATEMENT - _RESOURCES,
}
"""By form: the elements that a statement may have."""
_NO_RESOURCES: Final = Patterns(texts=(), negated=False)
_VENDOR: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")


def read_resource_policy(text: str) -> Document:
    """Return the document of a policy that is attached to a resource: each statement names principals and resources.

    Raises ValueError, saying what is wrong and where, for a text that is not such a policy.
    """
    return read_policy(text, Form.RESOURCE)


def read_identity_policy(text: str) -> Document:
    """Return the document of a policy of a user, a group or a role, of a boundary or of a session.

    Raises ValueError, saying what is wrong and where, for a text that is not such a policy.
    """
    return read_policy(text, Form.IDENTITY)


def read_trust_policy(text: str) -> Document:
    """Return the document of a role's trust policy. Raises ValueError, saying what is wrong and where."""
    return read_policy(text, Form.TRUST)


def reading(text: str) -> int:
    """Return the units of work that it takes to read a policy and compile it; JSON is told by its marks."""
    items = text.count(",") + text.count('"') // 2
    wildcards = text.count("*") + text.count("?") + text.count("$")
    return _ITEM * items + _WILDCARD * wildcards + len(text) // 16


def read_policy(text: str, form: Form) -> Document:
    """Return the document of a policy of this form.

    Raises ValueError for a text that is none, or that takes more work to read than MOST_READING.
    """
    if reading(text) > MOST_READING:
        raise ValueError("It has more values and wildcards than a policy can have here.")
    try:
        raw = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"It is not JSON: {error.msg} (at character {error.pos}).") from None
    except RecursionError:
        raise ValueError("It is nested too deeply.") from None
    if "\\u" in text and holds_half_pairs(raw):
        raise ValueError("It holds half of a surrogate pair, which is no character.")
    return _document(raw, form)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("A key stands twice in one object.")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON.")


def _document(raw: object, form: Form) -> Document:
    members = _members(raw, _DOCUMENT, "The policy")
    version, policy_id = members.get("Version", _VERSIONS[0]), members.get("Id")
    if version not in _VERSIONS:
        raise ValueError(f"The Version must be one of {', '.join(_VERSIONS)}.")
    if policy_id is not None and not isinstance(policy_id, str):
        raise ValueError("The Id must be a text.")
    listed = members.get("Statement")
    statements = listed if isinstance(listed, list) else [listed]
    if listed is None or not statements:
        raise ValueError("The policy must have a Statement.")
    read = [_statement(one, f"Statement {number}", form) for number, one in enumerate(statements, 1)]
    sids = [statement.sid for statement in read if statement.sid]
    if len(set(sids)) != len(sids):
        raise ValueError("A Sid stands twice.")
    return Document(version=version, policy_id=policy_id, statements=read)


def _statement(raw: object, place: str, form: Form) -> Statement:
    members = _members(raw, _ELEMENTS[form], place)
    sid, effect = members.get("Sid"), members.get("Effect")
    if sid is not None and not isinstance(sid, str):
        raise ValueError(f"{place}: Sid must be a text.")
    if effect not in [one.value for one in Effect]:
        raise ValueError(f"{place}: Effect must be Allow or Deny.")
    principals, negated = _principals_of(members, place, form)
    return Statement(
        sid=sid,
        effect=Effect(effect),
        principals=principals,
        principals_negated=negated,
        actions=_patterns(members, "Action", "NotAction", place, _is_action),
        resources=_NO_RESOURCES if form is Form.TRUST else _resources(members, place, form),
        conditions=read_conditions(members["Condition"], place) if "Condition" in members else (),
    )


def _principals_of(
    members: Mapping[str, Any], place: str, form: Form
) -> tuple[Sequence[NamedPrincipal], bool]:
    if form is Form.IDENTITY:
        return (), False
    named, negated = _one_of(members, "Principal", "NotPrincipal", place)
    return _principals(named, place), negated


def _members(raw: object, known: frozenset[str], place: str) -> dict[str, Any]:
    if not isinstance(raw, dict) or raw.keys() - known:
        raise ValueError(f"{place} must be an object of {', '.join(sorted(known))}.")
    return raw


def _one_of(members: Mapping[str, Any], plain: str, negated: str, place: str) -> tuple[Any, bool]:
    """Return the one of two elements that is there, and whether it is the negated one."""
    if (plain in members) == (negated in members):
        raise ValueError(f"{place} must have either {plain} or {negated}.")
    return (members[negated], True) if negated in members else (members[plain], False)


def _texts(value: object, place: str) -> list[str]:
    """Return a text or a list of texts as a list; none may be empty."""
    listed = value if isinstance(value, list) else [value]
    texts = [text for text in listed if isinstance(text, str) and text]
    if not texts or len(texts) != len(listed):
        raise ValueError(f"{place} must be a text or a list of texts.")
    return texts


def _principals(value: object, place: str) -> list[NamedPrincipal]:
    if value == "*":
        return [NamedPrincipal(type=PrincipalType.ANYONE, name="*")]
    kinds = {one.value for one in PrincipalType if one is not PrincipalType.ANYONE}
    if not isinstance(value, dict) or not value or value.keys() - kinds:
        raise ValueError(f'{place}: a principal must be "*" or an object of {", ".join(sorted(kinds))}.')
    return [
        NamedPrincipal(
            type=PrincipalType.ANYONE if kind == "AWS" and name == "*" else PrincipalType(kind), name=name
        )
        for kind, names in value.items()
        for name in _texts(names, f"{place}: {kind}")
    ]


def _patterns(
    members: Mapping[str, Any], plain: str, negated: str, place: str, is_one: Callable[[str], bool]
) -> Patterns:
    value, is_negated = _one_of(members, plain, negated, place)
    texts = _texts(value, f"{place}: {plain}")
    if not all(map(is_one, texts)):
        raise ValueError(f"{place}: {plain} has a value that can name none.")
    return Patterns(texts=texts, negated=is_negated)


def _resources(members: Mapping[str, Any], place: str, form: Form) -> Patterns:
    """Return the resources; an ARN that is cut short in an identity's policy is completed with `*`.

    IAM user guide, "IAM JSON policy elements: Resource": `arn:aws:sqs` is `arn:aws:sqs:*:*:*`.
    """
    if form is not Form.IDENTITY:
        return _patterns(members, "Resource", "NotResource", place, _is_resource)
    found = _patterns(members, "Resource", "NotResource", place, lambda text: _is_resource(_completed(text)))
    return Patterns(texts=[_completed(text) for text in found.texts], negated=found.negated)


def _completed(text: str) -> str:
    fields = text.split(":", 5)
    if fields[0] != "arn" or len(fields) == 1 or not fields[-1]:
        return text
    return ":".join([*fields, *["*"] * (6 - len(fields))])


def _is_action(text: str) -> bool:
    vendor, colon, name = text.partition(":")
    return text == "*" or (bool(vendor and colon and name) and set(vendor) <= _VENDOR)


def _is_resource(text: str) -> bool:
    parts = text.split(":", 5)
    return text == "*" or (len(parts) == 6 and parts[0] == "arn" and bool(parts[5]))
