"""What IAM holds for a principal: the policies that speak for it, its boundary and its tags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sqlalchemy import and_, bindparam, or_, select

from turnlock.accounts.entities.aws_managed import AWS_MANAGED
from turnlock.accounts.entities.model import Identity, Kind
from turnlock.accounts.entities.store import GROUPS_OF, POLICIES, VERSIONS_KEPT, held_identities
from turnlock.accounts.entities.tables import managed_policies, managed_policy_versions, policy_attachments
from turnlock.core.arn import AccountId
from turnlock.core.call import Principal
from turnlock.policies import Holdings, NamedPolicy
from turnlock.storage import HotQuery, Unit
from turnlock.storage.alarms import broken

_NOTHING: Final = Holdings()

_POLICIES: Final = HotQuery(
    select(
        managed_policies.c.arn,
        managed_policies.c.body,
        managed_policies.c.mac,
        managed_policy_versions.c.body,
        managed_policy_versions.c.mac,
    )
    .distinct()
    .select_from(policy_attachments)
    .join(
        managed_policies,
        and_(
            managed_policies.c.account_id == policy_attachments.c.account_id,
            managed_policies.c.arn == policy_attachments.c.policy_arn,
        ),
    )
    .join(
        managed_policy_versions,
        and_(
            managed_policy_versions.c.account_id == managed_policies.c.account_id,
            managed_policy_versions.c.policy_id == managed_policies.c.id,
            managed_policy_versions.c.number == managed_policies.c.default_version,
        ),
    )
    .where(
        policy_attachments.c.account_id == bindparam("account_id"),
        or_(policy_attachments.c.owner_id == bindparam("id"), policy_attachments.c.owner_id.in_(GROUPS_OF)),
    )
)
"""The default versions of the managed policies that they hold, boundaries among them."""


def holdings_of(unit: Unit, principal: Principal) -> Holdings:
    """Return what IAM holds for a principal; nothing for an account's root user and for what was deleted.

    Raises SealBroken when a row was changed behind the server's back, or one that must be there is gone.
    """
    identity_id = principal.principal_id.partition(":")[0]
    # A group is nobody's principal; a simulation asks what it holds.
    if not identity_id.startswith(("AIDA", "AROA", "AGPA")):
        return _NOTHING
    account_id = principal.account_id
    return unit.derived(
        ("holdings", account_id, identity_id), lambda: _assembled(unit, account_id, identity_id)
    )


def _assembled(unit: Unit, account_id: AccountId, identity_id: str) -> Holdings:
    found = held_identities(unit, account_id, identity_id)
    one = found.get(identity_id)
    if one is None:
        return _NOTHING
    holders = [
        one,
        *(found[group] if group in found else broken(f"A group of {one.arn}") for group in one.groups),
    ]
    documents = _documents(unit, account_id, identity_id, holders)
    return Holdings(
        policies=[policy for holder in holders for policy in _policies(holder, documents)],
        boundary=None if one.boundary is None else _managed(one.boundary, documents),
        tags=one.tags,
        role_arn=one.arn if one.kind is Kind.ROLE else None,
        user_name=one.name if one.kind is Kind.USER else None,
    )


def _documents(
    unit: Unit, account_id: AccountId, identity_id: str, holders: Sequence[Identity]
) -> Mapping[str, str]:
    """Return the default documents of the account's own managed policies, by ARN; no query where nobody holds one."""
    held = {arn for holder in holders for arn in (*holder.attached, *filter(None, [holder.boundary]))}
    if held <= AWS_MANAGED.keys():
        return {}
    found: dict[str, str] = {}
    for arn, policy_body, policy_mac, version_body, version_mac in _POLICIES.rows(
        unit, {"account_id": account_id, "id": identity_id}
    ):
        policy = POLICIES.read(unit, policy_body, policy_mac, account_id=account_id, arn=arn)
        version = VERSIONS_KEPT.read(
            unit,
            version_body,
            version_mac,
            account_id=policy.account_id,
            policy_id=policy.id,
            number=policy.default_version,
        )
        found[arn] = version.document
    return found


def _policies(holder: Identity, documents: Mapping[str, str]) -> Iterator[NamedPolicy]:
    for name, text in holder.inline.items():
        yield NamedPolicy(name=f"{holder.arn}/{name}", text=text)
    for arn in holder.attached:
        yield _managed(arn, documents)


def _managed(arn: str, documents: Mapping[str, str]) -> NamedPolicy:
    if arn in AWS_MANAGED:
        return NamedPolicy(name=arn, text=AWS_MANAGED[arn].document)
    if arn not in documents:
        broken(f"The attached policy {arn}")
    return NamedPolicy(name=arn, text=documents[arn])
