"""Who a policy names, as it is saved: users, roles and sessions by unique id, and shown by ARN while they are there.

    1  When a policy is put, the ARN of a user, a role or a role's session becomes its unique id (`AIDA…`, `AROA…`, `AROA…:session`):
       a later user or role of the same name is somebody else (IAM user guide, "AWS JSON policy elements: Principal").
    2  A principal of an account of this deployment that is not there cannot be named.
    3  Of other accounts nothing is known. Their ARNs stay as they are.
    4  When a policy is shown, an id becomes the ARN that its user or role has now. The id of one that is gone stays.

The text around the names stays as it was written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from turnlock.accounts import store
from turnlock.accounts.entities.model import Kind
from turnlock.accounts.entities.principals import find_principals
from turnlock.accounts.entities.store import identities_by_id
from turnlock.core.arn import AccountId, Arn
from turnlock.core.call import Principal, PrincipalKind
from turnlock.policies import Document, Form, PrincipalType, read_policy
from turnlock.storage import Unit

_ID: Final = re.compile(r"(AIDA|AROA)[A-Z0-9]{10,}(:.*)?")
_ELEMENT: Final = re.compile(r'"(?:Not)?Principal"\s*:\s*')
_LITERAL: Final = re.compile(r'"(?:[^"\\]|\\.)*"')


class AbsentPrincipal(ValueError):
    """A policy names a user, a role or a session of an account of this deployment that is not there.

    The text is the entry, such as `"AWS":"arn:aws:iam::123456789012:user/ann"`.
    """


def saved_name(unit: Unit, arn: str) -> str:
    """Return what an ARN is saved as: a unique id, or the ARN itself for a root user and for accounts that are not known.

    Raises AbsentPrincipal.
    """
    return saved_names(unit, (arn,))[arn]


def saved_names(unit: Unit, arns: Collection[str]) -> Mapping[str, str]:
    """Return what each of some ARNs is saved as. Raises AbsentPrincipal for the first one, by name, that cannot be saved."""
    found = find_principals(unit, arns)
    here: set[str | None] = {None}
    if len(found) < len(set(arns)):
        here |= {*store.account_ids(unit)}
    saved: dict[str, str] = {}
    for arn in sorted(arns):
        principal = found.get(arn)
        if principal is None:
            if _account_in(arn) in here:
                raise AbsentPrincipal(f'"AWS":"{arn}"')
            saved[arn] = arn
        else:
            saved[arn] = arn if principal.kind is PrincipalKind.ROOT else _saved_id(arn, principal)
    return saved


def _account_in(arn: str) -> str | None:
    try:
        return Arn.parse(arn).account_id
    except ValueError:
        return None


def _saved_id(arn: str, principal: Principal) -> str:
    is_role = Arn.parse(arn).service == "iam" and principal.kind is PrincipalKind.ASSUMED_ROLE
    return principal.principal_id.partition(":")[0] if is_role else principal.principal_id


def shown_names(unit: Unit, account_id: AccountId, names: set[str]) -> Mapping[str, str]:
    """Return the ARN of each saved name whose user or role is there, of whichever account; `account_id` is looked in first."""
    wanted = {name.partition(":")[0] for name in names if _ID.fullmatch(name)}
    arns: dict[str, str] = {}
    others = [account_id, *(one for one in store.account_ids(unit) if one != account_id)] if wanted else ()
    for account in others:
        missing = wanted - arns.keys()
        if not missing:
            break
        for one in identities_by_id(unit, account, sorted(missing)):
            arns[one.id] = (
                f"arn:aws:sts::{account}:assumed-role/{one.name}" if one.kind is Kind.ROLE else one.arn
            )
            arns[f"{one.id} itself"] = one.arn
    return {name: arn for name in names if (arn := _shown(name, arns)) is not None}


def saved_policy(unit: Unit, text: str, form: Form = Form.RESOURCE) -> str:
    """Return a policy as it is saved. Raises ValueError for a text that is none, AbsentPrincipal."""
    return _renamed_text(text, saved_names(unit, _arns_in(read_policy(text, form))))


def shown_policy(unit: Unit, account_id: AccountId, text: str, form: Form = Form.RESOURCE) -> str:
    """Return a saved policy of a resource of this account as it is shown."""
    try:
        document = read_policy(text, form)
    except ValueError:
        return text  # of a release whose grammar was another; it denies everything, and is shown as it is
    return _renamed_text(text, shown_names(unit, account_id, set(_named_in(document))))


def names_absent_principal(unit: Unit, document: Document) -> bool:
    """Tell whether a policy names a principal that cannot be saved."""
    try:
        saved_names(unit, _arns_in(document))
    except AbsentPrincipal:
        return True
    return False


def _shown(name: str, arns: Mapping[str, str]) -> str | None:
    one, colon, session = name.partition(":")
    if colon:
        return f"{arns[one]}/{session}" if one in arns else None
    return arns.get(f"{one} itself")


def _named_in(document: Document) -> list[str]:
    return [
        one.name
        for statement in document.statements
        for one in statement.principals
        if one.type is PrincipalType.AWS
    ]


def _arns_in(document: Document) -> set[str]:
    return {name for name in _named_in(document) if name.startswith("arn:")}


def _renamed_text(text: str, names: Mapping[str, str]) -> str:
    """Return a policy's text with the names of its principals replaced; what cannot be replaced in place is written anew."""
    changed = {name: other for name, other in names.items() if name != other}
    if not changed:
        return text
    wanted = _renamed(json.loads(text), lambda name: changed.get(name, name))
    in_place = _renamed_in_place(text, changed)
    return in_place if json.loads(in_place) == wanted else json.dumps(wanted)


def _renamed(raw: dict[str, Any], rename: Callable[[str], str]) -> dict[str, Any]:
    statements = raw["Statement"]
    if isinstance(statements, dict):
        return {**raw, "Statement": _renamed_statement(statements, rename)}
    return {**raw, "Statement": [_renamed_statement(one, rename) for one in statements]}


def _renamed_statement(statement: dict[str, Any], rename: Callable[[str], str]) -> dict[str, Any]:
    found = dict(statement)
    for element in ("Principal", "NotPrincipal"):
        value = statement.get(element)
        if isinstance(value, dict) and "AWS" in value:
            names = value["AWS"]
            renamed = rename(names) if isinstance(names, str) else [rename(name) for name in names]
            found[element] = {**value, "AWS": renamed}
    return found


def _renamed_in_place(text: str, changed: Mapping[str, str]) -> str:
    pieces, at, decoder = [], 0, json.JSONDecoder()
    for found in _ELEMENT.finditer(text):
        if found.start() < at:
            continue
        _, end = decoder.raw_decode(text, found.end())
        value = _LITERAL.sub(lambda one: _renamed_literal(one[0], changed), text[found.end() : end])
        pieces += [text[at : found.end()], value]
        at = end
    return "".join([*pieces, text[at:]])


def _renamed_literal(literal: str, changed: Mapping[str, str]) -> str:
    other = changed.get(json.loads(literal))
    return literal if other is None else json.dumps(other)
