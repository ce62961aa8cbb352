"""Grants: what a principal may do with a key beside the key's policy, and with which encryption context.

The decision is pure; rows are read with their MACs checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import bindparam, delete, select

from turnlock.core.action import Request
from turnlock.core.arn import AccountId, Arn, Region
from turnlock.core.call import Principal
from turnlock.kms.conditions import context_of
from turnlock.kms.model import KmsKey
from turnlock.kms.tables import GRANT_ROWS, KEY, kms_grants
from turnlock.storage import HotQuery, Unit, moment

_COLUMNS: Final = tuple(column.name for column in kms_grants.c)
_OF_KEY = HotQuery(select(kms_grants).where(*(kms_grants.c[name] == bindparam(name) for name in KEY)))
_WITHOUT_CONTEXT: Final = frozenset({"CreateGrant", "DescribeKey", "RetireGrant"})
"""Operations without an encryption context; a grant's constraints do not apply to them."""

_GRANTED_AS: Final = {"ReEncrypt": "ReEncryptTo"}
"""Action → its grant operation, where that has another name."""


class GrantTerms(msgspec.Struct, frozen=True, kw_only=True):
    """The terms of a grant, from CreateGrant's request."""

    grantee: str
    """The grantee: the unique id of a user, a role or a session, or the ARN of an account's root.

    A principal of an account that this deployment does not have is kept by its ARN.
    """
    operations: tuple[str, ...]
    issuer: str
    """The account that made it."""
    retiring: str | None = None
    name: str | None = None
    context_equals: dict[str, str] | None = None
    context_subset: dict[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One grant on one key."""

    account_id: AccountId
    region: Region
    key_id: str
    grant_id: str
    """64 hexadecimal digits."""
    terms: GrantTerms = field(repr=False)
    created_at: datetime


def stands_for(named: str, principal: Principal) -> bool:
    """Tell whether a stored name stands for a principal: its own, its account's, or that of its session's role.

    A session's ARN does not have its role's path; role names are unique in an account whatever their path.
    """
    own = {principal.arn, principal.principal_id, principal.principal_id.partition(":")[0]}
    if named in own | {f"arn:aws:iam::{principal.account_id}:root", principal.account_id}:
        return True
    try:
        wanted, found = Arn.parse(named), Arn.parse(principal.arn)
    except ValueError:
        return False
    role = found.resource.split("/")
    return (
        (wanted.service, found.service, wanted.account_id) == ("iam", "sts", found.account_id)
        and wanted.resource.startswith("role/")
        and role[0] == "assumed-role"
        and wanted.resource.rpartition("/")[2] == role[1]
    )


def context_fits(terms: GrantTerms, context: Mapping[str, str]) -> bool:
    """Tell whether a grant's constraints hold for a call's encryption context."""
    if terms.context_equals is not None and dict(context) != terms.context_equals:
        return False
    return terms.context_subset is None or terms.context_subset.items() <= context.items()


def holds_within(terms: GrantTerms, request: Request) -> bool:
    """Tell whether a CreateGrant asks for no more than a grant gives: the grantee may pass on that much (API reference).

    The operations must be among the grant's, and the constraints at least as strict.
    """
    constraints = request.get("Constraints", {})
    equals, subset = constraints.get("EncryptionContextEquals"), constraints.get("EncryptionContextSubset")
    if not set(request["Operations"]) <= set(terms.operations):
        return False
    if terms.context_equals is not None and equals != terms.context_equals:
        return False
    demanded = {**(subset or {}), **(equals or {})}
    return terms.context_subset is None or terms.context_subset.items() <= demanded.items()


def grant_lets(unit: Unit, key: KmsKey, principal: Principal, operation: str, request: Request) -> bool:
    """Tell whether a grant on the key lets a principal do this. Raises SealBroken for a forged grant."""
    context, granted_as = context_of(operation, request), _GRANTED_AS.get(operation, operation)
    return any(
        granted_as in grant.terms.operations
        and stands_for(grant.terms.grantee, principal)
        and (operation in _WITHOUT_CONTEXT or context_fits(grant.terms, context))
        and (operation != "CreateGrant" or holds_within(grant.terms, request))
        for grant in grants_of(unit, key)
    )


def grants_of(unit: Unit, key: KmsKey) -> Sequence[Grant]:
    """Return a key's grants in the order of their ids."""
    place = {"account_id": key.account_id, "region": key.region, "key_id": key.key_id}

    def read() -> Sequence[Grant]:
        rows = [dict(zip(_COLUMNS, row, strict=True)) for row in _OF_KEY.rows(unit, place)]
        return sorted((_grant(unit, row) for row in rows), key=lambda grant: grant.grant_id)

    return unit.derived(("kms grants", *place.values()), read)


def retirable_grants(unit: Unit, region: Region, principal: str) -> list[Grant]:
    """Return the grants that a principal may retire in a Region, whoever's keys they are on, in the order of their ids."""
    statement = (
        select(kms_grants)
        .where(kms_grants.c.retiring_principal == principal, kms_grants.c.region == region)
        .order_by(kms_grants.c.grant_id)
    )
    return [_grant(unit, dict(row)) for row in unit.connection.execute(statement).mappings()]


def insert_grant(unit: Unit, grant: Grant) -> None:
    """Insert a new grant."""
    row: dict[str, Any] = {
        "account_id": grant.account_id,
        "region": grant.region,
        "key_id": grant.key_id,
        "grant_id": grant.grant_id,
        "retiring_principal": grant.terms.retiring,
        "body": msgspec.json.encode(grant.terms).decode(),
        "created_at": grant.created_at,
    }
    GRANT_ROWS.insert(unit, row)


def delete_grant(unit: Unit, grant: Grant) -> None:
    """Delete a grant."""
    place = (grant.account_id, grant.region, grant.key_id, grant.grant_id)
    unit.connection.execute(
        delete(kms_grants).where(
            *(kms_grants.c[name] == value for name, value in zip((*KEY, "grant_id"), place, strict=True))
        )
    )


def _grant(unit: Unit, row: Mapping[str, Any]) -> Grant:
    GRANT_ROWS.check(unit, row)
    created = row["created_at"]
    return Grant(
        account_id=row["account_id"],
        region=row["region"],
        key_id=row["key_id"],
        grant_id=row["grant_id"],
        terms=msgspec.json.decode(row["body"], type=GrantTerms),
        created_at=moment(created) if isinstance(created, int) else created,
    )
